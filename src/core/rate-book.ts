/**
 * Histories of rates of a cluster, in bounded memory: what all loads read together, what workers serve, and what each job did,
 * also for a while after it has ended. Pure: whoever has it passes the clock and what is there.
 */
import { addSample, type RateWindow, rateOf } from './rate.ts';
import { RateHistory, type RateRecord } from './rate-history.ts';

/** Of 11 KB each. Beyond it those that said something the longest ago go, never one that says something now. */
export const mostJobHistories = 1_000;

/** A job that does something now. */
export interface JobNow {
  readonly id: string;
  /** What it does: of anything else the rate begins anew. */
  readonly state: string;
  /** It says its rate itself. */
  readonly bytesPerSecond?: number | undefined;
  /** Else the rate follows from this. */
  readonly doneBytes: number;
  /** From the origin: counts for the cluster. */
  readonly loads: boolean;
}

interface Kept {
  readonly history: RateHistory;
  of: string;
  window: RateWindow;
  rate: number | undefined;
}

export class RateBook {
  readonly loading = new RateHistory();
  readonly serving = new RateHistory();
  readonly #jobs = new Map<string, Kept>();
  /** Jobs of which something is kept at once. */
  readonly mostJobs: number;

  constructor(mostJobs = mostJobHistories) {
    this.mostJobs = mostJobs;
  }

  /** Once a second. `servedBytesPerSecond` is undefined where nobody knows it: that is a gap. */
  sample(nowMs: number, jobs: readonly JobNow[], servedBytesPerSecond: number | undefined): void {
    let total = 0;
    for (const job of jobs) {
      const kept = this.#keep(job, nowMs);
      if (kept === undefined) {
        if (job.loads) total += job.bytesPerSecond ?? 0;
        continue;
      }
      kept.rate = rateNow(kept, job, nowMs);
      kept.history.add(nowMs, kept.rate ?? 0);
      if (job.loads) total += kept.rate ?? 0;
    }
    this.loading.add(nowMs, total);
    if (servedBytesPerSecond !== undefined) this.serving.add(nowMs, servedBytesPerSecond);
  }

  job(id: string): RateHistory | undefined {
    return this.#jobs.get(id)?.history;
  }

  /** Those that said something the longest ago first. */
  *jobs(): IterableIterator<readonly [id: string, history: RateHistory]> {
    for (const [id, { history }] of this.#jobs) yield [id, history];
  }

  /** What was known of a job before anything is sampled: of more than may be, those that are told first go. */
  tell(id: string, past: RateRecord, nowMs: number): void {
    const [oldest] = this.#jobs.keys();
    if (this.#jobs.size >= this.mostJobs && oldest !== undefined) this.#jobs.delete(oldest);
    this.#jobs.set(id, { history: RateHistory.of(past, nowMs), of: '', window: [], rate: undefined });
  }

  /** Of what it did when it was sampled last. */
  rateOf(id: string): number | undefined {
    return this.#jobs.get(id)?.rate;
  }

  /** Undefined: as many as may be say something now. */
  #keep({ id, state }: JobNow, nowMs: number): Kept | undefined {
    let kept = this.#jobs.get(id);
    if (kept === undefined) {
      if (this.#jobs.size >= this.mostJobs && !this.#forgetOne(nowMs)) return undefined;
      kept = { history: new RateHistory(), of: state, window: [], rate: undefined };
    } else this.#jobs.delete(id);
    // The one that was heard last is the last.
    this.#jobs.set(id, kept);
    if (kept.of !== state) [kept.of, kept.window] = [state, []];
    return kept;
  }

  /** Those that were sampled by now are behind those that were not. */
  #forgetOne(nowMs: number): boolean {
    const [oldest] = this.#jobs;
    if (oldest === undefined || oldest[1].history.lastMs >= nowMs - heardMs) return false;
    return this.#jobs.delete(oldest[0]);
  }
}

/** Who was sampled within it goes on. */
const heardMs = 5_000;

function rateNow(kept: Kept, { bytesPerSecond, doneBytes, loads }: JobNow, nowMs: number): number | undefined {
  if (loads) return bytesPerSecond;
  kept.window = addSample(kept.window, { atMs: nowMs, total: doneBytes });
  return rateOf(kept.window, nowMs);
}
