/** A store in a folder of its own, and the part of a lane: bytes written into extents, checksums, landed parts. */
import { closeSync, mkdtempSync, openSync, readSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach } from 'vitest';
import type { ByteRange, Extent, FileId, LoadId, Log, ManifestEntry, RunId, UfsPath } from '../../src/core/types.ts';
import { alignUp, MiB, pageBytes } from '../../src/core/units.ts';
import { pageChecksums } from '../../src/platform/index.ts';
import type { CommitHooks } from '../../src/store/commit.ts';
import { openLocalStore } from '../../src/store/open.ts';
import type { BadPage, LandedPart, Reader, Store, StoreOptions } from '../../src/store/types.ts';
import { overwrite } from './rot.ts';

export const run = 'run-1' as RunId;
export const load = 'load-1' as LoadId;

export function path(name: string): UfsPath {
  return `s3://bucket/${name}` as UfsPath;
}

export function entry(name: string, sizeBytes: number, etag = 'v1'): ManifestEntry {
  return { path: path(name), etag, sizeBytes, lastModifiedMs: 1_700_000_000_000 };
}

/** The bytes of one version of an object: other bytes for every path and ETag, and in every grain. */
export function contentOf(object: ManifestEntry): Buffer {
  const bytes = Buffer.alloc(object.sizeBytes);
  let state = [...`${object.path} ${object.etag}`].reduce(
    (hash, char) => (Math.imul(hash, 31) + char.charCodeAt(0)) | 0,
    7,
  );
  const words = new Int32Array(bytes.buffer, bytes.byteOffset, Math.floor(bytes.length / 4));
  for (let i = 0; i < words.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    words[i] = state;
  }
  for (let i = words.length * 4; i < bytes.length; i++) bytes[i] = state & 255;
  return bytes;
}

export interface LogLine {
  readonly level: keyof Log;
  readonly message: string;
  readonly facts: object;
}

export function memoryLog(): Log & { lines: LogLine[] } {
  const lines: LogLine[] = [];
  const at = (level: keyof Log) => (facts: object, message: string) => {
    lines.push({ level, message, facts });
  };
  return { lines, debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}

export interface Fixture {
  readonly dir: string;
  readonly log: ReturnType<typeof memoryLog>;
  readonly options: StoreOptions;
  open(hooks?: CommitHooks): Promise<Store>;
  remove(): void;
}

/** @param options.parent another file system than that of the temporary folder. */
export function makeFixture(
  options: {
    stores?: number;
    sizeBytes?: number;
    parent?: string;
    onBadPage?: (bad: BadPage) => void;
    onReadError?: (reader: Reader) => void;
  } = {},
): Fixture {
  const dir = mkdtempSync(join(options.parent ?? tmpdir(), 'primed-store-'));
  const log = memoryLog();
  const storeOptions: StoreOptions = {
    indexDir: join(dir, 'index'),
    stores: Array.from({ length: options.stores ?? 1 }, (_, i) => ({
      dir: join(dir, `store-${i}`),
      sizeBytes: options.sizeBytes ?? 33 * MiB,
    })),
    now: () => 1_800_000_000_000,
    log,
    // Longer than any test: nothing is committed that the test did not ask for.
    ledgerFlushMs: 1_000_000,
    ...(options.onBadPage && { onBadPage: options.onBadPage }),
    ...(options.onReadError && { onReadError: options.onReadError }),
  };
  return {
    dir,
    log,
    options: storeOptions,
    open: (hooks) => openLocalStore(storeOptions, hooks),
    remove: () => rmSync(dir, { recursive: true, force: true }),
  };
}

/** Writes `bytes` into the extents, padded with zeros to their length. */
export function writeExtents(store: Store, extents: readonly Extent[], bytes: Uint8Array): void {
  const padded = Buffer.alloc(alignUp(bytes.length));
  padded.set(bytes);
  let at = 0;
  for (const extent of extents) {
    overwrite(store.files[extent.store]!.path, extent.offset, padded.subarray(at, at + extent.length));
    at += extent.length;
  }
}

export function readStoreFile(store: Store, extent: Extent): Buffer {
  const bytes = Buffer.alloc(extent.length);
  const fd = openSync(store.files[extent.store]!.path, 'r');
  try {
    readSync(fd, bytes, 0, extent.length, extent.offset);
  } finally {
    closeSync(fd);
  }
  return bytes;
}

/** Allocates, writes and checksums one range of an object: what a lane has done when it says `done`. */
export function writePart(
  store: Store,
  order: { run?: RunId; fileId: FileId; entry: ManifestEntry; range: ByteRange },
): LandedPart {
  const { offset, length } = order.range;
  const bytes = Buffer.from(contentOf(order.entry).subarray(offset, offset + length));
  const extents = store.allocate(order.run ?? run, length);
  writeExtents(store, extents, bytes);
  const checksums = new Uint32Array(Math.ceil(length / pageBytes));
  pageChecksums(bytes, 0, length, checksums, 0);
  return { fileId: order.fileId, range: order.range, extents, pageChecksums: checksums };
}

/** Loads a whole object, booking its bytes as received. */
export async function loadObject(
  store: Store,
  object: ManifestEntry,
  order: { run?: RunId; load?: LoadId; partBytes?: number } = {},
): Promise<FileId> {
  const runId = order.run ?? run;
  const loadId = order.load ?? load;
  const partBytes = order.partBytes ?? 8 * MiB;
  const begun = store.beginFile({ run: runId, load: loadId, entry: object, reuse: 'load', partBytes });
  if (begun.state === 'complete') return begun.fileId;
  if (object.sizeBytes === 0) await store.completeEmpty(runId, begun.fileId);
  const parts = begun.missing.map((range) =>
    writePart(store, { run: runId, fileId: begun.fileId, entry: object, range }),
  );
  store.account(runId, { originBytes: parts.reduce((sum, part) => sum + part.range.length, 0) });
  if (parts.length > 0) await store.land(runId, parts);
  return begun.fileId;
}

export async function readObject(store: Store, at: UfsPath, range?: ByteRange): Promise<Buffer> {
  const file = store.open(at);
  try {
    const pieces: Uint8Array[] = [];
    for await (const piece of file.read(range ?? { offset: 0, length: file.record.sizeBytes })) pieces.push(piece);
    return Buffer.concat(pieces);
  } finally {
    file.close();
  }
}

/**
 * Each test of the file has a store of its own, which `use` is given whenever it is opened.
 * Returns how to close it and open it again: with hooks, or as a larger one that has nothing in it.
 */
export function storeOfEach(
  use: (store: Store, fixture: Fixture) => void,
): (how?: { readonly hooks?: CommitHooks; readonly sizeBytes?: number }) => Promise<void> {
  let fixture: Fixture;
  let store: Store;
  const open = async (hooks?: CommitHooks): Promise<void> => {
    store = await fixture.open(hooks);
    use(store, fixture);
  };
  beforeEach(async () => {
    fixture = makeFixture();
    await open();
  });
  afterEach(async () => {
    await store.close();
    fixture.remove();
  });
  return async ({ hooks, sizeBytes } = {}) => {
    await store.close();
    if (sizeBytes !== undefined) {
      fixture.remove();
      fixture = makeFixture({ sizeBytes });
    }
    await open(hooks);
  };
}
