/**
 * Consistent hashing as Alluxio's clients do it: who owns a key. Pure.
 *
 * Virtual node i of a worker lies at the hash of (identifier, version of the identity as int32 LE, i as int32 LE); lookup
 * number a = 1, 2, … of a key begins at the hash of (UTF-8 key, a as int32 LE), and finds the first point at or after it,
 * wrapping. Points are compared as signed integers. Source: the ring section of Alluxio's worker-selection documentation.
 *
 *   points  -2³¹ ······· p0 ····· p1 ········ p2 ··· +2³¹      sorted, 4 bytes each
 *   owners               w3       w0          w3               index of the worker, 2 bytes each
 */
import { murmur3 } from './murmur3.ts';

/** Alluxio's default. */
export const defaultVirtualNodes = 2000;
const identityVersion = 1;
/** Lookups of one key; after them the ring is walked on, so that every worker is met in the end. */
const mostLookups = 100;
const mostWorkers = 0xffff;

export interface RingWorker {
  /** 16 bytes. */
  readonly identifier: Uint8Array;
}

export interface Ring {
  readonly workers: number;
  /**
   * Indexes of distinct workers in the order in which they own the key, until `accept` has taken `count` or no worker is
   * left. A worker that is not accepted is not asked about again.
   */
  owners(key: string, count: number, accept?: (worker: number) => boolean): number[];
}

/** The order of the workers does not matter but for the indexes that are answered. */
export function makeRing(workers: readonly RingWorker[], virtualNodes = defaultVirtualNodes): Ring {
  if (workers.length > mostWorkers) throw new RangeError(`a ring has at most ${mostWorkers} workers`);
  const { points, owners } = sortedPoints(workers, virtualNodes);
  const scratch = { bytes: new Uint8Array(4096), encoder: new TextEncoder() };

  const lookup = (key: string, attempt: number): number => {
    // A UTF-16 unit takes 3 bytes at most.
    if (scratch.bytes.length < key.length * 3 + 4) scratch.bytes = new Uint8Array(key.length * 6 + 4);
    const { written } = scratch.encoder.encodeInto(key, scratch.bytes);
    writeInt32(scratch.bytes, written, attempt);
    return firstAtOrAfter(points, murmur3(scratch.bytes, written + 4));
  };

  return {
    workers: workers.length,
    owners(key, count, accept = () => true) {
      const taken: number[] = [];
      if (points.length === 0 || count <= 0) return taken;
      const met = new Set<number>();
      const meet = (at: number): boolean => {
        const worker = owners[at]!;
        if (met.has(worker)) return false;
        met.add(worker);
        if (accept(worker)) taken.push(worker);
        return taken.length >= count || met.size >= workers.length;
      };
      let at = 0;
      for (let attempt = 1; attempt <= mostLookups; attempt += 1) {
        at = lookup(key, attempt);
        if (meet(at)) return taken;
      }
      for (let step = 1; step <= points.length; step += 1) if (meet((at + step) % points.length)) return taken;
      return taken;
    },
  };
}

/**
 * The owners of a key, in different zones as far as there are so many: along the ring one of each zone first, then the
 * others in the order in which they were met.
 * @param zoneOf undefined: a zone of its own.
 */
export function spreadOwners(
  ring: Ring,
  key: string,
  count: number,
  zoneOf: (worker: number) => string | undefined,
  accept: (worker: number) => boolean = () => true,
): number[] {
  const zones = new Set<string>();
  const passed: number[] = [];
  const spread = ring.owners(key, count, (worker) => {
    if (!accept(worker)) return false;
    const zone = zoneOf(worker);
    if (zone === undefined) return true;
    if (zones.has(zone)) {
      passed.push(worker);
      return false;
    }
    zones.add(zone);
    return true;
  });
  return [...spread, ...passed.slice(0, Math.max(0, count - spread.length))];
}

/** Two points at one place: the worker with the smaller identifier has it, whatever the order of the workers. */
function sortedPoints(
  workers: readonly RingWorker[],
  virtualNodes: number,
): { points: Int32Array; owners: Uint16Array } {
  const byIdentifier = workers
    .map((_, index) => index)
    .sort((a, b) => compare(workers[a]!.identifier, workers[b]!.identifier));
  const count = workers.length * virtualNodes;
  // Sorted as one number each: the point in the upper bits, the rank of the worker in the lower ones; exact below 2⁵³.
  const keys = new Float64Array(count);
  const bytes = new Uint8Array(16 + 8);
  let at = 0;
  byIdentifier.forEach((index, rank) => {
    bytes.set(workers[index]!.identifier);
    writeInt32(bytes, 16, identityVersion);
    for (let node = 0; node < virtualNodes; node += 1) {
      writeInt32(bytes, 20, node);
      keys[at++] = (murmur3(bytes) + 2 ** 31) * 2 ** 16 + rank;
    }
  });
  keys.sort();
  const points = new Int32Array(count);
  const owners = new Uint16Array(count);
  let kept = 0;
  for (let i = 0; i < count; i += 1) {
    const point = Math.floor(keys[i]! / 2 ** 16) - 2 ** 31;
    if (kept > 0 && points[kept - 1] === point) continue;
    points[kept] = point;
    owners[kept] = byIdentifier[keys[i]! % 2 ** 16]!;
    kept += 1;
  }
  return { points: points.slice(0, kept), owners: owners.slice(0, kept) };
}

function firstAtOrAfter(points: Int32Array, hash: number): number {
  let low = 0;
  let high = points.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (points[middle]! < hash) low = middle + 1;
    else high = middle;
  }
  return low === points.length ? 0 : low;
}

function writeInt32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
  bytes[at + 2] = value >>> 16;
  bytes[at + 3] = value >>> 24;
}

function compare(a: Uint8Array, b: Uint8Array): number {
  for (let i = 0; i < a.length && i < b.length; i += 1) if (a[i] !== b[i]) return a[i]! - b[i]!;
  return a.length - b.length;
}
