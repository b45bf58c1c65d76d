/** What went wrong at an origin, in one word; and the row of the error catalogue that a user gets to see for it. */
import { type ErrorCode, PrimedError } from '../core/errors.ts';
import type { ByteRange } from '../core/types.ts';
import type { FailureCause, OriginFailure } from './types.ts';

const expiredCodes: ReadonlySet<string> = new Set([
  'ExpiredToken',
  'ExpiredTokenException',
  'RequestTimeTooSkewed',
  'RequestExpired',
  'TokenRefreshRequired',
]);
const throttledCodes: ReadonlySet<string> = new Set([
  'SlowDown',
  'ServiceUnavailable',
  'TooManyRequests',
  'TooManyRequestsException',
  'Throttling',
  'ThrottlingException',
  'RequestLimitExceeded',
  'BandwidthLimitExceeded',
]);
const deniedCodes: ReadonlySet<string> = new Set([
  'AccessDenied',
  'InvalidAccessKeyId',
  'SignatureDoesNotMatch',
  'InvalidToken',
  'AllAccessDisabled',
]);

/** The one place that says what an HTTP status that is no success means. */
export function causeOfStatus(status: number, s3Code?: string): FailureCause {
  if (s3Code !== undefined && status >= 400) {
    if (expiredCodes.has(s3Code)) return 'expired';
    if (throttledCodes.has(s3Code)) return 'throttled';
    if (deniedCodes.has(s3Code)) return 'denied';
  }
  if (status < 400) return 'protocol'; // 1xx, 3xx, and successes that are no answer to a GET
  if (status === 429 || status === 503) return 'throttled';
  if (status >= 500 || status === 408 || s3Code === 'RequestTimeout') return 'server';
  if (status === 401 || status === 403) return 'denied';
  if (status === 404 || status === 410) return 'missing';
  if (status === 412) return 'changed';
  if (status === 416) return 'range';
  return 'client';
}

/** For an answer that says nothing itself: a HEAD has no body, and some servers send none either. */
export function wordsOf(cause: FailureCause, s3Code?: string): string {
  if (cause === 'missing') return s3Code === 'NoSuchBucket' ? 'there is no such bucket' : 'there is no such object';
  if (cause === 'denied') return 'the origin refuses access';
  if (cause === 'expired') return 'the credentials are no longer valid';
  if (cause === 'throttled') return 'the origin asks for fewer requests';
  if (cause === 'server') return 'the origin failed';
  return 'the origin refused the request';
}

/** Code, Message and RequestId of an S3 error body; tolerant, because every server writes it differently. */
export function readS3Error(body: string): { code?: string; message?: string; requestId?: string } {
  const field = (name: string): string | undefined => {
    const found = new RegExp(`<${name}>([^<]{0,1024})</${name}>`).exec(body)?.[1]?.trim();
    return found === undefined || found === '' ? undefined : unescapeXml(found);
  };
  const code = field('Code');
  const message = field('Message');
  const requestId = field('RequestId');
  return {
    ...(code !== undefined && { code }),
    ...(message !== undefined && { message }),
    ...(requestId !== undefined && { requestId }),
  };
}

const namedEntities: Readonly<Record<string, string>> = { lt: '<', gt: '>', quot: '"', apos: "'", amp: '&' };

/** The five named entities and numeric references of XML 1.0; anything else stays as it is. */
export function unescapeXml(text: string): string {
  if (!text.includes('&')) return text;
  return text.replace(/&(?:(lt|gt|quot|apos|amp)|#(\d{1,7})|#x([0-9A-Fa-f]{1,6}));/g, (all, name, decimal, hex) => {
    if (name !== undefined) return namedEntities[name]!;
    const point = decimal === undefined ? Number.parseInt(hex, 16) : Number(decimal);
    return point > 0x10ffff ? all : String.fromCodePoint(point);
  });
}

/** `Retry-After` in seconds or as a date, as milliseconds from now; undefined when it is neither. At most an hour. */
export function retryAfterMs(value: string | undefined, nowMs: number): number | undefined {
  if (value === undefined) return undefined;
  const asked = /^\d{1,9}$/.test(value) ? Number(value) * 1000 : Date.parse(value) - nowMs;
  return Number.isNaN(asked) ? undefined : Math.min(Math.max(0, asked), 3_600_000);
}

const codeOfCause: Readonly<Record<FailureCause, ErrorCode>> = {
  connect: 'ORIGIN_UNREACHABLE',
  'connect-timeout': 'ORIGIN_UNREACHABLE',
  'first-byte-timeout': 'ORIGIN_TIMEOUT',
  stall: 'ORIGIN_TIMEOUT',
  reset: 'ORIGIN_RESET',
  short: 'ORIGIN_RESET',
  protocol: 'ORIGIN_PROTOCOL',
  range: 'ORIGIN_RANGE_WRONG',
  changed: 'ORIGIN_CHANGED',
  missing: 'ORIGIN_NOT_FOUND',
  denied: 'ORIGIN_DENIED',
  expired: 'ORIGIN_CREDENTIALS',
  throttled: 'ORIGIN_THROTTLED',
  server: 'ORIGIN_SERVER_ERROR',
  client: 'ORIGIN_REJECTED',
  cancelled: 'STOPPED',
};

/** What was being read when it failed, as far as the message should say it. */
interface FailureContext {
  /** Of the object, when only a part of it was asked for. */
  readonly range?: ByteRange;
  /** How often it was tried; follows the message. */
  readonly tried?: string;
  readonly cause?: unknown;
}

/** The catalogue's row for a failure at `path`, with status, S3 code and request id in message and facts. */
export function errorOfFailure(
  { cause: word, message, httpStatus, s3Code, requestId }: OriginFailure,
  path: string,
  { range, tried = '', cause }: FailureContext = {},
): PrimedError {
  const where = range === undefined ? path : `${path}: bytes ${range.offset}-${range.offset + range.length - 1}`;
  const answer = [
    httpStatus === undefined ? undefined : `HTTP ${httpStatus}`,
    s3Code === undefined ? undefined : `code ${s3Code}`,
    requestId === undefined ? undefined : `request id ${requestId}`,
  ].filter((fact) => fact !== undefined);
  const suffix = answer.length === 0 ? '' : ` (${answer.join(', ')})`;
  return new PrimedError(
    codeOfCause[word],
    `${where}: ${message}${suffix}${tried}`,
    { path, httpStatus, s3Code, requestId },
    cause === undefined ? undefined : { cause },
  );
}
