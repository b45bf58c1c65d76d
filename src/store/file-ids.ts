/** Ids of files: none is ever used twice, whatever the process that handed them out came to. */
import type { FileId } from '../core/types.ts';
import type { Changes } from './changes.ts';

/** Ids that one process may hand out before it records the next range. */
const idsReserved = 2 ** 24;

export class FileIds {
  #next: number;
  #end: number;

  /** @param first the end of the range that was recorded last */
  constructor(first: number) {
    this.#next = first;
    this.#end = first;
  }

  next(): FileId {
    return this.#next++ as FileId;
  }

  /** Keeps the recorded end of the range of ids far enough ahead of those in use. */
  reserve(changes: Changes): void {
    if (this.#next + idsReserved / 2 <= this.#end) return;
    this.#end = this.#next + idsReserved;
    changes.putMeta('nextFileId', this.#end);
  }
}
