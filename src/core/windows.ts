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

/** What is offered; it keeps its claim until it leaves. */
interface Claimant<K> {
  readonly claim: Claim<K>;
}

interface Window<T> {
  /** Of the worker, under way. */
  files: number;
  readonly waiting: Deque<T>;
}

export class Windows<K, T extends Claimant<K>> {
  readonly #options: WindowsOptions;
  /** Of all workers that have had a file. */
  readonly #windows = new Map<K, Window<T>>();
  #segments = 0;
  #parked = 0;

  constructor(options: WindowsOptions) {
    this.#options = options;
  }

  get parked(): number {
    return this.#parked;
  }

  /** `go`: it is counted until `leave`. `parked`: a later `leave` lets it out. `full`: it is to be offered again after one. */
  offer(item: T): 'go' | 'parked' | 'full' {
    const { segments } = item.claim;
    if (segments > 0) {
      // One of more segments than the window has is let in alone.
      if (this.#segments > 0 && this.#segments + segments > this.#options.segments) return 'full';
      this.#segments += segments;
      return 'go';
    }
    const full = this.#enter(item.claim);
    if (full === undefined) return 'go';
    if (this.#parked >= this.#options.parked) return 'full';
    full.waiting.push(item);
    this.#parked += 1;
    return 'parked';
  }

  /** What went with this claim has ended. What goes in its place is told to `go`, counted. */
  leave(claim: Claim<K>, go: (item: T) => void): void {
    this.#segments -= claim.segments;
    for (const worker of claim.workers) this.#windowOf(worker).files -= 1;
    for (const worker of claim.workers) this.#letOut(this.#windowOf(worker), go);
  }

  #letOut(window: Window<T>, go: (item: T) => void): void {
    while (window.waiting.length > 0 && this.#hasRoom(window)) {
      const item = window.waiting.shift()!;
      const full = this.#enter(item.claim);
      if (full !== undefined) full.waiting.push(item);
      else {
        this.#parked -= 1;
        go(item);
      }
    }
  }

  #hasRoom({ files }: Window<T>): boolean {
    return files < this.#options.filesEach;
  }

  /** Returns a window that has no room, of which something will leave; undefined: it is counted in all. */
  #enter({ workers }: Claim<K>): Window<T> | undefined {
    for (const worker of workers) {
      const window = this.#windowOf(worker);
      if (!this.#hasRoom(window)) return window;
    }
    for (const worker of workers) this.#windowOf(worker).files += 1;
    return undefined;
  }

  #windowOf(worker: K): Window<T> {
    let window = this.#windows.get(worker);
    if (window === undefined) {
      window = { files: 0, waiting: new Deque() };
      this.#windows.set(worker, window);
    }
    return window;
  }
}
