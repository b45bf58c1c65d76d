/**
 * Ranges of cached files whose last answer had to be cut off for a bad page. Who asks for one again is told so before the head
 * of the answer: from an answer that breaks off nobody can tell a bad page from a bad connection.
 */
import type { ByteRange } from '../core/types.ts';
import type { OpenFile } from '../store/types.ts';

/** The oldest are forgotten: then an answer is cut off once more. */
const mostSuspects = 1024;

export class Suspects {
  readonly #ranges = new Set<string>();

  add({ record }: OpenFile, range: ByteRange): void {
    this.#ranges.add(keyOf(record.fileId, range));
    if (this.#ranges.size > mostSuspects) this.#ranges.delete(this.#ranges.values().next().value!);
  }

  /** Reads every page of a range that is suspected. Throws what the store throws, STORE_CORRUPT above all. */
  async check(file: OpenFile, range: ByteRange): Promise<void> {
    const key = keyOf(file.record.fileId, range);
    if (!this.#ranges.has(key)) return;
    for await (const _page of file.read(range));
    this.#ranges.delete(key);
  }
}

function keyOf(fileId: number, { offset, length }: ByteRange): string {
  return `${fileId} ${offset} ${length}`;
}
