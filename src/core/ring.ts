/**
 * The ring of the cluster: which workers own a key. Every worker lies on the circle of int32 at 2000 points, a key is
 * hashed onto the circle, and the first point at or after it names the owner. Who asks with the same workers gets the
 * same answer, on every machine and in every language.
 *
 * Compatible with Alluxio: points, lookups and comparisons (signed) are those of its open-source client
 * (`ConsistentHashProvider`, `WorkerIdentity.HashFunnel`), and identities those of its Python client
 * (`WorkerEntity.from_host_and_port`). Two decisions are ours, where the original leaves it to chance or gives up:
 * - Of two equal points the worker with the smaller identity comes first. (There, the one that was added last.)
 * - After 100 attempts the search walks on along the ring, so that as many workers are found as were asked for,
 *   whenever there are so many. (There, the answer is shorter.)
 *
 * A ring never changes. A join or a leave makes the next one, in which only the joined workers are hashed.
 */
import assert from 'node:assert';
import { createHash } from 'node:crypto';
import { type HashPrefix, hashPrefixOfText, hashWithInt32 } from './murmur3.ts';
import {
  circle,
  type Directory,
  directoryOf,
  firstAtOrAfter,
  gone,
  maxRingWorkers,
  mergePoints,
  type Points,
  pointsOf,
} from './ring-points.ts';

export const defaultVirtualNodes = 2000;
/** As many as Alluxio's clients make, so that they find what we place. */
const maxAttempts = 100;

export interface WorkerIdentity {
  readonly version: number;
  readonly identifier: Uint8Array;
}

export interface RingWorker {
  readonly identity: WorkerIdentity;
  /** What fails together: a rack, a data centre. Workers without a zone count as one zone. */
  readonly zone?: string | undefined;
}

/** Identity version 1 of a host, named without a port: the UUID version 3 (MD5) of the name in an empty name space. */
export function workerIdentity(host: string): WorkerIdentity {
  const identifier = new Uint8Array(createHash('md5').update(host, 'utf8').digest());
  identifier[6] = (identifier[6]! & 0x0f) | 0x30;
  identifier[8] = (identifier[8]! & 0x3f) | 0x80;
  return { version: 1, identifier };
}

/** The key of a segment of a file. The metadata of a file has the key of segment 0. */
export function segmentKey(path: string, segment: number): string {
  return `${path}${segment}`;
}

/** A ring of these workers, in whatever order they are given. Their identities differ. */
export function makeRing<T extends RingWorker>(
  workers: readonly T[],
  { virtualNodes = defaultVirtualNodes }: { virtualNodes?: number } = {},
): Ring<T> {
  assert(virtualNodes >= 1, 'a worker lies somewhere on the ring');
  return new Ring<T>([], noPoints, virtualNodes).next(workers);
}

const noPoints: Points = { hashes: new Int32Array(0), owners: new Uint16Array(0) };

export class Ring<T extends RingWorker> {
  /** Sorted by identity. */
  readonly workers: readonly T[];
  readonly virtualNodes: number;
  readonly #points: Points;
  readonly #directory: Directory;
  readonly #zoneCount: number;

  /** Rings are made by `makeRing` and `next`. */
  constructor(workers: readonly T[], points: Points, virtualNodes: number) {
    this.workers = workers;
    this.virtualNodes = virtualNodes;
    this.#points = points;
    this.#directory = directoryOf(points.hashes);
    this.#zoneCount = new Set(workers.map(zoneOf)).size;
  }

  /**
   * The ring of other workers. Points of workers that stay are taken over, in one pass; a worker that is given with
   * another object and the same identity (a new address) keeps its points.
   */
  next(workers: readonly T[]): Ring<T> {
    const sorted = [...workers].sort((a, b) => compareIdentities(a.identity, b.identity));
    assert(sorted.length <= maxRingWorkers, `a ring has at most ${maxRingWorkers} workers, not ${sorted.length}`);
    const { ownerOf, joined } = matchWorkers(this.workers, sorted);
    const added = pointsOf(
      joined.map((owner) => ({ owner, identity: sorted[owner]!.identity })),
      this.virtualNodes,
    );
    const size = sorted.length * this.virtualNodes;
    return new Ring(sorted, mergePoints(this.#points, ownerOf, added, size), this.virtualNodes);
  }

  /**
   * The first `count` different workers for a key among those that `accept` lets pass, the best one first; fewer only
   * when the ring has no more of them. `accept` is asked at most once for each worker.
   */
  owners(key: string, count: number, accept: (worker: T) => boolean = everyone): T[] {
    const { workers } = this;
    const { owners } = this.#points;
    const found: T[] = [];
    if (count < 1 || workers.length === 0) return found;
    const prefix = hashPrefixOfText(key);
    const seen: number[] = [];
    for (let attempt = 1; attempt <= maxAttempts; attempt += 1) {
      const owner = owners[this.#pointAt(prefix, attempt)]!;
      if (seen.includes(owner)) continue;
      const worker = workers[owner]!;
      if (accept(worker) && found.push(worker) === count) return found;
      if (seen.push(owner) === workers.length) return found;
    }
    const left = new Set<number>();
    for (let i = 0; i < workers.length; i += 1) if (!seen.includes(i) && accept(workers[i]!)) left.add(i);
    // Every worker has a point somewhere, so the walk ends.
    for (let at = this.#pointAt(prefix, maxAttempts); left.size > 0 && found.length < count; at += 1) {
      const owner = owners[at % owners.length]!;
      if (left.delete(owner)) found.push(workers[owner]!);
    }
    return found;
  }

  /**
   * Where `count` copies of a key go: the owners, one of each zone first, then filled up in their order. The first
   * is that of `owners`; copies share a zone only when fewer than `count` zones have an accepted worker. Alluxio's
   * clients know no zones: without zones this is `owners`, with them their second choice may be a worker without a copy.
   */
  placement(key: string, count: number, accept: (worker: T) => boolean = everyone): T[] {
    if (count === 1 || this.#zoneCount < 2) return this.owners(key, count, accept);
    const chosen = new Set<T>();
    const zones = new Set<string>();
    while (chosen.size < count && zones.size < this.#zoneCount) {
      const [worker] = this.owners(key, 1, (one) => !zones.has(zoneOf(one)) && accept(one));
      if (worker === undefined) break;
      chosen.add(worker);
      zones.add(zoneOf(worker));
    }
    const rest = this.owners(key, count - chosen.size, (one) => !chosen.has(one) && accept(one));
    return [...chosen, ...rest];
  }

  /**
   * The first `count` different workers from where the first `probes` attempts of a key lie on, one step at a time: its owners,
   * and who owned it before workers joined, or would without some of them.
   */
  around(key: string, count: number, probes: number): T[] {
    const { owners } = this.#points;
    const prefix = hashPrefixOfText(key);
    const wanted = Math.min(count, this.workers.length);
    const found = new Set<number>();
    const starts = wanted < 1 ? [] : Array.from({ length: probes }, (_, at) => this.#pointAt(prefix, at + 1));
    // Every worker has a point somewhere, so the walk ends.
    for (let step = 0; found.size < wanted; step += 1) {
      for (const start of starts) if (found.size < wanted) found.add(owners[(start + step) % owners.length]!);
    }
    return Array.from(found, (at) => this.workers[at]!);
  }

  /** How much of the circle each worker owns, in the order of `workers`; 1 in sum. */
  shares(): Float64Array {
    const { hashes, owners } = this.#points;
    const shares = new Float64Array(this.workers.length);
    let previous = (hashes.at(-1) ?? 0) - circle;
    for (let i = 0; i < hashes.length; i += 1) {
      shares[owners[i]!]! += (hashes[i]! - previous) / circle;
      previous = hashes[i]!;
    }
    return shares;
  }

  /** The index of the first point at or after an attempt of a key. */
  #pointAt(key: HashPrefix, attempt: number): number {
    const { hashes } = this.#points;
    const at = firstAtOrAfter(hashes, this.#directory, hashWithInt32(key, attempt));
    return at === hashes.length ? 0 : at;
  }
}

function everyone(): boolean {
  return true;
}

function zoneOf(worker: RingWorker): string {
  return worker.zone ?? '';
}

function compareIdentities(a: WorkerIdentity, b: WorkerIdentity): number {
  return Buffer.compare(a.identifier, b.identifier) || a.version - b.version;
}

/** The new index of every old worker, `gone` for those that left, and the new indices of those that joined. */
function matchWorkers(old: readonly RingWorker[], sorted: readonly RingWorker[]) {
  const ownerOf = new Int32Array(old.length).fill(gone);
  const joined: number[] = [];
  let at = 0;
  for (let i = 0; i < sorted.length; i += 1) {
    const { identity } = sorted[i]!;
    assert(
      i === 0 || compareIdentities(sorted[i - 1]!.identity, identity) !== 0,
      `two workers of one ring have the identity ${Buffer.from(identity.identifier).toString('hex')}`,
    );
    while (at < old.length && compareIdentities(old[at]!.identity, identity) < 0) at += 1;
    if (at < old.length && compareIdentities(old[at]!.identity, identity) === 0) ownerOf[at] = i;
    else joined.push(i);
  }
  return { ownerOf, joined };
}
