/**
 * What silence of an origin means for a run. Pure.
 *
 * Silence about one object: a request that gets no byte for a while is judged twice. At first it is hasty: after a
 * fraction of the timeout the file is set aside, so that it does not hold a slot and a socket that others could use. When
 * nothing else is left to load, what was set aside is asked for again, with the whole timeout and all attempts. So a
 * file costs at most one hasty request, which no budget counts, and healthy files wait for the hasty time at most.
 *
 * Silence of the origin itself: parts are given up one after the other, and not one answer comes in between. Then the
 * origin is lost, and so is the run: asking for the other files would cost a timeout each and end the same. An answer,
 * whatever it says of its object, is none of that.
 */

/** Requests in a row that the origin did not answer, and how many of them were the last ones for their part. */
export interface OriginSilence {
  readonly unanswered: number;
  readonly givenUp: number;
}

export const noSilence: OriginSilence = { unanswered: 0, givenUp: 0 };

const noAnswer: ReadonlySet<string> = new Set(['connect', 'connect-timeout', 'first-byte-timeout', 'reset']);
const silentObject: ReadonlySet<string> = new Set(['first-byte-timeout', 'stall']);

/** Each part has had all of its attempts, or the budget of the run is spent: a passing trouble is behind that. */
const lostAfterParts = 16;
/** So many requests without any answer are no longer about single objects: nothing is set aside then. */
const doubtAfterRequests = 256;
const hastyShare = 1 / 8;
/** Shorter than this, a busy machine would be taken for a silent origin. */
const hastyAtLeastMs = 1000;

/** How long a hasty request may be silent, where a patient one may be so for `timeoutMs`. */
export function hastyMs(timeoutMs: number): number {
  return Math.min(timeoutMs, Math.max(hastyAtLeastMs, timeoutMs * hastyShare));
}

/** After a request; `cause` undefined: it succeeded. `givenUp`: its part is not asked for again. */
export function silenceAfter(
  before: OriginSilence,
  request: { readonly cause?: string; readonly givenUp?: boolean },
): OriginSilence {
  if (request.cause === 'cancelled') return before;
  if (request.cause === undefined || !noAnswer.has(request.cause)) return noSilence;
  return { unanswered: before.unanswered + 1, givenUp: before.givenUp + (request.givenUp === true ? 1 : 0) };
}

export function isLost(silence: OriginSilence): boolean {
  return silence.givenUp >= lostAfterParts;
}

export function isSilent(cause: string): boolean {
  return silentObject.has(cause);
}

/** Whether the file of a failed hasty request is set aside, rather than tried again at once. */
export function setsAside(cause: string, silence: OriginSilence): boolean {
  return isSilent(cause) && silence.unanswered < doubtAfterRequests;
}
