/**
 * The recent rate of something that only grows, and what it says about the end. A sliding window over samples: a rate
 * since the start hides a stall, and one over a single step jumps with every part.
 */

export interface RateSample {
  readonly atMs: number;
  readonly total: number;
}

/** Oldest first; the first one may lie just outside of the window, so that the window is covered whole. */
export type RateWindow = readonly RateSample[];

/** Long enough to average over parts of 8 MiB on a slow link, short enough that a stall shows. */
export const rateWindowMs = 10_000;
/** Samples closer than this replace each other, which bounds the window to some 40 samples. */
export const rateStepMs = 250;
/** Before this a rate would be noise. */
export const rateFirstMs = 500;

/** The window with one more sample. Time and total never go back: a sample that does starts the window anew. */
export function addSample(window: RateWindow, sample: RateSample): RateWindow {
  const last = window.at(-1);
  if (last === undefined || sample.atMs < last.atMs || sample.total < last.total) return [sample];
  return withSample(window, sample);
}

/** The window, of whatever, with one more sample; those closer than a step replace each other. */
export function withSample<S extends { readonly atMs: number }>(window: readonly S[], sample: S): readonly S[] {
  const beforeLast = window.at(-2);
  const kept = beforeLast !== undefined && sample.atMs - beforeLast.atMs < rateStepMs ? window.slice(0, -1) : window;
  const horizonMs = sample.atMs - rateWindowMs;
  let first = 0;
  while (first + 1 < kept.length && kept[first + 1]!.atMs <= horizonMs) first += 1;
  return [...kept.slice(first), sample];
}

/** Units a second over the window that ends now; undefined before there is one. A silent source decays to 0. */
export function rateOf(window: RateWindow, nowMs: number): number | undefined {
  const first = window[0];
  const last = window.at(-1);
  if (first === undefined || last === undefined) return undefined;
  const horizonMs = nowMs - rateWindowMs;
  if (last.atMs <= horizonMs) return 0;
  let from = first;
  for (const sample of window) {
    if (sample.atMs > horizonMs) break;
    from = sample;
  }
  const elapsedMs = nowMs - from.atMs;
  return elapsedMs < rateFirstMs ? undefined : ((last.total - from.total) * 1000) / elapsedMs;
}

/** Milliseconds until `remaining` is done at this rate; undefined when that cannot be said. */
export function etaMsOf(remaining: number | undefined, perSecond: number | undefined): number | undefined {
  if (remaining === undefined || perSecond === undefined) return undefined;
  if (remaining <= 0) return 0;
  return perSecond > 0 ? (remaining / perSecond) * 1000 : undefined;
}
