/**
 * Judges how a request is signed, as strictly as S3 does: Version 4 in the Authorization header, presigned links of Version 4
 * and, from some clients, of Version 2. The region of a credential scope is the client's business and compared with nothing.
 */
import { timingSafeEqual } from 'node:crypto';
import {
  decodeLoosely,
  deriveKey,
  headerOf,
  type SignedRequest,
  type SigningFacts,
  signatureV2,
  signatureV4,
} from './signing.ts';

export interface S3Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** Requests must carry exactly this x-amz-security-token. */
  readonly sessionToken?: string;
  /** From then on the answer is ExpiredToken. Milliseconds since the epoch. */
  readonly expiresAtMs?: number;
}

export type RefusalCode =
  | 'AccessDenied'
  | 'AuthorizationHeaderMalformed'
  | 'AuthorizationQueryParametersError'
  | 'ExpiredToken'
  | 'InvalidArgument'
  | 'InvalidAccessKeyId'
  | 'InvalidRequest'
  | 'InvalidToken'
  | 'RequestTimeTooSkewed'
  | 'SignatureDoesNotMatch';

export interface Refusal {
  readonly status: number;
  readonly code: RefusalCode;
  readonly message: string;
}

/** What a signature of Version 4 was made with: chunks of the body are signed with the same, each on the one before. */
export interface SignatureProof {
  readonly key: Buffer;
  readonly scope: string;
  readonly amzDate: string;
  /** Of the request, in hex. */
  readonly signature: string;
}

/** Who asks, or why that is not believed; `unsigned`: nobody in particular. */
export type Judgement<C extends S3Credentials = S3Credentials> =
  | { readonly kind: 'signed'; readonly by: C; readonly proof?: SignatureProof }
  | { readonly kind: 'unsigned' }
  | { readonly kind: 'refused'; readonly refusal: Refusal };

const clockSkewLimitMs = 15 * 60_000;
/** S3's own limit on presigned links of Version 4: a week. */
const longestExpiryS = 604_800;
/** Derived keys kept: one a day, region and access key. */
const keyCacheLimit = 256;

export class SignatureJudge<C extends S3Credentials = S3Credentials> {
  #credentials: ReadonlyMap<string, C> = new Map();
  readonly #keys = new Map<string, Buffer>();

  constructor(credentials: readonly C[]) {
    this.setCredentials(credentials);
  }

  setCredentials(credentials: readonly C[]): void {
    this.#credentials = new Map(credentials.map((one) => [one.accessKeyId, one]));
    this.#keys.clear();
  }

  /**
   * The payload's hash is checked by whoever reads the payload.
   * @param resourcePath `/bucket/key` as Version 2 signs it; by default the path itself
   */
  judge(request: SignedRequest, nowMs: number, resourcePath: string = request.rawPath): Judgement<C> {
    const query = new Map<string, string>();
    for (const pair of request.rawQuery.split('&')) {
      const [name, value = ''] = pair.split('=', 2) as [string, string?];
      if (name !== '' && !query.has(name)) query.set(name, decodeLoosely(value));
    }
    try {
      if (headerOf(request, 'authorization') !== undefined) return this.#byHeader(request, nowMs);
      if (query.has('X-Amz-Algorithm') || query.has('X-Amz-Signature')) return this.#byLink(request, query, nowMs);
      if (query.has('Signature') && query.has('AWSAccessKeyId'))
        return this.#byOldLink(request, query, nowMs, resourcePath);
      return { kind: 'unsigned' };
    } catch (error) {
      if (error instanceof Refused) return { kind: 'refused', refusal: error.refusal };
      throw error;
    }
  }

  #byHeader(request: SignedRequest, nowMs: number): Judgement<C> {
    const match =
      /^AWS4-HMAC-SHA256 +Credential=([^/,]+)\/(\d{8})\/([^/,]+)\/([^/,]+)\/aws4_request, *SignedHeaders=([^,]+), *Signature=([0-9a-f]{64})$/.exec(
        headerOf(request, 'authorization')!,
      );
    if (match === null) throw otherAuthorization(headerOf(request, 'authorization')!);
    const [, accessKeyId, date, region, service, signedHeaderList, signature] = match as unknown as string[];
    const known = this.#known(accessKeyId!);
    const amzDate = headerOf(request, 'x-amz-date');
    const atMs = timeOf(amzDate, date!);
    if (Math.abs(atMs - nowMs) > clockSkewLimitMs) throw skewed();
    checkToken(known, headerOf(request, 'x-amz-security-token'), nowMs);
    const payloadHash = headerOf(request, 'x-amz-content-sha256');
    if (payloadHash === undefined)
      throw refused(400, 'InvalidRequest', 'Missing required header for this request: x-amz-content-sha256');
    const scope = `${date}/${region}/${service}/aws4_request`;
    return this.#matching(request, known, signature!, {
      ...{ scope, payloadHash, amzDate: amzDate!, key: this.#signingKey(known, scope) },
      signedHeaders: signedHeaderList!.split(';'),
    });
  }

  #byLink(request: SignedRequest, query: ReadonlyMap<string, string>, nowMs: number): Judgement<C> {
    const wrong = (what: string): Refused => refused(400, 'AuthorizationQueryParametersError', what);
    const [algorithm, credential, amzDate, expires, headers, signature] = [
      'X-Amz-Algorithm',
      'X-Amz-Credential',
      'X-Amz-Date',
      'X-Amz-Expires',
      'X-Amz-SignedHeaders',
      'X-Amz-Signature',
    ].map((name) => {
      const value = query.get(name);
      if (value === undefined || value === '')
        throw wrong(
          'Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.',
        );
      return value;
    }) as [string, string, string, string, string, string];
    if (algorithm !== 'AWS4-HMAC-SHA256') throw wrong('X-Amz-Algorithm only supports "AWS4-HMAC-SHA256"');
    const parts = credential.split('/');
    if (parts.length !== 5 || parts[4] !== 'aws4_request' || !/^[0-9a-f]{64}$/.test(signature))
      throw wrong('Error parsing the X-Amz-Credential parameter, or the X-Amz-Signature.');
    const [accessKeyId, ...scopeParts] = parts as [string, ...string[]];
    const seconds = /^\d{1,9}$/.test(expires) ? Number(expires) : Number.NaN;
    if (!(seconds >= 1 && seconds <= longestExpiryS))
      throw wrong(`X-Amz-Expires must be between 1 and ${longestExpiryS} seconds.`);
    const known = this.#known(accessKeyId);
    const fromMs = timeOf(amzDate, scopeParts[0]!);
    if (fromMs - nowMs > clockSkewLimitMs) throw refused(403, 'AccessDenied', 'Request is not valid yet');
    if (nowMs > fromMs + seconds * 1000) throw expired();
    checkToken(known, query.get('X-Amz-Security-Token'), nowMs);
    const scope = scopeParts.join('/');
    return this.#matching(request, known, signature, {
      ...{ scope, amzDate, key: this.#signingKey(known, scope), signedHeaders: headers.split(';') },
      payloadHash: query.get('X-Amz-Content-Sha256') ?? headerOf(request, 'x-amz-content-sha256') ?? 'UNSIGNED-PAYLOAD',
    });
  }

  #byOldLink(
    request: SignedRequest,
    query: ReadonlyMap<string, string>,
    nowMs: number,
    resourcePath: string,
  ): Judgement<C> {
    const [accessKeyId, signature, expires] = ['AWSAccessKeyId', 'Signature', 'Expires'].map((name) => query.get(name));
    const known = this.#known(accessKeyId!);
    if (expires === undefined || !/^\d{1,12}$/.test(expires))
      throw refused(
        403,
        'AccessDenied',
        'Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters',
      );
    if (nowMs > Number(expires) * 1000) throw expired();
    checkToken(known, query.get('x-amz-security-token'), nowMs);
    const { secretAccessKey } = known;
    const wanted = signatureV2(request, { secretAccessKey, expires, resourcePath });
    if (isEqual(wanted, Buffer.from(signature!, 'base64'))) return { kind: 'signed', by: known };
    throw mismatch();
  }

  #matching(request: SignedRequest, known: C, signature: string, facts: SigningFacts): Judgement<C> {
    const unsigned = mustBeSigned(request).find((name) => !facts.signedHeaders.includes(name));
    if (unsigned !== undefined) {
      const message = `There were headers present in the request which were not signed: ${unsigned}`;
      throw refused(403, 'AccessDenied', message);
    }
    const given = Buffer.from(signature, 'hex');
    if (!isEqual(signatureV4(request, facts), given) && !isEqual(signatureV4(request, facts, true), given))
      throw mismatch();
    const { key, scope, amzDate } = facts;
    return { kind: 'signed', by: known, proof: { key, scope, amzDate, signature } };
  }

  #known(accessKeyId: string): C {
    const known = this.#credentials.get(accessKeyId);
    if (known !== undefined) return known;
    throw refused(403, 'InvalidAccessKeyId', 'The AWS Access Key Id you provided does not exist in our records.');
  }

  #signingKey(credentials: S3Credentials, scope: string): Buffer {
    const id = `${credentials.accessKeyId}/${scope}`;
    const cached = this.#keys.get(id);
    if (cached !== undefined) return cached;
    const key = deriveKey(credentials.secretAccessKey, scope);
    if (this.#keys.size >= keyCacheLimit) this.#keys.clear();
    this.#keys.set(id, key);
    return key;
  }
}

class Refused extends Error {
  readonly refusal: Refusal;

  constructor(refusal: Refusal) {
    super(refusal.message);
    this.refusal = refusal;
  }
}

function refused(status: number, code: RefusalCode, message: string): Refused {
  return new Refused({ status, code, message });
}

function otherAuthorization(header: string): Refused {
  if (header.startsWith('AWS4-HMAC-SHA256'))
    return refused(400, 'AuthorizationHeaderMalformed', 'The authorization header you provided is malformed.');
  if (header.startsWith('AWS '))
    return refused(
      400,
      'InvalidRequest',
      'The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.',
    );
  return refused(400, 'InvalidArgument', 'Unsupported Authorization Type');
}

function mismatch(): Refused {
  return refused(
    403,
    'SignatureDoesNotMatch',
    'The request signature we calculated does not match the signature you provided. Check your key and signing method.',
  );
}

function expired(): Refused {
  return refused(403, 'AccessDenied', 'Request has expired');
}

function skewed(): Refused {
  return refused(
    403,
    'RequestTimeTooSkewed',
    'The difference between the request time and the current time is too large.',
  );
}

function checkToken(known: S3Credentials, token: string | undefined, nowMs: number): void {
  if (token !== known.sessionToken)
    throw refused(400, 'InvalidToken', 'The provided token is malformed or otherwise invalid.');
  if (known.expiresAtMs !== undefined && nowMs >= known.expiresAtMs)
    throw refused(400, 'ExpiredToken', 'The provided token has expired.');
}

/** Milliseconds of `YYYYMMDDTHHMMSSZ`, which has to be of the day of the scope. */
function timeOf(amzDate: string | undefined, scopeDate: string): number {
  const match = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(amzDate ?? '');
  if (match === null || !amzDate!.startsWith(scopeDate)) {
    throw refused(
      403,
      'AccessDenied',
      'AWS authentication requires a valid x-amz-date header of the day of the credential scope.',
    );
  }
  const [year, month, ...rest] = match.slice(1).map(Number) as [number, number, number, number, number, number];
  return Date.UTC(year, month - 1, ...rest);
}

/** Host and every x-amz-* header that is there. */
function mustBeSigned(request: SignedRequest): string[] {
  return ['host', ...Object.keys(request.headers).filter((name) => name.startsWith('x-amz-'))];
}

function isEqual(a: Buffer, b: Buffer): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}
