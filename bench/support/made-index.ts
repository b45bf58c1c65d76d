/** An index of many small files, made through the interface of the store. */
import { randomUUID } from 'node:crypto';
import { statSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import type { LoadId, RunId, UfsPath } from '../../src/core/types.ts';
import { GiB, KiB, MiB } from '../../src/core/units.ts';
import { openStore, PathIds } from '../../src/store/index.ts';
import { Filler } from './filler.ts';

export interface MadeStore {
  readonly dir: string;
  readonly sizeBytes: number;
}

const objectBytes = 4 * KiB;
const batchFiles = 5000;
const mostStoreBytes = 4 * GiB;
/** Of a store file that holds data, and a multiple of what it stays at least. */
const headBytes = MiB;

/** Stores for so many files, and `spareBytes` besides. @param folder makes one of its own for each */
export function storesFor(files: number, folder: () => string, spareBytes = 64 * MiB): MadeStore[] {
  const stores: MadeStore[] = [];
  let leftBytes = Math.ceil((files * objectBytes) / MiB) * MiB + spareBytes;
  for (; leftBytes > 0; leftBytes -= mostStoreBytes)
    stores.push({ dir: folder(), sizeBytes: headBytes + Math.min(mostStoreBytes, leftBytes) });
  return stores;
}

/** Of a store that is opened outside of a daemon. */
export const quietLog = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

/**
 * One block a file, and no ids of paths: nobody asks for a page by one, and a start takes them for whole. Space is given out and recorded but not written: an index does not know the difference. So store files
 * keep their size and give back what they took of the disk.
 */
export async function makeIndex(order: {
  readonly indexDir: string;
  readonly stores: readonly MadeStore[];
  readonly files: number;
}): Promise<void> {
  const { indexDir, stores } = order;
  const open = (some: readonly MadeStore[]) =>
    openStore({ indexDir, stores: some, now: Date.now, log: quietLog, ledgerFlushMs: 1000 });
  // One by one, so that never more than one of them takes its size of the disk.
  for (const at of stores.keys()) {
    const made = await open(stores.slice(0, at + 1));
    await made.close();
    makeSparse(join(stores[at]!.dir, 'store.dat'));
  }
  const store = await open(stores);
  const filler = new Filler(store);
  const load = randomUUID() as LoadId;
  const run = randomUUID() as RunId;
  for (let first = 0; first < order.files; first += batchFiles) {
    const count = Math.min(batchFiles, order.files - first);
    const files = Array.from({ length: count }, (_, i) => ({ path: pathOf(first + i), sizeBytes: objectBytes }));
    await filler.fill(run, load, files, { write: false });
  }
  const { blocks } = store.usage();
  const known = { usage: () => store.usage(), paths: () => [] };
  const ids = await PathIds.open({ dir: join(indexDir, 'ids'), store: known, log: quietLog });
  await ids.settled();
  await ids.close();
  await filler.close();
  await store.close();
  if (blocks !== order.files) throw new Error(`the index was to have ${order.files} blocks and has ${blocks}`);
}

function makeSparse(path: string): void {
  const { size } = statSync(path);
  truncateSync(path, headBytes);
  truncateSync(path, size);
}

/** What all paths of a made index begin with. */
export const madeRoot = 's3://bench-index/';
export const madeFilesPerFolder = 1000;

export function madeFolder(folder: number): string {
  return `${madeRoot}shard-${String(folder).padStart(5, '0')}/`;
}

function pathOf(index: number): UfsPath {
  const folder = madeFolder(Math.floor(index / madeFilesPerFolder));
  return `${folder}object-${String(index).padStart(8, '0')}.bin` as UfsPath;
}
