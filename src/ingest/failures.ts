/** From the one word of a lane to the error that a person reads. */
import { type ErrorCode, PrimedError } from '../core/errors.ts';
import type { ByteRange, UfsPath } from '../core/types.ts';
import type { FailureCause, OriginFailure } from '../origin/types.ts';

const codeOf: Record<FailureCause, ErrorCode> = {
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

/** What the user is told when a part is given up. */
export function partError(
  path: UfsPath,
  range: ByteRange,
  failure: OriginFailure,
  attempts: number,
  why: string,
): PrimedError {
  const answer = [
    failure.httpStatus === undefined ? undefined : `HTTP ${failure.httpStatus}`,
    failure.s3Code,
    failure.requestId === undefined ? undefined : `request id ${failure.requestId}`,
  ].filter((word) => word !== undefined);
  const limits = {
    hopeless: '',
    attempts: `, after ${attempts} attempts`,
    budget: `, after ${attempts} attempts (the retry budget of the job is spent)`,
  };
  const message =
    `${path}: bytes ${range.offset}-${range.offset + range.length - 1}: ${failure.message}` +
    `${answer.length > 0 ? ` (${answer.join(', ')})` : ''}${limits[why as keyof typeof limits] ?? ''}`;
  return new PrimedError(codeOf[failure.cause], message, {
    path,
    httpStatus: failure.httpStatus,
    s3Code: failure.s3Code,
    requestId: failure.requestId,
  });
}
