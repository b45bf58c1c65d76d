/**
 * What a request is about, taken from the raw request target: path style `/bucket/key?query`.
 *
 * The router's idea of a path is not used, because S3 keys are bytes, not paths: `//`, `.`, `..` and `+` in a key
 * mean themselves, and percent-decoding happens exactly once.
 */
import { decodePercent } from '../percent.ts';
import { S3Error } from './errors.ts';

export interface S3Address {
  /** Empty: the service itself (ListBuckets). */
  readonly bucket: string;
  /** Empty: the bucket. */
  readonly key: string;
  readonly query: ReadonlyMap<string, string>;
}

/** S3's own limit on keys, in bytes of UTF-8. */
export const keyLimitBytes = 1024;

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

/** Throws S3Error InvalidURI for what is not UTF-8. */
function decodeOnce(text: string, decoding: { plusIsSpace: boolean }): string {
  const decoded = decodePercent(text, decoding);
  if (decoded !== undefined) return decoded;
  throw new S3Error('InvalidURI', `Couldn't parse the specified URI: '${text}' is not UTF-8 once decoded.`);
}
