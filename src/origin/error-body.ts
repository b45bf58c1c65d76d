/** The body of an error answer: small XML, by length, chunked, or until the connection closes. Bounded. */
import type { ResponseHead } from './response-head.ts';

/** S3 errors have 200 to 2,000 bytes; a proxy's HTML page may have some more. The rest is not read. */
export const errorBodyBytesMax = 64 * 1024;

export interface ErrorBody {
  /** Takes bytes; true when the body is complete, or as large as we care to read. */
  take(bytes: Uint8Array): boolean;
  /** Whether the body ended exactly at the last byte taken: only then may the socket be used again. */
  readonly endedExactly: boolean;
  text(): string;
}

export function makeErrorBody(head: ResponseHead): ErrorBody {
  const chunks: Uint8Array[] = [];
  let taken = 0;
  let endedExactly = head.contentLength === 0;
  let decoded: string | undefined;

  return {
    get endedExactly() {
      return endedExactly;
    },
    take(bytes) {
      const room = errorBodyBytesMax - taken;
      chunks.push(Uint8Array.from(bytes.subarray(0, room))); // a copy of an error, off the hot path
      taken += bytes.length;
      if (head.transferEncoding === 'chunked') {
        const outcome = dechunk(Buffer.concat(chunks).toString('latin1'));
        if (outcome !== undefined) {
          decoded = outcome.body;
          endedExactly = outcome.usedBytes === taken;
          return true;
        }
      } else if (head.contentLength !== undefined) {
        endedExactly = taken === head.contentLength;
        if (taken >= head.contentLength) return true;
      }
      return taken >= errorBodyBytesMax;
    },
    text() {
      return decoded ?? Buffer.concat(chunks).toString('utf8');
    },
  };
}

/** The decoded body when the last chunk is there (trailers are not supported: then it never ends, which is safe). */
function dechunk(raw: string): { body: string; usedBytes: number } | undefined {
  let body = '';
  let at = 0;
  for (;;) {
    const lineEnd = raw.indexOf('\r\n', at);
    if (lineEnd < 0) return undefined;
    const size = /^([0-9A-Fa-f]{1,6})(?:;.*)?$/.exec(raw.slice(at, lineEnd));
    if (size === null) return undefined;
    const bytes = Number.parseInt(size[1]!, 16);
    const from = lineEnd + 2;
    if (raw.length < from + bytes + 2) return undefined;
    if (raw.slice(from + bytes, from + bytes + 2) !== '\r\n') return undefined;
    if (bytes === 0) return { body: Buffer.from(body, 'latin1').toString('utf8'), usedBytes: from + 2 };
    body += raw.slice(from, from + bytes);
    at = from + bytes + 2;
  }
}
