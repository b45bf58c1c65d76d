/** Rates from readings of counters, so taken that a machine which answers late makes them smaller, never larger. */
import { makeBucket, refill, spend } from '../../src/core/token-bucket.ts';
import { refillMs } from '../../src/ingest/pace.ts';
import { call } from './api.ts';

/** A reading that was taken at some time between `fromMs` and `toMs`. */
export interface Reading {
  readonly fromMs: number;
  readonly toMs: number;
  readonly count: number;
}

/** The counter `name` of a daemon's metrics, over all of its labels. */
export async function readCounter(base: string, name: string): Promise<Reading> {
  const fromMs = performance.now();
  const { text } = await call(base, 'GET', '/metrics');
  const toMs = performance.now();
  let count = 0;
  for (const [, value] of text.matchAll(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, 'gm'))) count += Number(value);
  return { fromMs, toMs, count };
}

export function sumOf(readings: readonly Reading[]): Reading {
  return {
    fromMs: Math.min(...readings.map(({ fromMs }) => fromMs)),
    toMs: Math.max(...readings.map(({ toMs }) => toMs)),
    count: readings.reduce((sum, { count }) => sum + count, 0),
  };
}

/**
 * The largest share of the limit over all windows of at least `leastMs` between two readings; each as long as it can have been.
 */
export function largestShare(
  readings: readonly Reading[],
  perSecond: number,
  leastMs = 1000,
): { share: number; windows: number } {
  let share = 0;
  let windows = 0;
  for (const [index, first] of readings.entries()) {
    for (const last of readings.slice(index + 1)) {
      const longestMs = last.toMs - first.fromMs;
      if (longestMs < leastMs) continue;
      windows += 1;
      share = Math.max(share, (last.count - first.count) / ((perSecond * longestMs) / 1000));
    }
  }
  return { share, windows };
}

/**
 * What somebody gets who takes all that a bucket of this rate gives, on this machine, from now until `share` is called: less
 * than the whole, as a process that is kept waiting for longer than the burst loses what it did not take.
 */
export function greedyTaker(perSecond: number): { readonly share: () => number } {
  const fromMs = performance.now();
  let bucket = makeBucket(perSecond, fromMs, 1);
  let taken = 0;
  const timer = setInterval(() => {
    bucket = refill(bucket, performance.now());
    const whole = Math.floor(bucket.tokens);
    bucket = spend(bucket, whole);
    taken += whole;
  }, refillMs);
  return {
    share() {
      clearInterval(timer);
      return taken / ((perSecond * (performance.now() - fromMs)) / 1000);
    },
  };
}
