/** A job: what was asked, where it stands, and what can be said about it. Plain data. */
import type { ErrorReport } from './errors.ts';
import type { FreeProgress } from './free-job.ts';
import type { Limit } from './limit-causes.ts';
import type { JobId, Ledger, LoadId, RunId } from './types.ts';

export type JobState = 'WAITING' | 'RUNNING' | 'VERIFYING' | 'STOPPED' | 'SUCCEEDED' | 'FAILED';
export const jobStates: readonly JobState[] = ['WAITING', 'RUNNING', 'VERIFYING', 'STOPPED', 'SUCCEEDED', 'FAILED'];

/** How many of them are in which state; those in which none is are left out. */
export function countStates(states: Iterable<JobState>): Map<JobState, number> {
  const counts = new Map<JobState, number>();
  for (const state of states) counts.set(state, (counts.get(state) ?? 0) + 1);
  return counts;
}

/** LOAD brings files into the cache, FREE removes what is cached of a path. */
export type JobType = 'LOAD' | 'FREE';
export const jobTypes: readonly JobType[] = ['LOAD', 'FREE'];

/**
 * What is loaded: a path, the paths named by the lines of an index file, or a list of paths. `path` is what the job is
 * called: of a list its alias.
 */
export type JobSource =
  | { readonly kind: 'path'; readonly path: string }
  | { readonly kind: 'index'; readonly path: string }
  | { readonly kind: 'paths'; readonly path: string; readonly paths: readonly string[] };

export interface LoadOptions {
  readonly replicas: number;
  /** Files handed to a worker at a time. */
  readonly batchSize: number;
  /** Larger files are cut at multiples of it, and spread over workers. */
  readonly segmentBytes: number;
  readonly partialListing: boolean;
  readonly loadMetadataOnly: boolean;
  readonly skipIfExists: boolean;
  readonly verify: boolean;
  /** Weight of the job where several share something; see core/priority. */
  readonly priority: number;
  /** Per worker; undefined: unlimited. */
  readonly bandwidthBytesPerSecond?: number;
  /** Must match the whole base name. */
  readonly fileFilterRegex?: string;
}

export interface FileFailure extends ErrorReport {
  readonly path: string;
}

/** Everything that reports, lists and progress objects are made of. Undefined: not known (yet). */
export interface JobSnapshot {
  readonly jobId: JobId;
  readonly type: JobType;
  /** Another name of the job, of those who submitted it. */
  readonly alias?: string;
  /** Of a FREE; its figures of a load are all zero. */
  readonly free?: FreeProgress;
  readonly runId: RunId;
  readonly loadId: LoadId;
  readonly source: JobSource;
  readonly options: LoadOptions;
  readonly state: JobState;
  /** Why FAILED (or WAITING). */
  readonly reason?: string;
  readonly submittedAtMs: number;
  readonly startedAtMs?: number;
  readonly endedAtMs?: number;
  /** Time in RUNNING and VERIFYING, over restarts. */
  readonly activeMs: number;
  readonly listingDone: boolean;
  /** Keys read from the listing, before filters. */
  readonly scannedFiles: number;
  /** Loaded, skipped or failed. */
  readonly processedFiles: number;
  /** Known when the listing is done. */
  readonly totalFiles?: number;
  readonly totalBytes?: number;
  readonly loadedFiles: number;
  /** Those of them that have no bytes. */
  readonly loadedEmptyFiles: number;
  /** Durable bytes that this job fetched. Failed bytes are never counted. */
  readonly loadedBytes: number;
  readonly skippedFiles: number;
  readonly skippedBytes: number;
  readonly failedFiles: number;
  /** The first ones; bounded. */
  readonly failures: readonly FileFailure[];
  readonly retries: number;
  /** What was evicted to make room for it, on all workers; absent: nothing. */
  readonly evictedBytes?: number;
  readonly verifiedFiles: number;
  readonly verifiedBytes: number;
  /** Of the verified ones, by their pages alone: their origin states no checksum of the whole that could be compared. Absent: not counted. */
  readonly verifiedByPages?: number;
  /** Recent rate of bytes from the UFS, per second; undefined before there is one. */
  readonly bytesPerSecond?: number;
  readonly etaMs?: number;
  /** What limits the load of late, largest share first; once it has ended, what did, all in all. Absent: not known. */
  readonly limitedBy?: readonly Limit[];
  readonly ledger: Ledger;
}
