/**
 * The body of a write: unwrapped, checked against all that the request says about it, and given on piece by piece.
 *
 * The last piece is held back until everything is known to be right. Whoever is given the pieces was told their whole length, so that
 * a body that turns out wrong is one that never came to its end: it makes no object.
 */
import type { IncomingMessage } from 'node:http';
import { AwsChunked } from './aws-chunked.ts';
import { BodyChecks, type CrcSums, checksumOf } from './checks.ts';
import { S3Error } from './errors.ts';
import type { SignatureProof } from './signature.ts';

export interface WriteBody {
  readonly length: number;
  /** Throws S3Error where the body is not what the request says. */
  readonly pieces: () => AsyncGenerator<Buffer>;
  /** Checksums that come behind it, by the name of their headers: compared, and known when all pieces have come. */
  readonly trailing: { readonly names: readonly string[]; valueOf(name: string): string | undefined };
  /** What the origin may be told of it, so that it can compare for itself; undefined: the signature says nothing of it. */
  readonly sha256: string | undefined;
}

/** What an object, or a part of one, may have at S3. */
const mostBytes = 5 * 1024 ** 3;
const unsigned = 'UNSIGNED-PAYLOAD';
const signedChunks = new Set(['STREAMING-AWS4-HMAC-SHA256-PAYLOAD', 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER']);
const unsignedChunks = 'STREAMING-UNSIGNED-PAYLOAD-TRAILER';

/** @param stallMs longest time that a client may take over the next bytes. Throws S3Error for a head that cannot be taken. */
export function writeBodyOf(
  request: IncomingMessage,
  {
    proof,
    stallMs,
    sums,
    limit = mostBytes,
    tooLong = entityTooLarge,
  }: {
    readonly proof?: SignatureProof;
    readonly stallMs: number;
    readonly sums: CrcSums;
    readonly limit?: number;
    /** What is said of a body beyond the limit. */
    readonly tooLong?: (length: number, limit: number) => S3Error;
  },
): WriteBody {
  const header = (name: string): string | undefined => request.headers[name] as string | undefined;
  const said = header('x-amz-content-sha256') ?? unsigned;
  const isChunked = said.startsWith('STREAMING-') || tokensOf(header('content-encoding')).includes('aws-chunked');
  const length = lengthOf(header(isChunked ? 'x-amz-decoded-content-length' : 'content-length'), request);
  if (length > limit) throw tooLong(length, limit);
  const checks = new BodyChecks(sums);
  const names: string[] = [];
  let chunks: AwsChunked | undefined;
  if (isChunked) {
    if (said.startsWith('STREAMING-') && !signedChunks.has(said) && said !== unsignedChunks)
      throw new S3Error('NotImplemented', `x-amz-content-sha256: ${said} is not known here.`);
    const decoder = new AwsChunked({
      trails: said.endsWith('-TRAILER'),
      ...(signedChunks.has(said) && proof !== undefined ? { proof } : {}),
    });
    chunks = decoder;
    for (const name of tokensOf(header('x-amz-trailer'))) {
      const algorithm = checksumOf(name);
      if (algorithm === undefined) continue;
      checks.checksum(algorithm, () => decoder.trailers.get(name));
      names.push(name);
    }
  } else if (/^[0-9a-f]{64}$/.test(said)) checks.sha256(said);
  else if (said !== unsigned) throw new S3Error('InvalidArgument', 'x-amz-content-sha256 is no SHA-256.');
  for (const [name, value] of Object.entries(request.headers)) {
    const algorithm = checksumOf(name);
    if (algorithm !== undefined) checks.checksum(algorithm, () => value as string);
  }
  const md5 = header('content-md5');
  if (md5 !== undefined) checks.md5(md5);
  return {
    length,
    trailing: { names, valueOf: (name) => chunks?.trailers.get(name) },
    sha256: !isChunked && said !== unsigned ? said : undefined,
    pieces: () => checkedPieces(arriving(request, stallMs), { length, checks, chunks }),
  };
}

async function* checkedPieces(
  source: AsyncGenerator<Buffer>,
  of: { readonly length: number; readonly checks: BodyChecks; readonly chunks: AwsChunked | undefined },
): AsyncGenerator<Buffer> {
  const { length, checks, chunks } = of;
  let total = 0;
  let last: Buffer | undefined;
  for await (const bytes of source) {
    for (const piece of chunks === undefined ? [bytes] : chunks.take(bytes)) {
      total += piece.length;
      if (total > length) throw incomplete();
      checks.update(piece);
      if (last !== undefined) yield last;
      last = piece;
    }
  }
  chunks?.finish();
  if (total !== length) throw incomplete();
  checks.finish();
  if (last !== undefined) yield last;
}

/** As it comes. The request stays as it is whoever stops reading: it has yet to be answered. */
async function* arriving(request: IncomingMessage, stallMs: number): AsyncGenerator<Buffer> {
  const source = request.iterator({ destroyOnReturn: false }) as AsyncIterableIterator<Buffer>;
  for (;;) {
    const { done, value } = await nextOf(source, () => request.destroy(), stallMs);
    if (done === true) return;
    yield value;
  }
}

async function nextOf(
  source: AsyncIterableIterator<Buffer>,
  cut: () => void,
  stallMs: number,
): Promise<IteratorResult<Buffer>> {
  const timer = setTimeout(cut, stallMs);
  try {
    return await source.next();
  } catch (error) {
    throw new S3Error('RequestTimeout', 'The body did not come to its end.', { cause: error });
  } finally {
    clearTimeout(timer);
  }
}

function lengthOf(written: string | undefined, { headers }: IncomingMessage): number {
  if (written === undefined) {
    // Nothing at all is a body of no bytes.
    if (headers['transfer-encoding'] === undefined && headers['content-length'] === undefined) return 0;
    throw new S3Error('MissingContentLength', 'You must provide the length of the body (Content-Length).');
  }
  if (!/^\d{1,15}$/.test(written)) throw new S3Error('InvalidArgument', `'${written}' is no length of a body.`);
  return Number(written);
}

function tokensOf(list: string | undefined): string[] {
  return (list ?? '')
    .split(',')
    .map((one) => one.trim().toLowerCase())
    .filter((one) => one !== '');
}

function entityTooLarge(length: number, limit: number): S3Error {
  return new S3Error('EntityTooLarge', `The body has ${length} bytes; at most ${limit} are taken.`);
}

function incomplete(): S3Error {
  return new S3Error(
    'IncompleteBody',
    'You did not provide the number of bytes specified by the Content-Length header.',
  );
}
