/** Defaults that are chosen from the machine: threads by its cores, memory by its memory and its network, the store by its disk. */
import { statfsSync, statSync } from 'node:fs';
import { availableParallelism, totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import { alignDown, GiB, MiB } from '../core/units.ts';
import type { Draft } from './draft.ts';
import { linkBytesPerSecond } from './network.ts';

export const mostDefaultLanes = 8;

export function lanesOf({ values }: Draft): number {
  return (values.get('worker.lanes') as number | undefined) ?? defaultLanes();
}

/** One lane for two cores: the other one is the kernel's share of receiving and writing, and the main thread's. */
function defaultLanes(): number {
  return Math.max(1, Math.min(mostDefaultLanes, Math.floor(availableParallelism() / 2)));
}

export const mostDefaultServing = 8;

/** One serving thread a core: small reads cost mostly time of the thread itself, and one that is idle costs a few MB. */
export function servingThreadsOf({ values }: Draft): number {
  const threads = values.get('worker.serving_threads') as number | undefined;
  return threads ?? Math.min(mostDefaultServing, availableParallelism());
}

export const leastReadCacheBytes = 16 * MiB;

export function readCacheOf({ values }: Draft): number {
  return (values.get('worker.read_cache') as number | undefined) ?? defaultReadCache(memoryBytes());
}

/** An eighth: it is taken page by page as files are read, and not given back. Bytes, in whole MiB. */
export function defaultReadCache(bytes: number): number {
  return Math.max(leastReadCacheBytes, alignDown(bytes / 8, MiB));
}

/** What slots may take of the memory budget; the rest is for runtime, index and queues. */
export const slotShare = 0.3;

/** A lane needs one slot that receives and one that is being written. */
export function leastBudgetBytes(lanes: number, partBytes: number): number {
  return Math.ceil((2 * lanes * partBytes) / slotShare);
}

export function memoryBudgetOf({ values }: Draft): number {
  return (
    (values.get('worker.memory_budget') as number | undefined) ??
    defaultBudget(memoryBytes(), defaultLanes(), linkBytesPerSecond())
  );
}

const usualPartBytes = 8 * MiB;

/** A slot is held from the request until the write has ended: no less long than this, and what comes meanwhile needs slots. */
const leastSlotSeconds = 0.1;

/**
 * Bytes, in whole MiB: by the memory, and as much as it takes to keep a fast network busy, of at most an eighth of the memory.
 * @param linkBytesPerSecond undefined: not known
 */
export function defaultBudget(memoryBytes: number, lanes: number, linkBytesPerSecond = 0): number {
  const byMemory = Math.min(Math.max(memoryBytes / 32, 512 * MiB), 4 * GiB, memoryBytes / 4);
  const byLink = Math.min((linkBytesPerSecond * leastSlotSeconds) / slotShare, 16 * GiB, memoryBytes / 8);
  const bytes = Math.max(byMemory, byLink, leastBudgetBytes(lanes, usualPartBytes), 64 * MiB);
  return Math.ceil(bytes / MiB) * MiB;
}

/** What the process may have: the machine's, or less where its control group says so. */
export function memoryBytes(): number {
  const limit = process.constrainedMemory();
  return limit > 0 ? Math.min(limit, totalmem()) : totalmem();
}

export interface StorePlace {
  readonly dir: string;
  readonly sizeBytes: number;
}

/** Of a draft whose folders and sizes are there. Needs a look at the disks. */
export function storesOf({ values, counts }: Draft): readonly StorePlace[] {
  const count = counts.get('worker.store') ?? 0;
  if (count === 0) {
    const dir = join(values.get('data_dir') as string, 'store');
    return [{ dir, sizeBytes: sizeOf(dir, values.get('worker.store_size') as number | string | undefined) }];
  }
  return Array.from({ length: count }, (_, index) => {
    const dir = values.get(`worker.store[${index}].dir`) as string;
    return { dir, sizeBytes: sizeOf(dir, values.get(`worker.store[${index}].size`) as number | string) };
  });
}

/** The default store, where the disk has room for it. */
const defaultStoreBytes = 20 * GiB;
/** What the default store takes of what is free on a disk that is smaller. */
const defaultStoreShare = 0.8;

/** A store that exists keeps its size, whatever the disk has by now, where no size in bytes asks for another one. */
function sizeOf(dir: string, wanted: number | string | undefined): number {
  if (typeof wanted === 'number') return wanted;
  const existing = existingStoreBytes(dir);
  if (existing !== undefined) return existing;
  const { bavail, blocks, bsize } = statfsSync(nearestExisting(dir));
  if (wanted === undefined) return Math.min(defaultStoreBytes, alignDown(bavail * bsize * defaultStoreShare));
  return alignDown((blocks * bsize * Number.parseFloat(wanted)) / 100);
}

/** The file that a store is, in its folder. */
const storeFileName = 'store.dat';

/** Undefined: there is none yet. */
export function existingStoreBytes(dir: string): number | undefined {
  return statSync(join(dir, storeFileName), { throwIfNoEntry: false })?.size;
}

export function nearestExisting(dir: string): string {
  return statSync(dir, { throwIfNoEntry: false }) === undefined && dirname(dir) !== dir
    ? nearestExisting(dirname(dir))
    : dir;
}
