/**
 * Things that wait for a place among a limited number of places, first in first out for each claimant; between claimants
 * the next place is that of the one with fewest for its weight, and among equals of the one that has waited longest for a
 * turn. So one that comes later, with little, does not wait behind all that another one has queued.
 */
import { Deque } from './deque.ts';

interface Line<T> {
  readonly waiting: Deque<T>;
  weight: number;
  /** Places that it has. */
  held: number;
}

export class FairQueue<K, T> {
  /** In the order of their turns; a claimant without anything waiting or held is not in it. */
  readonly #lines = new Map<K, Line<T>>();
  #length = 0;

  get length(): number {
    return this.#length;
  }

  push(key: K, item: T, weight: number): void {
    const line = this.#lineOf(key);
    line.weight = weight;
    line.waiting.push(item);
    this.#length += 1;
  }

  /** Gives a place to the next one; undefined: nobody waits, or only such as may not have one now. */
  take(may: (item: T) => boolean = () => true): T | undefined {
    let best: Line<T> | undefined;
    let bestKey: K | undefined;
    for (const [key, line] of this.#lines) {
      const first = line.waiting.peek();
      if (first === undefined || !may(first)) continue;
      if (best !== undefined && line.held / line.weight >= best.held / best.weight) continue;
      best = line;
      bestKey = key;
    }
    if (best === undefined) return undefined;
    if (this.#lines.size > 1) {
      this.#lines.delete(bestKey as K);
      this.#lines.set(bestKey as K, best);
    }
    best.held += 1;
    this.#length -= 1;
    return best.waiting.shift();
  }

  /** One that did not have to wait. */
  enter(key: K): void {
    this.#lineOf(key).held += 1;
  }

  giveBack(key: K): void {
    const line = this.#lines.get(key);
    if (line === undefined) return;
    line.held -= 1;
    if (line.held <= 0 && line.waiting.length === 0) this.#lines.delete(key);
  }

  /** How many wait for each claimant, of those that have some. */
  eachWaiting(visit: (key: K, count: number) => void): void {
    for (const [key, { waiting }] of this.#lines) if (waiting.length > 0) visit(key, waiting.length);
  }

  /** Takes what waits out of the queue, where it matches; in order by claimant. */
  remove(matches: (item: T) => boolean): T[] {
    const removed: T[] = [];
    for (const [key, line] of this.#lines) {
      for (const item of line.waiting.clear()) {
        if (matches(item)) removed.push(item);
        else line.waiting.push(item);
      }
      if (line.held <= 0 && line.waiting.length === 0) this.#lines.delete(key);
    }
    this.#length -= removed.length;
    return removed;
  }

  #lineOf(key: K): Line<T> {
    let line = this.#lines.get(key);
    if (line === undefined) {
      line = { waiting: new Deque(), weight: 1, held: 0 };
      this.#lines.set(key, line);
    }
    return line;
  }
}
