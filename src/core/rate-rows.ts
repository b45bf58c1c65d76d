/**
 * Histories of rates as rows, one for each ten seconds, so that they can be kept where a restart finds them. A row is named by
 * the wall clock, since nothing else is left of a process that has ended; a clock that was set moves what was kept. Pure.
 */
import type { RateBook } from './rate-book.ts';
import { coarsePoints, coarseStepMs, type RateHistory } from './rate-history.ts';

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
  const jobs = new Map(lastHeard(rows, places, book.mostJobs).map((id) => [id, newSeries()]));
  const [loading, serving] = [newSeries(), newSeries()];
  for (const place of places) {
    const row = rows.get(place)!;
    if (row.loading !== null) put(loading, place, row.loading);
    if (row.serving !== null) put(serving, place, row.serving);
    for (const [id, value] of Object.entries(row.jobs)) {
      const series = jobs.get(id);
      if (series !== undefined) put(series, place, value);
    }
  }
  const record = ({ first, values }: Series) => {
    const agoMs = Math.max(0, wallMs - (first + values.length - 1) * coarseStepMs);
    return { fine: { agoMs: 0, values: [] }, coarse: values.length === 0 ? { agoMs: 0, values } : { agoMs, values } };
  };
  book.loading.merge(record(loading), nowMs);
  book.serving.merge(record(serving), nowMs);
  for (const [id, series] of jobs) book.tell(id, record(series), nowMs);
}

/** Of the jobs in rows those `most` that were heard last; the last one is the last. In six hours there may be very many. */
function lastHeard(rows: RateRows, places: readonly number[], most: number): string[] {
  const heard = new Set<string>();
  for (const place of places.toReversed())
    for (const id of Object.keys(rows.get(place)!.jobs).reverse()) {
      if (heard.size === most) return [...heard].reverse();
      heard.add(id);
    }
  return [...heard].reverse();
}

/** Values from a place of its own on. */
interface Series {
  first: number;
  readonly values: (number | null)[];
}

function newSeries(): Series {
  return { first: 0, values: [] };
}

/** Places only rise. */
function put(series: Series, place: number, value: number): void {
  const { values } = series;
  if (values.length === 0) series.first = place;
  while (values.length < place - series.first) values.push(null);
  values.push(value);
}
