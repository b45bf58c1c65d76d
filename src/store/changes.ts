/** What one commit changes: puts and removes, collected in order, and what to do once they are durable. */
import type { GoneReason } from '../core/file-events.ts';
import { type Extent, type FileId, type ManifestEntry, type RunId, sameVersion } from '../core/types.ts';
import type { Holds } from './holds.ts';
import type { IndexDb, Table } from './index-db.ts';
import { extentsOf } from './layout.ts';
import type { Ledgers } from './ledgers.ts';
import type { LoadingFile } from './loading-file.ts';
import type { LoadingFiles } from './loading-files.ts';
import type { Readers } from './readers.ts';
import type { Recency } from './recency.ts';
import {
  type Arena,
  type Block,
  blockBytes,
  blockKey,
  decodeFile,
  encodeFile,
  fileKey,
  inlineBlock,
  type Place,
  parseSegment,
  pathKey,
  placeKey,
  placeOf,
  readBlock,
  writeBlock,
} from './records.ts';
import type { Space } from './space.ts';
import type { FileRecord, Gone } from './types.ts';

export interface Counters {
  files: number;
  blocks: number;
}

/** A visible file as this commit leaves it. */
interface Visible {
  readonly record: FileRecord;
  readonly block: Block | undefined;
  /** In the queue for eviction; undefined: it has no bytes. */
  readonly place: Place | undefined;
  /** Blocks that this commit put. */
  readonly blocks: ReadonlyMap<number, Block> | undefined;
  /** Nothing of it has changed but its place, or what is known of it. */
  readonly moved?: boolean;
}

/** Why a visible file is removed, for who tells of it. */
export interface Why {
  readonly reason: GoneReason;
  /** For whom room is made. */
  readonly run?: RunId | undefined;
  readonly newEtag?: string;
}

export interface ChangesContext {
  readonly index: IndexDb;
  readonly arena: Arena;
  readonly space: Space;
  readonly ledgers: Ledgers;
  readonly readers: Readers;
  readonly loading: LoadingFiles;
  readonly recency: Recency;
  readonly holds: Holds;
  readonly counters: Counters;
  readonly now: () => number;
}

export class Changes {
  readonly #context: ChangesContext;
  readonly #tables: Table[] = [];
  readonly #keys: Uint8Array[] = [];
  readonly #values: (Buffer | undefined)[] = [];
  /** Visible files that this commit changed; null: removed. */
  readonly #visible = new Map<string, Visible | null>();
  /** Files that go on loading, with the segments that this commit changed. */
  readonly #loading = new Map<LoadingFile, Set<number>>();
  readonly #afterwards: (() => void)[] = [];
  readonly #gone: Gone[] = [];
  #fileCount = 0;
  #blockCount = 0;

  constructor(context: ChangesContext) {
    this.#context = context;
    context.arena.reset();
  }

  get recency(): Recency {
    return this.#context.recency;
  }

  get ledgers(): Ledgers {
    return this.#context.ledgers;
  }

  /** Puts and removes. */
  get count(): number {
    return this.#tables.length;
  }

  /** What this commit removed with a reason that is told. */
  get gone(): readonly Gone[] {
    return this.#gone;
  }

  /** Paths that this commit made visible, or changed. */
  *shown(): Generator<string> {
    for (const [path, visible] of this.#visible) if (visible !== null && visible.moved !== true) yield path;
  }

  /** Runs once the commit is durable. */
  afterwards(action: () => void): void {
    this.#afterwards.push(action);
  }

  /** Extents that nothing will refer to once this is durable. */
  release(extents: readonly Extent[], run?: RunId): void {
    if (extents.length > 0) this.#afterwards.push(() => this.#context.space.free(extents, run));
  }

  putMeta(key: string, value: unknown): void {
    this.#put(this.#context.index.meta, Buffer.from(key), Buffer.from(JSON.stringify(value)));
  }

  visible(path: string): FileRecord | undefined {
    return this.#lookup(path)?.record;
  }

  /** Puts a visible file without data, in place of whatever was there. */
  putMetadata(record: FileRecord): void {
    this.#replace(record);
    this.#putVisible({ record, block: undefined, place: undefined, blocks: undefined });
  }

  /** A visible file waits elsewhere for its eviction. Nothing, where this version is not there any more. */
  place(path: string, file: FileId, place: Place): void {
    const old = this.#lookup(path);
    if (old?.place === undefined || old.record.fileId !== file) return;
    this.#leaveQueue(old);
    this.#fileCount--;
    this.#putVisible({ ...old, place, moved: old.moved ?? !this.#visible.has(path) });
  }

  /** What is known of a visible file beside its data and its version. Nothing, where this version is not there any more. */
  describe(path: string, file: FileId, describe: (attributes: string) => string): void {
    const { index, arena, loading } = this.#context;
    // Where more of it is being loaded, that makes its next record.
    const added = loading.withId(file);
    if (added !== undefined) added.attributes = describe(added.attributes);
    const old = this.#lookup(path);
    if (old?.record.fileId !== file) return;
    const attributes = describe(old.record.attributes);
    if (attributes === old.record.attributes) return;
    const record = { ...old.record, attributes };
    this.#visible.set(path, { ...old, record, moved: old.moved ?? !this.#visible.has(path) });
    this.#put(index.files, pathKey(path), encodeFile({ record, block: old.block, place: old.place }, arena));
  }

  /** When a file was read last. */
  used(file: FileId, atMs: number): void {
    const value = this.#context.arena.take(6);
    value.writeUIntLE(atMs, 0, 6);
    this.#put(this.#context.index.used, fileKey(file), value);
  }

  /** Removes a visible file and its data, what is being added to it too. Returns its record. Without a reason it is not told of. */
  removeVisible(path: string, why?: Why): FileRecord | undefined {
    const old = this.#lookup(path);
    if (!old) return undefined;
    this.#visible.set(path, null);
    this.#remove(this.#context.index.files, pathKey(path));
    this.#fileCount--;
    const { readers, loading, recency } = this.#context;
    this.#leaveQueue(old);
    recency.gone(old.record.fileId);
    const { fileId } = old.record;
    const blocks = old.block ? new Map([[0, old.block]]) : this.#removeBlocks(fileId, old.blocks);
    this.#blockCount -= blocks.size;
    const added = loading.withId(fileId);
    if (added) {
      for (const [segment, block] of added.blocks) blocks.set(segment, block);
      this.#forgetLoading(added);
      loading.withdraw(added);
      this.#afterwards.push(() => loading.end(added, 'replaced'));
    }
    readers.retire(fileId, blocks);
    this.#afterwards.push(() => readers.retired(fileId, [...blocks.values()].flatMap(extentsOf)));
    const { state, cachedBytes: bytes, etag } = old.record;
    if (why !== undefined && state !== 'metadata') this.#gone.push({ path, bytes, etag, ...why });
    return old.record;
  }

  /** A segment of a file that is being loaded has changed. */
  touch(file: LoadingFile, segment: number): void {
    let segments = this.#loading.get(file);
    if (!segments) {
      segments = new Set();
      this.#loading.set(file, segments);
    }
    segments.add(segment);
  }

  /** What has landed of the file, the whole of it or segments, takes the place of the version that was visible. */
  show(file: LoadingFile): void {
    const { entry, fileId } = file;
    const record = file.record(file.whole ? 'complete' : 'partial', file.landedBytes, this.#context.now());
    // A version that gets more segments keeps those that it has.
    const old = this.#lookup(entry.path);
    if (old?.record.fileId === fileId) {
      this.#fileCount--;
      this.#leaveQueue(old);
    } else this.#replace(entry);
    const { recency, holds } = this.#context;
    const place = { class: recency.retention.classOf(entry.path), sinceMs: Math.max(0, Math.floor(record.cachedAtMs)) };
    for (const run of file.users) holds.hold(run, fileId, 0);
    if (file.small) {
      const block = file.blocks.get(0);
      if (block) this.#blockCount++;
      this.#putVisible({ record, block, place, blocks: undefined });
    } else {
      const segments = this.#loading.get(file) ?? new Set();
      this.#putBlocks(file, segments);
      this.#putVisible({ record, block: undefined, place, blocks: new Map(file.blocks) });
      this.#settleLater(file, segments);
    }
    this.#forgetLoading(file);
    file.reopened = true;
    file.shownBytes = file.landedBytes;
    this.#afterwards.push(() => {
      file.visible = true;
    });
  }

  /** A loading file is given up; its extents come back, to the reservation of its run. */
  drop(file: LoadingFile): void {
    const blocks = file.indexed ? this.#removeBlocks(file.fileId, file.blocks) : file.blocks;
    this.#blockCount -= file.stored.size;
    this.#forgetLoading(file);
    const { readers } = this.#context;
    const extents = [...blocks.values()].flatMap(extentsOf);
    // What is durable of it may be read by another worker at this moment.
    readers.retire(file.fileId, blocks);
    this.#afterwards.push(() => readers.retired(file.fileId, extents, file.run));
  }

  /** After the last operation: the records of what goes on loading, and the ledgers. */
  finish(): void {
    const { index, arena, ledgers } = this.#context;
    for (const [file, segments] of this.#loading) {
      // A small file is either complete or has landed nothing.
      this.#putBlocks(file, segments);
      const record = file.record('loading', file.landedBytes, 0);
      this.#put(index.loading, fileKey(file.fileId), encodeFile({ record }, arena));
      if (!file.indexed) this.#put(index.loadingPaths, pathKey(file.entry.path), fileKey(file.fileId));
      file.indexed = true;
      this.#settleLater(file, segments);
    }
    ledgers.write(arena, (key, value) => this.#put(index.runs, key, value));
  }

  /** Inside the transaction. */
  write(): void {
    for (let i = 0; i < this.#tables.length; i++) {
      const value = this.#values[i];
      if (value) void this.#tables[i]!.put(this.#keys[i]!, value);
      else void this.#tables[i]!.remove(this.#keys[i]!);
    }
  }

  /** It is durable. */
  settle(): void {
    this.#context.ledgers.settle();
    this.#context.counters.files += this.#fileCount;
    this.#context.counters.blocks += this.#blockCount;
    for (const action of this.#afterwards) action();
  }

  /** What is visible makes way for a version; where that is another one, it is told. */
  #replace(by: ManifestEntry): void {
    const old = this.#lookup(by.path)?.record;
    if (old === undefined) return;
    this.removeVisible(by.path, sameVersion(old, by) ? undefined : { reason: 'replaced', newEtag: by.etag });
  }

  #lookup(path: string): Visible | undefined {
    const changed = this.#visible.get(path);
    if (changed !== undefined) return changed ?? undefined;
    const bytes = this.#context.index.get(this.#context.index.files, pathKey(path));
    if (bytes === undefined) return undefined;
    const record = decodeFile(bytes, path);
    const place = record.state === 'metadata' ? undefined : placeOf(bytes);
    return { record, block: inlineBlock(bytes), place, blocks: undefined };
  }

  #putVisible(visible: Visible): void {
    const { index, arena } = this.#context;
    const { record, block, place } = visible;
    this.#visible.set(record.path, visible);
    this.#put(index.files, pathKey(record.path), encodeFile({ record, block, place }, arena));
    this.#fileCount++;
    if (place !== undefined) this.#enterQueue(record, place);
  }

  #enterQueue({ path, fileId, cachedBytes, cachedAtMs }: FileRecord, place: Place): void {
    const { index, arena, recency } = this.#context;
    const pathBytes = Buffer.byteLength(path);
    const value = arena.take(8 + pathBytes);
    value.writeDoubleLE(cachedBytes, 0);
    value.write(path, 8, 'utf8');
    this.#put(index.queue, placeKey(place, fileId), value);
    if (recency.retention.rule(place.class)?.ttlMs !== undefined)
      this.#put(index.ages, ageKey(place.class, cachedAtMs, fileId), value.subarray(8));
    this.#afterwards.push(() => recency.placed(fileId, place, cachedBytes));
  }

  #leaveQueue({ record, place }: Visible): void {
    if (place === undefined) return;
    const { index, recency } = this.#context;
    const { fileId, cachedBytes, cachedAtMs } = record;
    this.#remove(index.queue, placeKey(place, fileId));
    if (recency.retention.rule(place.class)?.ttlMs !== undefined)
      this.#remove(index.ages, ageKey(place.class, cachedAtMs, fileId));
    // Its place says it from now on.
    this.#remove(index.used, fileKey(fileId));
    this.#afterwards.push(() => recency.left(fileId, place, cachedBytes));
  }

  #putBlocks(file: LoadingFile, segments: Iterable<number>): void {
    const { index, arena } = this.#context;
    for (const segment of segments) {
      const block = file.blocks.get(segment)!;
      const value = arena.take(blockBytes(block));
      writeBlock(block, value, 0);
      if (!file.stored.has(segment)) this.#blockCount++;
      file.stored.add(segment);
      this.#put(index.blocks, blockKey(file.fileId, segment), value);
    }
  }

  /** Removes all blocks of a file: those in the index, as of the last commit, and those that this commit put. */
  #removeBlocks(file: FileId, put: ReadonlyMap<number, Block> | undefined): Map<number, Block> {
    const { index } = this.#context;
    const blocks = new Map<number, Block>();
    const range = { start: blockKey(file, 0), end: fileKey((file + 1) as FileId) };
    for (const { key, value } of index.range(index.blocks, range)) blocks.set(parseSegment(key), readBlock(value));
    for (const [segment, block] of put ?? []) blocks.set(segment, block);
    for (const segment of blocks.keys()) this.#remove(index.blocks, blockKey(file, segment));
    return blocks;
  }

  #forgetLoading(file: LoadingFile): void {
    const { index } = this.#context;
    this.#loading.delete(file);
    if (!file.indexed) return;
    file.indexed = false;
    this.#remove(index.loading, fileKey(file.fileId));
    this.#remove(index.loadingPaths, pathKey(file.entry.path));
  }

  #settleLater(file: LoadingFile, segments: ReadonlySet<number>): void {
    const landed = file.landedBytes;
    const present = [...segments].map((segment) => [segment, file.blocks.get(segment)!.present.slice()] as const);
    this.#afterwards.push(() => {
      file.durableBytes = landed;
      for (const [segment, bitmap] of present) file.settle(segment, bitmap);
    });
  }

  #put(table: Table, key: Uint8Array, value: Buffer): void {
    this.#tables.push(table);
    this.#keys.push(key);
    this.#values.push(value);
  }

  #remove(table: Table, key: Uint8Array): void {
    this.#tables.push(table);
    this.#keys.push(key);
    this.#values.push(undefined);
  }
}

function ageKey(of: number, cachedAtMs: number, file: FileId): Buffer {
  return placeKey({ class: of, sinceMs: Math.max(0, Math.floor(cachedAtMs)) }, file);
}
