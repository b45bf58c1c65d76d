/**
 * The files that are being loaded, in memory from their `beginFile` on, until they end or the last run that began them
 * does. What is half loaded then, or was left so by an earlier process, stays in the index until somebody asks for it.
 */
import type { DiscardReason, FileId, LoadId, RunId, UfsPath } from '../core/types.ts';
import { loadingRecord, mergeByPath, storedLoading, visibleRecord } from './catalog.ts';
import type { IndexDb } from './index-db.ts';
import { LoadingFile } from './loading-file.ts';
import { blockKey, decodeFile, fileKey, parseFileKey, parseSegment, pathKey, readBlock } from './records.ts';
import type { FileRecord } from './types.ts';

/** How a file ended, for parts of it that come late. Remembered for this many files. */
const endingsKept = 16_384;
export type Ending = 'complete' | DiscardReason;

export class LoadingFiles {
  readonly #index: IndexDb;
  readonly #byId = new Map<FileId, LoadingFile>();
  readonly #byPath = new Map<string, LoadingFile>();
  readonly #byUser = new Map<RunId, Set<LoadingFile>>();
  /** Hears of each that takes no part any more. */
  onEnd: (file: FileId) => void = () => undefined;
  readonly #endings = new Map<FileId, Ending>();
  /** The ids of #endings, in a ring: looking for the oldest key of a Map costs a walk over those that were deleted. */
  readonly #ended = new Float64Array(endingsKept);
  #endedCount = 0;
  /** Loading files that only the index knows. */
  #left: number;

  constructor(index: IndexDb, left: number) {
    this.#index = index;
    this.#left = left;
  }

  add(file: LoadingFile): void {
    this.#byId.set(file.fileId, file);
    this.#byPath.set(file.entry.path, file);
  }

  /** The run has begun it: it stays in memory until `leave`. */
  use(file: LoadingFile, run: RunId): void {
    file.users.add(run);
    const files = this.#byUser.get(run);
    if (files) files.add(file);
    else this.#byUser.set(run, new Set([file]));
  }

  /** The run has ended. Files that it leaves half loaded, with no other run at work on them, need no memory. */
  leave(run: RunId): void {
    for (const file of this.#byUser.get(run) ?? []) {
      file.users.delete(run);
      this.#rest(file);
    }
    this.#byUser.delete(run);
  }

  /** Parts of it are durable: if its runs have ended meanwhile, this was what it was still in memory for. */
  landed(fileId: FileId): void {
    const file = this.#byId.get(fileId);
    if (file) this.#rest(file);
  }

  /** In memory, or taken from the index. */
  atPath(path: string): LoadingFile | undefined {
    const file = this.#byPath.get(path);
    if (file || this.#left === 0) return file;
    const bytes = this.#index.get(this.#index.loadingPaths, pathKey(path));
    return bytes === undefined ? undefined : this.#fromIndex(parseFileKey(bytes));
  }

  withId(fileId: FileId): LoadingFile | undefined {
    const file = this.#byId.get(fileId);
    if (file || this.#left === 0 || this.#endings.has(fileId)) return file;
    return this.#fromIndex(fileId);
  }

  /** Goes on with a version that is visible in part. */
  reopen(visible: FileRecord, run: RunId): LoadingFile {
    const { path, etag, sizeBytes, lastModifiedMs, versionId, fileId, loadId: load, cachedBytes } = visible;
    const { segmentBytes, attributes, runs = new Map([[load as string as RunId, cachedBytes]]) } = visible;
    const entry = { path, etag, sizeBytes, lastModifiedMs, ...(versionId === undefined ? {} : { versionId }) };
    const file = new LoadingFile({
      ...{ fileId, entry, load, run, segmentBytes, attributes },
      runs: new Map(runs),
      shownBytes: cachedBytes,
    });
    this.#restore(file);
    // It has not ended, whatever is remembered of its last loading.
    this.#endings.delete(fileId);
    this.add(file);
    return file;
  }

  /** Only what is in memory: parts land on nothing else. */
  inMemory(fileId: FileId): LoadingFile | undefined {
    return this.#byId.get(fileId);
  }

  ending(fileId: FileId): Ending | undefined {
    return this.#endings.get(fileId);
  }

  /** The version that it adds to is removed: nothing lands on it from now on. */
  withdraw(file: LoadingFile): void {
    if (file.phase === 'loading') {
      file.phase = 'dropped';
      file.reason = 'replaced';
    }
    this.hide(file);
  }

  /** The file takes no part in anything any more, but for parts of it that come late. */
  end(file: LoadingFile, ending: Ending): void {
    if (!this.#byId.delete(file.fileId)) return;
    this.onEnd(file.fileId);
    this.hide(file);
    for (const run of file.users) this.#byUser.get(run)?.delete(file);
    this.#endings.set(file.fileId, ending);
    const place = this.#endedCount++ % endingsKept;
    this.#endings.delete(this.#ended[place]! as FileId);
    this.#ended[place] = file.fileId;
  }

  /** It is not what is loading at its path any more. */
  hide(file: LoadingFile): void {
    if (this.#byPath.get(file.entry.path) === file) this.#byPath.delete(file.entry.path);
  }

  /** What is loading at a path: in memory, or as the index has it, which stays there. */
  peek(path: string): LoadingFile | FileRecord | undefined {
    return this.#byPath.get(path) ?? this.recordAt(path);
  }

  /** The record of a loading file, without taking it into memory. */
  recordAt(path: string): FileRecord | undefined {
    const file = this.#byPath.get(path);
    if (file) return file.isShown ? undefined : file.record();
    if (this.#left === 0) return undefined;
    const bytes = this.#index.get(this.#index.loadingPaths, pathKey(path));
    return bytes === undefined ? undefined : this.#storedRecord(parseFileKey(bytes));
  }

  /**
   * Records of all loading files whose path starts with `prefix`, in byte order of the path. Those that only the index
   * has, of which there may be many, are read as the consumer goes on.
   */
  *records(prefix: string, after?: string): Generator<FileRecord> {
    const found: { key: Buffer; record: FileRecord }[] = [];
    const afterKey = after === undefined ? undefined : pathKey(after);
    for (const file of this.#byPath.values()) {
      const key = pathKey(file.entry.path);
      if (!file.entry.path.startsWith(prefix) || (afterKey && Buffer.compare(key, afterKey) <= 0)) continue;
      if (file.isShown) continue;
      found.push({ key, record: file.record() });
    }
    const inMemory = found.sort((a, b) => Buffer.compare(a.key, b.key)).map(({ record }) => record);
    if (this.#left === 0) yield* inMemory;
    else yield* mergeByPath(this.#storedRecords(prefix, after, new Set(inMemory.map(({ path }) => path))), inMemory);
  }

  *#storedRecords(prefix: string, after: string | undefined, but: ReadonlySet<string>): Generator<FileRecord> {
    for (const { path, fileId } of storedLoading(this.#index, prefix, after)) {
      const record = but.has(path) || this.#byPath.has(path) ? undefined : this.#storedRecord(fileId);
      if (record) yield record;
    }
  }

  /** Files that runs of the load, or this run, have half loaded, and that no other run is at work on. */
  leftBy(run: RunId, load: LoadId): FileId[] {
    const files: FileId[] = [];
    for (const [fileId, file] of this.#byId) {
      const isIts = file.users.has(run) || file.load === load;
      if (isIts && file.phase === 'loading' && [...file.users].every((user) => user === run)) files.push(fileId);
    }
    if (this.#left === 0) return files;
    for (const { fileId } of storedLoading(this.#index, '')) {
      const record = this.#storedRecord(fileId);
      if (record?.loadId === load) files.push(fileId);
    }
    return files;
  }

  /** Files that earlier runs have half loaded, and that no run is at work on. */
  *leftovers(isWanted: (load: LoadId) => boolean): Generator<FileId> {
    if (this.#left === 0) return;
    for (const { fileId } of storedLoading(this.#index, '')) {
      const record = this.#storedRecord(fileId);
      if (record !== undefined && !isWanted(record.loadId)) yield fileId;
    }
  }

  /** Leaves a file that nobody loads to the index, when that has all of it. */
  #rest(file: LoadingFile): void {
    if (file.users.size > 0 || file.phase !== 'loading' || file.landedBytes !== file.durableBytes) return;
    this.#byId.delete(file.fileId);
    this.onEnd(file.fileId);
    this.hide(file);
    if (file.indexed) this.#left++;
  }

  /** What the index still says of a file that ended in this process is of no interest. */
  #storedRecord(fileId: FileId): FileRecord | undefined {
    if (this.#endings.has(fileId) || this.#byId.has(fileId)) return undefined;
    return loadingRecord(this.#index, fileId);
  }

  #fromIndex(fileId: FileId): LoadingFile | undefined {
    if (this.#endings.has(fileId) || this.#byId.has(fileId)) return undefined;
    const bytes = this.#index.get(this.#index.loading, fileKey(fileId));
    if (bytes === undefined) return undefined;
    const record = decodeFile(bytes);
    const { path, etag, sizeBytes, lastModifiedMs, versionId, loadId, segmentBytes, attributes } = record;
    const version = versionId === undefined ? {} : { versionId };
    const entry = { path: path as UfsPath, etag, sizeBytes, lastModifiedMs, ...version };
    const runs = new Map(record.runs);
    const run = [...runs.keys()].at(-1)!;
    const visible = visibleRecord(this.#index, path);
    const shown = visible?.fileId === fileId ? { shownBytes: visible.cachedBytes } : {};
    const file = new LoadingFile({ fileId, entry, load: loadId, run, segmentBytes, attributes, runs, ...shown });
    this.#restore(file);
    file.indexed = true;
    this.#left--;
    this.add(file);
    return file;
  }

  #restore(file: LoadingFile): void {
    const { fileId } = file;
    const range = { start: blockKey(fileId, 0), end: fileKey((fileId + 1) as FileId) };
    for (const { key, value } of this.#index.range(this.#index.blocks, range)) {
      file.restore(parseSegment(key), readBlock(value));
    }
  }
}
