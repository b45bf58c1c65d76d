/**
 * Opening a store: lock the index, see that index and stores belong together, make what is new, replay the extents.
 *
 * No step is manual and none repairs: whatever no committed block owns is free, and that is all there is to recovery.
 */
import { randomUUID } from 'node:crypto';
import { closeSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { PrimedError } from '../core/errors.ts';
import type { StoreIndex } from '../core/types.ts';
import { alignBytes, alignUp } from '../core/units.ts';
import { lockFolder } from '../platform/index.ts';
import type { CommitHooks } from './commit.ts';
import { IndexDb, indexFormat, type StoreEntry } from './index-db.ts';
import type { ClassUsage } from './recency.ts';
import { placedFigures, scanExtents, scanInlineExtents } from './records.ts';
import { openRetention } from './sorting.ts';
import { Space } from './space.ts';
import { LocalStore } from './store.ts';
import { dataOffset } from './superblock.ts';
import type { StoreOptions } from './types.ts';
import { upgradeIndex } from './upgrade-index.ts';
import {
  checkEmpty,
  checkRoom,
  createVolume,
  openVolume,
  readMarker,
  storeSizeBytes,
  syncPath,
  type Volume,
  type VolumeSpec,
  warnIfBuffered,
} from './volume.ts';

export const lockName = 'primed.lock';
/** One bit each in a commit. */
const maxStores = 31;
/** How often a start that reads a large index says how far it is. */
const tellEveryMs = 2000;
/** Rows between two looks at the clock. */
const rowsAtOnce = 4096;

/** `openStore` with points where tests crash it. */
export async function openLocalStore(options: StoreOptions, hooks: CommitHooks = {}): Promise<LocalStore> {
  const lockFd = lockFolder(options.indexDir, { name: lockName });
  let index: IndexDb | undefined;
  let volumes: Volume[] = [];
  try {
    await upgradeIndex(options.indexDir, { log: options.log, tell: options.tellStart });
    index = new IndexDb(options.indexDir);
    volumes = await openVolumes(index, options);
    for (const volume of volumes) warnIfBuffered(volume, options.log);
    const space = new Space(
      volumes.map((volume) => ({ index: volume.index, grains: volume.grains, firstGrain: dataOffset / alignBytes })),
    );
    const retention = await openRetention(index, options.retention?.rules ?? []);
    const { usage, ...counters } = replay(index, space, options);
    const store = new LocalStore({
      index,
      volumes,
      space,
      counters,
      loadingLeft: index.count(index.loading),
      firstId: index.getMeta<number>('nextFileId') ?? 1,
      now: options.now,
      log: options.log,
      ledgerFlushMs: options.ledgerFlushMs,
      otherReads: options.otherReads,
      removedLimitMs: options.retention?.removedLimitMs,
      hooks,
      ...{ retention, usage, evicts: options.retention?.eviction !== 'none' },
      observe: {
        onSync: options.onSync,
        onCommit: options.onCommit,
        onBadPage: options.onBadPage,
        onReadError: options.onReadError,
        onShown: options.onShown,
        onEvicted: options.onEvicted,
        onGone: options.onGone,
      },
      unlock: () => closeSync(lockFd),
    });
    await store.recover();
    return store;
  } catch (error) {
    for (const volume of volumes) await volume.close();
    await index?.close();
    closeSync(lockFd);
    throw error;
  }
}

interface Place {
  readonly dir: string;
  readonly entry: StoreEntry;
}

/** Opens every store of the configuration, in the order of the index; new ones are made after all checks have passed. */
async function openVolumes(index: IndexDb, options: StoreOptions): Promise<Volume[]> {
  const known = index.getMeta<StoreEntry[]>('stores') ?? [];
  const places = matchStores(known, options);
  const fresh = places.filter(({ entry }) => entry.state === 'creating');
  const volumes: Volume[] = [];
  try {
    for (const { dir, entry } of places) {
      if (entry.state === 'ready') volumes.push(openVolume(specOf(dir, entry), configuredBytes(dir, options)));
    }
    for (const { dir, entry } of fresh) checkEmpty(dir, entry.uuid);
    checkRoom(fresh.map(({ dir, entry }) => ({ dir, sizeBytes: entry.sizeBytes })));
    if (fresh.length > 0) {
      await recordStores(index, places);
      // LMDB syncs its file; the name of a new one has to be durable before a store relies on it.
      syncPath(index.dir);
      syncPath(dirname(resolve(index.dir)));
      for (const { dir, entry } of fresh) volumes.push(await createVolume(specOf(dir, entry)));
      await recordStores(index, places, 'ready');
    }
  } catch (error) {
    for (const volume of volumes) await volume.close();
    throw error;
  }
  return volumes.sort((a, b) => a.index - b.index);
}

function specOf(dir: string, entry: StoreEntry): VolumeSpec {
  return { dir, index: entry.index as StoreIndex, uuid: entry.uuid, sizeBytes: entry.sizeBytes };
}

function configuredBytes(dir: string, options: StoreOptions): number {
  return storeSizeBytes(dir, options.stores.find((store) => resolve(store.dir) === dir)!.sizeBytes);
}

function recordStores(index: IndexDb, places: readonly Place[], state?: 'ready'): Promise<void> {
  const entries = places.map(({ dir, entry }) => ({ ...entry, dir, state: state ?? entry.state }));
  return index.commit(() => {
    index.putMeta('format', indexFormat);
    index.putMeta('stores', entries);
  });
}

/**
 * Which configured folder is which store: by the uuid in the marker, so that their order may change.
 * In the order of the index: the stores that are `ready`, then those that are to be made.
 */
function matchStores(known: readonly StoreEntry[], options: StoreOptions): Place[] {
  const dirs = options.stores.map(({ dir }) => resolve(dir));
  if (dirs.length === 0 || dirs.length > maxStores || new Set(dirs).size < dirs.length) {
    const message = `a worker has 1 to ${maxStores} stores, each in its own folder; configured: ${dirs.join(', ') || 'none'}`;
    throw new PrimedError('CONFIG_INVALID', message);
  }
  const uuids = new Map(dirs.map((dir) => [dir, readMarker(dir)?.uuid]));
  const left = new Set(dirs);
  const places: Place[] = [];
  const ready = known.filter(({ state }) => state === 'ready').sort((a, b) => a.index - b.index);
  const isOf = (entry: StoreEntry) => (dir: string) => uuids.get(dir) === entry.uuid;
  for (const entry of ready) {
    const others = ready.filter((other) => other !== entry);
    // Where its marker is; else where it was last, else any folder without one: that is where it is missed.
    const candidates = [...left].filter((dir) => !others.some((other) => isOf(other)(dir)));
    const dir = candidates.find(isOf(entry)) ?? candidates.find((at) => at === entry.dir) ?? candidates[0];
    if (dir === undefined) throw missingFromConfiguration(entry, options);
    left.delete(dir);
    places.push({ dir, entry });
  }
  // A store that was being made has never held data: it is made again, with what is configured now.
  const unfinished = known.filter(({ state }) => state === 'creating');
  for (const dir of left) {
    const begun = unfinished.find((store) => store.uuid === uuids.get(dir));
    const uuid = begun?.uuid ?? randomUUID();
    const entry = {
      index: places.length,
      uuid,
      sizeBytes: configuredBytes(dir, options),
      dir,
      state: 'creating',
    } as const;
    places.push({ dir, entry });
  }
  return places;
}

function missingFromConfiguration(entry: StoreEntry, options: StoreOptions): PrimedError {
  return new PrimedError(
    'STORE_MISSING',
    `the index in ${options.indexDir} knows store ${entry.uuid}, last seen in ${entry.dir}, which is not in the configuration; add it, or remove the index and all its stores to start anew`,
    { uuid: entry.uuid, dir: entry.dir },
  );
}

/** Marks every extent of every block as given out: one pass over files and blocks, about a second for a million files. */
function replay(
  index: IndexDb,
  space: Space,
  { now, tellStart }: StoreOptions,
): { files: number; blocks: number; usage: Map<number, ClassUsage> } {
  const rows = index.count(index.files) + index.count(index.blocks);
  let read = 0;
  let toldMs = now();
  const count = (): void => {
    read++;
    if (read % rowsAtOnce !== 0 || now() - toldMs < tellEveryMs) return;
    toldMs = now();
    tellStart?.(`the index of the store is read: ${read} of ${rows} rows`);
  };
  let blocks = 0;
  const usage = new Map<number, ClassUsage>();
  let path: Uint8Array | undefined;
  const take = (store: number, fileGrain: number, grains: number): void => {
    if (space.take(store, fileGrain, grains)) return;
    throw new PrimedError(
      'STORE_CORRUPT',
      `the index in ${index.dir} is damaged: ${grains} grains at ${fileGrain} of store ${store} (of ${Buffer.from(path ?? []).toString()}) belong to two blocks or lie outside the store. Remove the index and its stores to start anew`,
      { store, fileGrain, grains },
    );
  };
  index.scan(index.files, (key, value) => {
    path = key;
    count();
    if (scanInlineExtents(value, take)) blocks++;
    const { class: of, cachedBytes, placed } = placedFigures(value);
    if (!placed) return;
    const { files, bytes } = usage.get(of) ?? { files: 0, bytes: 0 };
    usage.set(of, { files: files + 1, bytes: bytes + alignUp(cachedBytes) });
  });
  index.scan(index.blocks, (key, value) => {
    path = key;
    count();
    scanExtents(value, 0, take);
    blocks++;
  });
  space.seal();
  return { files: index.count(index.files), blocks, usage };
}
