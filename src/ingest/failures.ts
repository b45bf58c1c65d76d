/** What the user is told when a part is given up. */
import { PrimedError } from '../core/errors.ts';
import type { RetryDecision } from '../core/retry.ts';
import type { ByteRange, UfsPath } from '../core/types.ts';
import { errorOfFailure } from '../origin/failure.ts';
import type { OriginFailure } from '../origin/types.ts';

type Refusal = Extract<RetryDecision, { retry: false }>['why'];

export function partError(
  path: UfsPath,
  range: ByteRange,
  failure: OriginFailure,
  attempts: number,
  why: Refusal,
): PrimedError {
  const triedFor: Record<Refusal, string> = {
    hopeless: '',
    attempts: `, after ${attempts} attempts`,
    budget: `, after ${attempts} attempts (the retry budget of the job is spent)`,
  };
  return errorOfFailure(failure, path, { range, tried: triedFor[why] });
}

/** What the coordinator is told when a worker does not give another what it was to copy from it. */
export function peerError(
  path: UfsPath,
  { url, range, failure, attempts }: { url: string; range: ByteRange; failure: OriginFailure; attempts: number },
): PrimedError {
  const last = range.offset + range.length - 1;
  const tried = attempts === 1 ? '' : `, after ${attempts} attempts`;
  const { message } = errorOfFailure(failure, `worker ${url} did not give bytes ${range.offset}-${last}`);
  const said = `${path}: ${message}${tried}`;
  const facts = { path, url, cause: failure.cause };
  if (failure.s3Code === 'STORE_CORRUPT') return new PrimedError('PEER_CORRUPT', said, facts);
  return new PrimedError('PEER_FAILED', said, facts);
}

/** Of a copy that is not begun, or not gone on with, because somebody has waited for its source in vain. */
export function notReached(path: UfsPath, url: string): PrimedError {
  const message = `${path}: worker ${url} could not be reached a moment ago, and is not asked before it answers again`;
  return new PrimedError('PEER_FAILED', message, { path, url });
}

/** What the user is told when a run ends because an origin answers no more. `last`: the failure that decided it. */
export function lostError(origin: string, parts: number, last: PrimedError): PrimedError {
  return new PrimedError(
    'ORIGIN_LOST',
    `origin lost: ${origin} gave no answer to any request of the last ${parts} parts; the last: ${last.message}. ` +
      'When it answers again, submit the load again with skipIfExists: what is durable is not fetched again.',
    { origin, lastCode: last.code },
  );
}
