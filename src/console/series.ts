/** A figure over the last minutes, for a curve. */

export interface Sample {
  readonly atMs: number;
  readonly value: number;
}

/** Five minutes at one a second; a job has one of them, so 1,000 jobs have some 5 MB. */
export const mostSamples = 300;
export const seriesSpanMs = 300_000;

export class Series {
  readonly samples: Sample[] = [];

  add(atMs: number, value: number): void {
    const last = this.samples.at(-1);
    if (last !== undefined && atMs <= last.atMs) return;
    this.samples.push({ atMs, value });
    const first = this.samples.findIndex((one) => one.atMs >= atMs - seriesSpanMs);
    this.samples.splice(0, Math.max(first, this.samples.length - mostSamples));
  }

  get last(): number | undefined {
    return this.samples.at(-1)?.value;
  }

  get largest(): number {
    return this.samples.reduce((most, { value }) => Math.max(most, value), 0);
  }
}

/** Points of a line from left to right: x 0 to 1 over the last `spanMs`, y 0 to 1 up to `top`. */
export function pointsOf(
  { samples }: Series,
  { nowMs, spanMs, top }: { nowMs: number; spanMs: number; top: number },
): (readonly [number, number])[] {
  return samples
    .filter(({ atMs }) => atMs >= nowMs - spanMs)
    .map(({ atMs, value }) => [1 - (nowMs - atMs) / spanMs, top <= 0 ? 0 : Math.min(1, value / top)] as const);
}
