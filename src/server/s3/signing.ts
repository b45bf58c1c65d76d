/**
 * AWS Signature Version 4 (headers and query) and Version 2 (query) as a server computes them. Source: "Authenticating
 * Requests" and "Signing and Authenticating REST Requests" in S3's API reference. Written from these texts and not from
 * our signer (origin/signer), so that the two check each other.
 */
import { createHash, createHmac } from 'node:crypto';

export interface SignedRequest {
  readonly method: string;
  /** As received, percent-encoding and all, without the query. */
  readonly rawPath: string;
  readonly rawQuery: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
}

export interface SigningFacts {
  /** Names in lower case, sorted. */
  readonly signedHeaders: readonly string[];
  readonly scope: string;
  readonly key: Buffer;
  /** `YYYYMMDDTHHMMSSZ`. */
  readonly amzDate: string;
  readonly payloadHash: string;
}

/** `asSent`: clients that do not encode a path sign it as they send it. */
export function signatureV4(request: SignedRequest, facts: SigningFacts, asSent = false): Buffer {
  const { signedHeaders, scope, key, amzDate, payloadHash } = facts;
  const canonical = [
    request.method,
    asSent ? request.rawPath : encodeKey(decodeLoosely(request.rawPath)),
    canonicalQuery(request.rawQuery),
    ...signedHeaders.map((name) => `${name}:${(headerOf(request, name) ?? '').trim().replace(/ +/g, ' ')}`),
    '',
    signedHeaders.join(';'),
    payloadHash,
  ].join('\n');
  const digest = createHash('sha256').update(canonical).digest('hex');
  return createHmac('sha256', key).update(`AWS4-HMAC-SHA256\n${amzDate}\n${scope}\n${digest}`).digest();
}

export function deriveKey(secretAccessKey: string, scope: string): Buffer {
  return scope
    .split('/')
    .reduce((key, part) => createHmac('sha256', key).update(part).digest(), Buffer.from(`AWS4${secretAccessKey}`));
}

/** What of a query belongs to the resource in Version 2. */
const resourceParameters = new Set(
  'acl cors delete lifecycle location logging notification partNumber policy requestPayment response-cache-control response-content-disposition response-content-encoding response-content-language response-content-type response-expires tagging torrent uploadId uploads versionId versioning versions website'.split(
    ' ',
  ),
);

/** @param resourcePath `/bucket/key` as it was sent, however the bucket was named */
export function signatureV2(
  request: SignedRequest,
  { secretAccessKey, expires, resourcePath }: { secretAccessKey: string; expires: string; resourcePath: string },
): Buffer {
  const amz = Object.keys(request.headers)
    .filter((name) => name.startsWith('x-amz-'))
    .sort()
    .map((name) => `${name}:${(headerOf(request, name) ?? '').trim()}\n`);
  const parameters = pairsOf(request.rawQuery)
    .filter(([name]) => resourceParameters.has(decodeLoosely(name)))
    .map(([name, value]) => (value === undefined ? name : `${name}=${decodeLoosely(value)}`))
    .sort();
  const toSign = [
    request.method,
    headerOf(request, 'content-md5') ?? '',
    headerOf(request, 'content-type') ?? '',
    expires,
    `${amz.join('')}${resourcePath}${parameters.length === 0 ? '' : `?${parameters.join('&')}`}`,
  ].join('\n');
  return createHmac('sha1', secretAccessKey).update(toSign).digest();
}

export function headerOf(request: Pick<SignedRequest, 'headers'>, name: string): string | undefined {
  const value = request.headers[name];
  return Array.isArray(value) ? value.join(',') : value;
}

/** Of a query with its own signature in it, which is no part of what is signed. */
function canonicalQuery(rawQuery: string): string {
  const pairs = pairsOf(rawQuery)
    .filter(([name]) => name !== 'X-Amz-Signature')
    .map(([name, value = '']) => [encodeRfc3986(decodeLoosely(name)), encodeRfc3986(decodeLoosely(value))] as const);
  pairs.sort(([a, x], [b, y]) => (a === b ? (x < y ? -1 : 1) : a < b ? -1 : 1));
  return pairs.map(([name, value]) => `${name}=${value}`).join('&');
}

function pairsOf(rawQuery: string): (readonly [name: string, value: string | undefined])[] {
  return rawQuery
    .split('&')
    .filter((pair) => pair !== '')
    .map((pair) => {
      const cut = pair.indexOf('=');
      return cut < 0 ? [pair, undefined] : [pair.slice(0, cut), pair.slice(cut + 1)];
    });
}

/** Percent-decodes; text that is not valid percent-encoding stays as it is and will not match any signature. */
export function decodeLoosely(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Percent-encodes as S3 does for `encoding-type=url`, and as SigV4 does for paths: everything but unreserved and `/`. */
export function encodeKey(key: string): string {
  return encodeRfc3986(key).replaceAll('%2F', '/');
}

/** Percent-encodes everything but the unreserved characters of RFC 3986. */
export function encodeRfc3986(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);
}
