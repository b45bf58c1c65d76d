/**
 * Judges the head of an answer to a GET: whether its body is exactly the bytes that were asked for, of the version that
 * was asked for. Pure; the one place that decides which answers may reach a slot.
 */
import type { ResponseHead } from './response-head.ts';
import type { OriginFailure, RangeRequest } from './types.ts';

/** Whole objects are asked for without a Range header, so that small ones cost the origin a plain GET. */
export function asksWhole(request: RangeRequest): boolean {
  return request.offset === 0 && request.length === request.version.sizeBytes;
}

/** `"abc"`, `W/"abc"` and `abc` are the same version here: S3 has no weak tags, but proxies make them. */
export function bareEtag(etag: string): string {
  const strong = etag.startsWith('W/') ? etag.slice(2) : etag;
  return strong.length >= 2 && strong.startsWith('"') && strong.endsWith('"') ? strong.slice(1, -1) : strong;
}

const contentRangeShape = /^bytes (\d{1,15})-(\d{1,15})\/(\d{1,15}|\*)$/;

/**
 * Undefined: the body that follows is `request.length` bytes and right. Called for 2xx answers only; what other
 * statuses mean is said by causeOfStatus.
 */
export function judgeSuccess(head: ResponseHead, request: RangeRequest): OriginFailure | undefined {
  const { etag, sizeBytes } = request.version;
  const fail = (cause: OriginFailure['cause'], message: string): OriginFailure => ({
    cause,
    message,
    httpStatus: head.status,
    ...(head.requestId !== undefined && { requestId: head.requestId }),
  });
  if (head.status !== 200 && head.status !== 206) return fail('protocol', `unexpected status ${head.status} for a GET`);
  if (head.transferEncoding !== undefined)
    return fail('protocol', `the body comes as Transfer-Encoding: ${head.transferEncoding}`);
  if (head.contentLength === undefined) return fail('protocol', 'the answer has no Content-Length');
  if (etag !== '') {
    if (head.etag === undefined) return fail('protocol', 'the answer has no ETag');
    if (bareEtag(head.etag) !== etag)
      return fail('changed', `the object changed: ETag ${head.etag} in place of "${etag}"`);
  }
  if (asksWhole(request)) {
    if (head.status !== 200) return fail('range', 'a partial answer to a request for the whole object');
  } else {
    if (head.status !== 206) return fail('range', `the whole object (${head.contentLength} B) in place of a range`);
    const range = contentRangeShape.exec(head.contentRange ?? '');
    if (range === null) return fail('protocol', `Content-Range is ${head.contentRange ?? 'missing'}`);
    if (range[3] !== '*' && Number(range[3]) !== sizeBytes) {
      return fail('changed', `the object has ${range[3]} B in place of ${sizeBytes} B`);
    }
    if (Number(range[1]) !== request.offset || Number(range[2]) !== request.offset + request.length - 1) {
      return fail(
        'range',
        `Content-Range is ${head.contentRange} in place of bytes ${request.offset}-${request.offset + request.length - 1}`,
      );
    }
  }
  if (head.contentLength !== request.length) {
    return fail('range', `${head.contentLength} B announced in place of ${request.length} B`);
  }
  return undefined;
}
