/**
 * Files that running loads count on: what they have loaded, and what they found here and need not load. Nothing of that is
 * evicted before they end. How many bytes that are is known well enough to say no in time: where two loads hold one file, and
 * the first of them ends, the bytes count as free to go, and whoever wants them finds that they are not.
 */
import { NumberSet } from '../core/number-set.ts';
import type { FileId, LoadId, RunId } from '../core/types.ts';

interface Held {
  readonly load: LoadId;
  readonly files: NumberSet;
  bytes: number;
}

export class Holds {
  readonly #runs = new Map<RunId, Held>();

  /** Of files that are not pinned. */
  get bytes(): number {
    let sum = 0;
    for (const { bytes } of this.#runs.values()) sum += bytes;
    return sum;
  }

  enter(run: RunId, load: LoadId): void {
    if (!this.#runs.has(run)) this.#runs.set(run, { load, files: new NumberSet(), bytes: 0 });
  }

  /** False: nothing was held. */
  leave(run: RunId): boolean {
    return this.#runs.delete(run);
  }

  /** A run that has not entered holds nothing. */
  hold(run: RunId, file: FileId, bytes: number): void {
    const held = this.#runs.get(run);
    if (held === undefined || held.files.has(file)) return;
    if (!this.has(file)) held.bytes += bytes;
    held.files.add(file);
  }

  has(file: FileId): boolean {
    return this.#holder(file) !== undefined;
  }

  /** A run of this load is there: what the load brought in an earlier process is held too. */
  isOf(load: LoadId): boolean {
    for (const held of this.#runs.values()) if (held.load === load) return true;
    return false;
  }

  /** What is here of a file has become more, or less. */
  changed(file: FileId, bytes: number): void {
    const held = this.#holder(file);
    if (held !== undefined) held.bytes = Math.max(0, held.bytes + bytes);
  }

  #holder(file: FileId): Held | undefined {
    for (const held of this.#runs.values()) if (held.files.has(file)) return held;
    return undefined;
  }
}
