/** What `primed top` knows: the newest answer, and rates that follow from the answers before it. Pure; clocks are passed in. */
import type { JobRow, RatesAnswer, WorkerInfo } from '../client/types.ts';
import { addSample, etaMsOf, type RateWindow, rateOf } from '../core/rate.ts';

/** Jobs that have not ended, and workers; absent where one process is coordinator and worker. */
export interface Look {
  readonly jobs: readonly JobRow[];
  readonly workers?: readonly WorkerInfo[];
  /** How fast it was; absent where the coordinator does not tell. */
  readonly rates?: RatesAnswer;
}

export interface TopState {
  readonly look?: Look;
  /** Of jobs by id and of workers by id, as far as they are in the newest look. */
  readonly jobRates: ReadonlyMap<string, Measured>;
  readonly workerRates: ReadonlyMap<string, Measured>;
  /** Why there is no answer, and since when. */
  readonly trouble?: { readonly message: string; readonly sinceMs: number };
}

/** Of one thing while it does one thing: a job in one state, a registration of a worker. */
interface Measured {
  readonly of: string;
  readonly window: RateWindow;
}

export const nothingSeen: TopState = { jobRates: new Map(), workerRates: new Map() };

/** An answer of `nowMs`, of a clock that only goes forward. */
export function withLook(state: TopState, look: Look, nowMs: number): TopState {
  const { workers = [] } = look;
  return {
    look,
    jobRates: new Map(
      look.jobs.map((row) => {
        const sample = { atMs: nowMs, total: doneBytes(row) };
        return [row.jobId, measure(state.jobRates.get(row.jobId), row.state, sample)] as const;
      }),
    ),
    workerRates: new Map(
      workers.map((row) => {
        // What it has is as old as its last word; between two words nothing is known, and nothing has changed.
        const sample = { atMs: Date.parse(row.lastSeenAt), total: usedBytes(row) };
        return [row.id, measure(state.workerRates.get(row.id), `${row.epoch}`, sample)] as const;
      }),
    ),
  };
}

/** A question that was not answered. What was seen stays. */
export function withTrouble({ trouble, ...state }: TopState, message: string, nowMs: number): TopState {
  return { ...state, trouble: { message, sinceMs: trouble?.sinceMs ?? nowMs } };
}

/** How far a job is; what cannot be said is absent. */
export interface JobFigures {
  /** 0 to 1: of bytes, or of files where only metadata is loaded; of the checking while it verifies. */
  readonly share?: number;
  readonly bytesPerSecond?: number;
  readonly etaMs?: number;
}

/**
 * A load that runs is as fast, and ends when, its coordinator says. Of what it says nothing about, verifying and freeing,
 * the answers of the last 10 s say it.
 */
export function figuresOf(row: JobRow, state: Pick<TopState, 'jobRates'>): JobFigures {
  if (row.state === 'WAITING') return {};
  const share = shareOf(row);
  const known = share === undefined ? {} : { share };
  if (isLoading(row)) {
    const { bytesPerSecond, etaMs } = row;
    return { ...known, ...(bytesPerSecond !== undefined && { bytesPerSecond }), ...(etaMs !== undefined && { etaMs }) };
  }
  const measured = rateOfWindow(state.jobRates.get(row.jobId));
  if (measured === undefined || row.options?.dryRun === true) return known;
  const etaMs = etaMsOf(row.bytes === undefined ? undefined : row.bytes - doneBytes(row), measured);
  return { ...known, bytesPerSecond: measured, ...(etaMs !== undefined && { etaMs }) };
}

/** How fast what a worker holds grows, in bytes a second; undefined before two of its words, and when something was evicted. */
export function fillRateOf(worker: WorkerInfo, state: Pick<TopState, 'workerRates'>): number | undefined {
  return worker.state === 'LOST' ? undefined : rateOfWindow(state.workerRates.get(worker.id));
}

/** Bytes a second that all loads together read from their origins. */
export function totalRateOf({ jobs }: Look): number {
  return jobs.filter(isLoading).reduce((sum, { bytesPerSecond = 0 }) => sum + bytesPerSecond, 0);
}

/** What the workers that hold a lease have, and can have. */
export function roomOf({ workers = [] }: Look): { usedBytes: number; capacityBytes: number } {
  const there = workers.filter(({ state }) => state !== 'LOST');
  return {
    usedBytes: there.reduce((sum, row) => sum + usedBytes(row), 0),
    capacityBytes: there.reduce((sum, { capacityBytes }) => sum + capacityBytes, 0),
  };
}

export function usedBytes({ capacityBytes, freeBytes }: WorkerInfo): number {
  return Math.max(0, capacityBytes - freeBytes);
}

/** What counts in its state: cached, verified or freed. */
export function doneBytes({
  type,
  state,
  loadedBytes = 0,
  skippedBytes = 0,
  verifiedBytes = 0,
  freedBytes = 0,
}: JobRow): number {
  if (type === 'FREE') return freedBytes;
  return state === 'VERIFYING' ? verifiedBytes : loadedBytes + skippedBytes;
}

function isLoading({ type, state }: JobRow): boolean {
  return type === 'LOAD' && state === 'RUNNING';
}

function shareOf(row: JobRow): number | undefined {
  const { type, bytes, files, processedFiles = 0, options = {} } = row;
  if (type === 'FREE' && options.dryRun === true) return undefined;
  if (bytes !== undefined && bytes > 0 && options.loadMetadataOnly !== true) return Math.min(1, doneBytes(row) / bytes);
  if (type === 'FREE' || files === undefined || files === 0) return undefined;
  return Math.min(1, processedFiles / files);
}

function measure(before: Measured | undefined, of: string, sample: RateWindow[number]): Measured {
  return { of, window: addSample(before?.of === of ? before.window : [], sample) };
}

function rateOfWindow(measured: Measured | undefined): number | undefined {
  const last = measured?.window.at(-1);
  return last === undefined ? undefined : rateOf(measured!.window, last.atMs);
}
