/**
 * The space of all stores of a worker: one allocator a store, and what has been promised to runs.
 *
 *   capacity = used (given out) + reserved (promised, not yet given out) + free
 *
 * An allocation draws from its run's reservation first; what goes beyond it comes out of the free space, never out of
 * what others were promised.
 */
import { GrainAllocator } from '../core/allocator.ts';
import { PrimedError } from '../core/errors.ts';
import { formatSize } from '../core/sizes.ts';
import type { Extent, RunId, StoreIndex } from '../core/types.ts';
import { alignBytes, alignUp } from '../core/units.ts';

export interface SpaceOfStore {
  readonly index: StoreIndex;
  readonly grains: number;
  /** Where grain 0 of the allocator lies in the store file. */
  readonly firstGrain: number;
}

interface Part {
  readonly store: StoreIndex;
  readonly firstGrain: number;
  readonly allocator: GrainAllocator;
  /** Grains by which this store is behind its share of what was given out. */
  credit: number;
}

export class Space {
  readonly #parts: Part[];
  readonly #reserved = new Map<RunId, number>();
  #reservedBytes = 0;
  readonly capacityBytes: number;

  constructor(stores: readonly SpaceOfStore[]) {
    this.#parts = stores.map(({ index, grains, firstGrain }) => ({
      store: index,
      firstGrain,
      allocator: new GrainAllocator(grains),
      credit: 0,
    }));
    this.capacityBytes = stores.reduce((sum, { grains }) => sum + grains * alignBytes, 0);
  }

  /** While the index is replayed. False when the extent lies outside the store, or some of it is taken already. */
  take(store: number, fileGrain: number, grains: number): boolean {
    const part = this.#parts[store];
    return part?.allocator.take(fileGrain - part.firstGrain, grains) ?? false;
  }

  seal(): void {
    for (const part of this.#parts) part.allocator.seal();
  }

  get unusedBytes(): number {
    return this.#parts.reduce((sum, part) => sum + part.allocator.freeGrains * alignBytes, 0);
  }

  get reservedBytes(): number {
    return this.#reservedBytes;
  }

  reservedFor(run: RunId): number {
    return this.#reserved.get(run) ?? 0;
  }

  /** How much more would have to be free for `reserve` to do it. */
  shortage(run: RunId, bytes: number): number {
    return this.shortageOf(bytes) - this.reservedFor(run);
  }

  /** The same for a run that has nothing reserved. */
  shortageOf(bytes: number): number {
    return alignUp(bytes) - (this.unusedBytes - this.#reservedBytes);
  }

  /** Throws STORE_NO_ROOM. */
  reserve(run: RunId, bytes: number): void {
    const wanted = alignUp(bytes);
    const before = this.reservedFor(run);
    const free = wanted - this.shortage(run, bytes);
    if (wanted > free) throw noRoom('the load needs', wanted, free, this.#reservedBytes - before, this.capacityBytes);
    this.#setReserved(run, wanted);
  }

  unreserve(run: RunId): void {
    this.#reservedBytes -= this.reservedFor(run);
    this.#reserved.delete(run);
  }

  /** Throws STORE_NO_ROOM; then nothing changed. */
  allocate(run: RunId, bytes: number): Extent[] {
    const wanted = alignUp(bytes);
    const own = this.reservedFor(run);
    const others = this.#reservedBytes - own;
    const unused = this.unusedBytes;
    if (wanted > unused - others)
      throw noRoom(`an allocation of run ${run} needs`, wanted, unused - others, others, this.capacityBytes);
    const extents: Extent[] = [];
    let left = wanted / alignBytes;
    while (left > 0) {
      const part = this.#choose(left);
      const count = Math.min(left, part.allocator.freeGrains);
      const runs = part.allocator.allocate(count)!;
      for (let i = 0; i < runs.length; i += 2) {
        extents.push({
          store: part.store,
          offset: (part.firstGrain + runs[i]!) * alignBytes,
          length: runs[i + 1]! * alignBytes,
        });
      }
      left -= count;
    }
    if (own > 0) this.#setReserved(run, Math.max(0, own - wanted));
    return extents;
  }

  /** @param run whose reservation grows by what comes back, if it still has one. */
  free(extents: readonly Extent[], run?: RunId): void {
    let bytes = 0;
    for (const extent of extents) {
      const part = this.#parts[extent.store];
      if (!part) throw new RangeError(`extent of store ${extent.store}`);
      part.allocator.free(extent.offset / alignBytes - part.firstGrain, extent.length / alignBytes);
      bytes += extent.length;
    }
    if (run !== undefined && this.#reserved.has(run)) this.#setReserved(run, this.reservedFor(run) + bytes);
  }

  /** Round robin weighted by free space: every store gains credit by its share of the free space, the chosen one pays. */
  #choose(grains: number): Part {
    if (this.#parts.length === 1) return this.#parts[0]!;
    const free = this.#parts.reduce((sum, part) => sum + part.allocator.freeGrains, 0);
    let best: Part | undefined;
    let roomiest = this.#parts[0]!;
    for (const part of this.#parts) {
      part.credit += (grains * part.allocator.freeGrains) / free;
      if (part.allocator.freeGrains > roomiest.allocator.freeGrains) roomiest = part;
      if (part.allocator.freeGrains >= grains && (!best || part.credit > best.credit)) best = part;
    }
    const chosen = best ?? roomiest;
    chosen.credit -= grains;
    return chosen;
  }

  #setReserved(run: RunId, bytes: number): void {
    this.#reservedBytes += bytes - this.reservedFor(run);
    this.#reserved.set(run, bytes);
  }
}

function noRoom(
  what: string,
  neededBytes: number,
  freeBytes: number,
  reservedBytes: number,
  capacityBytes: number,
): PrimedError {
  const reserved = reservedBytes > 0 ? `, and other loads have ${formatSize(reservedBytes)} reserved` : '';
  return new PrimedError(
    'STORE_NO_ROOM',
    `${what} ${neededBytes} bytes, ${freeBytes} are free (${formatSize(neededBytes)} needed, ${formatSize(freeBytes)} free of ${formatSize(capacityBytes)}${reserved}); add a store`,
    { neededBytes, freeBytes, reservedBytes, capacityBytes },
  );
}
