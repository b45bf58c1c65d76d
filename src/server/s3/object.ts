/** GET and HEAD of one object: which record, which verdict, which head; then the bytes. */
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { ByteRange, UfsPath } from '../../core/types.ts';
import type { FileRecord, OpenFile, Store } from '../../store/types.ts';
import { openBody, sendBody } from '../body.ts';
import type { Turns } from '../turns.ts';
import type { S3Address } from './address.ts';
import { judge } from './conditions.ts';
import { S3Error } from './errors.ts';

/** What the gateway needs of the store: nothing that changes it. */
export type CachedFiles = Pick<Store, 'stat' | 'list' | 'open'>;

export interface ObjectContext {
  readonly store: CachedFiles;
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
  const record = findRecord(context.store, address, path);
  if (request.method === 'HEAD') {
    answerHead(address, record, request, reply);
    return;
  }
  if (record.state !== 'complete') {
    const range = answerHead(address, record, request, reply, { dataFollows: true });
    if (range !== undefined) throw notCached(path, record);
    return;
  }
  const giveBack = await context.turns.take();
  let opened: OpenFile | undefined;
  try {
    opened = context.store.open(path);
    // What was opened decides, not what was looked up: the file may have been replaced in between.
    const range = answerHead(address, opened.record, request, reply, { dataFollows: true });
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

function findRecord(store: CachedFiles, { bucket, key, query }: S3Address, path: UfsPath): FileRecord {
  const record = store.stat(path);
  if (record === undefined) {
    const [any] = store.list({ prefix: `s3://${bucket}/`, limit: 1, includeLoading: true });
    throw any === undefined ? noSuchBucket(bucket) : noSuchKey(key);
  }
  // A loading file is in no listing either; where an earlier version is complete, the store gave that one.
  if (record.state === 'loading') throw notCached(path, record);
  const version = query.get('versionId') ?? '';
  if (version !== '' && version !== (record.versionId ?? 'null')) {
    throw new S3Error('NoSuchVersion', 'The specified version is not the one in the cache.', {
      details: { Key: key, VersionId: version },
    });
  }
  return record;
}

/**
 * Sets status and headers, and sends the answer unless data follows: then the range that is to be sent is returned.
 * Throws PreconditionFailed, InvalidRange, InvalidPartNumber.
 */
function answerHead(
  { query }: S3Address,
  record: FileRecord,
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

function setVersionHeaders(reply: FastifyReply, record: FileRecord): void {
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
function notCached(path: UfsPath, record: FileRecord): S3Error {
  if (record.state === 'loading') {
    return new S3Error(
      'FileLoading',
      `${path} is not whole yet: ${record.cachedBytes} of ${record.sizeBytes} bytes are cached. Try again when its load has ended, or load it again if it has failed.`,
      { headers: { 'retry-after': '5' } },
    );
  }
  if (record.state === 'partial') {
    return new S3Error(
      'FileNotCached',
      `${path} lies on several workers: ${record.cachedBytes} of its ${record.sizeBytes} bytes are on this one, which serves whole files only.`,
    );
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
