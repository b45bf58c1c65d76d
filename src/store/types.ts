/**
 * store: blocks on SSD and their index.
 *
 * Who is in it: one Store per worker, on the main thread. It owns the extents (allocator), the LMDB index and the
 * group commit. Lanes write the bytes themselves, into extents that the store handed out, and say so; the store then
 * syncs the files, commits the index, and only after that resolves.
 *
 * Who waits for whom: `land` waits for fdatasync of the files it touched, then for the LMDB commit to be durable.
 * Everybody who lands while a commit runs shares the next one. Readers never wait for writers.
 *
 * What survives a crash: everything that `land` resolved for. Extents that no committed block owns are free at the
 * next open. Freed extents are handed out again only after the commit that freed them is durable.
 */
import type { Checksums } from '../core/attributes.ts';
import type { EvictionReason } from '../core/eviction.ts';
import type { GoneReason } from '../core/file-events.ts';
import type { RetentionRule } from '../core/retention.ts';
import type {
  ByteRange,
  DiscardReason,
  Extent,
  FileId,
  Ledger,
  LoadId,
  ManifestEntry,
  ObjectVersion,
  RunId,
  StoreIndex,
  UfsPath,
} from '../core/types.ts';
import type { OtherReads } from './shared-reads.ts';

export interface StoreFile {
  readonly index: StoreIndex;
  /** Path of the preallocated file; lanes open it themselves. */
  readonly path: string;
  readonly sizeBytes: number;
  readonly uuid: string;
  /** False where O_DIRECT is not supported (tmpfs). */
  readonly direct: boolean;
}

export interface StoreUsage {
  /** Bytes that files can use (superblock excluded). */
  readonly capacityBytes: number;
  readonly usedBytes: number;
  /** Promised to running jobs and not yet allocated. */
  readonly reservedBytes: number;
  /** capacity - used - reserved. */
  readonly freeBytes: number;
  /** Of what is used, as it lies in the store: pinned; counted on by running loads; what could be evicted. */
  readonly pinnedBytes: number;
  readonly heldBytes: number;
  readonly evictableBytes: number;
  readonly files: number;
  readonly blocks: number;
}

/**
 * `complete`: every byte is durable here. `partial`: segments of it are, the others lie on other workers. `metadata`: size,
 * ETag and times only. `loading`: some bytes may be durable.
 */
export type FileState = 'complete' | 'partial' | 'metadata' | 'loading';

export interface FileRecord extends ManifestEntry {
  readonly fileId: FileId;
  readonly state: FileState;
  readonly loadId: LoadId;
  /** Durable bytes. */
  readonly cachedBytes: number;
  /** Wall clock of completion, ms. */
  readonly cachedAtMs: number;
  /** What its origin says of it beside its version: core/attributes. */
  readonly attributes: string;
  /** Cuts by which the file was placed over workers, MiB-aligned: readers find its other segments by the ring. */
  readonly segmentBytes: number;
  /** Which runs fetched its bytes, and how many each; none: the one by the name of the load. */
  readonly runs?: ReadonlyMap<RunId, number>;
}

/** For whom something is looked up: a run of a load. */
export interface RunOfLoad {
  readonly run: RunId;
  readonly load: LoadId;
}

/** What of a file, or of a range, is durable by what one run has fetched; of a file without bytes, whether that run made it. */
export interface Fetched {
  readonly own: boolean;
  readonly ownBytes: number;
}

export interface CachedRange extends Fetched {
  readonly bytes: number;
  readonly ours: boolean;
  readonly visible: boolean;
  readonly record?: FileRecord;
}

export interface BeginOrder {
  readonly run: RunId;
  readonly load: LoadId;
  readonly entry: ManifestEntry;
  readonly reuse: 'any' | 'load';
  readonly partBytes: number;
  readonly range?: ByteRange;
  /** Recorded with the file; default 64 MiB. */
  readonly segmentBytes?: number;
}

/** What `beginFile` found, and what of it this very run had fetched before. */
export type Begun = Fetched &
  (
    | { readonly state: 'complete'; readonly fileId: FileId; readonly record: FileRecord }
    | {
        readonly state: 'loading';
        readonly fileId: FileId /** Not yet durable, part-aligned, in order. */;
        readonly missing: readonly ByteRange[];
      }
  );

/** One part (or whole small object) whose bytes a lane has written. */
export interface LandedPart {
  readonly fileId: FileId;
  readonly range: ByteRange;
  /** In order; together alignUp(range.length) bytes. */
  readonly extents: readonly Extent[];
  /** CRC32C of each page of the range (the last may be short). range.offset is a multiple of the page. */
  readonly pageChecksums: Uint32Array;
  /** What the origin said of the file with it; by default nothing. What is known first of a version stays. */
  readonly attributes?: string;
}

/** What a run has received, and what of it is of no use. */
export interface Accounted {
  readonly originBytes?: number;
  readonly peerBytes?: number;
  readonly discarded?: { readonly reason: DiscardReason; readonly bytes: number };
}

export interface EvictionOrder {
  readonly bytes: number;
  /** Paths of which nothing goes, because the load counts on them. */
  readonly keeps: (path: string) => boolean;
  /** Paths that are named at most. */
  readonly named: number;
}

/** What would be evicted. */
export interface EvictionPreview extends Removed {
  /** Those that go first. */
  readonly paths: readonly string[];
  /** False: after as many as were looked at, the rest was worked out from what those have on average. */
  readonly counted: boolean;
}

export interface PageLocation {
  /** Page number in the file. */
  readonly page: number;
  readonly lengthBytes: number;
  readonly checksum: number;
  /** Where alignUp(lengthBytes) bytes lie; more than one extent only in a fragmented store. */
  readonly extents: readonly Extent[];
}

/** A file that is being read: its extents are not handed out again until `close`. */
export interface OpenFile {
  readonly record: FileRecord;
  /**
   * Bytes of the range in pieces of at most a page, each checked before it is yielded. Throws STORE_CORRUPT, RANGE_INVALID,
   * FILE_NOT_CACHED where a page is not on this worker.
   */
  read(range: ByteRange): AsyncIterable<Uint8Array>;
  /** Where the pages of the file lie, or of ranges of it that begin at a page; for a checker that reads by itself. */
  pages(ranges?: readonly ByteRange[]): Iterable<PageLocation>;
  close(): void;
}

/** A page that does not have its checksum. */
export interface BadPage {
  readonly record: FileRecord;
  readonly page: number;
  readonly reader: Reader;
  /** Where it begins: a store file, and the offset in it. */
  readonly store: string;
  readonly offset: number;
}

/** Who reads; a scrub is no use of a file. */
export type Reader = 'serve' | 'scrub';

/** A version as somebody else names it, who need not know its size. */
export interface WantedVersion {
  readonly path: UfsPath;
  readonly etag: string;
  /** Compared where both sides know one. */
  readonly versionId?: string;
}

export interface FreeOrder {
  readonly path: UfsPath;
  /** The `next` of the page before. */
  readonly after?: UfsPath;
  readonly dryRun?: boolean;
}

export interface Freed {
  readonly files: number;
  /** Bytes of them that were durable here. */
  readonly bytes: number;
  /** There is more, behind this path. */
  readonly next?: UfsPath;
}

/** A file that has left the store. */
export interface Gone {
  readonly path: string;
  readonly reason: GoneReason;
  readonly bytes: number;
  readonly etag: string;
  /** For whom room was made. */
  readonly run?: RunId | undefined;
  /** Of what took its place. */
  readonly newEtag?: string;
}

/** What went. */
export interface Removed {
  readonly files: number;
  readonly bytes: number;
}

export interface RetentionOptions {
  /** What goes to make room: files that were not used for longest, or nothing. */
  readonly eviction: 'lru' | 'none';
  readonly rules: readonly RetentionRule[];
  /** How long what is removed or replaced may still be read. Undefined: to the end. */
  readonly removedLimitMs?: number;
}

export interface PathSummary {
  readonly files: number;
  readonly bytes: number;
  readonly cachedFiles: number;
  readonly cachedBytes: number;
}

export interface Store {
  readonly files: readonly StoreFile[];
  usage(): StoreUsage;
  /** How long the disk has been waited for, by the flush or the commit under way; 0: there is none. */
  diskWaitMs(): number;
  /** Whether what lands waits for the flush of store files now, rather than for the commit of the index. */
  isFlushing(): boolean;

  /** Sets what `run` may still allocate, of what is free. Throws STORE_NO_ROOM with needed and free bytes; then nothing changed. */
  reserve(run: RunId, bytes: number): void;
  /**
   * Adds to what `run` may still allocate, and evicts what that takes: neither what is pinned, nor what a running load counts
   * on, nor what is being read. Resolves with what went. Rejects with STORE_NO_ROOM, which says what is in the way; then
   * the reservation is as it was. Fewer bytes (negative) are given back.
   */
  reserveMore(run: RunId, bytes: number): Promise<Removed>;
  /**
   * A file that was begun will have so many more bytes. Where its prefix has a quota, others of the prefix are evicted until
   * it fits; rejects with STORE_QUOTA when that cannot be. Undefined: there is no quota.
   */
  admit(file: FileId, path: UfsPath, bytes: number): Promise<void> | undefined;
  reservedFor(run: RunId): number;
  /** What `reserveMore` would evict for so many bytes of a run that has nothing reserved, without touching anything. */
  previewEviction(order: EvictionOrder): Promise<EvictionPreview>;
  /** A load runs: what it loads, and what it is told to be here, is not evicted until `unreserve`. */
  enter(run: RunId, load: LoadId): void;
  /** The run counts on this version of a file. False: it is going just now, and is not to be counted on. */
  hold(run: RunId, record: FileRecord): boolean;
  /** Gives back what is left of the reservation, and leaves every file that the run was loading, or has counted on. */
  unreserve(run: RunId): void;

  /**
   * Files were read at this moment; `open` says it by itself. Cheap: thousands at a time may be told many times a second.
   * What is not known any more is passed over. Durable some seconds later.
   */
  touch(files: Iterable<FileId>): void;
  /** These paths, and with a slash at their end all below them, are never evicted. They hold at once, in place of those before; durable when resolved. */
  setPins(paths: readonly string[]): Promise<void>;
  /** What goes to make room, and how long what is gone may be read: from now on, and for what was removed before. */
  setKeeping(keeping: Omit<RetentionOptions, 'rules'>): void;
  /** The rules of the configuration, in place of those that were: they hold at once, and files are sorted by them in the background. */
  setRules(rules: readonly RetentionRule[]): Promise<void>;
  /** Whether a path is pinned, by `setPins` or by a rule. */
  isPinned(path: UfsPath): boolean;

  /**
   * Starts (or goes on with) loading one version of a file. A complete file of the same version is reused when
   * `reuse` is `any`, or when it belongs to this very load; partial bytes likewise. Otherwise a new FileId is made,
   * and the earlier complete version stays readable until the new one is complete, when it is replaced atomically.
   * A partial version that is not reused is freed, its cached bytes booked as discarded (`changed` or `replaced`)
   * in the ledger of the run that had fetched them.
   * @param order.range what is wanted of the file, from page to page; by default all of it. Only a file that is wholly here
   * becomes visible by itself, the others by `show`.
   */
  beginFile(order: BeginOrder): Begun;
  /** What `beginFile` would say is missing, which begins nothing. */
  missing(order: Omit<BeginOrder, 'run' | 'segmentBytes'>): readonly ByteRange[];
  /** What has landed of a version becomes visible in place of the one that was. Durable when resolved. */
  show(version: ManifestEntry): Promise<void>;
  /** What is durable of a range of a version, visible or not, which load put it there, and what of it the run fetched. */
  cachedRange(whose: RunOfLoad, entry: ManifestEntry, range: ByteRange): CachedRange;
  /** What of a file the run fetched, as its record says. */
  fetched(run: RunId, record: FileRecord): Fetched;
  /**
   * Gives up, as `failed`, every file that is half loaded by this run or an earlier one of the same load, unless another
   * run is at work on it. Durable when resolved.
   */
  abandonLeft(run: RunId, load: LoadId): Promise<void>;
  /**
   * Frees what is half loaded at these paths, that `beginFile` would not reuse, and that no run is at work on: so that
   * a reservation for them finds the room. Durable when resolved.
   */
  dropUnusable(order: { load: LoadId; entries: readonly ManifestEntry[]; reuse: 'any' | 'load' }): Promise<void>;
  /** Gives up a loading file: its extents are freed and its cached bytes booked as discarded. Durable when resolved. */
  abandonFile(file: FileId, reason: DiscardReason): Promise<void>;

  /**
   * Room for `bytes` (rounded up to 4 KiB) in one store, in as few extents as possible, drawn from the reservation.
   * Throws STORE_NO_ROOM. `spread` chooses the store when there are several (round robin by the caller).
   */
  allocate(run: RunId, bytes: number): readonly Extent[];
  /** Extents that were not landed; they go back to the reservation of the run. */
  giveBack(run: RunId, extents: readonly Extent[]): void;

  /**
   * Makes parts durable: fdatasync, index commit, then resolves. Books their bytes as cached in the run's ledger in the
   * same commit. Resolves with the FileIds that became complete by it. A part of an abandoned file is freed instead.
   */
  land(run: RunId, parts: readonly LandedPart[]): Promise<readonly FileId[]>;
  /** Whether a file was given up: what has landed of it is gone, or goes. */
  isAbandoned(file: FileId): boolean;
  /** A file of no bytes needs no extents. Durable when resolved. */
  completeEmpty(run: RunId, file: FileId): Promise<void>;
  /** Books bytes in the ledger of a run; durable with the next commit (at most `ledgerFlushMs` later). */
  account(run: RunId, delta: Accounted): void;
  ledger(run: RunId): Ledger;
  /** Commits what is pending. Resolves when it is durable. */
  flush(): Promise<void>;

  /** Size, ETag and times without data. A complete file of the same version is left as it is. Durable when resolved. */
  putMetadata(load: LoadId, entries: readonly ManifestEntry[]): Promise<void>;
  /**
   * One page of what is at and below a path, files that are loaded in part included, is counted and, unless it is a dry run,
   * removed. Durable when resolved; extents are free then, or when the last reader of their file closes.
   */
  free(order: FreeOrder): Promise<Freed>;
  /** All pages. */
  remove(path: UfsPath): Promise<{ files: number; bytes: number }>;
  /** Removes one version of one file, unless another has taken its place. Durable when resolved. */
  removeVersion(path: UfsPath, file: FileId, reason: GoneReason): Promise<void>;

  /** The checksums that the origin states of the whole of a visible version are known from now on, as attributes. Durable when resolved. */
  stateChecksums(record: FileRecord, checksums: Checksums): Promise<void>;

  /** The visible record of a path: complete, partial or metadata; else the loading one. */
  stat(path: UfsPath): FileRecord | undefined;
  /** The version of a path that is being loaded, also where an earlier one is complete and visible. */
  statLoading(path: UfsPath): FileRecord | undefined;
  /** Records whose path starts with `prefix`, in byte order of the path, after `after`. Loading ones on request. */
  list(options: { prefix: string; after?: string; limit?: number; includeLoading?: boolean }): Iterable<FileRecord>;
  /** Of all visible records, in byte order. */
  paths(): Iterable<string>;
  /** What is durable of a version, as a set of ranges in order. */
  ranges(record: FileRecord): readonly ByteRange[];
  /** In turns with everything else, a second for a million files: it is no moment's sum, but each path is counted as it was at one. */
  summary(prefix: string): Promise<PathSummary>;
  /** @param how.uses whether the file counts as used by it, and is evicted later for that; by default unless the scrub reads it */
  open(path: UfsPath, how?: { readonly by?: Reader; readonly uses?: boolean }): OpenFile;
  /**
   * Opens a version of which this range (by default all of it) is durable, be it visible or still loading. Undefined: no byte
   * of the range, or not every one, is here. Throws RANGE_INVALID when the version that is here ends before the range does.
   */
  openVersion(wanted: WantedVersion, range?: ByteRange): OpenFile | undefined;
  /**
   * Writes a page of a version once more, where it lies, if these bytes have its checksum. Durable when resolved. False: they are
   * other bytes, or the page is not here. Rejects with STORE_CORRUPT where the place does not hold them, STORE_IO.
   */
  repairPage(wanted: WantedVersion, page: number, bytes: Uint8Array): Promise<boolean>;
  /** What of a range of a version is durable, be it visible or still loading; sorted, and none where the version is not here. */
  durableRanges(wanted: WantedVersion, range: ByteRange): readonly ByteRange[];

  /** Finishes the running commit, syncs, unlocks. */
  close(): Promise<void>;
}

export interface StoreOptions {
  /** Folder of the LMDB index. */
  readonly indexDir: string;
  readonly stores: readonly { readonly dir: string; readonly sizeBytes: number }[];
  readonly now: () => number;
  readonly log: import('../core/types.ts').Log;
  /** What the start is busy with, where it takes longer: a large index, or one of an earlier format. */
  readonly tellStart?: ((status: string) => void) | undefined;
  /** By default nothing is pinned, and what was not used for longest goes. */
  readonly retention?: RetentionOptions;
  /** Longest time that booked bytes stay undurable. */
  readonly ledgerFlushMs: number;
  /** For the metrics: time of each grouped fdatasync and of each durable index commit, and each bad page that a read met. */
  readonly onSync?: (milliseconds: number) => void;
  readonly onCommit?: (milliseconds: number) => void;
  readonly onBadPage?: (bad: BadPage) => void;
  /** The operating system did not give a page that somebody wanted to read. */
  readonly onReadError?: (reader: Reader) => void;
  /** Files were evicted. */
  readonly onEvicted?: (reason: EvictionReason, removed: Removed) => void;
  /** Threads that read files of this store by views of their own (store-view.ts). */
  readonly otherReads?: OtherReads;
  /** Told of files that have left the store, but not of those that `free` removed, nor of a version that was loaded anew. */
  readonly onGone?: (gone: readonly Gone[]) => void;
  /** Told of each path that has become visible, a moment after it is durable. */
  readonly onShown?: (path: string) => void;
}

export type { ObjectVersion };
