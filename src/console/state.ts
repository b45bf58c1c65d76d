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
import { addSample, etaMsOf, type RateWindow, rateOf } from '../core/rate.ts';
import { allows, type TokenRole } from '../core/roles.ts';
import { Series } from './series.ts';

/** How far a job is; what cannot be said is absent. */
export interface JobFigures {
  /** 0 to 1. */
  readonly share?: number;
  readonly bytesPerSecond?: number;
  readonly etaMs?: number;
}

interface Measured {
  /** What was measured; of anything else the window begins anew. */
  readonly of: string;
  readonly window: RateWindow;
}

export class ConsoleState {
  readonly jobs = new Map<string, ConsoleJob>();
  readonly workers = new Map<string, ConsoleWorker>();
  readonly origins = new Map<string, ConsoleOrigin>();
  /** What all loads read from their origins together, and what each did. */
  readonly totalRate = new Series();
  readonly rates = new Map<string, Series>();
  head: ConsoleHead | undefined;
  caller: ConsoleHello['caller'];
  #measured = new Map<string, Measured>();

  hello({ caller }: ConsoleHello): void {
    this.caller = caller;
  }

  take(news: ConsoleNews): void {
    withNews(this.jobs, news.jobs, news.whole);
    withNews(this.workers, news.workers, news.whole);
    withNews(this.origins, news.origins, news.whole);
    if (news.head !== undefined) this.head = news.head;
  }

  /** Once a second: what is drawn as a curve, and rates that only follow from what is done. */
  sample(nowMs: number): void {
    const measured = new Map<string, Measured>();
    let total = 0;
    for (const job of this.jobs.values()) {
      if (job.endedAtMs !== undefined || job.state === 'WAITING') continue;
      if (!isLoading(job)) this.#measure(measured, `job ${job.id}`, job.state, { atMs: nowMs, total: job.doneBytes });
      const rate = this.figures(job).bytesPerSecond ?? 0;
      if (isLoading(job)) total += rate;
      const series = this.rates.get(job.id) ?? new Series();
      this.rates.set(job.id, series);
      series.add(nowMs, rate);
    }
    this.#measured = measured;
    for (const id of this.rates.keys()) if (!this.jobs.has(id)) this.rates.delete(id);
    this.totalRate.add(nowMs, total);
  }

  /** A load that runs is as fast as its coordinator says; of checks and frees what was done of late says it. */
  figures(job: ConsoleJob): JobFigures {
    if (job.state === 'WAITING') return {};
    const share = shareOf(job);
    const known = share === undefined ? {} : { share };
    if (job.endedAtMs !== undefined || isLoading(job)) {
      const { bytesPerSecond, etaMs } = job;
      return {
        ...known,
        ...(bytesPerSecond !== undefined && { bytesPerSecond }),
        ...(etaMs !== undefined && { etaMs }),
      };
    }
    const rate = this.#rate(`job ${job.id}`);
    if (rate === undefined || job.dryRun) return known;
    const etaMs = etaMsOf(job.bytes === undefined ? undefined : job.bytes - job.doneBytes, rate);
    return { ...known, bytesPerSecond: rate, ...(etaMs !== undefined && { etaMs }) };
  }

  may(role: TokenRole): boolean {
    return this.caller === undefined || allows(this.caller.role, role);
  }

  #rate(key: string): number | undefined {
    const window = this.#measured.get(key)?.window;
    const last = window?.at(-1);
    return last === undefined ? undefined : rateOf(window!, last.atMs);
  }

  #measure(into: Map<string, Measured>, key: string, of: string, sample: RateWindow[number]): void {
    const before = this.#measured.get(key);
    into.set(key, { of, window: addSample(before?.of === of ? before.window : [], sample) });
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
