/**
 * store: blocks on SSD and their index. What it promises is in types.ts, its bytes on disk in docs/ON_DISK_LAYOUT.md.
 *
 *   beginFile, allocate ---------------- LoadingFiles, Space (GrainAllocator)        at once, in memory
 *   land, abandon, remove, metadata ---- GroupCommit -> fdatasync -> Changes -> LMDB   durable when resolved
 *   stat, list, open, read ------------- index as of the last commit; Readers keep extents that are being read
 */
import { openLocalStore } from './open.ts';
import type { Store, StoreOptions } from './types.ts';

export { PathIds, type PathIdsOptions } from './path-ids.ts';
export { SharedReads, ThreadReads } from './shared-reads.ts';
export { StoreView, type ViewedFile } from './store-view.ts';
export type * from './types.ts';

/**
 * Opens the stores of a worker and their index, and makes what is not there yet.
 * Throws STORE_MISSING, STORE_FOREIGN, STORE_VERSION, STORE_MISMATCH, STORE_LOCKED (with nothing touched), STORE_CORRUPT,
 * STORE_NO_ROOM, STORE_IO, CONFIG_INVALID, NATIVE_MISSING.
 */
export function openStore(options: StoreOptions): Promise<Store> {
  return openLocalStore(options);
}
