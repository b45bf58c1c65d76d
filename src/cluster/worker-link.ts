/**
 * A worker as the coordinator sees it: in this process, or at the other end of a wire. Everything is about segments; files
 * are the coordinator's.
 */
import type { Checksums } from '../core/attributes.ts';
import { type ErrorReport, PrimedError } from '../core/errors.ts';
import type { OriginDemand, OriginLimit } from '../core/origin-limits.ts';
import type { PeerList } from '../core/peers.ts';
import type { PinList } from '../core/retention.ts';
import type { Segment } from '../core/segments.ts';
import type { DiscardReason, ManifestEntry, ObjectVersion, RunId, WorkerId } from '../core/types.ts';
import type {
  CachedBytes,
  MissingParts,
  PlannedLoad,
  RoomOrder,
  RunProgress,
  RunSpec,
  VerifyOutcome,
  WorkerFree,
  WorkerRoom,
} from '../ingest/types.ts';
import type { JoinedKind } from '../ingest/whole-object.ts';
import type { Freed, RunOfLoad } from '../store/types.ts';

export type { WorkerId };

/** What every call on the link of a lost worker rejects with. */
export function workerLost(id: WorkerId): PrimedError {
  const message = `worker ${id} is lost: its link ended, and it did not come back within its lease`;
  return new PrimedError('WORKER_LOST', message, { worker: id });
}

export function isWorkerLost(error: unknown): boolean {
  return error instanceof PrimedError && error.code === 'WORKER_LOST';
}

/** Or it does not let this coordinator in: others do what it was to do. */
export function isWorkerGone(error: unknown): boolean {
  return isWorkerLost(error) || (error instanceof PrimedError && error.code === 'WORKER_REFUSED');
}

/** Where a worker copies a segment from, in place of the origin. */
export interface PeerSource {
  readonly worker: WorkerId;
  /** `http://host:port` of that worker. */
  readonly url: string;
  /** It is loading the segment just now, and what lands there is copied at once. */
  readonly follow?: true;
}

export interface SegmentHow {
  /** See LoadHow of ingest. */
  readonly hasty: boolean;
  /** In place of the origin. */
  readonly source?: PeerSource;
  /** Others copy it as it arrives here. */
  readonly followed?: true;
}

export interface SegmentOutcome {
  /**
   * `changed`: the origin has another version now; nothing of a file that is cut is worth going on with at the old one (a
   * whole file is loaded anew by the worker itself, see `version`). `later`: see LoadHow of ingest.
   */
  readonly result: 'loaded' | 'skipped' | 'failed' | 'stopped' | 'changed' | 'later';
  /** See FileOutcome of ingest. */
  readonly loadedBytes: number;
  /** Bytes that are durable by others. */
  readonly skippedBytes: number;
  /** What is cached now, of a segment that is a whole file. */
  readonly version?: ObjectVersion;
  readonly error?: ErrorReport;
}

export interface BegunLoad {
  readonly segment: Segment;
  readonly how: SegmentHow;
  /** Hears how it ended: with its outcome, or with the error that `load` would reject with. */
  ended(end: SegmentOutcome | PrimedError): void;
}

/** For whom a worker does what belongs to no run of its own: RUN_SUPERSEDED where it has heard of a higher term of the run. */
export type RunTerm = Pick<RunSpec, 'run' | 'term'>;

/** Of the version that was asked for. */
export type CachedSegment = CachedBytes;

/**
 * Every call may reject with a PrimedError: WORKER_LOST when the link ends before the answer (whether the worker did it is
 * then unknown; every call may be repeated), STORE_NO_ROOM and others as the worker states them.
 */
export interface WorkerLink {
  readonly id: WorkerId;
  /** Idempotent for a run id. */
  startRun(spec: RunSpec): Promise<void>;
  /** Adds to what the run may still allocate there, rounding included. Rejects with STORE_NO_ROOM; then nothing changed. */
  reserveMore(run: RunId, bytes: number): Promise<void>;
  /** Gives back what earlier loads have left half loaded of these files, and this run would not use. */
  makeRoom(run: RunId, files: readonly ManifestEntry[]): Promise<void>;
  cached(whose: RunOfLoad, segments: readonly Segment[]): Promise<readonly CachedSegment[]>;
  /** See Worker of ingest; of no run. */
  missing(planned: PlannedLoad, segments: readonly Segment[]): Promise<readonly MissingParts[]>;
  room(order: RoomOrder): Promise<WorkerRoom>;
  /** Resolves when the segment is durable, given up or stopped. A repeated call for the same segment joins the first. */
  load(run: RunId, segment: Segment, how: SegmentHow): Promise<SegmentOutcome>;
  /** The same for very many segments, without a promise for each. It is told its end once; with an error maybe before this returns. */
  begin(run: RunId, load: BegunLoad): void;
  /** Every segment of the file is durable, wherever it lies: those of this worker become visible, in one step. */
  publish(run: RunId, file: ManifestEntry): Promise<void>;
  /** The file is given up at this version: what of it was not published is freed, and booked as discarded. */
  abandon(run: RunId, file: ManifestEntry, reason: DiscardReason): Promise<void>;
  /** Removes what the worker has of this version, visible or not: a page of it is bad. Nobody may be loading it. */
  discard(run: RunId, file: ManifestEntry): Promise<void>;
  /** What the origin states of the whole of this version was compared with its bytes: readers of it are told from now on. */
  stateChecksums(run: RunId, file: ManifestEntry, checksums: Checksums): Promise<void>;
  loadMetadata(run: RunId, entries: readonly ManifestEntry[]): Promise<void>;
  /** Every page of these segments of the file; the whole object too, when they are all of it, else the sums that are asked for. */
  verify(run: RunId, file: ManifestEntry, segments: readonly Segment[], sums?: JoinedKind): Promise<VerifyOutcome>;
  /** One page of what is cached at and below a path is removed, or of a dry run counted; of no run. */
  free(order: WorkerFree, under: RunTerm): Promise<Freed>;
  setBandwidth(run: RunId, bytesPerSecond: number | undefined): Promise<void>;
  /** Drops what is in flight; pending loads resolve as `stopped` within 2 s. */
  stopRun(run: RunId): Promise<void>;
  /** After the last load: gives back the reservation and forgets the run. Resolves with its final figures. */
  endRun(run: RunId): Promise<RunProgress>;
  /** Who the live workers are: what is known of them there is replaced by it, unless that is newer. */
  setPeers(list: PeerList): Promise<void>;
  /** What is pinned: in place of what it was told before. Repeated after reconnects. */
  setPins(list: PinList): Promise<void>;
  /** What the worker may ask of origins for this coordinator: in place of what it said before. Repeated after reconnects. */
  setOriginLimits(limits: readonly OriginLimit[]): Promise<void>;
  /** What it would ask of limited origins, as last heard. */
  originDemand(): readonly OriginDemand[];
  /** Calls `listener` when something else was heard; returns how to end that. */
  onOriginDemand(listener: () => void): () => void;
  /** As last heard; cheap. */
  progress(run: RunId): RunProgress;
}
