import { expect, test } from 'vitest';
import { errorCatalogue } from '../../../src/core/errors.ts';
import { bareEtag } from '../../../src/origin/answer.ts';
import { causeOfStatus, errorOfFailure, readS3Error, retryAfterMs, unescapeXml } from '../../../src/origin/failure.ts';
import { failureOfSdk } from '../../../src/origin/sdk-failure.ts';
import type { FailureCause } from '../../../src/origin/types.ts';

test.each([
  [301, undefined, 'protocol'],
  [400, 'ExpiredToken', 'expired'],
  [400, 'RequestTimeout', 'server'],
  [400, undefined, 'client'],
  [401, undefined, 'denied'],
  [403, 'RequestTimeTooSkewed', 'expired'],
  [403, 'AccessDenied', 'denied'],
  [404, 'NoSuchKey', 'missing'],
  [408, undefined, 'server'],
  [412, undefined, 'changed'],
  [416, undefined, 'range'],
  [429, undefined, 'throttled'],
  [500, 'SlowDown', 'throttled'],
  [500, undefined, 'server'],
  [503, undefined, 'throttled'],
  [599, undefined, 'server'],
] as const)('%i %s is %s', (status, code, cause) => {
  expect(causeOfStatus(status, code)).toBe(cause);
});

test.each(
  Object.entries({
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
  } satisfies Record<FailureCause, string>),
)('%s is shown as %s', (cause, code) => {
  const error = errorOfFailure(
    { cause: cause as FailureCause, message: 'why', httpStatus: 418, s3Code: 'C', requestId: 'R' },
    's3://b/k',
  );
  expect(error.code).toBe(code);
  expect(errorCatalogue).toHaveProperty(error.code);
  expect(error.message).toBe('s3://b/k: why (HTTP 418, code C, request id R)');
});

test('a failure of a part names its bytes, and how often they were tried', () => {
  const cause = new Error('underneath');
  const error = errorOfFailure({ cause: 'stall', message: 'why' }, 's3://b/k', {
    range: { offset: 10, length: 5 },
    tried: ', after 3 attempts',
    cause,
  });
  expect(error).toMatchObject({ message: 's3://b/k: bytes 10-14: why, after 3 attempts', cause });
  expect(error.facts.path).toBe('s3://b/k');
});

test('Retry-After in seconds, as a date, or as nonsense', () => {
  const now = Date.UTC(2025, 0, 1);
  expect(retryAfterMs('5', now)).toBe(5000);
  expect(retryAfterMs('Wed, 01 Jan 2025 00:00:03 GMT', now)).toBe(3000);
  expect(retryAfterMs('Wed, 01 Jan 2020 00:00:03 GMT', now)).toBe(0);
  expect(retryAfterMs('999999999', now)).toBe(3_600_000);
  expect(retryAfterMs('soon', now)).toBeUndefined();
});

test('error bodies, entities and tags', () => {
  expect(readS3Error('<Error><Code>A</Code><Message>x &lt; &#121;</Message></Error>')).toEqual({
    code: 'A',
    message: 'x < y',
  });
  expect(readS3Error('<html>')).toEqual({});
  expect(unescapeXml('&amp;lt; &#x1F600; &#1114112; &nbsp;')).toBe('&lt; 😀 &#1114112; &nbsp;');
  expect(['"a"', 'W/"a"', 'a', '"', ''].map(bareEtag)).toEqual(['a', 'a', 'a', '"', '']);
});

test.each([
  [{ name: 'CredentialsProviderError', message: 'none' }, 'expired'],
  [{ name: 'TimeoutError', code: 'ECONNRESET', message: 'socket hang up' }, 'reset'],
  [{ name: 'TimeoutError', message: 'Connection timed out' }, 'connect-timeout'],
  [{ name: 'TimeoutError', message: 'no response' }, 'first-byte-timeout'],
  [{ name: 'Error', code: 'ENOTFOUND', message: 'x' }, 'connect'],
  [{ name: 'Error', message: 'self-signed certificate' }, 'connect'],
  [{ name: 'AbortError', message: 'x' }, 'cancelled'],
  [{ name: 'AbortError', message: 'x', cause: new DOMException('y', 'AbortError') }, 'cancelled'],
  // What `AbortSignal.timeout` gives, as it is and as the SDK hands it on.
  [new DOMException('y', 'TimeoutError'), 'first-byte-timeout'],
  [{ name: 'AbortError', message: 'x', cause: new DOMException('y', 'TimeoutError') }, 'first-byte-timeout'],
  [{ name: 'HeadersTimeoutError', code: 'UND_ERR_HEADERS_TIMEOUT', message: 'x' }, 'first-byte-timeout'],
  [{ name: 'BodyTimeoutError', code: 'UND_ERR_BODY_TIMEOUT', message: 'x' }, 'stall'],
  [{ name: 'NotFound', message: 'UnknownError', $metadata: { httpStatusCode: 404, requestId: 'R' } }, 'missing'],
  ['text', 'protocol'],
])('an SDK error %# is classified', (error, cause) => {
  expect(failureOfSdk(error).cause).toBe(cause);
});

test.each([
  [404, 'NoSuchBucket', 'there is no such bucket'],
  [404, 'NoSuchKey', 'there is no such object'],
  [403, 'AccessDenied', 'the origin refuses access'],
  [503, 'SlowDown', 'the origin asks for fewer requests'],
  [500, 'InternalError', 'the origin failed'],
  [400, 'ExpiredToken', 'the credentials are no longer valid'],
  [405, 'MethodNotAllowed', 'the origin refused the request'],
])('an answer %d %s without words gets some', (httpStatusCode, name, message) => {
  expect(failureOfSdk({ name, message: 'UnknownError', $metadata: { httpStatusCode } }).message).toBe(message);
});
