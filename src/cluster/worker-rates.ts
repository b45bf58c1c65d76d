/** How fast each worker reads from origins, for the loads of this coordinator: of what its links hear anyway. */
import { addSample, type RateWindow, rateOf, rateWindowMs } from '../core/rate.ts';
import type { WorkerId } from '../core/types.ts';

/** A worker that was not heard for so long is forgotten. */
const forgetMs = 60_000;

export class WorkerRates {
  readonly #now: () => number;
  readonly #windows = new Map<WorkerId, RateWindow>();

  /** @param now of a clock that only goes forward, ms */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** So many bytes more were received than it had said before. */
  received(id: WorkerId, bytes: number): void {
    const atMs = this.#now();
    const window = this.#windows.get(id);
    // After a silence it begins anew: that was no slow stretch.
    const goesOn = window !== undefined && atMs - window.at(-1)!.atMs < rateWindowMs;
    const before = goesOn ? window : [{ atMs, total: 0 }];
    this.#windows.set(id, addSample(before, { atMs, total: before.at(-1)!.total + bytes }));
  }

  /** Bytes a second of late; undefined: nothing was heard lately. */
  of(id: WorkerId): number | undefined {
    const window = this.#windows.get(id);
    if (window === undefined) return undefined;
    const nowMs = this.#now();
    if (nowMs - window.at(-1)!.atMs > forgetMs) {
      this.#windows.delete(id);
      return undefined;
    }
    return rateOf(window, nowMs);
  }
}
