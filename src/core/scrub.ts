/** How fast everything that is cached is read again, so that all of it is in one period. Pure. */
import { KiB } from './units.ts';

export interface ScrubPace {
  /** In which every byte is read once; 0: never. */
  readonly periodMs: number;
  /** However much there is. */
  readonly mostBytesPerSecond: number;
}

/** Below, a small store would be read a page in a day; it costs nothing to do so in minutes. */
const leastBytesPerSecond = 64 * KiB;
/** Of what is to be read something is added while it is: a round is to end before its period does. */
const haste = 1.1;

export function scrubRate({ periodMs, mostBytesPerSecond }: ScrubPace, usedBytes: number): number {
  const even = (usedBytes * haste * 1000) / periodMs;
  return Math.min(mostBytesPerSecond, Math.max(leastBytesPerSecond, even));
}

/** How long a round that has ended is followed by none. */
export function restMs({ periodMs }: ScrubPace, begunMs: number, nowMs: number): number {
  return Math.min(periodMs, Math.max(0, begunMs + periodMs - nowMs));
}

/** Twice a minute, and often enough that what a kill has read twice is a hundredth of a round. */
const mostUnwrittenMs = 30_000;

/** How long the place of a round may go on without being written down. */
export function placeEveryMs({ periodMs }: ScrubPace): number {
  return Math.min(mostUnwrittenMs, periodMs / 100);
}
