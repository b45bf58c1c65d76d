/**
 * Histories of rates as rows, one for each ten seconds, so that they can be kept where a restart finds them. A row is named by
 * the wall clock, since nothing else is left of a process that has ended; a clock that was set moves what was kept. Pure.
 */
import type { RateBook } from './rate-book.ts';
import { coarsePoints, coarseStepMs, type RateHistory, type RatePoints } from './rate-history.ts';

/** Bytes a second, rounded; null or absent: nobody knows. */
export interface RateRow {
  readonly loading: number | null;
  readonly serving: number | null;
  readonly jobs: Readonly<Record<string, number>>;
}

/** By which ten seconds of the wall clock. */
export type RateRows = ReadonlyMap<number, RateRow>;

/** As many as run at once, and those that free: with them six hours are 18 MB. Beyond it those heard last are left out. */
export const mostJobsOfRow = 100;

export interface Clocks {
  /** Of the book. */
  readonly nowMs: number;
  readonly wallMs: number;
}

/** The last `points` rows of what is known, of those ten seconds that go on too. */
export function rowsOf(book: RateBook, points: number, clocks: Clocks): RateRows {
  const rows = new Map<number, { loading: number | null; serving: number | null; jobs: Record<string, number> }>();
  const each = (history: RateHistory, put: (row: Omit<RateRow, 'jobs'> & { jobs: object }, value: number) => void) => {
    const { agoMs, values } = history.means(clocks.nowMs, points);
    const last = Math.round((clocks.wallMs - agoMs) / coarseStepMs);
    for (const [at, value] of values.entries()) {
      if (value === null) continue;
      const place = last - (values.length - 1 - at);
      const row = rows.get(place) ?? { loading: null, serving: null, jobs: {} };
      rows.set(place, row);
      put(row, value);
    }
  };
  each(book.loading, (row, value) => Object.assign(row, { loading: value }));
  each(book.serving, (row, value) => Object.assign(row, { serving: value }));
  for (const [id, history] of book.jobs())
    each(history, ({ jobs }, value) => {
      if (Object.keys(jobs).length < mostJobsOfRow) Object.assign(jobs, { [id]: value });
    });
  return rows;
}

/** What rows know, as the past of a book that has sampled nothing yet. Rows that are not of the last six hours are passed over. */
export function tellRows(book: RateBook, rows: RateRows, { nowMs, wallMs }: Clocks): void {
  // Rows lie where they are nearest to.
  const newest = Math.ceil(wallMs / coarseStepMs);
  const places = [...rows.keys()]
    .filter((place) => place <= newest && place > newest - coarsePoints)
    .sort((a, b) => a - b);
  const series = new Map<string, (number | null)[]>();
  const [loading, serving]: (number | null)[][] = [[], []];
  const first = places[0] ?? newest;
  const put = (values: (number | null)[], place: number, value: number): void => {
    while (values.length < place - first) values.push(null);
    values.push(value);
  };
  for (const place of places) {
    const row = rows.get(place)!;
    if (row.loading !== null) put(loading!, place, row.loading);
    if (row.serving !== null) put(serving!, place, row.serving);
    for (const [id, value] of Object.entries(row.jobs)) {
      const values = series.get(id) ?? [];
      // Again and last: in the order in which they were heard last.
      series.delete(id);
      series.set(id, values);
      put(values, place, value);
    }
  }
  const pointsOf = (values: (number | null)[]): RatePoints => ({
    agoMs: Math.max(0, wallMs - (first + values.length - 1) * coarseStepMs),
    values,
  });
  const record = (values: (number | null)[]) => ({ fine: { agoMs: 0, values: [] }, coarse: pointsOf(values) });
  book.loading.merge(record(loading!), nowMs);
  book.serving.merge(record(serving!), nowMs);
  for (const [id, values] of series) book.tell(id, record(values), nowMs);
}
