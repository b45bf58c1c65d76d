/** What has limited a job recently: a sliding window over sums that only grow, as that of core/rate. */
import { grownBy } from './limit-account.ts';
import type { LimitSums } from './limit-causes.ts';

interface LimitSample {
  readonly atMs: number;
  readonly sums: LimitSums;
}

/** Oldest first; bounded to some 40 samples by `withSample`. */
export type LimitWindow = readonly LimitSample[];

/** What was charged within the window. */
export function recentSums(window: LimitWindow): LimitSums {
  const first = window[0];
  const last = window.at(-1);
  return first === undefined || last === undefined || first === last ? {} : grownBy(last.sums, first.sums);
}
