/**
 * Writes: passed to the origin where configuration says so, else 405.
 *
 * ```
 *  client ── serving thread ── main thread: who may? ── body, checked piece by piece ── the origin, signed by its own keys
 *                                              answer ◀── what is cached is dropped ◀── its answer
 * ```
 *
 * A body is nowhere as a whole, but for small objects whose checksum comes behind them. What turns out wrong at its end (checksum,
 * signature of a chunk, length) does so before its last piece has left, and then the origin has no whole body, and keeps what it
 * had.
 */
import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { PassedAnswer, PassedWrite, WritableOrigins } from '../../core/passed-write.ts';
import type { ReadPolicies } from '../../core/read-policy.ts';
import type { UfsPath } from '../../core/types.ts';
import type { Turns } from '../turns.ts';
import type { S3Access, Sight } from './access.ts';
import { hostedBucket, parseAddress, type S3Address, splitTarget } from './address.ts';
import type { CrcSums } from './checks.ts';
import { copySourceOf } from './copy-source.ts';
import { deletionsOf, deletionsXml, noDeletions, type RefusedDeletion, withRefused } from './delete-objects.ts';
import { type Deletion, deletionsLimitBytes, malformed } from './deletions-reader.ts';
import { S3Error } from './errors.ts';
import { type WriteBody, writeBodyOf } from './write-body.ts';
import {
  passedHeaders,
  passedParameters,
  saysOfParts,
  type WriteOperation,
  writeOperationOf,
} from './write-operation.ts';

export interface WriteOptions {
  readonly origins: WritableOrigins;
  readonly policies: Pick<ReadPolicies, 'of' | 'mayWriteBelow'>;
  /** Of the platform, for checksums of bodies. */
  readonly sums: CrcSums;
  /** Something may have become of them: resolves when what is cached of them is gone. Does not reject. */
  readonly written: (paths: readonly UfsPath[]) => Promise<void>;
}

export interface WriteContext extends WriteOptions {
  readonly access: S3Access;
  readonly domains: readonly string[];
  readonly turns: Turns;
  /** Longest time that a client may take over the next bytes of a body. */
  readonly stallMs: number;
}

/** Of a body that is waited for, because its checksum comes behind it: 64 writes at once hold 64 MiB. */
const mostHeldBytes = 1024 * 1024;
/** Of an answer with an error: a page of XML. */
const mostErrorBytes = 64 * 1024;
/** Of a body that is not wanted: so much of it is taken off the connection, so that its sender reads why. */
const mostUnwantedBytes = 1024 * 1024;
const unwantedMs = 2_000;

interface Write {
  readonly operation: WriteOperation;
  readonly address: S3Address;
  readonly sight: Sight;
  readonly bucket: UfsPath;
}

/** Answers a request that `isWrite`. Throws S3Error, PrimedError ORIGIN_*. */
export async function answerWrite(context: WriteContext, request: FastifyRequest, reply: FastifyReply): Promise<void> {
  const left = new AbortController();
  const onClose = (): void => left.abort(new S3Error('RequestTimeout', 'The client has gone.'));
  reply.raw.once('close', onClose);
  try {
    const write = admitted(context, request);
    const giveBack = await context.turns.take();
    try {
      await send(context, { ...write, request, reply, signal: left.signal });
    } finally {
      giveBack();
    }
  } catch (error) {
    await takeOff(request, context.stallMs);
    throw error;
  } finally {
    reply.raw.off('close', onClose);
  }
}

/** Who asks, for what, and whether he may. */
function admitted({ access, domains, policies }: WriteContext, request: FastifyRequest): Write {
  const { headers, originalUrl: target } = request;
  const method = request.raw.method!;
  const hosted = hostedBucket(headers.host, domains);
  const address = parseAddress(target, hosted);
  const bucket = `s3://${address.bucket}/` as UfsPath;
  const path = `${bucket}${address.key}`;
  const listed = `${bucket}${address.query.get('prefix') ?? ''}`;
  // Of deletions each key is looked at when the list of them has been read.
  const isOpen =
    address.key === '' && method === 'POST'
      ? policies.mayWriteBelow(bucket)
      : policies.of(address.key === '' ? listed : path).writes === true;
  if (!isOpen || address.bucket === '') throw readOnly(method);
  const { path: rawPath, search } = splitTarget(target);
  const signed = { method, rawPath, rawQuery: search, headers };
  const sight = access.sight(signed, hosted === undefined ? rawPath : `/${hosted}${rawPath}`);
  const operation = writeOperationOf(method, address, headers);
  const allowed =
    operation === 'ListMultipartUploads' ? sight.writes(listed) : operation === 'DeleteObjects' || sight.writes(path);
  if (!allowed) throw mayNot();
  return { operation, address, sight, bucket };
}

interface Sending extends Write {
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
  readonly signal: AbortSignal;
}

async function send(context: WriteContext, order: Sending): Promise<void> {
  const { operation, address, sight, bucket, request, reply, signal } = order;
  const { origins, policies, stallMs, sums } = context;
  const path = `${bucket}${address.key}` as UfsPath;
  const keepsParts = saysOfParts(operation, request.headers) && (await origins.keepsChecksums(path, signal));
  const headers = passedHeaders(operation, request.headers, keepsParts);
  if (operation === 'CopyObject' || operation === 'UploadPartCopy') {
    const source = copySourceOf(request.headers['x-amz-copy-source'] as string);
    // What is not read through this port is not copied to where it is.
    if (!sight.reads(source.path) || policies.of(source.path).readThrough === 'never') throw mayNot();
    if (!origins.isSameOrigin(source.path, path))
      throw new S3Error('NotImplemented', 'What is copied must lie at the same origin.');
    headers['x-amz-copy-source'] = source.header;
  }
  const isDeletion = operation === 'DeleteObjects';
  const body = writeBodyOf(request.raw, {
    ...{ stallMs, sums },
    ...(sight.proof && { proof: sight.proof }),
    ...(isDeletion ? { limit: deletionsLimitBytes, tooLong: malformed } : {}),
  });
  if (request.headers.expect?.toLowerCase() === '100-continue') reply.raw.writeContinue();
  const { paths, refused, passing } = isDeletion
    ? await deletion(context, order, body, headers)
    : {
        paths: changes.has(operation) ? [path] : [],
        refused: [],
        passing: await passingOf(
          operation,
          body,
          headers,
          async () => keepsParts || origins.keepsChecksums(path, signal),
        ),
      };
  if (passing === undefined) {
    await reply.header('content-type', 'application/xml').send(await withRefused(noDeletions, refused));
    return;
  }
  const sha256 = isDeletion ? undefined : body.sha256;
  let answer: PassedAnswer;
  try {
    answer = await origins.write(path, {
      ...{ method: request.raw.method!, headers, signal, ...passing },
      query: passedParameters(operation, address.query),
      ...(sha256 === undefined ? {} : { sha256 }),
    });
  } catch (error) {
    // The origin may have got all of it all the same.
    await context.written(paths);
    throw error;
  }
  await context.written(paths);
  await give(refused.length === 0 ? answer : await toldOfRefused(answer, refused), reply);
}

/**
 * A checksum that comes behind a body goes to the origin behind it, where the origin is known to take it there. Where it is not, it
 * is told in front of the body, which every server takes: so a small one is waited for as a whole. What is left is compared only.
 */
async function passingOf(
  operation: WriteOperation,
  { pieces, length, trailing }: WriteBody,
  headers: Record<string, string>,
  keeps: () => Promise<boolean>,
): Promise<Pick<PassedWrite, 'body' | 'length' | 'trailer'>> {
  const { names } = trailing;
  const isObject = operation === 'PutObject';
  if (names.length === 0 || !(isObject || operation === 'UploadPart')) return { body: pieces(), length };
  if (isObject && length <= mostHeldBytes) {
    // One buffer: of a body in many small chunks each would hold what it came in.
    const held = Buffer.alloc(length);
    let at = 0;
    for await (const piece of pieces()) at += piece.copy(held, at);
    for (const name of names) headers[name] ??= trailing.valueOf(name)!;
    return { body: only(held), length };
  }
  const [name] = names as [string];
  if (names.length > 1 || headers[name] !== undefined || !(await keeps())) return { body: pieces(), length };
  return { body: pieces(), length, trailer: { name, value: () => trailing.valueOf(name)! } };
}

/** After which objects are not what they were. */
const changes: ReadonlySet<WriteOperation> = new Set([
  ...(['PutObject', 'CopyObject', 'DeleteObject', 'DeleteObjects', 'CompleteMultipartUpload'] as const),
]);

interface PlannedDeletion {
  /** Of the keys that are passed on. */
  readonly paths: readonly UfsPath[];
  readonly refused: readonly RefusedDeletion[];
  /** Undefined: there is nothing to pass on. */
  readonly passing: Pick<PassedWrite, 'body' | 'length' | 'trailer'> | undefined;
}

/** As S3 does it, each key is looked at by itself: those that are not open to whoever asks stay, and the answer says so of each. */
async function deletion(
  { policies }: WriteContext,
  { sight, bucket }: Sending,
  { pieces }: WriteBody,
  headers: Record<string, string>,
): Promise<PlannedDeletion> {
  const { objects, quiet } = await deletionsOf(pieces());
  const refused: RefusedDeletion[] = [];
  const open: Deletion[] = [];
  for (const object of objects) {
    const path = `${bucket}${object.key}` as UfsPath;
    const error = !sight.writes(path) ? mayNot() : policies.of(path).writes === true ? undefined : readOnly('POST');
    if (error === undefined) open.push(object);
    else refused.push({ ...object, error });
  }
  if (open.length === 0) return { paths: [], refused, passing: undefined };
  const document = await deletionsXml(open, quiet);
  // S3 asks for it, and it is of the document that is sent.
  headers['content-md5'] = createHash('md5').update(document).digest('base64');
  headers['content-type'] = 'application/xml';
  return {
    paths: open.map(({ key }) => `${bucket}${key}` as UfsPath),
    refused,
    passing: { body: only(document), length: document.length },
  };
}

/** The origin's answer, which knows nothing of keys that were not passed on, with a word for each of those. */
async function toldOfRefused(answer: PassedAnswer, refused: readonly RefusedDeletion[]): Promise<PassedAnswer> {
  if (answer.status !== 200) return answer;
  const pieces: Buffer[] = [];
  let bytes = 0;
  for await (const piece of answer.body) {
    bytes += piece.length;
    if (bytes > deletionsLimitBytes) throw new S3Error('InternalError', 'The answer of the origin has no end.');
    pieces.push(Buffer.from(piece));
  }
  const body = await withRefused(Buffer.concat(pieces), refused);
  return {
    ...{ status: 200, headers: { ...answer.headers, 'content-length': String(body.length) } },
    body: only(body),
  };
}

async function* only(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes;
}

const answered =
  /^(etag|content-type|content-length|last-modified|location|x-amz-(?!request-id$|id-2$|bucket-region$)[a-z0-9-]+)$/;

/** As the origin says it, its refusals too: but not what it says to this daemon, and not to the client. */
async function give({ status, headers, body }: PassedAnswer, reply: FastifyReply): Promise<void> {
  const isOver = status < 300 || (status >= 400 && status !== 403 && status !== 401);
  if (!isOver) {
    const code = /<Code>([^<]{1,64})<\/Code>/.exec(await textOf(body))?.[1] ?? String(status);
    const message = `The origin refuses the daemon what is to be written: ${code}.`;
    throw new S3Error(status < 400 ? 'ServiceUnavailable' : 'AccessDenied', message);
  }
  for (const [name, value] of Object.entries(headers))
    if (answered.test(name) && value !== undefined) reply.header(name, value);
  reply.code(status);
  if (status === 204 || headers['content-length'] === '0') {
    await textOf(body);
    reply.removeHeader('content-length');
    await reply.send();
  } else await reply.send(Readable.from(body, { objectMode: false }));
}

/** The beginning of it. */
async function textOf(body: PassedAnswer['body']): Promise<string> {
  let text = '';
  for await (const piece of body) {
    text += String(piece);
    if (text.length > mostErrorBytes) break;
  }
  return text;
}

async function takeOff({ raw }: FastifyRequest, stallMs: number): Promise<void> {
  if (raw.complete || raw.destroyed || raw.headers.expect !== undefined) return;
  const until = AbortSignal.timeout(Math.min(unwantedMs, stallMs));
  let taken = 0;
  await new Promise<void>((resolve) => {
    const over = (): void => {
      raw.off('data', take).off('end', over).off('close', over);
      raw.pause();
      resolve();
    };
    const take = (piece: Buffer): void => {
      taken += piece.length;
      if (taken > mostUnwantedBytes) over();
    };
    raw.on('data', take).once('end', over).once('close', over).once('error', over);
    until.addEventListener('abort', over, { once: true });
    raw.resume();
  });
}

/** Of what is not written through; nothing is said of anything else. */
export function readOnly(method: string): S3Error {
  const message =
    'The specified method is not allowed against this resource: the cache is read-only, write to the origin.';
  return new S3Error('MethodNotAllowed', message, { details: { Method: method } });
}

function mayNot(): S3Error {
  return new S3Error(
    'AccessDenied',
    'Access Denied: the key that signed this, or nobody in particular, may not write here.',
  );
}
