/**
 * How long a load will take, as a range from what loads took here of late. Pure.
 *
 * A load that moved B bytes in F files in T took something for each byte and something for each file, and nobody measured
 * which. So of another load, of b bytes in f files, it says only that it takes between T times the lesser and T times the greater of b/B
 * and f/F: one and the same where both are of one kind. The range is over several loads, those that are most alike first.
 */

export interface MeasuredLoad {
  readonly files: number;
  readonly bytes: number;
  readonly activeMs: number;
}

export interface TimeRange {
  readonly leastMs: number;
  readonly mostMs: number;
  /** Loads that it was drawn from. */
  readonly measuredLoads: number;
}

/** Loads that are drawn from at most. */
const mostLoads = 5;
/** Files of another mean size than this many times that of the load are of another kind. */
const alikeWithin = 4;
/** A shorter one measured the start of a load rather than its rate. */
const leastActiveMs = 500;

/** Undefined: nothing of use was measured. @param loads the newest first */
export function timeRange(
  planned: Pick<MeasuredLoad, 'files' | 'bytes'>,
  loads: Iterable<MeasuredLoad>,
): TimeRange | undefined {
  if (planned.files === 0) return { leastMs: 0, mostMs: 0, measuredLoads: 0 };
  const measured = [...loads].filter(({ files, activeMs }) => files > 0 && activeMs >= leastActiveMs);
  const alike = measured.filter((one) => unlikeness(one, planned) <= alikeWithin);
  const chosen = (alike.length > 0 ? alike : measured).slice(0, mostLoads);
  if (chosen.length === 0) return undefined;
  let [leastMs, mostMs] = [Number.POSITIVE_INFINITY, 0];
  for (const { files, bytes, activeMs } of chosen) {
    const byFiles = (planned.files / files) * activeMs;
    const byBytes = bytes > 0 ? (planned.bytes / bytes) * activeMs : byFiles;
    leastMs = Math.min(leastMs, byFiles, byBytes);
    mostMs = Math.max(mostMs, byFiles, byBytes);
  }
  return { leastMs: Math.round(leastMs), mostMs: Math.round(mostMs), measuredLoads: chosen.length };
}

/** A range of which it is known that it cannot be shorter. */
export function noShorterThan(range: TimeRange, floorMs: number): TimeRange {
  const floor = Math.round(floorMs);
  return { ...range, leastMs: Math.max(range.leastMs, floor), mostMs: Math.max(range.mostMs, floor) };
}

function unlikeness(a: Pick<MeasuredLoad, 'files' | 'bytes'>, b: Pick<MeasuredLoad, 'files' | 'bytes'>): number {
  const [one, other] = [(a.bytes + a.files) / a.files, (b.bytes + b.files) / b.files];
  return Math.max(one / other, other / one);
}
