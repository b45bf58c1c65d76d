/** An index of many small files, made through the interface of the store. */
import { randomUUID } from 'node:crypto';
import type { LoadId, RunId, UfsPath } from '../../src/core/types.ts';
import { KiB, MiB } from '../../src/core/units.ts';
import { openStore } from '../../src/store/index.ts';
import { Filler } from './filler.ts';

const objectBytes = 4 * KiB;
const batchFiles = 5000;

/** What a store of so many files takes, with room to spare. */
export function storeBytesFor(files: number): number {
  return Math.ceil((files * objectBytes) / MiB) * MiB + 64 * MiB;
}

/** Of a store that is opened outside of a daemon. */
export const quietLog = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

/** One block a file. Space is allocated and recorded but not written: an index does not know the difference. */
export async function makeIndex(order: {
  readonly indexDir: string;
  readonly stores: readonly { readonly dir: string; readonly sizeBytes: number }[];
  readonly files: number;
}): Promise<void> {
  const { indexDir, stores } = order;
  const store = await openStore({ indexDir, stores, now: Date.now, log: quietLog, ledgerFlushMs: 1000 });
  const filler = new Filler(store);
  const load = randomUUID() as LoadId;
  const run = randomUUID() as RunId;
  for (let first = 0; first < order.files; first += batchFiles) {
    const count = Math.min(batchFiles, order.files - first);
    const files = Array.from({ length: count }, (_, i) => ({ path: pathOf(first + i), sizeBytes: objectBytes }));
    await filler.fill(run, load, files, { write: false });
  }
  const { blocks } = store.usage();
  await filler.close();
  await store.close();
  if (blocks !== order.files) throw new Error(`the index was to have ${order.files} blocks and has ${blocks}`);
}

function pathOf(index: number): UfsPath {
  const folder = String(Math.floor(index / 1000)).padStart(5, '0');
  return `s3://bench-index/shard-${folder}/object-${String(index).padStart(8, '0')}.bin` as UfsPath;
}
