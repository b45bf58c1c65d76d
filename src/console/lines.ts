/** A rate over a span as lines, for a curve. */
import type { RateHistory } from '../core/rate-history.ts';

/** What a curve may span, in so many parts of its axis, of so much each; the first one is of seconds. */
export const spans = [
  { name: '10 min', ms: 600_000, parts: 5, each: 2, unit: 'min' },
  { name: '1 h', ms: 3_600_000, parts: 4, each: 15, unit: 'min' },
  { name: '6 h', ms: 21_600_000, parts: 6, each: 1, unit: 'h' },
] as const;
export type CurveSpan = (typeof spans)[number];

/** Each from left to right, without a gap: x 0 to 1 over the last `spanMs`, y 0 to 1 up to `top`. */
export function linesOf(
  history: RateHistory,
  { nowMs, spanMs, top }: { nowMs: number; spanMs: number; top: number },
): (readonly (readonly [number, number])[])[] {
  return history
    .stretches(nowMs, spanMs)
    .map((points) =>
      points.map(({ agoMs, value }) => [(spanMs - agoMs) / spanMs, top <= 0 ? 0 : Math.min(1, value / top)] as const),
    );
}
