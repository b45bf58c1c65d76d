/** Bodies of PutObject: small, held in memory, and checked against what the request says about them. */
import { createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { MiB } from '../../core/units.ts';
import { S3Refusal } from './answer.ts';
import { crc64nvmeBase64 } from './crc64.ts';
import { crc32Base64 } from './objects.ts';

/** The embedded origin takes objects of tests and index files, not datasets. */
export const uploadLimitBytes = 64 * MiB;

/** What came, and the checksums that were said of it, which are right: to be kept with it. */
export interface ReadUpload {
  readonly body: Buffer;
  readonly stated: Readonly<Record<string, string>>;
}

/** The object's bytes: read, unwrapped from aws-chunked, and compared with everything that is stated of them. */
export async function readUpload(request: IncomingMessage): Promise<ReadUpload> {
  const raw = await readBody(request);
  const stated = headerOf(request, 'x-amz-content-sha256');
  if (
    stated !== undefined &&
    /^[0-9a-f]{64}$/.test(stated) &&
    createHash('sha256').update(raw).digest('hex') !== stated
  ) {
    throw new S3Refusal(
      400,
      'XAmzContentSHA256Mismatch',
      "The provided 'x-amz-content-sha256' header does not match what was computed.",
    );
  }
  const isChunked = stated?.startsWith('STREAMING-') === true;
  const { body, trailers } = isChunked ? unwrapAwsChunked(raw) : { body: raw, trailers: {} };
  const decodedLength = headerOf(request, 'x-amz-decoded-content-length');
  if (decodedLength !== undefined && Number(decodedLength) !== body.length) {
    throw new S3Refusal(400, 'IncompleteBody', 'The number of bytes is not the one in x-amz-decoded-content-length.');
  }
  const md5 = headerOf(request, 'content-md5');
  if (md5 !== undefined && createHash('md5').update(body).digest('base64') !== md5) {
    throw new S3Refusal(400, 'BadDigest', 'The Content-MD5 you specified did not match what we received.');
  }
  return { body, stated: statedChecksums(request, body, trailers) };
}

/** All of it, as it came. */
export async function readBody(request: IncomingMessage): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  for await (const piece of request as AsyncIterable<Buffer>) {
    bytes += piece.length;
    if (bytes > uploadLimitBytes)
      throw new S3Refusal(400, 'EntityTooLarge', `This origin takes objects of at most ${uploadLimitBytes} bytes.`);
    pieces.push(piece);
  }
  return Buffer.concat(pieces, bytes);
}

/**
 * `<hex size>[;chunk-signature=...]\r\n<bytes>\r\n`, repeated, ended by a chunk of size 0 and trailers. Signatures
 * of single chunks are not judged.
 */
export function unwrapAwsChunked(raw: Buffer): { body: Buffer; trailers: Record<string, string> } {
  const pieces: Buffer[] = [];
  let at = 0;
  for (;;) {
    const lineEnd = raw.indexOf('\r\n', at, 'latin1');
    const size = lineEnd < 0 ? Number.NaN : Number.parseInt(raw.toString('latin1', at, lineEnd), 16);
    if (!Number.isInteger(size) || lineEnd + 2 + size > raw.length) {
      throw new S3Refusal(400, 'IncompleteBody', 'The body is not whole in aws-chunked encoding.');
    }
    if (size === 0) {
      const lines = raw.toString('latin1', lineEnd + 2).split('\r\n');
      const trailers = lines.map((line) => /^([^:]+):(.*)$/.exec(line)).filter((match) => match !== null);
      return {
        body: Buffer.concat(pieces),
        trailers: Object.fromEntries(trailers.map(([, name, value]) => [name!.trim().toLowerCase(), value!.trim()])),
      };
    }
    pieces.push(raw.subarray(lineEnd + 2, lineEnd + 2 + size));
    at = lineEnd + 2 + size + 2;
  }
}

function headerOf(request: IncomingMessage, name: string): string | undefined {
  const value = request.headers[name];
  return Array.isArray(value) ? value[0] : value;
}

const digests: Readonly<Record<string, (body: Buffer) => string>> = {
  'x-amz-checksum-crc32': (body) => crc32Base64([body]),
  'x-amz-checksum-crc64nvme': (body) => crc64nvmeBase64([body]),
  'x-amz-checksum-sha1': (body) => createHash('sha1').update(body).digest('base64'),
  'x-amz-checksum-sha256': (body) => createHash('sha256').update(body).digest('base64'),
};

/** In base64, of an algorithm by the name of its header. */
export function digestOf(name: string, body: Buffer): string {
  const digest = digests[name];
  if (digest === undefined) throw new S3Refusal(501, 'NotImplemented', `The embedded origin does not have ${name}.`);
  return digest(body);
}

/** Checksums in the head of a request, or behind its body, to be kept with the object; those of other algorithms are not. */
function statedChecksums(
  request: IncomingMessage,
  body: Buffer,
  trailers: Readonly<Record<string, string>>,
): Record<string, string> {
  const stated: Record<string, string> = {};
  for (const [name, digest] of Object.entries(digests)) {
    const value = headerOf(request, name) ?? trailers[name];
    if (value === undefined && headerOf(request, 'x-amz-trailer') === name)
      throw new S3Refusal(
        400,
        'MalformedTrailerError',
        'The request contained trailing data that was not well-formed.',
      );
    if (value === undefined) continue;
    if (value !== digest(body))
      throw new S3Refusal(400, 'BadDigest', `The ${name} you specified did not match what we received.`);
    stated[name] = value;
  }
  return stated;
}
