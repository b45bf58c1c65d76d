/** Arithmetic of byte ranges: sets of ranges are in order, apart from each other, and without empty ones. Pure. */
import type { ByteRange } from './types.ts';

/** As a set: in order, overlaps and neighbours joined. */
export function joined(ranges: Iterable<ByteRange>): ByteRange[] {
  const sorted = [...ranges].filter(({ length }) => length > 0).sort((a, b) => a.offset - b.offset);
  const set: { offset: number; length: number }[] = [];
  for (const { offset, length } of sorted) {
    const last = set.at(-1);
    if (last === undefined || last.offset + last.length < offset) set.push({ offset, length });
    else last.length = Math.max(last.length, offset + length - last.offset);
  }
  return set;
}

/** What of a range is not in the set. */
export function missingOf({ offset, length }: ByteRange, set: readonly ByteRange[]): ByteRange[] {
  const missing: ByteRange[] = [];
  const end = offset + length;
  let at = offset;
  for (const one of set) {
    if (one.offset >= end) break;
    if (one.offset > at) missing.push({ offset: at, length: one.offset - at });
    at = Math.max(at, one.offset + one.length);
  }
  if (at < end) missing.push({ offset: at, length: end - at });
  return missing;
}

export function bytesOf(ranges: readonly ByteRange[]): number {
  let sum = 0;
  for (const { length } of ranges) sum += length;
  return sum;
}

/** How far the set goes on from `at` without a gap; 0 where `at` is not in it. */
export function runFrom(set: readonly ByteRange[], at: number): number {
  const found = set.find(({ offset, length }) => offset <= at && at < offset + length);
  return found === undefined ? 0 : found.offset + found.length - at;
}

/** Bytes that are in exactly n of the sets, at place n; place 0 has those of the `sizeBytes` that are in none. */
export function bytesByCount(sizeBytes: number, sets: readonly (readonly ByteRange[])[]): number[] {
  const edges: { at: number; step: 1 | -1 }[] = [];
  for (const { offset, length } of sets.flat())
    edges.push({ at: offset, step: 1 }, { at: Math.min(sizeBytes, offset + length), step: -1 });
  edges.sort((a, b) => a.at - b.at);
  const bytes = new Array<number>(sets.length + 1).fill(0);
  let at = 0;
  let count = 0;
  for (const edge of edges) {
    bytes[count]! += edge.at - at;
    at = edge.at;
    count += edge.step;
  }
  bytes[0]! += sizeBytes - at;
  return bytes;
}

/** Two numbers a range, as it crosses the wire. */
export function flat(set: readonly ByteRange[]): number[] {
  return set.flatMap(({ offset, length }) => [offset, length]);
}

/** Throws TypeError for what `flat` does not make. */
export function unflat(numbers: unknown): ByteRange[] {
  if (
    !Array.isArray(numbers) ||
    numbers.length % 2 !== 0 ||
    !numbers.every((one) => Number.isSafeInteger(one) && one >= 0)
  )
    throw new TypeError('these are not ranges');
  return Array.from({ length: numbers.length / 2 }, (_, i) => ({
    offset: numbers[2 * i] as number,
    length: numbers[2 * i + 1] as number,
  }));
}

/** What of one set is not in the other. */
export function rangesWithout(from: readonly ByteRange[], taken: readonly ByteRange[]): ByteRange[] {
  return from.flatMap((range) => missingOf(range, taken));
}

/** What is in both sets. */
export function rangesInBoth(some: readonly ByteRange[], others: readonly ByteRange[]): ByteRange[] {
  return rangesWithout(some, rangesWithout(some, others));
}
