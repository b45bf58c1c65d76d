/**
 * Which segments are being loaded on this worker, and word of each time that some of one has become durable: for those who
 * copy it as it arrives. A segment is named by its path and its first byte.
 */
import type { UfsPath } from '../core/types.ts';

export class Landings {
  readonly #underWay = new Map<string, number>();
  readonly #listeners = new Map<string, Set<() => void>>();

  begun(path: UfsPath, offset: number): void {
    const key = keyOf(path, offset);
    this.#underWay.set(key, (this.#underWay.get(key) ?? 0) + 1);
  }

  ended(path: UfsPath, offset: number): void {
    const key = keyOf(path, offset);
    const left = (this.#underWay.get(key) ?? 1) - 1;
    if (left > 0) this.#underWay.set(key, left);
    else this.#underWay.delete(key);
    this.#tell(key);
  }

  landed(path: UfsPath, offset: number): void {
    if (this.#listeners.size > 0) this.#tell(keyOf(path, offset));
  }

  isUnderWay(path: UfsPath, offset: number): boolean {
    return this.#underWay.has(keyOf(path, offset));
  }

  /** Calls `listener` when some of it has become durable, and when its load has ended; returns how to end that. */
  watch(path: UfsPath, offset: number, listener: () => void): () => void {
    const key = keyOf(path, offset);
    const listeners = this.#listeners.get(key) ?? new Set();
    this.#listeners.set(key, listeners.add(listener));
    return () => {
      listeners.delete(listener);
      if (listeners.size === 0 && this.#listeners.get(key) === listeners) this.#listeners.delete(key);
    };
  }

  /** Who watches now. */
  get listeners(): number {
    return [...this.#listeners.values()].reduce((sum, { size }) => sum + size, 0);
  }

  #tell(key: string): void {
    for (const listener of this.#listeners.get(key) ?? []) listener();
  }
}

/** Of a whole file its path, which no other key is: that begins with a scheme. */
function keyOf(path: UfsPath, offset: number): string {
  return offset === 0 ? path : `${offset} ${path}`;
}
