/** A rate over time as a row of characters, newest at the right. Pure. */
import type { RatePoints } from '../core/rate-history.ts';

/** Nothing at all is the lowest one. */
const levels = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'] as const;

export interface SparkOptions {
  readonly columns: number;
  /** How many points the columns span; a column is the mean of those in it that are known. */
  readonly points: number;
  /** Of a point. */
  readonly stepMs: number;
}

/** Empty where nothing is known; a blank within is time that nobody knows of. */
export function sparkOf({ agoMs, values }: RatePoints, { columns, points, stepMs }: SparkOptions): string {
  // What is told ends a while ago where nothing was said since.
  const silent = Math.floor(agoMs / stepMs);
  const sums = Array.from({ length: columns }, () => ({ sum: 0, count: 0 }));
  for (const [at, value] of values.entries()) {
    const back = silent + values.length - 1 - at;
    if (value === null || back >= points) continue;
    const column = sums[columns - 1 - Math.floor((back * columns) / points)]!;
    column.sum += value;
    column.count += 1;
  }
  if (sums.every(({ count }) => count === 0)) return '';
  const means = sums.map(({ sum, count }) => (count === 0 ? undefined : sum / count));
  const top = Math.max(...means.map((mean) => mean ?? 0));
  return means
    .map((mean) => (mean === undefined ? ' ' : levels[mean === 0 ? 0 : Math.ceil((mean / top) * (levels.length - 1))]))
    .join('');
}
