/**
 * What a request is about, taken from the raw request target: path style `/bucket/key?query`.
 *
 * The router's idea of a path is not used, because S3 keys are bytes, not paths: `//`, `.`, `..` and `+` in a key
 * mean themselves, and percent-decoding happens exactly once.
 */
import { S3Error } from './errors.ts';

export interface S3Address {
  /** Empty: the service itself (ListBuckets). */
  readonly bucket: string;
  /** Empty: the bucket. */
  readonly key: string;
  readonly query: ReadonlyMap<string, string>;
}

/** S3's own limit on keys, in bytes of UTF-8. */
const keyLimitBytes = 1024;
const percent = 0x25;
const plus = 0x2b;
const space = 0x20;

/**
 * @param target `req.raw.url`: Node hands it out with one character per byte.
 * @param hosted the bucket, where the host names it
 * @throws S3Error InvalidURI when bucket or key is not UTF-8, KeyTooLongError
 */
export function parseAddress(target: string, hosted?: string): S3Address {
  const { path: sent, search } = splitTarget(target);
  const path = hosted === undefined ? sent : `/${hosted}${sent}`;
  const slash = path.indexOf('/', 1);
  const bucket = decodeOnce(slash < 0 ? path.slice(1) : path.slice(1, slash), { plusIsSpace: false });
  const key = decodeOnce(slash < 0 ? '' : path.slice(slash + 1), { plusIsSpace: false });
  if (Buffer.byteLength(key) > keyLimitBytes) {
    throw new S3Error('KeyTooLongError', `Your key is too long: at most ${keyLimitBytes} bytes.`);
  }
  return { bucket, key, query: parseQuery(search) };
}

/** Path and query as they were sent. */
export function splitTarget(target: string): { path: string; search: string } {
  const local = target.replace(/^https?:\/\/[^/?]*/i, '');
  const cut = local.indexOf('?');
  return cut < 0 ? { path: local, search: '' } : { path: local.slice(0, cut), search: local.slice(cut + 1) };
}

/** The bucket in the host of a request (virtual-hosted style); undefined: it is in the path. */
export function hostedBucket(host: string | undefined, domains: readonly string[]): string | undefined {
  const name = host?.replace(/:\d+$/, '').toLowerCase() ?? '';
  const domain = domains.find((one) => name.endsWith(`.${one}`));
  return domain === undefined ? undefined : name.slice(0, -domain.length - 1);
}

/** A parameter that occurs twice keeps its first value, as S3 does. */
function parseQuery(search: string): ReadonlyMap<string, string> {
  const query = new Map<string, string>();
  for (const piece of search.split('&')) {
    if (piece === '') continue;
    const equals = piece.indexOf('=');
    const name = decodeOnce(equals < 0 ? piece : piece.slice(0, equals), { plusIsSpace: true });
    const value = equals < 0 ? '' : decodeOnce(piece.slice(equals + 1), { plusIsSpace: true });
    if (!query.has(name)) query.set(name, value);
  }
  return query;
}

/**
 * Percent-decoding on bytes. A `%` that no two hex digits follow stands for itself: no encoder writes one, and some
 * clients send keys that are not encoded at all.
 */
function decodeOnce(text: string, { plusIsSpace }: { plusIsSpace: boolean }): string {
  const bytes = Buffer.from(text, 'latin1');
  let length = 0;
  for (let at = 0; at < bytes.length; at += 1, length += 1) {
    const byte = bytes[at]!;
    const high = byte === percent ? hexDigit(bytes[at + 1]) : -1;
    const low = high < 0 ? -1 : hexDigit(bytes[at + 2]);
    if (low >= 0) {
      bytes[length] = high * 16 + low;
      at += 2;
    } else bytes[length] = byte === plus && plusIsSpace ? space : byte;
  }
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes.subarray(0, length));
  } catch (cause) {
    throw new S3Error('InvalidURI', `Couldn't parse the specified URI: '${text}' is not UTF-8 once decoded.`, {
      cause,
    });
  }
}

function hexDigit(byte: number | undefined): number {
  if (byte === undefined) return -1;
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const lower = byte | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x61 + 10 : -1;
}
