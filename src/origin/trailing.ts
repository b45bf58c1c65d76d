/**
 * A body in `aws-chunked` with its checksum behind it, unsigned: what the AWS SDKs send. Chunks are of one size, so that the
 * length of all is known at the beginning: a body that ends early is then one that has not come to its end.
 *
 *   10000\r\n <64 KiB> \r\n … <hex rest>\r\n <rest> \r\n 0\r\n x-amz-checksum-crc32:<base64>\r\n \r\n
 *
 * Source: "Signature calculations for trailing headers" in S3's API reference.
 */
import assert from 'node:assert/strict';
import type { PassedTrailer } from '../core/passed-write.ts';

/** S3 wants at least 8 KiB in each but the last. */
const chunkBytes = 64 * 1024;

/** Characters in base64, by what the name of the header ends with. */
const valueChars: Readonly<Record<string, number>> = { crc32: 8, crc32c: 8, crc64nvme: 12, sha1: 28, sha256: 44 };

/** What says so to the origin. */
export function trailingHeaders(
  headers: Readonly<Record<string, string>>,
  length: number,
  { name }: PassedTrailer,
): Record<string, string> {
  const own = headers['content-encoding'];
  return {
    ...headers,
    'content-encoding': own === undefined ? 'aws-chunked' : `aws-chunked,${own}`,
    'x-amz-decoded-content-length': String(length),
    'x-amz-trailer': name,
  };
}

export const trailingSha256 = 'STREAMING-UNSIGNED-PAYLOAD-TRAILER';

/** Bytes of all that `trailed` gives. */
export function trailedLength(length: number, { name }: PassedTrailer): number {
  const whole = Math.floor(length / chunkBytes);
  const rest = length % chunkBytes;
  const chars = valueChars[name.slice(name.lastIndexOf('-') + 1)];
  assert(chars !== undefined, `${name} is of no known checksum`);
  return (
    whole * framedBytes(chunkBytes) + (rest === 0 ? 0 : framedBytes(rest)) + `0\r\n${name}:\r\n\r\n`.length + chars
  );
}

/** @param body exactly `length` bytes; the trailer is asked for its value when all of them have come */
export async function* trailed(
  body: AsyncIterable<Uint8Array>,
  length: number,
  { name, value }: PassedTrailer,
): AsyncGenerator<Uint8Array> {
  let left = length;
  let leftOfChunk = 0;
  let end = '';
  for await (const piece of body) {
    for (let at = 0; at < piece.length; ) {
      if (leftOfChunk === 0) {
        leftOfChunk = Math.min(chunkBytes, left);
        assert(leftOfChunk > 0, 'a body is longer than it was said to be');
        yield Buffer.from(`${end}${leftOfChunk.toString(16)}\r\n`);
        end = '\r\n';
      }
      const part = piece.subarray(at, at + leftOfChunk);
      at += part.length;
      left -= part.length;
      leftOfChunk -= part.length;
      yield part;
    }
  }
  assert(left === 0, 'a body is shorter than it was said to be');
  yield Buffer.from(`${end}0\r\n${name}:${value()}\r\n\r\n`);
}

function framedBytes(bytes: number): number {
  return bytes.toString(16).length + bytes + 4;
}
