/**
 * The last events of many files, bounded by bytes, by number a file, and by age. What is oldest goes first.
 *
 * Invariants: the events of a file are in the order in which they came; `bytes` is the sum of what is kept, and at most
 * `maxBytes`; a path without events is not known. Adding costs the same, however many there are.
 */
import { Deque } from './deque.ts';

interface Event {
  readonly atMs: number;
  readonly path: string;
}

interface Kept<E> {
  readonly event: E;
  readonly bytes: number;
  /** It made way for others of its file. */
  gone: boolean;
}

interface OfPath<E> {
  readonly kept: Kept<E>[];
  dropped: number;
}

export interface KeptBounds {
  readonly maxBytes: number;
  readonly perFile: number;
  readonly ageMs: number;
}

/** What an event takes in memory beside its text, with its place in the map. */
export const eventOverheadBytes = 400;

export class KeptEvents<E extends Event> {
  readonly #bounds: KeptBounds;
  /** In the order in which they came; those that made way for others of their file stay until they are at the head. */
  readonly #queue = new Deque<Kept<E>>();
  readonly #byPath = new Map<string, OfPath<E>>();
  #bytes = 0;
  #sinceMs: number;

  /** @param sinceMs what happened before is not known. */
  constructor(bounds: KeptBounds, sinceMs: number) {
    this.#bounds = bounds;
    this.#sinceMs = sinceMs;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Of all files, everything that is younger is kept, but for what made way for others of its own file. */
  get sinceMs(): number {
    return this.#sinceMs;
  }

  /** What lies in the queue, those that made way included; for tests. */
  get queued(): number {
    return this.#queue.length;
  }

  /** @param textBytes of the event as text. */
  add(event: E, textBytes: number, nowMs: number): void {
    const { maxBytes, perFile } = this.#bounds;
    const bytes = textBytes + eventOverheadBytes;
    const one = { event, bytes, gone: false };
    let of = this.#byPath.get(event.path);
    if (of === undefined) {
      of = { kept: [], dropped: 0 };
      this.#byPath.set(event.path, of);
    }
    of.kept.push(one);
    this.#queue.push(one);
    this.#bytes += bytes;
    if (of.kept.length > perFile) {
      const first = of.kept.shift()!;
      first.gone = true;
      this.#bytes -= first.bytes;
      of.dropped += 1;
    }
    while (this.#bytes > maxBytes) this.#dropOldest();
    this.expire(nowMs);
    this.#sweep();
  }

  /** Drops what is too old. */
  expire(nowMs: number): void {
    const deadMs = nowMs - this.#bounds.ageMs;
    for (let first = this.#queue.peek(); first !== undefined; first = this.#queue.peek()) {
      if (!first.gone && first.event.atMs >= deadMs) break;
      this.#dropOldest();
    }
    this.#sinceMs = Math.max(this.#sinceMs, deadMs);
  }

  has(path: string): boolean {
    return this.#byPath.has(path);
  }

  /** The oldest first, and how many more there were. */
  of(path: string): { readonly events: readonly E[]; readonly dropped: number } {
    const of = this.#byPath.get(path);
    return { events: of?.kept.map(({ event }) => event) ?? [], dropped: of?.dropped ?? 0 };
  }

  #dropOldest(): void {
    const first = this.#queue.shift();
    if (first === undefined || first.gone) return;
    const { path, atMs } = first.event;
    const of = this.#byPath.get(path)!;
    of.kept.shift();
    if (of.kept.length === 0) this.#byPath.delete(path);
    this.#bytes -= first.bytes;
    this.#sinceMs = Math.max(this.#sinceMs, atMs);
  }

  /** One file with very many events must not fill the queue with those that made way. */
  #sweep(): void {
    const { maxBytes } = this.#bounds;
    const most = 1024 + 2 * Math.ceil(maxBytes / eventOverheadBytes);
    if (this.#queue.length <= most) return;
    for (const one of this.#queue.clear()) if (!one.gone) this.#queue.push(one);
  }
}
