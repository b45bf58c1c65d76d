/** What workers mean for a plan: which can be asked for one, and whether those that it began with are still there. Pure. */
import { type ErrorFacts, PrimedError } from '../core/errors.ts';
import type { Member } from './members.ts';
import { isWorkerGone, isWorkerLost } from './worker-link.ts';

/** The version of the cluster's protocol that has the calls of plans. */
export const firstWithPlans = 4;

interface Earlier {
  readonly worker: string;
  readonly protocol: number;
  /** Undefined: it does not say. */
  readonly release: string | undefined;
}

/** Loads work with such workers, and what a load would do there cannot be asked. */
export function withoutPlans(workers: readonly Earlier[]): PrimedError {
  const named = workers.map(
    ({ worker, protocol, release }) =>
      `worker '${worker}' (${release === undefined ? '' : `primed ${release}, `}version ${protocol})`,
  );
  const list = named.length === 1 ? named[0] : `${named.slice(0, -1).join(', ')} and ${named.at(-1)}`;
  const message = `A plan asks its workers in version ${firstWithPlans} of the cluster's protocol, which is too new for ${list}. Upgrade ${named.length === 1 ? 'it' : 'them'} to primed ${PRIMED_VERSION}, or load without a plan: loads work with all of them.`;
  const [{ worker, protocol, release }] = workers as [Earlier, ...Earlier[]];
  return new PrimedError('WORKER_REFUSED', message, { worker, protocol, release });
}

/** What to say of several workers that were asked at once and did not answer: the worst, and all of them that are too old. */
export function failureOfAll(reasons: readonly unknown[]): unknown {
  const other = reasons.find((reason) => !isWorkerGone(reason));
  if (other !== undefined) return other;
  const earlier = reasons.flatMap((reason) => earlierOf((reason as PrimedError).facts));
  if (earlier.length > 0) return withoutPlans(earlier);
  return reasons.find((reason) => !isWorkerLost(reason)) ?? reasons[0];
}

function earlierOf({ worker, protocol, release }: ErrorFacts): Earlier[] {
  if (typeof worker !== 'string' || typeof protocol !== 'number') return [];
  return [{ worker, protocol, release: typeof release === 'string' ? release : undefined }];
}

/** Whether both lists place segments alike, and calls on the links of the one reach the workers of the other. */
export function sameMembers(before: readonly Member[], now: readonly Member[]): boolean {
  return (
    before.length === now.length &&
    before.every(({ link, takes }, at) => link === now[at]?.link && takes === now[at]?.takes)
  );
}

/** Those that were there, and are not. */
export function lostOf(before: readonly Member[], now: readonly Member[]): string[] {
  return before.map(({ id }) => id).filter((id) => !now.some((one) => one.id === id));
}
