/**
 * ingest: from sockets to SSD.
 *
 * Who is in it: the Worker on the main thread decides (which parts, which extents, which lane, whether to try again);
 * lanes, one thread each, move bytes. A lane is a long-lived Piscina task that gets write units by a message port.
 *
 * A write unit is one slot's worth: the parts that land in one slot and leave it in one write. Of a large object it is
 * one part; of small objects it is many of them, each at a 4 KiB boundary.
 *
 * Who waits for whom: a unit is given to a lane only when the lane has a free slot; a slot is free again when its write
 * has ended. So a slow disk holds the slots, held slots hold the units, and sockets stay idle: back-pressure needs no
 * queue. A part that fails leaves its unit at once, and the others of the unit do not wait for its next attempt.
 *
 * What survives a crash: what the store has landed. Everything else is fetched again.
 */
import type { Checksums } from '../core/attributes.ts';
import type { ErrorReport } from '../core/errors.ts';
import type { GoneReason } from '../core/file-events.ts';
import type { FlowSums } from '../core/flows.ts';
import type { InTurn } from '../core/in-turn.ts';
import type { LimitCause, LimitSums } from '../core/limit-causes.ts';
import type { OriginDemand, OriginLimit } from '../core/origin-limits.ts';
import type { PinList } from '../core/retention.ts';
import type {
  ByteRange,
  DiscardReason,
  JobId,
  Ledger,
  LoadId,
  ManifestEntry,
  ObjectVersion,
  RunId,
  UfsPath,
} from '../core/types.ts';
import type { FailureCause } from '../origin/types.ts';
import type { EvictionPreview, Fetched, Freed, FreeOrder, RunOfLoad } from '../store/types.ts';
import type { JoinedKind, RangeSum } from './whole-object.ts';

export interface RunSpec {
  readonly run: RunId;
  readonly job: JobId;
  readonly load: LoadId;
  /**
   * Which claim of the job it is run under: a worker obeys the highest that it has heard of. 0 where there is one coordinator.
   */
  readonly term: number;
  /** `any`: skip what is cached at the same version, whoever loaded it. `load`: only what this very load has cached. */
  readonly reuse: 'any' | 'load';
  /** Limit on reads from the UFS by this worker for this run; undefined: none. Copies from other workers are not limited. */
  readonly bandwidthBytesPerSecond?: number;
  /** Its share of slots and sockets, beside those of other runs: see core/priority. */
  readonly weight: number;
  /** What to do when an object changes under the load. */
  readonly onChange: 'restart' | 'fail';
  /** Where files are cut: a multiple of 1 MiB. */
  readonly segmentBytes: number;
  /** The span that it is part of, as W3C writes a traceparent; undefined: nothing is traced. */
  readonly trace?: string;
  /** False: what it has loaded may be evicted at once, as for readers; by default when it has ended. */
  readonly keeps?: boolean;
}

/** What is durable of a file, or of a range of it: whether all of it is visible, whose load it is, what of it the run has fetched. */
export interface CachedBytes extends Fetched {
  readonly complete: boolean;
  readonly bytes: number;
  readonly ours: boolean;
}

/** For which load, and what of others it would use. */
export type PlannedLoad = Pick<RunSpec, 'load' | 'reuse'>;

/** What a load would yet fetch of a segment. */
export interface MissingParts {
  readonly bytes: number;
  /** Requests. */
  readonly parts: number;
  /** HEAD requests of a verification of the whole file here. */
  readonly heads: number;
}

export interface RoomOrder {
  /** That a load would reserve. */
  readonly bytes: number;
  /** Paths that it would count on, each with what lies below. */
  readonly keeps: readonly string[];
  /** Files to evict that are named at most. */
  readonly named: number;
}

export interface WorkerRoom {
  /** A larger piece of a file is fetched by several requests. */
  readonly partBytes: number;
  readonly capacityBytes: number;
  readonly freeBytes: number;
  readonly fits: boolean;
  readonly evicted: EvictionPreview;
}

export interface WorkerFree extends FreeOrder {
  /**
   * Runs that are at work on something at or below the path are stopped first: whoever began them is gone, or does not know
   * that they were stopped, and nothing may be added to what is removed.
   */
  readonly stopLoads: boolean;
}

export interface FileOutcome {
  readonly path: UfsPath;
  /**
   * `later`: a hasty load met silence, and set the file aside; what was durable of it stays. `changed`: the origin has
   * another version than that of which a range was asked for.
   */
  readonly result: 'loaded' | 'skipped' | 'failed' | 'stopped' | 'later' | 'changed';
  /** Bytes of the file that this run fetched and made durable, now or earlier, before whatever came between; on `skipped` 0. */
  readonly loadedBytes: number;
  /** Bytes that are durable by others. */
  readonly skippedBytes: number;
  /** What is cached now; differs from the manifest when the object changed and was restarted. */
  readonly version?: ObjectVersion;
  readonly error?: ErrorReport;
}

export interface VerifyOutcome {
  readonly path: UfsPath;
  readonly ok: boolean;
  readonly checkedBytes: number;
  readonly badPages: number;
  /** Whether the origin had a whole-object checksum, and it agreed. */
  readonly wholeObject: 'matched' | 'mismatched' | 'unavailable';
  /** Of each range that was asked about, where sums were asked for and its pages are right. */
  readonly sums?: readonly RangeSum[];
  readonly error?: ErrorReport;
}

/** Live figures of a run; cheap to read. */
export interface RunProgress {
  /** Body bytes received from origins since this process started the run. */
  readonly receivedBytes: number;
  /** Bytes made durable by the run, over restarts. */
  readonly durableBytes: number;
  readonly retries: number;
  readonly partsInFlight: number;
  /** How many of these may be on their way at once; absent: it does not say. */
  readonly requestsInFlight?: number;
  /** What those from origins still have to receive, and those behind them; absent: it does not say. */
  readonly turn?: InTurn;
  /** How the paces of these requests have changed; absent: it does not say. */
  readonly flows?: FlowSums;
  /** What was evicted to make room for the run, since this process started it. */
  readonly evictedBytes: number;
  /** What it was waiting for, since this process started it; absent: that is not known (any more). */
  readonly limitedMs?: LimitSums;
  readonly ledger: Ledger;
}

/** Told about what only the metrics want to know. */
export interface WorkerObserver {
  /** By the origin; other workers are not counted. */
  retried(cause: FailureCause): void;
  slowedDown(): void;
  concurrencyLimit(requests: number): void;
  discarded(reason: DiscardReason, bytes: number): void;
  /** From parts handed to the store until they are durable. */
  landed(milliseconds: number): void;
  /** A run was waiting for this, for so long. */
  limitedBy(cause: LimitCause, milliseconds: number): void;
  checksumFailed(pages: number): void;
  /** A read of the store by a lane, which the operating system failed. */
  readFailed(): void;
}

/** Queues of the worker now, over all runs. */
export interface WorkerQueues {
  /** Parts planned and waiting for a slot. */
  readonly queuedParts: number;
  readonly unitsInFlight: number;
  /** Parts written and waiting to be durable. */
  readonly landingParts: number;
}

export interface LoadHow {
  readonly hasty?: boolean;
  /** A part of the file, from page to page. Ranges of one file may be loaded side by side, by one run at a time. */
  readonly range?: ByteRange;
  /**
   * Another worker, by the URL of its HTTP port, that is asked in place of the origin. When it does not give the bytes the
   * outcome is `failed` with PEER_FAILED, after few attempts: somebody else is to be asked.
   */
  readonly source?: SourceWorker;
  /** Others copy it as it arrives here: few of its parts are asked for at once, so that the first are durable early. */
  readonly followed?: boolean;
}

export interface SourceWorker {
  readonly url: string;
  /** It is loading the range just now: what has become durable there is copied at once. */
  readonly follow?: boolean;
}

/** What the coordinator sees of a worker: in the same process now, over the wire later. Calls never throw for the world's sake. */
export interface Worker {
  /** Idempotent for a run id. */
  startRun(spec: RunSpec): void;
  /** Throws STORE_NO_ROOM. Bytes that the run will still allocate at most, rounding included. Evicts nothing. */
  reserve(run: RunId, bytes: number): void;
  /** Adds to what the run may still allocate, and evicts what that takes. Rejects with STORE_NO_ROOM; then the reservation is as it was. */
  reserveMore(run: RunId, bytes: number): Promise<void>;
  /** Gives back what earlier loads have left half loaded of these files, and this run would not use. */
  makeRoom(run: RunId, entries: readonly ManifestEntry[]): Promise<void>;
  /** What a file of this size takes in the store. */
  footprintBytes(sizeBytes: number): number;
  /**
   * `hasty`: a file whose requests are silent for a fraction of the timeouts is set aside (`later`), to be loaded again
   * without haste. An outcome of code ORIGIN_LOST speaks of the run: nothing more of it is asked for.
   */
  load(run: RunId, entry: ManifestEntry, options?: LoadHow): Promise<FileOutcome>;
  loadMetadata(run: RunId, entries: readonly ManifestEntry[]): Promise<void>;
  /** Re-reads every page of a cached file from SSD, and compares a whole-object checksum where the origin has one. */
  verify(run: RunId, entry: ManifestEntry, ranges?: readonly ByteRange[], sums?: JoinedKind): Promise<VerifyOutcome>;
  /**
   * What is cached of this file at this version. Where a run of the load is under way, it counts on it: it is not evicted before
   * that ends.
   */
  cached(whose: RunOfLoad, entry: ManifestEntry, range?: ByteRange): CachedBytes;
  /** What a load would fetch of a file (or of its range) here; changes nothing, and keeps nothing from being evicted. */
  missing(planned: PlannedLoad, entry: ManifestEntry, range?: ByteRange): MissingParts;
  /** Whether a load finds room here, and what would be evicted for it; changes nothing. */
  room(order: RoomOrder): Promise<WorkerRoom>;
  /** Ranges of a file that were loaded here become visible; the others lie on other workers. */
  publish(version: ManifestEntry): Promise<void>;
  /** Frees what is half loaded of this version. */
  abandon(version: ManifestEntry, reason: DiscardReason): Promise<void>;
  /** One page of what is cached at and below a path is removed, or of a dry run counted. */
  free(order: WorkerFree, run: RunId): Promise<Freed>;
  /** Removes what is here of this version, visible or not. */
  discard(version: ManifestEntry, reason?: GoneReason): Promise<void>;
  /** What the origin states of the whole of this version, of which the worker has some, was compared with its bytes. */
  stateChecksums(version: ManifestEntry, checksums: Checksums): Promise<void>;
  setBandwidth(run: RunId, bytesPerSecond: number | undefined): void;
  /** What is pinned, in place of what was told before. Durable when resolved; of one teller, older versions change nothing. */
  setPins(list: PinList): Promise<void>;
  /** What this worker may ask of origins, over all runs; in place of what was said before. */
  setOriginLimits(limits: readonly OriginLimit[]): void;
  /** What it would ask, were there no limits, of those that it would ask something of. */
  originDemand(): readonly OriginDemand[];
  /** Calls `listener` when it comes to want something of a limited origin. */
  onOriginDemand(listener: () => void): () => void;
  /** Drops what is in flight; every pending load resolves as `stopped` within 2 s, then the books are balanced. */
  stopRun(run: RunId): Promise<void>;
  /**
   * After the last load: gives back the reservation, and forgets the run. The ledger stays readable. Files that were given
   * up give back what was durable of them, unless the run was stopped, or its origin lost: then a later one may go on
   * with them.
   */
  endRun(run: RunId): Promise<void>;
  progress(run: RunId): RunProgress;
  /** Stops all runs, ends the lanes. */
  close(): Promise<void>;
}
