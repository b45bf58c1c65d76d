/** Rates from readings of counters, so taken that a machine which answers late makes them smaller, never larger. */
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

/** The largest share of the limit over all windows of at least 1 s between two readings; each as long as it can have been. */
export function largestShare(readings: readonly Reading[], perSecond: number): { share: number; windows: number } {
  let share = 0;
  let windows = 0;
  for (const [index, first] of readings.entries()) {
    for (const last of readings.slice(index + 1)) {
      const longestMs = last.toMs - first.fromMs;
      if (longestMs < 1000) continue;
      windows += 1;
      share = Math.max(share, (last.count - first.count) / ((perSecond * longestMs) / 1000));
    }
  }
  return { share, windows };
}
