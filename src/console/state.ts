/** What the page knows, of what it was told. Clocks are passed in; nothing here touches the document. */
import {
  type ConsoleHead,
  type ConsoleHello,
  type ConsoleJob,
  type ConsoleNews,
  type ConsoleOrigin,
  type ConsoleWorker,
  withNews,
} from '../core/console-feed.ts';
import { etaMsOf } from '../core/rate.ts';
import { RateHistory, type RateRecord } from '../core/rate-history.ts';
import { allows, type TokenRole } from '../core/roles.ts';
import { countText, spanText } from './format.ts';

/** How far a job is; what cannot be said is absent. */
export interface JobFigures {
  /** 0 to 1. */
  readonly share?: number;
  readonly bytesPerSecond?: number;
  readonly etaMs?: number;
}

/** How much of the past of a job: what a small curve shows, or all of it. */
export type Past = 'sketch' | 'all';

/** A rate is one over ten seconds: when it is zero so long have passed already. */
const stillAfterMs = 10_000;

export class ConsoleState {
  readonly jobs = new Map<string, ConsoleJob>();
  readonly workers = new Map<string, ConsoleWorker>();
  readonly origins = new Map<string, ConsoleOrigin>();
  /** What all loads read from their origins together, what workers serve to clients, and what each job did. */
  readonly loading = new RateHistory();
  readonly serving = new RateHistory();
  readonly rates = new Map<string, RateHistory>();
  /** Whose past is to be asked for, because it is shown. */
  readonly wanted = new Map<string, Past>();
  head: ConsoleHead | undefined;
  caller: ConsoleHello['caller'];
  readonly #pasts = new Map<string, Past>();

  hello({ caller }: ConsoleHello): void {
    this.caller = caller;
  }

  take(news: ConsoleNews): void {
    withNews(this.jobs, news.jobs, news.whole);
    withNews(this.workers, news.workers, news.whole);
    withNews(this.origins, news.origins, news.whole);
    if (news.head !== undefined) this.head = news.head;
  }

  /** Once a second: what is drawn as a curve. */
  sample(nowMs: number): void {
    let total = 0;
    for (const job of this.jobs.values()) {
      if (!isActive(job) || job.state === 'WAITING') continue;
      const rate = job.bytesPerSecond ?? 0;
      if (isLoading(job)) total += rate;
      const history = this.rates.get(job.id) ?? new RateHistory();
      this.rates.set(job.id, history);
      history.add(nowMs, rate);
    }
    // A coordinator that has not heard of the jobs yet knows nothing of them: neither that they are gone, nor that they stand still.
    if (this.head?.trouble === undefined || this.jobs.size > 0) {
      for (const id of this.rates.keys()) if (!this.jobs.has(id)) this.#forget(id);
      this.loading.add(nowMs, total);
    }
    const heard = [...this.workers.values()].filter(({ state }) => state !== 'LOST');
    if (heard.length > 0 || this.workers.size === 0)
      this.serving.add(
        nowMs,
        heard.reduce((sum, { servedBytesPerSecond = 0 }) => sum + servedBytesPerSecond, 0),
      );
  }

  /** The past of a job is shown: it is asked for once, until `pastIsOld`. */
  want(id: string, past: Past): void {
    const known = this.#pasts.get(id);
    if (known !== 'all' && known !== past && this.wanted.get(id) !== 'all') this.wanted.set(id, past);
  }

  /** What was missed in between is asked for again, of what is shown. */
  pastIsOld(): void {
    this.#pasts.clear();
  }

  /** What was seen here stays where the coordinator, which may be another one by now, says nothing. */
  tookCluster(loading: RateRecord, serving: RateRecord, nowMs: number): void {
    this.loading.merge(loading, nowMs);
    this.serving.merge(serving, nowMs);
  }

  /** Undefined: nobody knows it; what was seen here stays. */
  tookPast(id: string, past: Past, record: RateRecord | undefined, nowMs: number): void {
    this.wanted.delete(id);
    this.#pasts.set(id, past);
    if (record === undefined) return;
    const history = this.rates.get(id) ?? new RateHistory();
    history.merge(record, nowMs);
    this.rates.set(id, history);
  }

  figures(job: ConsoleJob): JobFigures {
    if (job.state === 'WAITING') return {};
    const share = shareOf(job);
    const { bytesPerSecond } = job;
    const left = job.bytes === undefined ? undefined : job.bytes - job.doneBytes;
    // Of what does not say it itself what was done of late says it.
    const etaMs = job.etaMs ?? (isActive(job) && !isLoading(job) ? etaMsOf(left, bytesPerSecond) : undefined);
    return {
      ...(share !== undefined && { share }),
      ...(bytesPerSecond !== undefined && { bytesPerSecond }),
      ...(etaMs !== undefined && { etaMs }),
    };
  }

  /** Why one that runs does not move, as far as that can be seen; undefined: it moves. */
  stillText(job: ConsoleJob, nowMs: number): string | undefined {
    if (!isLoading(job)) return undefined;
    const stillMs = this.rates.get(job.id)?.stillMs(nowMs);
    const listing = job.files === undefined;
    const soFar = job.scannedFiles === undefined ? '' : `, ${countText(job.scannedFiles)} keys so far`;
    const notes = [
      listing ? `its path is still being listed${soFar}` : undefined,
      // Before the end of a listing most loads read nothing: only of one that has begun to it says something.
      stillMs !== undefined && stillMs >= stillAfterMs && !job.metadataOnly && !(listing && job.doneFiles === 0)
        ? `nothing has come from the origin for ${spanText(stillMs)}`
        : undefined,
    ];
    return notes.filter((note) => note !== undefined).join(', ') || undefined;
  }

  may(role: TokenRole): boolean {
    return this.caller === undefined || allows(this.caller.role, role);
  }

  #forget(id: string): void {
    this.rates.delete(id);
    this.wanted.delete(id);
    this.#pasts.delete(id);
  }
}

export function isActive({ endedAtMs }: ConsoleJob): boolean {
  return endedAtMs === undefined;
}

function isLoading({ type, state }: ConsoleJob): boolean {
  return type === 'LOAD' && state === 'RUNNING';
}

/** Of bytes, or of files where only metadata is loaded. */
function shareOf({ type, dryRun, bytes, files, doneBytes, doneFiles, metadataOnly }: ConsoleJob): number | undefined {
  if (type === 'FREE' && dryRun) return undefined;
  if (bytes !== undefined && bytes > 0 && !metadataOnly) return Math.min(1, doneBytes / bytes);
  if (type === 'FREE' || files === undefined || files === 0) return undefined;
  return Math.min(1, doneFiles / files);
}

export function usedBytes({ capacityBytes, freeBytes }: ConsoleWorker): number {
  return Math.max(0, capacityBytes - freeBytes);
}

/** What is in a store, in bytes that add up to its capacity. `cached` is what neither rule nor load keeps. */
export interface StoreUse {
  readonly pinned: number;
  readonly held: number;
  readonly cached: number;
  readonly reserved: number;
  readonly free: number;
}

export const storeUses = ['pinned', 'held', 'cached', 'reserved', 'free'] as const satisfies (keyof StoreUse)[];

export function useOf(worker: ConsoleWorker): StoreUse {
  const { capacityBytes, freeBytes, reservedBytes = 0, pinnedBytes = 0, heldBytes = 0 } = worker;
  const free = Math.min(capacityBytes, freeBytes);
  const reserved = Math.min(reservedBytes, capacityBytes - free);
  const used = capacityBytes - free - reserved;
  const pinned = Math.min(pinnedBytes, used);
  const held = Math.min(heldBytes, used - pinned);
  return { pinned, held, cached: used - pinned - held, reserved, free };
}

/** Where a path comes from: `s3://bucket/`, or `file:///`. */
export function originOf(path: string): string {
  return /^s3:\/\/[^/]+/.exec(path)?.[0].concat('/') ?? /^[a-z0-9+.-]+:\/\/\/?/.exec(path)?.[0] ?? path;
}
