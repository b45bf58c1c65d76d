/**
 * AWS Signature Version 4 for GET and HEAD, on the hot path.
 *
 * The SDK's signer costs 31 µs, because it builds request objects and derives the key through generic code. A lane signs
 * one shape of request only (no body, a fixed set of headers), so everything but the method, the path, the query and the second
 * is a constant: the derived key is cached per day, and HMAC is two one-shot hashes over reused pad buffers (half the
 * cost of createHmac). Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
 */
import { createHmac, hash } from 'node:crypto';
import type { LaneCredentials } from './types.ts';

/** SHA-256 of nothing. Accepted for every GET, also over plain HTTP, where UNSIGNED-PAYLOAD is not by all servers. */
export const emptySha256 = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';

/** Asks for what an origin has of checksums, with an answer that is the whole object. */
export const checksumModeLine = 'x-amz-checksum-mode: ENABLED\r\n';

const hmacBlockBytes = 64;
const sha256Bytes = 32;
/** The string to sign: a fixed frame, the region (at most 64 characters by the assertion below) and 64 hex digits. */
const stringToSignBytesMax = 512;
const unreserved = /[^A-Za-z0-9\-._~]/g;
const unreservedOrSlash = /[^A-Za-z0-9\-._~/]/;

const percent: readonly string[] = Array.from(
  { length: 256 },
  (_, byte) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`,
);

/** A query value by RFC 3986: everything but unreserved characters, as UTF-8. */
export function encodeQueryValue(text: string): string {
  return text
    .replace(unreserved, (c) => (c.charCodeAt(0) < 0x80 ? percent[c.charCodeAt(0)]! : c))
    .replace(/[^\0-\x7f]+/g, encodeUtf8);
}

/** An S3 key as it stands in a path: encoded once, by RFC 3986, with `/` kept. Lone surrogates become U+FFFD. */
export function encodeKey(key: string): string {
  if (!unreservedOrSlash.test(key)) return key; // most keys are plain: no allocation
  return key
    .replace(/[^A-Za-z0-9\-._~/]/g, (c) => (c.charCodeAt(0) < 0x80 ? percent[c.charCodeAt(0)]! : c))
    .replace(/[^\0-\x7f]+/g, encodeUtf8);
}

function encodeUtf8(text: string): string {
  let encoded = '';
  for (const byte of Buffer.from(text, 'utf8')) encoded += percent[byte];
  return encoded;
}

/** `20260131T235959Z` of a whole second since the epoch. */
export function amzDate(epochSecond: number): string {
  return new Date(epochSecond * 1000).toISOString().replace(/[-:]|\.000/g, '');
}

export interface Signer {
  setCredentials(credentials: LaneCredentials): void;
  /** What the origin's clock is ahead of ours; learnt from a RequestTimeTooSkewed answer. */
  setClockOffset(milliseconds: number): void;
  /**
   * The header lines that sign a request without a body, each ended by CRLF. `path` is the whole encoded path with its leading slash,
   * `query` the canonical query (sorted, encoded) without `?`, or empty. No other header is covered by the signature:
   * proxies may touch them, and what the answer must be is checked on the answer.
   * With `checksums` one more is covered and among the lines, which asks for the checksums of the object.
   */
  sign(path: string, query: string, of?: { readonly checksums?: boolean; readonly method?: 'GET' | 'HEAD' }): string;
}

/** Whether credentials can go into a header line: a line break in a file of theirs must not become a header of its own. */
export function isHeaderSafe(value: string): boolean {
  return !/[^\x21-\x7e]/.test(value);
}

export function makeSigner(options: { region: string; hostHeader: string; wallMs?: () => number }): Signer {
  const wallMs = options.wallMs ?? Date.now;
  const { region, hostHeader } = options;
  if (region.length > 64) throw new RangeError(`a region has at most 64 characters: ${region}`);
  // inner: key ^ ipad, then the message; outer: key ^ opad, then the inner digest
  const inner = Buffer.alloc(hmacBlockBytes + stringToSignBytesMax);
  const outer = Buffer.alloc(hmacBlockBytes + sha256Bytes);
  let credentials: LaneCredentials | undefined;
  let offsetMs = 0;
  let second = -1;
  let day = '';
  // Everything that changes at most once a second, ready to be joined; the second of each pair asks for checksums.
  let canonicalTails: readonly [string, string] = ['', ''];
  let stringToSignHead = '';
  let headersHeads: readonly [string, string] = ['', ''];

  const rollDay = (newDay: string, secret: string): void => {
    day = newDay;
    const hmac = (key: string | Buffer, text: string): Buffer => createHmac('sha256', key).update(text).digest();
    const key = hmac(hmac(hmac(hmac(`AWS4${secret}`, day), region), 's3'), 'aws4_request');
    for (let i = 0; i < hmacBlockBytes; i += 1) {
      const byte = i < sha256Bytes ? key[i]! : 0;
      inner[i] = byte ^ 0x36;
      outer[i] = byte ^ 0x5c;
    }
  };

  const rollSecond = (now: number, who: LaneCredentials): void => {
    second = now;
    const date = amzDate(now);
    if (date.slice(0, 8) !== day) rollDay(date.slice(0, 8), who.secretAccessKey);
    const token = who.sessionToken;
    const tokenName = token === undefined ? '' : ';x-amz-security-token';
    const tokenLine = token === undefined ? '' : `x-amz-security-token:${token}\n`;
    const scope = `${day}/${region}/s3/aws4_request`;
    stringToSignHead = `AWS4-HMAC-SHA256\n${date}\n${scope}\n`;
    const both = [false, true].map((checksums) => {
      const signedHeaders = `host;${checksums ? 'x-amz-checksum-mode;' : ''}x-amz-content-sha256;x-amz-date${tokenName}`;
      const modeLine = checksums ? 'x-amz-checksum-mode:ENABLED\n' : '';
      return {
        tail: `\nhost:${hostHeader}\n${modeLine}x-amz-content-sha256:${emptySha256}\nx-amz-date:${date}\n${tokenLine}\n${signedHeaders}\n${emptySha256}`,
        head:
          `x-amz-content-sha256: ${emptySha256}\r\nx-amz-date: ${date}\r\n${checksums ? checksumModeLine : ''}` +
          (token === undefined ? '' : `x-amz-security-token: ${token}\r\n`) +
          `Authorization: AWS4-HMAC-SHA256 Credential=${who.accessKeyId}/${scope}, SignedHeaders=${signedHeaders}, Signature=`,
      };
    }) as [{ tail: string; head: string }, { tail: string; head: string }];
    canonicalTails = [both[0].tail, both[1].tail];
    headersHeads = [both[0].head, both[1].head];
  };

  return {
    setCredentials(next) {
      for (const value of [next.accessKeyId, next.sessionToken ?? ''])
        if (!isHeaderSafe(value)) throw new TypeError('credentials contain a character that no header may carry');
      credentials = next;
      second = -1;
      day = '';
    },
    setClockOffset(milliseconds) {
      offsetMs = milliseconds;
      second = -1;
    },
    sign(path, query, { checksums = false, method = 'GET' } = {}) {
      if (credentials === undefined) throw new Error('sign() before setCredentials()');
      const now = Math.floor((wallMs() + offsetMs) / 1000);
      if (now !== second) rollSecond(now, credentials);
      const requestHash = hash('sha256', `${method}\n${path}\n${query}${canonicalTails[checksums ? 1 : 0]}`, 'hex');
      const length = inner.write(stringToSignHead + requestHash, hmacBlockBytes, 'latin1');
      outer.write(hash('sha256', inner.subarray(0, hmacBlockBytes + length), 'hex'), hmacBlockBytes, 'hex');
      return `${headersHeads[checksums ? 1 : 0]}${hash('sha256', outer, 'hex')}\r\n`;
    },
  };
}
