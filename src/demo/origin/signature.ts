/**
 * Judges AWS Signature Version 4 in the Authorization header, as strictly as S3 does: the origin of tests must refuse
 * what the real one refuses. Source: "Authenticating Requests: Using the Authorization Header" in S3's API reference.
 * Written from that text and not from our signer, so that the two check each other.
 */
import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import { encodeKey, encodeRfc3986 } from './xml.ts';

export interface OriginCredentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** Requests must carry exactly this x-amz-security-token. */
  readonly sessionToken?: string;
  /** From then on the answer is ExpiredToken. Milliseconds since the epoch. */
  readonly expiresAtMs?: number;
}

export interface SignedRequest {
  readonly method: string;
  /** As received, percent-encoding and all, without the query. */
  readonly rawPath: string;
  readonly rawQuery: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
}

export interface Refusal {
  readonly status: number;
  readonly code: string;
  readonly message: string;
}

const clockSkewLimitMs = 15 * 60_000;
/** Derived keys kept: one a day, region and access key. */
const keyCacheLimit = 256;

export class SignatureJudge {
  #credentials: ReadonlyMap<string, OriginCredentials> = new Map();
  readonly #keys = new Map<string, Buffer>();

  constructor(credentials: readonly OriginCredentials[]) {
    this.setCredentials(credentials);
  }

  setCredentials(credentials: readonly OriginCredentials[]): void {
    this.#credentials = new Map(credentials.map((one) => [one.accessKeyId, one]));
    this.#keys.clear();
  }

  /** Undefined: the request is signed rightly. The payload's hash is checked by whoever reads the payload. */
  judge(request: SignedRequest, nowMs: number): Refusal | undefined {
    const authorization = headerOf(request, 'authorization');
    if (authorization === undefined) {
      return { status: 403, code: 'AccessDenied', message: 'Access Denied: the request is not signed.' };
    }
    const match =
      /^AWS4-HMAC-SHA256 +Credential=([^/,]+)\/(\d{8})\/([^/,]+)\/([^/,]+)\/aws4_request, *SignedHeaders=([^,]+), *Signature=([0-9a-f]{64})$/.exec(
        authorization,
      );
    if (match === null) {
      return {
        status: 400,
        code: 'AuthorizationHeaderMalformed',
        message: 'The authorization header is not AWS4-HMAC-SHA256.',
      };
    }
    const [, accessKeyId, date, region, service, signedHeaderList, signature] = match as unknown as string[];
    const known = this.#credentials.get(accessKeyId!);
    if (known === undefined) {
      return {
        status: 403,
        code: 'InvalidAccessKeyId',
        message: 'The AWS Access Key Id you provided does not exist in our records.',
      };
    }
    const wrongTime = judgeTime(headerOf(request, 'x-amz-date'), date!, nowMs);
    if (wrongTime !== undefined) return wrongTime;
    if (headerOf(request, 'x-amz-security-token') !== known.sessionToken) {
      return { status: 400, code: 'InvalidToken', message: 'The provided token is malformed or otherwise invalid.' };
    }
    if (known.expiresAtMs !== undefined && nowMs >= known.expiresAtMs) {
      return { status: 400, code: 'ExpiredToken', message: 'The provided token has expired.' };
    }
    const payloadHash = headerOf(request, 'x-amz-content-sha256');
    if (payloadHash === undefined) {
      return {
        status: 400,
        code: 'InvalidRequest',
        message: 'Missing required header for this request: x-amz-content-sha256',
      };
    }
    const signedHeaders = signedHeaderList!.split(';');
    const unsigned = mustBeSigned(request).find((name) => !signedHeaders.includes(name));
    if (unsigned !== undefined) {
      return {
        status: 403,
        code: 'AccessDenied',
        message: `There were headers present in the request which were not signed: ${unsigned}`,
      };
    }
    const scope = `${date}/${region}/${service}/aws4_request`;
    const wanted = signatureOf(request, { signedHeaders, scope, key: this.#signingKey(known, scope) });
    if (timingSafeEqual(wanted, Buffer.from(signature!, 'hex'))) return undefined;
    return {
      status: 403,
      code: 'SignatureDoesNotMatch',
      message:
        'The request signature we calculated does not match the signature you provided. Check your key and signing method.',
    };
  }

  #signingKey(credentials: OriginCredentials, scope: string): Buffer {
    const id = `${credentials.accessKeyId}/${scope}`;
    const cached = this.#keys.get(id);
    if (cached !== undefined) return cached;
    const key = deriveKey(credentials.secretAccessKey, scope);
    if (this.#keys.size >= keyCacheLimit) this.#keys.clear();
    this.#keys.set(id, key);
    return key;
  }
}

interface SigningFacts {
  /** Names in lower case, sorted. */
  readonly signedHeaders: readonly string[];
  readonly scope: string;
  readonly key: Buffer;
}

/** The signature over the request's x-amz-date and x-amz-content-sha256 as they are. */
function signatureOf(request: SignedRequest, { signedHeaders, scope, key }: SigningFacts): Buffer {
  const canonical = [
    request.method,
    encodeKey(decodeLoosely(request.rawPath)),
    canonicalQuery(request.rawQuery),
    ...signedHeaders.map((name) => `${name}:${(headerOf(request, name) ?? '').trim().replace(/ +/g, ' ')}`),
    '',
    signedHeaders.join(';'),
    headerOf(request, 'x-amz-content-sha256'),
  ].join('\n');
  const digest = createHash('sha256').update(canonical).digest('hex');
  const toSign = `AWS4-HMAC-SHA256\n${headerOf(request, 'x-amz-date')}\n${scope}\n${digest}`;
  return createHmac('sha256', key).update(toSign).digest();
}

function deriveKey(secretAccessKey: string, scope: string): Buffer {
  return scope
    .split('/')
    .reduce((key, part) => createHmac('sha256', key).update(part).digest(), Buffer.from(`AWS4${secretAccessKey}`));
}

/**
 * The headers that make a GET acceptable to the judge above, for the probe that measures what the origin can give.
 * `host` as in the Host header.
 */
export function signGet(
  credentials: OriginCredentials,
  { host, rawPath, region, nowMs }: { host: string; rawPath: string; region: string; nowMs: number },
): Record<string, string> {
  const amzDate = new Date(nowMs).toISOString().replace(/[-:]|\.\d+/g, '');
  const headers: Record<string, string> = {
    host,
    'x-amz-content-sha256': 'UNSIGNED-PAYLOAD',
    'x-amz-date': amzDate,
    ...(credentials.sessionToken === undefined ? {} : { 'x-amz-security-token': credentials.sessionToken }),
  };
  const signedHeaders = Object.keys(headers);
  const scope = `${amzDate.slice(0, 8)}/${region}/s3/aws4_request`;
  const key = deriveKey(credentials.secretAccessKey, scope);
  const request = { method: 'GET', rawPath, rawQuery: '', headers };
  const signature = signatureOf(request, { signedHeaders, scope, key }).toString('hex');
  const credential = `Credential=${credentials.accessKeyId}/${scope}`;
  const authorization = `AWS4-HMAC-SHA256 ${credential}, SignedHeaders=${signedHeaders.join(';')}, Signature=${signature}`;
  return { ...headers, authorization };
}

function judgeTime(amzDate: string | undefined, scopeDate: string, nowMs: number): Refusal | undefined {
  const match = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(amzDate ?? '');
  if (match === null || !amzDate!.startsWith(scopeDate)) {
    return {
      status: 403,
      code: 'AccessDenied',
      message: 'AWS authentication requires a valid x-amz-date header of the day of the credential scope.',
    };
  }
  const [year, month, day, hour, minute, second] = match.slice(1).map(Number) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  const skewMs = Math.abs(Date.UTC(year, month - 1, day, hour, minute, second) - nowMs);
  if (skewMs <= clockSkewLimitMs) return undefined;
  return {
    status: 403,
    code: 'RequestTimeTooSkewed',
    message: 'The difference between the request time and the current time is too large.',
  };
}

/** Host and every x-amz-* header that is there. */
function mustBeSigned(request: SignedRequest): string[] {
  return ['host', ...Object.keys(request.headers).filter((name) => name.startsWith('x-amz-'))];
}

function headerOf(request: SignedRequest, name: string): string | undefined {
  const value = request.headers[name];
  return Array.isArray(value) ? value.join(',') : value;
}

function canonicalQuery(rawQuery: string): string {
  if (rawQuery === '') return '';
  const pairs = rawQuery
    .split('&')
    .filter((pair) => pair !== '')
    .map((pair) => {
      const cut = pair.indexOf('=');
      const [name, value] = cut < 0 ? [pair, ''] : [pair.slice(0, cut), pair.slice(cut + 1)];
      return [encodeRfc3986(decodeLoosely(name)), encodeRfc3986(decodeLoosely(value))] as const;
    });
  pairs.sort(([a, x], [b, y]) => (a === b ? (x < y ? -1 : 1) : a < b ? -1 : 1));
  return pairs.map(([name, value]) => `${name}=${value}`).join('&');
}

/** Percent-decodes; text that is not valid percent-encoding stays as it is and will not match any signature. */
function decodeLoosely(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
