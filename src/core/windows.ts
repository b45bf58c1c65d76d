/**
 * How many files each worker may have at once, so that one that is slow fills its own window and nobody else's. Pure
 * bookkeeping: what may not go yet is parked, and let out when a window that it waits for has room.
 *
 * A file that is cut lies on all workers. It has no window of a worker; their segments together have one.
 */
import { Deque } from './deque.ts';

export interface Claim<K> {
  /** Workers that have a part in the file; none of one that is cut. */
  readonly workers: readonly K[];
  /** Of a file that is cut, under way at once; 0 for others. */
  readonly segments: number;
}

export interface WindowsOptions {
  /** Files of one worker. */
  readonly filesEach: number;
  /** Of files that are cut, over all workers. */
  readonly segments: number;
  /** Files that wait for windows with room. */
  readonly parked: number;
}

export class Windows<K, T> {
  readonly #options: WindowsOptions;
  readonly #files = new Map<K, number>();
  readonly #waiting = new Map<K, Deque<{ readonly item: T; readonly claim: Claim<K> }>>();
  #segments = 0;
  #parked = 0;

  constructor(options: WindowsOptions) {
    this.#options = options;
  }

  get parked(): number {
    return this.#parked;
  }

  /** `go`: it is counted until `leave`. `parked`: a later `leave` lets it out. `full`: it is to be offered again after one. */
  offer(item: T, claim: Claim<K>): 'go' | 'parked' | 'full' {
    if (claim.segments > 0) {
      // One of more segments than the window has is let in alone.
      if (this.#segments > 0 && this.#segments + claim.segments > this.#options.segments) return 'full';
      this.#segments += claim.segments;
      return 'go';
    }
    if (this.#enter(claim)) return 'go';
    if (this.#parked >= this.#options.parked) return 'full';
    this.#park(item, claim);
    return 'parked';
  }

  /** What went with this claim has ended. Returns what goes in its place, counted. */
  leave(claim: Claim<K>): T[] {
    this.#segments -= claim.segments;
    for (const worker of claim.workers) {
      const left = this.#files.get(worker)! - 1;
      if (left > 0) this.#files.set(worker, left);
      else this.#files.delete(worker);
    }
    return claim.workers.flatMap((worker) => this.#letOut(worker));
  }

  #letOut(worker: K): T[] {
    const waiting = this.#waiting.get(worker);
    const out: T[] = [];
    while (waiting !== undefined && waiting.length > 0 && this.#hasRoom(worker)) {
      const { item, claim } = waiting.shift()!;
      this.#parked -= 1;
      if (this.#enter(claim)) out.push(item);
      else this.#park(item, claim);
    }
    if (waiting?.length === 0) this.#waiting.delete(worker);
    return out;
  }

  #hasRoom(worker: K): boolean {
    return (this.#files.get(worker) ?? 0) < this.#options.filesEach;
  }

  #enter({ workers }: Claim<K>): boolean {
    if (!workers.every((worker) => this.#hasRoom(worker))) return false;
    for (const worker of workers) this.#files.set(worker, (this.#files.get(worker) ?? 0) + 1);
    return true;
  }

  /** With a worker whose window is full: something of that will leave. */
  #park(item: T, claim: Claim<K>): void {
    const full = claim.workers.find((worker) => !this.#hasRoom(worker))!;
    const waiting = this.#waiting.get(full) ?? new Deque();
    this.#waiting.set(full, waiting);
    waiting.push({ item, claim });
    this.#parked += 1;
  }
}
