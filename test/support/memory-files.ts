/**
 * The reading half of a store, in memory: what the servers need, with bytes made from a seed, and pages that can be
 * spoiled. It lends its piece buffer and overwrites it at the next one, as a store may: whoever keeps a piece is found out.
 */
import { setImmediate } from 'node:timers/promises';
import { ClusterFiles, type ReadableFiles } from '../../src/cluster/reading/files.ts';
import { noPeers } from '../../src/cluster/reading/known-peers.ts';
import type { LocalFiles } from '../../src/cluster/reading/located.ts';
import { nobody } from '../../src/cluster/reading/peer-client.ts';
import { PrimedError } from '../../src/core/errors.ts';
import type { ByteRange, FileId, LoadId, UfsPath } from '../../src/core/types.ts';
import { defaultSegmentBytes, pageBytes } from '../../src/core/units.ts';
import type { FileRecord, FileState, OpenFile, PathSummary, Store } from '../../src/store/types.ts';

export interface PutOptions {
  readonly state?: FileState;
  readonly cachedBytes?: number;
  readonly etag?: string;
  readonly lastModifiedMs?: number;
  readonly versionId?: string;
  readonly attributes?: string;
}

export class MemoryFiles implements LocalFiles, Pick<Store, 'summary'> {
  readonly #files = new Map<string, { record: FileRecord; bytes: Buffer; badPages: Set<number>; endsAt?: number }>();
  #lastId = 0;
  /** Files that are open now: zero once every reader has gone. */
  openFiles = 0;
  /** Pieces handed out so far. */
  piecesRead = 0;

  put(path: string, bytes: Uint8Array | string, options: PutOptions = {}): FileRecord {
    const data = Buffer.from(bytes);
    const state = options.state ?? 'complete';
    const record: FileRecord = {
      path: path as UfsPath,
      fileId: ++this.#lastId as FileId,
      loadId: 'load' as LoadId,
      state,
      sizeBytes: data.length,
      etag: options.etag ?? `etag-${this.#lastId}`,
      lastModifiedMs: options.lastModifiedMs ?? Date.UTC(2026, 0, 2, 3, 4, 5, 678),
      cachedBytes: options.cachedBytes ?? (state === 'complete' ? data.length : 0),
      cachedAtMs: 0,
      segmentBytes: defaultSegmentBytes,
      attributes: options.attributes ?? '',
      ...(options.versionId === undefined ? {} : { versionId: options.versionId }),
    };
    this.#files.set(path, { record, bytes: data, badPages: new Set() });
    return record;
  }

  spoilPage(path: string, page: number): void {
    this.#files.get(path)!.badPages.add(page);
  }

  /** From now on reading ends, without an error, at this offset. */
  endEarly(path: string, offset: number): void {
    this.#files.get(path)!.endsAt = offset;
  }

  stat(path: UfsPath): FileRecord | undefined {
    return this.#files.get(path)?.record;
  }

  *list(options: { prefix: string; after?: string; limit?: number; includeLoading?: boolean }): Iterable<FileRecord> {
    const sorted = [...this.#files.values()]
      .map(({ record }) => record)
      .filter(({ path, state }) => path.startsWith(options.prefix) && (options.includeLoading || state !== 'loading'))
      .filter(
        ({ path }) => options.after === undefined || Buffer.compare(Buffer.from(path), Buffer.from(options.after)) > 0,
      )
      .sort((a, b) => Buffer.compare(Buffer.from(a.path), Buffer.from(b.path)));
    yield* sorted.slice(0, options.limit ?? sorted.length);
  }

  statLoading(): FileRecord | undefined {
    return undefined;
  }

  openVersion({ path, etag }: { path: UfsPath; etag: string }): OpenFile | undefined {
    return this.stat(path)?.etag === etag ? this.open(path) : undefined;
  }

  ranges({ state, sizeBytes, cachedBytes }: FileRecord): readonly ByteRange[] {
    const length = state === 'complete' ? sizeBytes : state === 'metadata' ? 0 : cachedBytes;
    return length === 0 ? [] : [{ offset: 0, length }];
  }

  /** As a worker has them that knows of no other. */
  get alone(): ReadableFiles {
    const log = { debug() {}, info() {}, warn() {}, error() {} };
    return new ClusterFiles({ store: this, peers: noPeers, client: nobody, log });
  }

  async summary(prefix: string): Promise<PathSummary> {
    const records = [...this.list({ prefix, includeLoading: true })];
    const sum = (of: (record: FileRecord) => number) => records.reduce((total, one) => total + of(one), 0);
    return {
      files: records.length,
      bytes: sum((one) => one.sizeBytes),
      cachedFiles: sum((one) => (one.state === 'complete' ? 1 : 0)),
      cachedBytes: sum((one) => one.cachedBytes),
    };
  }

  open(path: UfsPath): OpenFile {
    const file = this.#files.get(path);
    if (file === undefined || file.record.state !== 'complete') {
      throw new PrimedError('FILE_NOT_CACHED', `${path} is not cached; load it first.`);
    }
    this.openFiles += 1;
    return {
      record: file.record,
      read: (range) => this.#read(file, range),
      pages: () => [],
      close: () => {
        this.openFiles -= 1;
      },
    };
  }

  async *#read(file: { record: FileRecord; bytes: Buffer; badPages: Set<number>; endsAt?: number }, range: ByteRange) {
    const lent = Buffer.alloc(pageBytes);
    const end = Math.min(range.offset + range.length, file.endsAt ?? Infinity);
    for (let at = range.offset; at < end; ) {
      // A read of a disk ends in a later turn of the event loop, never in this one.
      await setImmediate();
      const page = Math.floor(at / pageBytes);
      if (file.badPages.has(page)) {
        throw new PrimedError('STORE_CORRUPT', `Page ${page} of ${file.record.path} does not have its checksum.`, {
          page,
        });
      }
      const length = Math.min(end, (page + 1) * pageBytes) - at;
      file.bytes.copy(lent, 0, at, at + length);
      this.piecesRead += 1;
      yield lent.subarray(0, length);
      lent.fill(0xee);
      at += length;
    }
  }
}
