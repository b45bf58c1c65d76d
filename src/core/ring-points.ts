/**
 * The points of a ring as typed arrays: how they are made, merged and searched. 6 bytes a point, and a directory of a
 * quarter of a byte to half a byte a point.
 *
 *    hashes  Int32Array   -2147037003  -2136385726  -2107381643  …   sorted, signed
 *    owners  Uint16Array            17            3           17  …   whose point it is
 */
import assert from 'node:assert';
import { hashPrefix, hashWithInt32 } from './murmur3.ts';
import type { WorkerIdentity } from './ring.ts';

export const circle = 2 ** 32;
/** The owner of a point is kept in 16 bits. */
export const maxRingWorkers = 2 ** 16;

/** Sorted by hash, then by owner: an index into the workers of the ring, which are sorted by identity. */
export interface Points {
  readonly hashes: Int32Array;
  readonly owners: Uint16Array;
}

interface Joined {
  readonly owner: number;
  readonly identity: WorkerIdentity;
}

/** The new owner of points whose worker has left. */
export const gone = -1;

/**
 * The points of workers that join, given by ascending owner. Every point is put into its stretch of the directory, and
 * stretches, which are short, are sorted by insertion. Both keep the order of equals, so of equal points the one with
 * the lower owner comes first.
 */
export function pointsOf(joined: readonly Joined[], virtualNodes: number): Points {
  const made = new Int32Array(joined.length * virtualNodes);
  for (const [i, { identity }] of joined.entries()) {
    const { identifier, version } = identity;
    const bytes = Buffer.alloc(identifier.length + 4);
    bytes.set(identifier);
    bytes.writeInt32LE(version, identifier.length);
    const prefix = hashPrefix(bytes);
    for (let node = 0; node < virtualNodes; node += 1) made[i * virtualNodes + node] = hashWithInt32(prefix, node);
  }
  const { starts, shift } = directoryOf(made);
  const ends = starts.slice();
  const points = { hashes: new Int32Array(made.length), owners: new Uint16Array(made.length) };
  for (let i = 0; i < made.length; i += 1) {
    const stretch = stretchOf(made[i]!, shift);
    const at = ends[stretch]!;
    ends[stretch] = at + 1;
    points.hashes[at] = made[i]!;
    points.owners[at] = joined[Math.floor(i / virtualNodes)]!.owner;
  }
  for (let stretch = 1; stretch < starts.length; stretch += 1) {
    sortByInsertion(points, starts[stretch - 1]!, starts[stretch]!);
  }
  return points;
}

function sortByInsertion({ hashes, owners }: Points, from: number, to: number): void {
  for (let i = from + 1; i < to; i += 1) {
    const hash = hashes[i]!;
    const owner = owners[i]!;
    let at = i;
    for (; at > from && hashes[at - 1]! > hash; at -= 1) {
      hashes[at] = hashes[at - 1]!;
      owners[at] = owners[at - 1]!;
    }
    hashes[at] = hash;
    owners[at] = owner;
  }
}

/** The old points with their new owners, without those that are gone, and the added ones, in order. */
export function mergePoints(old: Points, ownerOf: Int32Array, added: Points, size: number): Points {
  if (old.hashes.length === 0) return added;
  const hashes = new Int32Array(size);
  const owners = new Uint16Array(size);
  let made = 0;
  let next = 0;
  const put = (hash: number, owner: number) => {
    hashes[made] = hash;
    owners[made] = owner;
    made += 1;
  };
  for (let i = 0; i < old.hashes.length; i += 1) {
    const hash = old.hashes[i]!;
    const owner = ownerOf[old.owners[i]!]!;
    if (owner === gone) continue;
    for (; next < added.hashes.length; next += 1) {
      const ahead = added.hashes[next]! - hash || added.owners[next]! - owner;
      if (ahead > 0) break;
      put(added.hashes[next]!, added.owners[next]!);
    }
    put(hash, owner);
  }
  for (; next < added.hashes.length; next += 1) put(added.hashes[next]!, added.owners[next]!);
  assert.equal(made, size, 'every worker has all of its points');
  return { hashes, owners };
}

/**
 * Where the points of each stretch of the circle begin. Points are spread evenly, so a stretch holds about 16 of
 * them, one cache line, and a lookup in 20 million points touches two lines where a binary search touches twenty.
 */
export interface Directory {
  readonly starts: Uint32Array;
  /** Of a hash, the bits above these say in which stretch it lies. */
  readonly shift: number;
}

const pointsOfStretch = 16;

export function directoryOf(hashes: Int32Array): Directory {
  const bits = Math.max(1, Math.ceil(Math.log2(hashes.length / pointsOfStretch)));
  const shift = 32 - bits;
  const starts = new Uint32Array(2 ** bits + 1);
  for (let i = 0; i < hashes.length; i += 1) starts[stretchOf(hashes[i]!, shift) + 1]! += 1;
  for (let stretch = 1; stretch < starts.length; stretch += 1) starts[stretch]! += starts[stretch - 1]!;
  return { starts, shift };
}

function stretchOf(hash: number, shift: number): number {
  // Flipping the sign bit maps the order of int32 to that of uint32.
  return (hash ^ 0x80000000) >>> shift;
}

/** The index of the first hash that is not below `wanted`; the length when there is none. */
export function firstAtOrAfter(hashes: Int32Array, { starts, shift }: Directory, wanted: number): number {
  const stretch = stretchOf(wanted, shift);
  let low = starts[stretch]!;
  let high = starts[stretch + 1]!;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (hashes[middle]! < wanted) low = middle + 1;
    else high = middle;
  }
  return low;
}
