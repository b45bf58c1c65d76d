/** What has limited a job recently: a sliding window over sums that only grow, as that of core/rate. */
import { grownBy } from './limit-account.ts';
import type { LimitSums } from './limit-causes.ts';
import { rateStepMs, rateWindowMs } from './rate.ts';

interface LimitSample {
  readonly atMs: number;
  readonly sums: LimitSums;
}

/** Oldest first; bounded to some 40 samples. */
export type LimitWindow = readonly LimitSample[];

/** The window with one more sample; those closer than a step replace each other. */
export function addLimitSample(window: LimitWindow, sample: LimitSample): LimitWindow {
  const beforeLast = window.at(-2);
  const kept = beforeLast !== undefined && sample.atMs - beforeLast.atMs < rateStepMs ? window.slice(0, -1) : window;
  const horizonMs = sample.atMs - rateWindowMs;
  let first = 0;
  while (first + 1 < kept.length && kept[first + 1]!.atMs <= horizonMs) first += 1;
  return [...kept.slice(first), sample];
}

/** What was charged within the window. */
export function recentSums(window: LimitWindow): LimitSums {
  const first = window[0];
  const last = window.at(-1);
  return first === undefined || last === undefined || first === last ? {} : grownBy(last.sums, first.sums);
}
