/** The Store: what types.ts promises, put together from the parts of this folder. */
import { strict as assert } from 'node:assert';
import { type Checksums, withChecksums } from '../core/attributes.ts';
import { PrimedError } from '../core/errors.ts';
import type { GoneReason } from '../core/file-events.ts';
import { pinnedClass, type Retention, type RetentionRule } from '../core/retention.ts';
import type {
  ByteRange,
  DiscardReason,
  Extent,
  FileId,
  Ledger,
  LoadId,
  Log,
  ManifestEntry,
  RunId,
  UfsPath,
} from '../core/types.ts';
import { sameVersion } from '../core/types.ts';
import { alignUp, pageBytes } from '../core/units.ts';
import { Beginning } from './beginning.ts';
import { pageBelow } from './below.ts';
import { mergeByPath, summarize, visiblePaths, visibleRecord, visibleRecords } from './catalog.ts';
import type { Counters } from './changes.ts';
import { Changes } from './changes.ts';
import { type Commit, type CommitHooks, GroupCommit, type Operation, type StoreObserver } from './commit.ts';
import { Durable } from './durable.ts';
import { checkEntry, mayReuse } from './entries.ts';
import { Evictor } from './evictor.ts';
import { FileIds } from './file-ids.ts';
import { Holds } from './holds.ts';
import type { IndexDb } from './index-db.ts';
import { Keeping } from './keeping.ts';
import { Ledgers } from './ledgers.ts';
import { checkPart, type LoadingFile } from './loading-file.ts';
import { LoadingFiles } from './loading-files.ts';
import { Opening } from './opening.ts';
import {
  barrier,
  completeEmpty,
  dropFile,
  landParts,
  putMetadata,
  removeVisible,
  showFile,
  stateChecksums,
} from './operations.ts';
import { Readers } from './readers.ts';
import { type ClassUsage, Recency } from './recency.ts';
import { Arena } from './records.ts';
import type { OtherReads } from './shared-reads.ts';
import type { Space } from './space.ts';
import type {
  Accounted,
  BeginOrder,
  Begun,
  CachedRange,
  EvictionOrder,
  EvictionPreview,
  Fetched,
  FileRecord,
  Freed,
  FreeOrder,
  Gone,
  LandedPart,
  OpenFile,
  PathSummary,
  Reader,
  Removed,
  RetentionOptions,
  RunOfLoad,
  Store,
  StoreFile,
  StoreUsage,
  WantedVersion,
} from './types.ts';
import type { Volume } from './volume.ts';

/** Records that one operation of `putMetadata`, and one page of `free`, covers: files, and the blocks of those that are removed. */
const recordsAtOnce = 2048;
/** Half loaded files that are given up at once, to make room. */
const leftoversAtOnce = 256;

export interface StoreParts {
  readonly index: IndexDb;
  readonly volumes: readonly Volume[];
  readonly space: Space;
  readonly counters: Counters;
  readonly loadingLeft: number;
  readonly firstId: number;
  readonly now: () => number;
  readonly log: Log;
  readonly ledgerFlushMs: number;
  readonly hooks: CommitHooks;
  readonly observe: StoreObserver;
  readonly otherReads: OtherReads | undefined;
  readonly removedLimitMs: number | undefined;
  /** Gives up the lock of the index. */
  readonly unlock: () => void;
  readonly retention: Retention;
  readonly usage: Map<number, ClassUsage>;
  readonly evicts: boolean;
}

export class LocalStore implements Store {
  readonly files: readonly StoreFile[];
  readonly #parts: StoreParts;
  readonly #index: IndexDb;
  readonly #space: Space;
  readonly #ledgers: Ledgers;
  readonly #loading: LoadingFiles;
  readonly #readers: Readers;
  readonly #durable: Durable;
  readonly #commits: GroupCommit;
  readonly #holds = new Holds();
  readonly #recency: Recency;
  readonly #evictor: Evictor;
  readonly #keeping: Keeping;
  readonly #ids: FileIds;
  readonly #beginning: Beginning;
  readonly #opening: Opening;
  #evicts: boolean;
  #flushTimer: NodeJS.Timeout | undefined;
  #closing = false;
  #closed = false;

  constructor(parts: StoreParts) {
    const { index, space, counters, now } = parts;
    this.#parts = parts;
    this.files = parts.volumes;
    this.#index = index;
    this.#space = space;
    this.#ledgers = new Ledgers(index);
    this.#loading = new LoadingFiles(index, parts.loadingLeft);
    this.#readers = new Readers({ index, space, now, others: parts.otherReads, removedLimitMs: parts.removedLimitMs });
    this.#durable = new Durable({ index, loading: this.#loading, readers: this.#readers });
    this.#ids = new FileIds(parts.firstId);
    const [ledgers, loading, readers] = [this.#ledgers, this.#loading, this.#readers];
    const holds = this.#holds;
    const recency = new Recency({ index, holds, retention: parts.retention, usage: parts.usage });
    this.#recency = recency;
    loading.onEnd = (file) => recency.expectNoMore(file);
    const context = { index, arena: new Arena(), space, ledgers, loading, readers, recency, holds, counters, now };
    this.#commits = new GroupCommit({
      index,
      volumes: parts.volumes,
      hooks: parts.hooks,
      observe: parts.observe,
      begin: () => {
        const changes = new Changes(context);
        this.#ids.reserve(changes);
        return changes;
      },
    });
    const commit: Commit = (make) => this.#commit(make);
    const { observe, log } = parts;
    this.#evicts = parts.evicts;
    this.#evictor = new Evictor({
      ...{ index, space, loading, readers, holds, recency, now, commit },
      evicts: () => this.#evicts,
      onEvicted: observe.onEvicted,
      sorted: () => this.#keeping.sorted(),
      dropLeftovers: () => this.#dropLeftovers(),
    });
    this.#keeping = new Keeping({ index, recency, evictor: this.#evictor, commit, log });
    const durable = this.#durable;
    this.#opening = new Opening({ index, loading, durable, readers, volumes: parts.volumes, observe });
    this.#beginning = new Beginning({
      ...{ index, loading, readers, durable, ids: this.#ids },
      hold: (run, record) => void this.hold(run, record),
      drop: (file, reason) => this.#dropInBackground(file, reason),
    });
  }

  /** Books what the last process lost, and records a range of ids. Durable when resolved. */
  async recover(): Promise<void> {
    this.#ledgers.recover(this.#parts.log);
    await this.#commit((settle) => barrier(settle));
    this.#keeping.start();
  }

  diskWaitMs(): number {
    return this.#commits.diskWaitMs;
  }

  isFlushing(): boolean {
    return this.#commits.syncing;
  }

  usage(): StoreUsage {
    const { capacityBytes, unusedBytes, reservedBytes } = this.#space;
    const { files, blocks } = this.#parts.counters;
    return {
      capacityBytes,
      usedBytes: capacityBytes - unusedBytes,
      reservedBytes,
      freeBytes: unusedBytes - reservedBytes,
      pinnedBytes: this.#recency.bytesOf(pinnedClass),
      heldBytes: this.#holds.bytes,
      evictableBytes: this.#evictor.evictableBytes,
      files,
      blocks,
    };
  }

  reserve(run: RunId, bytes: number): void {
    this.#checkUsable();
    this.#evictor.reserve(run, bytes);
  }

  async reserveMore(run: RunId, bytes: number): Promise<Removed> {
    this.#checkUsable();
    return this.#evictor.reserveMore(run, bytes);
  }

  admit(file: FileId, path: UfsPath, bytes: number): Promise<void> | undefined {
    return this.#evictor.admit(file, path, bytes);
  }

  enter(run: RunId, load: LoadId): void {
    this.#holds.enter(run, load);
  }

  hold(run: RunId, record: FileRecord): boolean {
    if (this.#readers.isRetired(record.fileId)) return false;
    const isPinned = this.#recency.retention.classOf(record.path) === pinnedClass;
    const isPlaced = record.state === 'complete' || record.state === 'partial';
    this.#holds.hold(run, record.fileId, isPlaced && !isPinned ? alignUp(record.cachedBytes) : 0);
    return true;
  }

  touch(files: Iterable<FileId>): void {
    this.#keeping.touch(files, this.#parts.now());
  }

  setKeeping({ eviction, removedLimitMs }: Omit<RetentionOptions, 'rules'>): void {
    this.#evicts = eviction !== 'none';
    this.#readers.setRemovedLimit(removedLimitMs);
  }

  setRules(rules: readonly RetentionRule[]): Promise<void> {
    return this.#keeping.setRules(rules);
  }

  setPins(paths: readonly string[]): Promise<void> {
    return this.#keeping.setPins(paths);
  }

  isPinned(path: UfsPath): boolean {
    return this.#recency.retention.classOf(path) === pinnedClass;
  }

  reservedFor(run: RunId): number {
    return this.#space.reservedFor(run);
  }

  unreserve(run: RunId): void {
    this.#space.unreserve(run);
    this.#loading.leave(run);
    if (this.#holds.leave(run)) this.#recency.lookAgain();
  }

  beginFile(order: BeginOrder): Begun {
    this.#checkUsable();
    return this.#beginning.begin(order);
  }

  async show(version: ManifestEntry): Promise<void> {
    const file = this.#loading.atPath(version.path);
    if (file === undefined || !sameVersion(file.entry, version)) return this.flush();
    return this.#commit((settle) => showFile(this.#loading, file, settle));
  }

  missing(order: Omit<BeginOrder, 'run' | 'segmentBytes'>): readonly ByteRange[] {
    return this.#durable.missing(order);
  }

  previewEviction(order: EvictionOrder): Promise<EvictionPreview> {
    return this.#evictor.preview(order);
  }

  cachedRange(whose: RunOfLoad, entry: ManifestEntry, range: ByteRange): CachedRange {
    return this.#durable.cachedRange(whose, entry, range);
  }

  fetched(run: RunId, record: FileRecord): Fetched {
    return this.#durable.fetched(run, record, { offset: 0, length: record.sizeBytes });
  }

  async abandonLeft(run: RunId, load: LoadId): Promise<void> {
    await Promise.all(this.#loading.leftBy(run, load).map((id) => this.abandonFile(id, 'failed')));
  }

  async dropUnusable(order: { load: LoadId; entries: readonly ManifestEntry[]; reuse: 'any' | 'load' }): Promise<void> {
    let dropped = false;
    for (const entry of order.entries) {
      const record = this.#loading.recordAt(entry.path);
      if (!record || mayReuse(record, record.loadId, { ...order, entry })) continue;
      const file = this.#loading.atPath(entry.path);
      if (file?.phase !== 'loading' || file.users.size > 0) continue;
      this.#dropInBackground(file, sameVersion(record, entry) ? 'replaced' : 'changed');
      dropped = true;
    }
    if (dropped) await this.flush();
  }

  async abandonFile(fileId: FileId, reason: DiscardReason): Promise<void> {
    const file = this.#loading.withId(fileId);
    // All its bytes have landed, or it is gone already: there is nothing to give up.
    if (file?.phase !== 'loading') return this.flush();
    // What was added to a visible version is not given up: it belongs to that.
    if (file.reopened) return this.#commit((settle) => showFile(this.#loading, file, settle));
    return this.#commit((settle) => dropFile(this.#loading, file, reason, settle));
  }

  allocate(run: RunId, bytes: number): readonly Extent[] {
    this.#checkUsable();
    return this.#space.allocate(run, bytes);
  }

  giveBack(run: RunId, extents: readonly Extent[]): void {
    this.#space.free(extents, run);
  }

  land(run: RunId, parts: readonly LandedPart[]): Promise<readonly FileId[]> {
    return this.#commit((settle) => {
      for (const part of parts) {
        const file = this.#loading.inMemory(part.fileId);
        if (file) checkPart(part, file.entry.sizeBytes);
      }
      return landParts(this.#loading, run, parts, settle);
    });
  }

  isAbandoned(fileId: FileId): boolean {
    const file = this.#loading.inMemory(fileId);
    const ending = this.#loading.ending(fileId);
    return file?.phase === 'dropped' || (ending !== undefined && ending !== 'complete');
  }

  completeEmpty(run: RunId, fileId: FileId): Promise<void> {
    const file = this.#loading.withId(fileId);
    assert(!file || file.entry.sizeBytes === 0, 'only a file of no bytes is complete without parts');
    if (!file) return this.flush();
    return this.#commit((settle) => completeEmpty(this.#loading, run, file, settle));
  }

  account(run: RunId, { originBytes, peerBytes, discarded }: Accounted): void {
    if (originBytes !== undefined) this.#ledgers.origin(run, originBytes);
    if (peerBytes !== undefined) this.#ledgers.peer(run, peerBytes);
    if (discarded) this.#ledgers.discarded(run, discarded.reason, discarded.bytes);
    this.#flushTimer ??= setTimeout(() => {
      this.#flushTimer = undefined;
      if (this.#ledgers.dirty && !this.#closed) this.#commits.enqueue(barrier(this.#background('ledger')));
    }, this.#parts.ledgerFlushMs).unref();
  }

  ledger(run: RunId): Ledger {
    return this.#ledgers.get(run);
  }

  flush(): Promise<void> {
    return this.#commit((settle) => barrier(settle));
  }

  async #dropLeftovers(): Promise<boolean> {
    const files: FileId[] = [];
    const gone: Gone[] = [];
    for (const file of this.#loading.leftovers((load) => this.#holds.isOf(load))) {
      if (files.length === leftoversAtOnce) break;
      files.push(file);
      const left = this.#loading.withId(file);
      if (left === undefined) continue;
      const { path, etag } = left.entry;
      gone.push({ path, etag, reason: 'leftover', bytes: left.durableBytes });
    }
    // In this turn, before a run can go on with one of them.
    await Promise.all(files.map((file) => this.abandonFile(file, 'stopped')));
    if (gone.length > 0) this.#parts.observe.onGone?.(gone);
    return files.length > 0;
  }

  async putMetadata(load: LoadId, entries: readonly ManifestEntry[]): Promise<void> {
    for (const entry of entries) checkEntry(entry);
    const nextId = (): FileId => this.#ids.next();
    for (let at = 0; at < entries.length; at += recordsAtOnce) {
      const some = entries.slice(at, at + recordsAtOnce);
      await this.#commit<void>((settle) => putMetadata(load, some, nextId, this.#parts.now(), settle));
    }
  }

  async free({ path, after, dryRun = false }: FreeOrder): Promise<Freed> {
    this.#checkUsable();
    // What has landed by now becomes visible first, so that it is found.
    if (after === undefined) await this.flush();
    const order = { path, records: recordsAtOnce, ...(after === undefined ? {} : { after }) };
    const { files, bytes, visible, loading, records, next } = pageBelow(this.#index, this.#loading, order);
    if (!dryRun) {
      await Promise.all(loading.map((id) => this.abandonFile(id, 'stopped')));
      if (visible.length > 0)
        await this.#commit<{ files: number; bytes: number }>((settle) =>
          removeVisible({ paths: visible, records }, settle),
        );
    }
    return { files, bytes, ...(next === undefined ? {} : { next }) };
  }

  async remove(path: UfsPath): Promise<{ files: number; bytes: number }> {
    let { files, bytes, next } = await this.free({ path });
    while (next !== undefined) {
      const page = await this.free({ path, after: next });
      files += page.files;
      bytes += page.bytes;
      next = page.next;
    }
    return { files, bytes };
  }

  async removeVersion(path: UfsPath, file: FileId, reason: GoneReason): Promise<void> {
    await this.#commit<{ files: number; bytes: number }>((settle) =>
      removeVisible({ paths: [path], records: 1, only: file, why: { reason } }, settle),
    );
  }

  async stateChecksums({ path, fileId, attributes }: FileRecord, checksums: Checksums): Promise<void> {
    if (withChecksums(attributes, checksums) === attributes) return;
    await this.#commit<void>((settle) => stateChecksums({ path, fileId, checksums }, settle));
  }

  stat(path: UfsPath): FileRecord | undefined {
    return visibleRecord(this.#index, path) ?? this.#loading.recordAt(path);
  }

  statLoading(path: UfsPath): FileRecord | undefined {
    return this.#loading.recordAt(path);
  }

  *list(options: { prefix: string; after?: string; limit?: number; includeLoading?: boolean }): Iterable<FileRecord> {
    const { prefix, after, limit = Number.POSITIVE_INFINITY } = options;
    const visible = visibleRecords(this.#index, prefix, after);
    const all = options.includeLoading ? mergeByPath(visible, this.#loading.records(prefix, after)) : visible;
    let count = 0;
    let last: string | undefined;
    for (const record of all) {
      // Both records of a path, visible and loading, stay on one page: the next one begins after the path.
      if (count >= limit && record.path !== last) return;
      yield record;
      count++;
      last = record.path;
    }
  }

  paths(): Iterable<string> {
    return visiblePaths(this.#index);
  }

  ranges(record: FileRecord): readonly ByteRange[] {
    return this.#durable.ranges(record);
  }

  summary(prefix: string): Promise<PathSummary> {
    return summarize(this.#index, prefix, (after) => this.#loading.records(prefix, after));
  }

  open(path: UfsPath, options: { readonly by?: Reader; readonly uses?: boolean } = {}): OpenFile {
    const { by = 'serve', uses = by === 'serve' } = options;
    const opened = this.#opening.open(path, by);
    if (uses) this.touch([opened.record.fileId]);
    return opened;
  }

  openVersion(version: WantedVersion, wanted?: ByteRange): OpenFile | undefined {
    const opened = this.#opening.openVersion(version, wanted);
    if (opened !== undefined) this.touch([opened.record.fileId]);
    return opened;
  }

  async repairPage(version: WantedVersion, page: number, bytes: Uint8Array): Promise<boolean> {
    this.#checkUsable();
    const opened = this.#opening.openVersion(version, { offset: page * pageBytes, length: bytes.length });
    try {
      return (await opened?.rewrite(page, bytes)) ?? false;
    } finally {
      opened?.close();
    }
  }

  durableRanges(version: WantedVersion, wanted: ByteRange): readonly ByteRange[] {
    return this.#durable.rangesWithin(version, wanted);
  }

  async close(): Promise<void> {
    if (this.#closed || this.#closing) return;
    this.#closing = true;
    await this.#keeping.close();
    this.#closed = true;
    clearTimeout(this.#flushTimer);
    if (!this.#commits.broken) this.#commits.enqueue(barrier(this.#background('last')));
    await this.#commits.idle();
    this.#readers.close();
    for (const volume of this.#parts.volumes) await volume.close();
    await this.#index.close();
    this.#parts.unlock();
  }

  #commit<T>(
    make: (settle: { resolve: (value: T) => void; reject: (error: PrimedError) => void }) => Operation,
  ): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#checkUsable();
      this.#commits.enqueue(make({ resolve, reject }));
    });
  }

  /** The settling of an operation that nobody waits for: its failure is in the log, and every later call reports it. */
  #background(what: string): { resolve: () => void; reject: (error: PrimedError) => void } {
    return {
      resolve: () => undefined,
      reject: (error) => this.#parts.log.error({ code: error.code }, `${what} commit: ${error.message}`),
    };
  }

  #dropInBackground(file: LoadingFile, reason: DiscardReason): void {
    this.#commits.enqueue(dropFile(this.#loading, file, reason, this.#background('drop')));
  }

  #checkUsable(): void {
    if (this.#closed) throw new PrimedError('STOPPING', 'the store is closed');
    const { broken } = this.#commits;
    if (broken) throw broken;
  }
}
