/** How files are cut into parts, and how parts share a slot. Pure. */
import type { ByteRange, Extent } from './types.ts';
import { alignUp } from './units.ts';

/** The parts of a range, cut at multiples of `partBytes` of the file, in order. */
export function* partsOf(ranges: Iterable<ByteRange>, partBytes: number): Generator<ByteRange> {
  for (const range of ranges) {
    const end = range.offset + range.length;
    for (let offset = range.offset; offset < end; ) {
      const next = Math.min(end, (Math.floor(offset / partBytes) + 1) * partBytes);
      yield { offset, length: next - offset };
      offset = next;
    }
  }
}

export function partCount(range: ByteRange, partBytes: number): number {
  if (range.length === 0) return 0;
  return Math.floor((range.offset + range.length - 1) / partBytes) - Math.floor(range.offset / partBytes) + 1;
}

export interface PackLimits {
  /** Of the slot, or less. */
  readonly bytes: number;
  readonly parts: number;
  /** Parts above this get a slot of their own. */
  readonly smallBytes: number;
}

/**
 * How many parts from the head of a queue share one slot, given their lengths: one large part, or as many small ones
 * as fit, each at a 4 KiB boundary. At least 1 for a non-empty queue.
 */
export function packSize(lengthAt: (index: number) => number | undefined, limits: PackLimits): number {
  const first = lengthAt(0);
  if (first === undefined) return 0;
  if (first > limits.smallBytes) return 1;
  let used = alignUp(first);
  let count = 1;
  while (count < limits.parts) {
    const next = lengthAt(count);
    if (next === undefined || next > limits.smallBytes) break;
    used += alignUp(next);
    if (used > limits.bytes) break;
    count += 1;
  }
  return count;
}

/** The piece `[offset, offset + length)` of a run of extents laid end to end; all multiples of 4 KiB. */
export function sliceExtents(extents: readonly Extent[], offset: number, length: number): Extent[] {
  const pieces: Extent[] = [];
  let start = 0;
  for (const extent of extents) {
    const from = Math.max(offset, start);
    const to = Math.min(offset + length, start + extent.length);
    if (to > from) pieces.push({ store: extent.store, offset: extent.offset + from - start, length: to - from });
    start += extent.length;
    if (start >= offset + length) break;
  }
  return pieces;
}
