/** What the REST API answers, as its clients see it. Unknown values are absent. */
import type { Unanswered } from '../core/check.ts';
import type { JobState, LoadOptions } from '../core/job.ts';
import type { Limit } from '../core/limit-causes.ts';
import type { WorkerState } from '../core/membership.ts';
import type { RateRecord } from '../core/rate-history.ts';
import type { WorkerUse } from '../core/worker-use.ts';

export interface Submitted {
  readonly success: boolean;
  readonly jobId: string;
  readonly path: string;
  readonly message: string;
}

export interface Stopped {
  readonly success: boolean;
  readonly path: string;
  readonly message: string;
}

/** The JSON progress object; names with `m` are those of the contract. */
export interface JobProgress {
  readonly jobId: string;
  readonly mJobState: JobState;
  readonly mProcessedFileCount: number;
  readonly mTotalFileCount?: number;
  readonly mLoadedByteCount: number;
  readonly mTotalByteCount?: number;
  /** Bytes a second. */
  readonly mThroughput?: number;
  readonly mFailedFileCount: number;
  readonly mSkippedByteCount: number;
  readonly mMetadataOnly?: boolean;
  readonly mTimeElapsed?: number;
  readonly reason?: string;
  readonly listingDone?: boolean;
  readonly scannedFiles?: number;
  readonly verifiedBytes?: number;
  readonly retries?: number;
  readonly etaMs?: number;
  /** What limits it of late, largest share first; once it has ended, what did. */
  readonly limitedBy?: readonly Limit[];
  readonly [more: string]: unknown;
}

/** The JSON progress object of a free. */
export interface FreeReport {
  readonly jobId: string;
  readonly mJobState: JobState;
  readonly dryRun: boolean;
  /** What there was, of each worker by itself. */
  readonly files: number;
  readonly bytes: number;
  readonly freedFiles: number;
  readonly freedBytes: number;
  readonly reason?: string;
  readonly [more: string]: unknown;
}

/** As the coordinator that is asked has seen it. */
export interface RatesAnswer {
  /** What loads read from origins, and what workers serve to clients. */
  readonly loading: RateRecord;
  readonly serving: RateRecord;
  /** By id, as far as they are known. */
  readonly jobs: Readonly<Record<string, RateRecord>>;
}

export interface JobRow {
  readonly jobId: string;
  readonly type: string;
  readonly path?: string;
  readonly indexFile?: string;
  readonly paths?: readonly string[];
  readonly alias?: string;
  readonly state: JobState;
  readonly reason?: string;
  readonly submittedAt?: string;
  readonly startedAt?: string;
  readonly endedAt?: string;
  readonly options?: Partial<LoadOptions> & { readonly dryRun?: boolean };
  readonly files?: number;
  readonly bytes?: number;
  /** Of a load that is still being listed: keys so far. */
  readonly scannedFiles?: number;
  readonly processedFiles?: number;
  readonly loadedBytes?: number;
  readonly skippedBytes?: number;
  /** Of a load with `verify`. */
  readonly verifiedBytes?: number;
  /** From the origin: of late, or of an ended load on average. */
  readonly bytesPerSecond?: number;
  readonly etaMs?: number;
  readonly limitedBy?: readonly Limit[];
  /** Of a free. */
  readonly freedFiles?: number;
  readonly freedBytes?: number;
  readonly failures?: number;
  readonly [more: string]: unknown;
}

export interface FileEntry {
  readonly path: string;
  readonly type: 'file';
  /** `partial`: not every byte is there, on the worker that was asked or, from a coordinator, on any. */
  readonly state: 'complete' | 'partial' | 'metadata' | 'loading';
  readonly sizeBytes: number;
  readonly cachedBytes: number;
  readonly missingBytes: number;
  readonly etag: string;
  readonly versionId?: string;
  /** It is never evicted. */
  readonly pinned?: true;
  /** ISO 8601. */
  readonly lastModified: string;
  readonly loadId?: string;
  readonly cachedAt?: string;
  /** Of a cluster, as what follows: who has some of it. */
  readonly workers?: readonly string[];
  readonly segmentBytes?: number;
  readonly missing?: readonly { readonly offset: number; readonly length: number }[];
  readonly segments?: readonly SegmentPlace[];
}

export interface SegmentPlace {
  readonly index: number;
  readonly offset: number;
  readonly length: number;
  /** Those that have all of it. */
  readonly workers: readonly string[];
  /** Those that have some of it. */
  readonly partly?: readonly string[];
}

export interface DirectoryEntry {
  readonly path: string;
  readonly type: 'directory';
}

export interface Listing {
  readonly path: string;
  readonly entries: readonly (FileEntry | DirectoryEntry)[];
  /** Pass as `after` for the page that follows; absent on the last one. */
  readonly next?: string;
  /** Of a cluster: workers whose files are not in it. */
  readonly unanswered?: readonly Unanswered[];
}

export interface PathStat {
  readonly path: string;
  readonly type: 'file' | 'directory';
  readonly files: number;
  readonly bytes: number;
  readonly cachedFiles: number;
  /** A byte counts once, however many workers have it. */
  readonly cachedBytes: number;
  /** Nothing of it is ever evicted. */
  readonly pinned?: true;
  readonly file?: FileEntry;
  /** Of a cluster, as what follows: bytes that are on no worker. */
  readonly missingBytes?: number;
  /** How many bytes so many workers have. */
  readonly replicas?: readonly { readonly replicas: number; readonly bytes: number }[];
  readonly workers?: readonly { readonly id: string; readonly files: number; readonly cachedBytes: number }[];
  /** What these have is not counted. */
  readonly unanswered?: readonly Unanswered[];
}

export interface WorkerInfo {
  readonly id: string;
  /** REFUSED: it has a lease, and does not let the coordinator in that was asked; `reason` says why. */
  readonly state: WorkerState | 'REFUSED';
  readonly reason?: string;
  /** Also while it is lost. */
  readonly drains: boolean;
  readonly host: string;
  readonly httpPort: number;
  readonly s3Port: number;
  /** Its ports speak TLS. */
  readonly tls?: boolean;
  readonly zone?: string;
  readonly version: string;
  readonly epoch: number;
  readonly capacityBytes: number;
  readonly freeBytes: number;
  readonly files: number;
  /** What it reads from origins for loads of the coordinator that was asked; absent: nothing was heard of that lately. */
  readonly bytesPerSecond?: number;
  /** What of its store is for whom, and its rates. */
  readonly use?: WorkerUse;
  /** ISO 8601, as the two that follow. */
  readonly registeredAt: string;
  readonly lastSeenAt: string;
  readonly leaseEndsAt: string;
}

export interface PinInfo {
  /** With a slash at its end: all that begins with it. */
  readonly path: string;
  readonly pinned: boolean;
  /** Live workers that do not know yet. */
  readonly pending: readonly string[];
}

export interface UfsInfo {
  /** `s3://bucket/`, `s3://` or `file:///dir/`. */
  readonly origin: string;
  /** Absent: no limit, as the one that follows. */
  readonly bytesPerSecond?: number;
  readonly requestsPerSecond?: number;
  readonly source: 'configuration' | 'set';
  readonly shares: readonly {
    /** A worker's id, `coordinator`, or `local`. */
    readonly taker: string;
    readonly bytesPerSecond?: number;
    readonly requestsPerSecond?: number;
  }[];
}
