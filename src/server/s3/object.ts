/** GET and HEAD of one object: which record, which verdict, which head; then the bytes. */
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { FoundFile, OpenedFile, ReadableFiles } from '../../cluster/reading/files.ts';
import { PrimedError } from '../../core/errors.ts';
import type { ByteRange, UfsPath } from '../../core/types.ts';
import { openBody, sendBody } from '../body.ts';
import type { Turns } from '../turns.ts';
import type { S3Address } from './address.ts';
import { judge } from './conditions.ts';
import { S3Error } from './errors.ts';

export interface ObjectContext {
  readonly files: ReadableFiles;
  readonly turns: Turns;
  /** Longest time that a client may take over one piece of a body. */
  readonly stallMs: number;
  /** Told how many body bytes an answer was to have, once they have been sent. */
  readonly onServed: (bytes: number) => void;
}

/**
 * Answers one request. Throws S3Error before the head is sent; afterwards BodyCut, with the socket destroyed.
 */
export async function answerObject(
  context: ObjectContext,
  address: S3Address,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<void> {
  const path = `s3://${address.bucket}/${address.key}` as UfsPath;
  const found = await context.files.find(path);
  if (found === undefined) throw await nothingFound(context.files, address);
  refuseOthers(address, found.file);
  if (request.method === 'HEAD') {
    const file = await found.settled();
    if (file.state === 'partial' || file.state === 'loading') throw notCached(file);
    answerHead(address, file, request, reply);
    return;
  }
  const giveBack = await context.turns.take();
  let opened: OpenedFile | undefined;
  try {
    opened = found.open();
    const range = await rangeOf(opened, address, request, reply);
    if (range === undefined) return;
    const body = await openBody(opened.read(range), range.length);
    reply.hijack();
    reply.raw.writeHead(reply.statusCode, reply.getHeaders() as Record<string, string>);
    await sendBody(body, reply.raw, context.stallMs);
    context.onServed(range.length);
  } finally {
    opened?.close();
    giveBack();
  }
}

/** Times that a file may be replaced between the look at its head and that for its bytes. */
const mostLooks = 4;

/** Of what was opened, not of what was looked up: it may have been replaced in between. Undefined: the answer is sent. */
async function rangeOf(
  opened: OpenedFile,
  address: S3Address,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<ByteRange | undefined> {
  for (let looks = 0; looks < mostLooks; looks += 1) {
    refuseOthers(address, opened.file);
    reply.removeHeader('content-range');
    const range = answerHead(address, opened.file, request, reply, { dataFollows: true });
    if (range === undefined) return undefined;
    try {
      if (await opened.prepare(range)) return range;
    } catch (error) {
      if (error instanceof PrimedError && error.code === 'FILE_NOT_CACHED') throw notCached(opened.file, error);
      throw error;
    }
  }
  throw new S3Error('ServiceUnavailable', `${opened.file.path} is being replaced again and again; try again.`);
}

async function nothingFound(files: ReadableFiles, { bucket, key }: S3Address): Promise<S3Error> {
  return (await files.knows(`s3://${bucket}/`)) ? noSuchKey(key) : noSuchBucket(bucket);
}

/** A loading file is in no listing either; where an earlier version is whole, that one was found. */
function refuseOthers({ key, query }: S3Address, file: FoundFile): void {
  if (file.state === 'loading') throw notCached(file);
  const version = query.get('versionId') ?? '';
  if (version === '' || version === (file.versionId ?? 'null')) return;
  throw new S3Error('NoSuchVersion', 'The specified version is not the one in the cache.', {
    details: { Key: key, VersionId: version },
  });
}

/**
 * Sets status and headers, and sends the answer unless data follows: then the range that is to be sent is returned.
 * Throws PreconditionFailed, InvalidRange, InvalidPartNumber.
 */
function answerHead(
  { query }: S3Address,
  record: FoundFile,
  request: FastifyRequest,
  reply: FastifyReply,
  { dataFollows = false } = {},
): ByteRange | undefined {
  const partNumber = query.get('partNumber') ?? '';
  if (partNumber !== '' && partNumber !== '1') {
    throw new S3Error('InvalidPartNumber', 'The cache keeps objects whole: the only part is 1.');
  }
  const verdict = judge(request.headers, record);
  setVersionHeaders(reply, record);
  if (verdict.kind === 'not-modified') {
    reply.code(304).send();
    return undefined;
  }
  if (verdict.kind === 'precondition-failed') {
    throw new S3Error('PreconditionFailed', 'At least one of the pre-conditions you specified did not hold', {
      details: { Condition: verdict.condition },
    });
  }
  if (verdict.kind === 'range-not-satisfiable') {
    throw new S3Error('InvalidRange', 'The requested range is not satisfiable', {
      details: { RangeRequested: verdict.asked, ActualObjectSize: String(record.sizeBytes) },
      headers: { 'content-range': `bytes */${record.sizeBytes}` },
    });
  }
  const whole = { offset: 0, length: record.sizeBytes };
  const range = verdict.kind === 'part' ? verdict.range : whole;
  // An empty object has no byte range to name, so that its part 1 is plain 200.
  const partial = verdict.kind === 'part' || (partNumber !== '' && record.sizeBytes > 0);
  reply.code(partial ? 206 : 200);
  if (partial) {
    reply.header('content-range', `bytes ${range.offset}-${range.offset + range.length - 1}/${record.sizeBytes}`);
  }
  reply.header('content-type', 'application/octet-stream').header('content-length', range.length);
  if (dataFollows) return range;
  reply.send();
  return undefined;
}

function setVersionHeaders(reply: FastifyReply, record: FoundFile): void {
  reply
    .header('etag', `"${record.etag}"`)
    .header('last-modified', new Date(record.lastModifiedMs).toUTCString())
    .header('accept-ranges', 'bytes');
  if (record.versionId !== undefined) reply.header('x-amz-version-id', record.versionId);
}

/**
 * Known, but the bytes are not here. While a load is under way that is 503, which clients try again; after a load of
 * metadata only it is 404 with a code of its own, because no patience will help.
 */
function notCached(record: FoundFile, cause?: PrimedError): S3Error {
  const { path } = record;
  if (record.state === 'loading') {
    return new S3Error(
      'FileLoading',
      `${path} is not whole yet: ${record.cachedBytes} of ${record.sizeBytes} bytes are cached. Try again when its load has ended, or load it again if it has failed.`,
      { headers: { 'retry-after': '5' } },
    );
  }
  if (record.state !== 'metadata') {
    const known = `${path} is not whole: ${record.cachedBytes} of its ${record.sizeBytes} bytes are cached. Load it again.`;
    return new S3Error('FileNotCached', cause?.message ?? known, { cause });
  }
  return new S3Error(
    'FileNotCached',
    `${path} is known by its metadata, but its ${record.sizeBytes} bytes are not cached. Load it without loadMetadataOnly.`,
  );
}

export function noSuchBucket(bucket: string): S3Error {
  return new S3Error('NoSuchBucket', 'Nothing of the specified bucket is cached.', { details: { BucketName: bucket } });
}

function noSuchKey(key: string): S3Error {
  return new S3Error('NoSuchKey', 'The specified key is not cached.', { details: { Key: key } });
}
