/** `primed top` as lines: a head, jobs, workers; what has no room is counted. Pure. */

import type { JobRow, WorkerInfo } from '../client/types.ts';
import { limitText } from '../core/limit-causes.ts';
import { coarseStepMs, type RateRecord } from '../core/rate-history.ts';
import { formatDuration, formatSize, formatTimeLeft } from '../core/sizes.ts';
import { pathOf } from './job-list.ts';
import { type Column, cutLine, type Line, layTable, type Span, type Style, span, widthOf } from './spans.ts';
import { sparkOf } from './spark.ts';
import { doneBytes, figuresOf, fillRateOf, roomOf, type TopState, totalRateOf, usedBytes } from './top-state.ts';

export interface TopView {
  readonly coordinator: string;
  /** Of the clock of the state. */
  readonly nowMs: number;
  /** What can be done, at the end of the first line. */
  readonly hint?: string;
}

export interface Room {
  readonly columns: number;
  /** Infinity: everything is shown. */
  readonly rows: number;
}

const barColumns = 12;
const nothing: Span = span('');

/** At most `rows` lines of at most `columns` characters each. */
export function topLines(state: TopState, view: TopView, { columns, rows }: Room): Line[] {
  const head = headOf(state, view, { columns, rows });
  const body = state.look === undefined ? [] : bodyOf(state, { columns, rows: rows - head.length });
  return [...head, ...body].slice(0, Math.max(0, rows)).map((line) => cutLine(line, columns));
}

/**
 * How many lines each of two lists gets that want `first` and `second`: all, where there is room; else each at least half,
 * where it wants it.
 */
export function shareRoom(room: number, first: number, second: number): readonly [number, number] {
  if (first + second <= room) return [first, second];
  const half = Math.max(0, Math.ceil(room / 2));
  const forFirst = Math.min(first, Math.max(half, room - second));
  return [forFirst, Math.max(0, Math.min(second, room - forFirst))];
}

function headOf(state: TopState, { coordinator, nowMs, hint }: TopView, room: Room): Line[] {
  const { look, trouble } = state;
  const title = [span('primed top', 'bold'), span(`  ${coordinator}${hint === undefined ? '' : `  ${hint}`}`)];
  const lines: Line[] = [title];
  if (trouble !== undefined) {
    const since = formatDuration(nowMs - trouble.sinceMs);
    const old = look === undefined ? '' : ' What follows is what it said last.';
    lines.push([span(`No answer for ${since}, trying on.${old}`, 'red')], [span(trouble.message, 'red')]);
  }
  if (look === undefined) return trouble === undefined ? [title, [span('Asking the coordinator.')]] : lines;
  const { loading, serving } = look.rates ?? {};
  lines.push(
    withSpark(
      [span(`Loading ${formatSize(totalRateOf(look))}/s`, 'bold')],
      { past: loading, after: [span(`   Jobs: ${countsOf(look.jobs, jobRanks)}`)] },
      room.columns,
    ),
  );
  const served = serving?.coarse.values.at(-1);
  if (typeof served === 'number' && room.rows >= rowsForServing) {
    // Where no worker is heard nothing is added to what was.
    const isNow = serving!.coarse.agoMs < 2 * coarseStepMs;
    lines.push(
      withSpark(
        [span(isNow ? `Serving ${formatSize(served)}/s` : 'Serving unknown', 'bold')],
        { past: serving, after: [] },
        room.columns,
      ),
    );
  }
  if (look.workers !== undefined) {
    const { usedBytes: used, capacityBytes } = roomOf(look);
    const share = capacityBytes === 0 ? '' : ` (${((used / capacityBytes) * 100).toFixed(0)}%)`;
    lines.push([
      span(`Workers: ${countsOf(look.workers, workerRanks)}`),
      span(`   Used: ${formatSize(used)} of ${formatSize(capacityBytes)}${share}`),
    ]);
  }
  return lines;
}

/** The curve is what goes where there is no room for it. */
function withSpark(
  before: Line,
  { past, after }: { past: RateRecord | undefined; after: Line },
  columns: number,
): Line {
  const drawn = past === undefined ? '' : sparkIn(past, headSparkColumns);
  if (drawn === '') return [...before, ...after];
  const peak = Math.max(...past!.coarse.values.map((value) => value ?? 0));
  const full = [...before, span('  '), span(drawn, 'cyan'), span(` at most ${formatSize(peak)}/s in 10 min`), ...after];
  return widthOf(full) <= columns ? full : [...before, ...after];
}

/** The last ten minutes, which is what a coordinator tells. */
const sparkPoints = 60;
const headSparkColumns = 30;
const jobSparkColumns = 12;
/** With fewer lines each is needed for a job or a worker. */
const rowsForServing = 16;

function sparkIn(past: RateRecord, columns: number): string {
  return sparkOf(past.coarse, { columns, points: sparkPoints, stepMs: coarseStepMs });
}

function bodyOf(state: TopState, { columns, rows }: Room): Line[] {
  const { jobs, workers } = state.look!;
  const jobsInOrder = [...jobs].sort(byRank(jobRanks, ({ submittedAt = '' }) => submittedAt));
  const wantedByJobs = jobs.reduce((sum, row) => sum + 1 + notesOf(row).length, 0);
  // An empty line and titles before each list.
  const lists = workers === undefined ? 1 : 2;
  const [forJobs, forWorkers] = shareRoom(
    rows - 2 * lists,
    Math.max(1, wantedByJobs),
    workers === undefined ? 0 : Math.max(1, workers.length),
  );
  const lines = [[], ...jobLines(state, jobsInOrder, { columns, rows: forJobs })];
  if (workers === undefined) return lines;
  const workersInOrder = [...workers].sort(byRank(workerRanks, ({ id }) => id));
  return [...lines, [], ...workerLines(state, workersInOrder, { columns, rows: forWorkers })];
}

function jobLines(state: TopState, jobs: readonly JobRow[], { columns, rows }: Room): Line[] {
  if (jobs.length === 0) return [[span('No job runs or waits.')]];
  const withNotes = fitting(jobs, rows, (row) => 1 + notesOf(row).length);
  // Rather a job without what is to say of it than none.
  const bare = withNotes.shown.length === 0;
  const { shown, more } = bare ? fitting(jobs, rows, () => 1) : withNotes;
  const [titles, ...table] = layTable(jobColumns(state), shown, columns);
  const lines = shown.flatMap((row, at) => [
    table[at]!,
    ...(bare ? [] : notesOf(row).map((note) => [span(`  ${note}`, 'dim')])),
  ]);
  return [titles!, ...lines, ...moreLine(more, 'job', 'jobs')];
}

function workerLines(state: TopState, workers: readonly WorkerInfo[], { columns, rows }: Room): Line[] {
  if (workers.length === 0) return [[span('No worker is registered.', 'yellow')]];
  const { shown, more } = fitting(workers, rows, () => 1);
  return [...layTable(workerColumns(state), shown, columns), ...moreLine(more, 'worker', 'workers')];
}

/** The first of them that have room, with a line less where others are to be counted in one. */
function fitting<R>(
  all: readonly R[],
  rows: number,
  linesOf: (row: R) => number,
): { shown: readonly R[]; more: number } {
  let used = 0;
  let count = 0;
  while (count < all.length) {
    const lines = linesOf(all[count]!);
    if (used + lines > rows - (count === all.length - 1 ? 0 : 1)) break;
    used += lines;
    count += 1;
  }
  return { shown: all.slice(0, count), more: all.length - count };
}

function moreLine(count: number, one: string, many: string): Line[] {
  return count === 0 ? [] : [[span(`… and ${count} more ${count === 1 ? one : many}`, 'dim')]];
}

function jobColumns(state: TopState): Column<JobRow>[] {
  const figures = (row: JobRow) => figuresOf(row, state);
  const rateOf = (row: JobRow): Span => {
    const { bytesPerSecond } = figures(row);
    return bytesPerSecond === undefined ? nothing : span(`${formatSize(bytesPerSecond)}/s`);
  };
  const pastOf = ({ jobId }: JobRow): Span => {
    const past = state.look?.rates?.jobs[jobId];
    return past === undefined ? nothing : span(sparkIn(past, jobSparkColumns), 'cyan');
  };
  const timeLeft = (row: JobRow): Span => {
    const { etaMs } = figures(row);
    return etaMs === undefined ? nothing : span(formatTimeLeft(etaMs));
  };
  return [
    { title: 'STATE', cell: ({ state: at }) => span(at, jobStyles[at]) },
    { title: 'TYPE', cell: ({ type }) => span(type), worth: 1 },
    { title: 'PROGRESS', cell: (row) => barOf(figures(row).share), worth: 4 },
    { title: '%', cell: (row) => percentOf(figures(row).share), align: 'right' },
    {
      title: 'FILES',
      cell: ({ freedFiles, processedFiles, files }) => ofWhole(freedFiles ?? processedFiles, files, String),
      worth: 2,
    },
    {
      title: 'BYTES',
      cell: (row) => (isMetadata(row) ? nothing : ofWhole(doneBytes(row), row.bytes, formatSize)),
      worth: 3,
    },
    { title: 'RATE', cell: rateOf, align: 'right', worth: 5 },
    { title: '10 MIN', cell: pastOf, worth: 2.5 },
    { title: 'ETA', cell: timeLeft, align: 'right', worth: 6 },
    {
      title: 'FAILED',
      cell: ({ failures = 0 }) => (failures === 0 ? nothing : span(String(failures), 'red')),
      align: 'right',
      worth: 7,
    },
    {
      title: 'LIMITED BY',
      cell: ({ limitedBy: [limit] = [] }) => (limit === undefined ? nothing : span(limitText(limit))),
      worth: 3,
    },
    { title: 'PATH', cell: (row) => span(pathOf(row)) },
  ];
}

function workerColumns(state: TopState): Column<WorkerInfo>[] {
  const share = (row: WorkerInfo) => (row.capacityBytes === 0 ? undefined : usedBytes(row) / row.capacityBytes);
  const fills = (row: WorkerInfo): Span => {
    const rate = fillRateOf(row, state);
    return rate === undefined ? nothing : span(`${formatSize(rate)}/s`);
  };
  const reads = ({ bytesPerSecond: rate }: WorkerInfo): Span =>
    rate === undefined ? nothing : span(`${formatSize(rate)}/s`);
  return [
    { title: 'STATE', cell: ({ state: at }) => span(at, workerStyles[at]) },
    { title: 'WORKER', cell: ({ id }) => span(id) },
    { title: 'USED', cell: (row) => barOf(share(row)), worth: 3 },
    { title: '%', cell: (row) => percentOf(share(row)), align: 'right' },
    {
      title: 'BYTES',
      cell: (row) => span(`${formatSize(usedBytes(row))} of ${formatSize(row.capacityBytes)}`),
      worth: 2,
    },
    { title: 'FILES', cell: ({ files }) => span(String(files)), align: 'right', worth: 1 },
    { title: 'RATE', cell: reads, align: 'right', worth: 5 },
    { title: 'FILLS AT', cell: fills, align: 'right', worth: 4 },
    { title: 'NOTE', cell: (row) => span(noteOf(row)) },
  ];
}

/** What a job waits for, and what holds it back. */
function notesOf({ reason, scannedFiles, options = {} }: JobRow): string[] {
  const limit = options.bandwidthBytesPerSecond;
  const listing = scannedFiles === undefined ? undefined : `is being listed, ${scannedFiles} keys so far`;
  const notes = [reason, listing, limit === undefined ? undefined : `limited to ${formatSize(limit)}/s a worker`];
  const said = notes.filter((note) => note !== undefined);
  return said.length === 0 ? [] : [said.join('; ')];
}

/** What is wrong with a worker. */
function noteOf({ state, drains, reason, lastSeenAt, freeBytes, capacityBytes }: WorkerInfo): string {
  const notes = [
    reason,
    state === 'LOST' ? `last heard ${lastSeenAt}` : undefined,
    drains ? 'gets no new segments' : undefined,
    state !== 'LOST' && freeBytes === 0 && capacityBytes > 0 ? 'nothing is free' : undefined,
  ];
  return notes.filter((note) => note !== undefined).join('; ');
}

/** In the order in which they are shown and counted: what needs somebody first. */
const jobRanks = ['RUNNING', 'VERIFYING', 'WAITING'] as const;
const workerRanks = ['LOST', 'REFUSED', 'DRAINING', 'LIVE'] as const;
const jobStyles: Partial<Record<JobRow['state'], Style>> = { RUNNING: 'green', VERIFYING: 'cyan', WAITING: 'yellow' };
const workerStyles: Record<WorkerInfo['state'], Style> = {
  LIVE: 'green',
  DRAINING: 'yellow',
  LOST: 'red',
  REFUSED: 'red',
};

function byRank<R extends { readonly state: string }>(
  ranks: readonly string[],
  then: (row: R) => string,
): (a: R, b: R) => number {
  return (a, b) =>
    ranks.indexOf(a.state) - ranks.indexOf(b.state) || (then(a) < then(b) ? -1 : then(a) > then(b) ? 1 : 0);
}

/** `2 running, 1 waiting`, or `none`. */
function countsOf(rows: readonly { readonly state: string }[], ranks: readonly string[]): string {
  const counts = ranks.map((rank) => [rows.filter(({ state }) => state === rank).length, rank.toLowerCase()] as const);
  const some = counts.filter(([count]) => count > 0).map(([count, word]) => `${count} ${word}`);
  return some.length === 0 ? 'none' : some.join(', ');
}

function barOf(share: number | undefined): Span {
  if (share === undefined) return nothing;
  const full = Math.floor(share * barColumns);
  return span(`${'█'.repeat(full)}${'░'.repeat(barColumns - full)}`, 'cyan');
}

/** Rounded down: 100 is what is whole. */
function percentOf(share: number | undefined): Span {
  return share === undefined ? nothing : span(`${Math.floor(share * 100)}`);
}

function ofWhole(done: number | undefined, whole: number | undefined, form: (amount: number) => string): Span {
  if (whole === undefined) return done === undefined || done === 0 ? nothing : span(form(done));
  return span(done === undefined ? form(whole) : `${form(done)} of ${form(whole)}`);
}

function isMetadata({ options }: JobRow): boolean {
  return options?.loadMetadataOnly === true;
}
