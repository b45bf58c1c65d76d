/**
 * What is asked of the origin for a reader of what is not cached: pieces that are fetched as a whole and once, whoever wants
 * them, the first one small so that its bytes are there soon; and, for those who read on and on, some of what comes next.
 */
import type { ByteRange } from './types.ts';
import { alignDown, alignUp, MiB, pageBytes } from './units.ts';

/** The first bytes of a long read are waited for: one page of them comes alone. */
const firstBytes = MiB;
/** Ends of reads that are remembered of a file: so many may read it in turn and each be known as one who reads on. */
const endsKept = 16;

/**
 * Cuts what is missing of a range: from page to page, and at each multiple of `partBytes`, so that whoever asks for whatever
 * range the pieces are the same ones.
 * @param sizeBytes of the file, which is where the last piece ends
 */
export function piecesOf(missing: readonly ByteRange[], of: { partBytes: number; sizeBytes: number }): ByteRange[] {
  const pieces: ByteRange[] = [];
  for (const { offset, length } of missing) {
    const end = Math.min(of.sizeBytes, alignUp(offset + length, pageBytes));
    let at = alignDown(offset, pageBytes);
    if (end - at > firstBytes) {
      pieces.push({ offset: at, length: firstBytes });
      at += firstBytes;
    }
    while (at < end) {
      const next = Math.min(end, alignUp(at + 1, of.partBytes));
      pieces.push({ offset: at, length: next - at });
      at = next;
    }
  }
  return pieces;
}

/** Who reads a file from one range to the next. */
export class Sequences {
  readonly #ends = new Set<number>();

  /**
   * Takes note of a read, and says how much behind its end is worth fetching.
   * @param limitBytes for one who reads on; a first read, and one at a new place, is worth nothing
   */
  aheadOf({ offset, length }: ByteRange, limitBytes: number): number {
    const goesOn = this.#ends.delete(offset) && offset > 0;
    this.#ends.add(offset + length);
    if (this.#ends.size > endsKept) this.#ends.delete(this.#ends.values().next().value!);
    return goesOn ? limitBytes : 0;
  }
}
