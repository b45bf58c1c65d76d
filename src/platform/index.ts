/**
 * platform: the only door to the operating system and to native/.
 *
 * Who is in it:
 * - slots: page-aligned shared memory that parts are received into and written from (`makeSlots`, `makeAligned`);
 * - the disk queue: asynchronous direct reads and writes of one thread (`openDiskQueue`). The lane submits; a thread
 *   of native/ waits for the kernel and wakes the lane's event loop once a batch;
 * - files: direct opening, allocation, locks, memory of mapped files (`openDirect`,
 *   `allocateFile`, `lockFile`, `lockFolder`, `releaseMapped`);
 * - the page cache of the process and the sender of a serving thread (`openPageCache`, `PageSender`), and sockets that
 *   threads share a port by (`listenShared`);
 * - checksums over memory in place (`crc32c`, `crc64nvme`, `pageChecksums`);
 * - threads that give way to all others (`setYielding`);
 * - `sdNotify`, `nameThread` and `systemClock`.
 *
 * Nothing here decides anything, and nothing waits but `close()` and `allocateFile`. Nothing survives a crash.
 * The addon is loaded at the first call that needs it; without it that call is NATIVE_MISSING.
 */
export {
  checksumKernels,
  crc32Combine,
  crc32c,
  crc32cCombine,
  crc64nvme,
  crc64nvmeCombine,
  crc64nvmeToBase64,
  pageChecksums,
} from './checksum.ts';
export { systemClock } from './clock.ts';
export { maxQueueDepth, maxTransferBytes, openDiskQueue, probeDiskEngine } from './disk-queue.ts';
export { errnoName } from './errno.ts';
export { allocateFile, lockFile, lockFolder, openDirect, releaseMapped } from './files.ts';
export { makeFolder } from './folder.ts';
export { listenShared, type SharedListen } from './listen.ts';
export {
  closePageCache,
  openPageCache,
  type PageCacheAddress,
  type PageRun,
  PageSender,
  pageCacheBytes,
  type SendOutcome,
  type Sent,
  type StoredPage,
  WrittenPages,
} from './page-sender.ts';
export { type SdNotified, sdNotify } from './sd-notify.ts';
export { makeAligned, makeSlots } from './slots.ts';
export { nameThread } from './thread-name.ts';
export { mayYield, setYielding, type ThreadId, threadId } from './thread-priority.ts';
export type { DiskEngine, DiskQueue, DiskQueueOptions, OpenedFile, Slots } from './types.ts';
