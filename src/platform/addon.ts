/**
 * Loads native/build/primed.node. The same code runs from src/ and from dist/ (and its chunks), so the addon is
 * looked for in the folders above this file. Loaded at first use, once a thread.
 */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { errorCatalogue, PrimedError } from '../core/errors.ts';

export type QueueHandle = { readonly __brand: 'QueueHandle' };
export type SenderHandle = { readonly __brand: 'SenderHandle' };

/** What native/napi exports. Nothing is checked on the other side: the files of this folder do that. */
export interface Addon {
  addressOf(view: ArrayBufferView): number;
  prefault(address: number, length: number): void;
  crc32c(address: number, length: number, seed: number): number;
  crc64Nvme(address: number, length: number, seed: bigint): bigint;
  crc32cOfPages(address: number, length: number, pageBytes: number, outAddress: number): void;
  crc32cCombine(a: number, b: number, lengthB: number): number;
  crc32Combine(a: number, b: number, lengthB: number): number;
  crc64NvmeCombine(a: bigint, b: bigint, lengthB: number): bigint;
  checksumKernels(): [crc32c: string, crc64Nvme: string];
  /** A handle, or -errno. */
  diskQueueOpen(
    engine: string,
    depth: number,
    ops: Float64Array,
    ints: Int32Array,
    callback: (count: number) => void,
  ): QueueHandle | number;
  diskQueueSubmit(handle: QueueHandle, count: number): void;
  diskQueueClose(handle: QueueHandle): void;
  diskQueueCount(): number;
  /** 0, or errno; so are those below. */
  allocateBlocks(fd: number, length: number): Promise<number>;
  supportsDirect(fd: number): boolean | number;
  lockExclusive(fd: number): number;
  releaseMapped(path: string): number;
  sdNotify(socketPath: string, state: string): number;
  nameThread(name: string): void;
  threadId(): number;
  /** 0, or errno; so is the next one. */
  setIdle(thread: number, idle: boolean): number;
  mayComeBack(): number;
  /** An address that is good in every thread, or -errno. */
  pageCacheOpen(capacityBytes: number): number;
  pageCacheClose(cache: number): void;
  pageCacheUsed(cache: number): number;
  /** A handle, or -errno. */
  senderOpen(
    cache: number,
    engine: string,
    loads: number,
    pagesAhead: number,
    stallMs: number,
    callback: (token: number, outcome: number, sentBytes: number) => void,
  ): SenderHandle | number;
  /** Bytes behind the head that the socket took at once, or -errno. */
  senderSend(
    handle: SenderHandle,
    token: number,
    socket: number,
    head: string,
    words: Float64Array,
    count: number,
    skipBytes: number,
    lengthBytes: number,
    inlineBytes: number,
    copied: boolean,
  ): number;
  senderHas(handle: SenderHandle, file: number, page: number): boolean;
  senderCopy(
    handle: SenderHandle,
    words: Float64Array,
    count: number,
    skipBytes: number,
    lengthBytes: number,
    target: Uint8Array,
  ): boolean;
  senderCancel(handle: SenderHandle, token: number): void;
  senderReadBytes(handle: SenderHandle): number;
  senderClose(handle: SenderHandle): void;
  /** A descriptor, or -errno. */
  listenOn(address: string, port: number, shared: boolean, backlog: number): number;
  /** The port, or -errno. */
  socketPort(fd: number): number;
}

let loaded: Addon | undefined;

/** @throws PrimedError NATIVE_MISSING */
export function addon(): Addon {
  loaded ??= load();
  return loaded;
}

function load(): Addon {
  const start = dirname(fileURLToPath(import.meta.url));
  const path = findAbove(start);
  if (path === undefined) {
    throw new PrimedError(
      'NATIVE_MISSING',
      `native/build/primed.node was not found in ${start} or above. ${errorCatalogue.NATIVE_MISSING.help}`,
      { start },
    );
  }
  try {
    return createRequire(import.meta.url)(path) as Addon;
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new PrimedError(
      'NATIVE_MISSING',
      `${path} cannot be loaded: ${why}. Remove native/build and build it again on this machine with \`npm run setup\`.`,
      { path },
      { cause },
    );
  }
}

function findAbove(start: string): string | undefined {
  for (let folder = start; ; folder = dirname(folder)) {
    const path = join(folder, 'native', 'build', 'primed.node');
    if (existsSync(path)) return path;
    if (folder === dirname(folder)) return undefined;
  }
}
