/** GET and HEAD of one object: which record, which verdict, which head; then the bytes. */
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { FoundFile, OpenedFile, ReadableFiles } from '../../cluster/reading/files.ts';
import { PrimedError } from '../../core/errors.ts';
import type { ByteRange, UfsPath } from '../../core/types.ts';
import { openBody, sendBody } from '../body.ts';
import type { Turns } from '../turns.ts';
import { type S3Address, splitTarget } from './address.ts';
import { S3Error } from './errors.ts';
import { headOf, type ObjectHead, partToFind } from './head.ts';
import { maySendOn, sentOn } from './redirect.ts';

export interface ObjectContext {
  readonly files: ReadableFiles;
  readonly turns: Turns;
  /** Longest time that a client may take over one piece of a body. */
  readonly stallMs: number;
  /** Told how many body bytes an answer was to have, once they have been sent. */
  readonly onServed: (bytes: number) => void;
  /** Told when the head of an answer with a body is written. */
  readonly onFirstByte: (request: FastifyRequest) => void;
  /** Whether who can follow is sent to the worker that has what is asked for, and by which scheme. */
  readonly redirect?: { readonly tls: boolean };
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
  if (request.method === 'HEAD') {
    const file = await found.settled();
    if (file.state === 'partial') throw notCached(file);
    sendHead(reply, await headOfFile(context.files, file, address, request));
    return;
  }
  const giveBack = await context.turns.take();
  let opened: OpenedFile | undefined;
  try {
    opened = found.open();
    const head = await preparedHead(context.files, opened, address, request);
    const { range } = head;
    if (range === undefined) {
      sendHead(reply, head);
      return;
    }
    const elsewhere = sentElsewhere(context, opened, { address, range, request });
    if (elsewhere !== undefined) {
      reply.code(307).header('location', elsewhere).send();
      return;
    }
    const body = await openBody(opened.read(range), range.length);
    reply.hijack();
    reply.raw.writeHead(head.status, { ...(reply.getHeaders() as Record<string, string>), ...head.headers });
    context.onFirstByte(request);
    await sendBody(body, reply.raw, context.stallMs);
    context.onServed(range.length);
  } finally {
    opened?.close();
    giveBack();
  }
}

function sentElsewhere(
  { redirect }: ObjectContext,
  opened: OpenedFile,
  of: { readonly address: S3Address; readonly range: ByteRange; readonly request: FastifyRequest },
): string | undefined {
  const { address, range, request } = of;
  if (redirect === undefined || !maySendOn(request.headers, address.query)) return undefined;
  const { search } = splitTarget(request.originalUrl);
  // The bucket goes into the path: the other worker is called by another host.
  const path = `/${address.bucket}/${encodeURIComponent(address.key).replaceAll('%2F', '/')}`;
  const target = search === '' ? path : `${path}?${search}`;
  return sentOn(opened.elsewhere?.(range), range, { target, tls: redirect.tls });
}

/** Times that a file may be replaced between the look at its head and that for its bytes. */
const mostLooks = 4;

/** Of what was opened, not of what was looked up: it may have been replaced in between. Its range can be read. */
async function preparedHead(
  files: ReadableFiles,
  opened: OpenedFile,
  address: S3Address,
  request: FastifyRequest,
): Promise<ObjectHead> {
  for (let looks = 0; looks < mostLooks; looks += 1) {
    const head = await headOfFile(files, opened.file, address, request);
    if (head.range === undefined) return head;
    try {
      if (await opened.prepare(head.range)) return head;
    } catch (error) {
      if (error instanceof PrimedError && error.code === 'FILE_NOT_CACHED') throw notCached(opened.file, error);
      throw error;
    }
  }
  throw new S3Error('ServiceUnavailable', `${opened.file.path} is being replaced again and again; try again.`);
}

/** A loading file is in no listing either; where an earlier version is whole, that one was found. */
async function headOfFile(
  files: ReadableFiles,
  file: FoundFile,
  { query }: S3Address,
  { headers }: FastifyRequest,
): Promise<ObjectHead> {
  if (file.state === 'loading') throw notCached(file);
  const number = partToFind(file, headers, query);
  return headOf(file, headers, query, number === undefined ? undefined : await files.part?.(file, number));
}

function sendHead(reply: FastifyReply, { status, headers }: ObjectHead): void {
  reply.code(status).headers(headers).send();
}

async function nothingFound(files: ReadableFiles, { bucket, key }: S3Address): Promise<S3Error> {
  return (await files.knows(`s3://${bucket}/`)) ? noSuchKey(key) : noSuchBucket(bucket);
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
