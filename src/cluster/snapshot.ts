/** From the state of a job and the live figures of its run to what reports are made of. Pure. */
import type { JobSnapshot } from '../core/job.ts';
import { isEnded, type JobProgress, processedFiles } from '../core/job-machine.ts';
import type { Limit } from '../core/limit-causes.ts';
import { etaMsOf } from '../core/rate.ts';
import type { Ledger } from '../core/types.ts';
import type { JobDefinition } from './job-store.ts';

export interface LiveFigures {
  readonly ledger: Ledger;
  readonly retries: number;
  readonly evictedBytes?: number;
  readonly bytesPerSecond?: number;
  readonly limitedBy?: readonly Limit[];
  /** Why nothing goes on. */
  readonly waitingFor?: string | undefined;
  /** Of the page of the verification that is under way. */
  readonly verifying?: { readonly files: number; readonly bytes: number } | undefined;
}

export function snapshotOf(definition: JobDefinition, progress: JobProgress, live: LiveFigures): JobSnapshot {
  const { jobId, type, alias, runId, loadId, source, options } = definition;
  const { state, startedAtMs, endedAtMs, listing, listingDone, tally, free } = progress;
  const reason = progress.reason ?? live.waitingFor;
  const totalBytes = listingDone ? listing.bytes + tally.grownBytes : undefined;
  // What a stopped run has of a file waits for the next one; a failed run gives it back.
  const whole = isEnded(state) && state !== 'STOPPED';
  const loadedBytes = whole ? tally.loadedBytes : loadedSoFar(progress, live.ledger, totalBytes);
  const remaining =
    totalBytes === undefined ? undefined : totalBytes - loadedBytes - tally.skippedBytes - tally.failedBytes;
  const etaMs = state === 'RUNNING' ? etaMsOf(remaining, live.bytesPerSecond) : undefined;
  return {
    jobId,
    type,
    ...(alias === undefined ? {} : { alias }),
    ...(free === undefined ? {} : { free }),
    runId,
    loadId,
    source,
    options,
    state,
    ...(reason === undefined ? {} : { reason }),
    submittedAtMs: progress.submittedAtMs,
    ...(startedAtMs === undefined ? {} : { startedAtMs }),
    ...(endedAtMs === undefined ? {} : { endedAtMs }),
    activeMs: progress.activeMs,
    listingDone,
    scannedFiles: listing.scannedFiles,
    processedFiles: processedFiles(tally),
    ...(listingDone ? { totalFiles: listing.files } : {}),
    ...(totalBytes === undefined ? {} : { totalBytes }),
    loadedFiles: tally.loadedFiles,
    // Files that turned out lost later leave the loaded ones, whichever they were.
    loadedEmptyFiles: Math.min(tally.loadedEmptyFiles, tally.loadedFiles),
    loadedBytes,
    skippedFiles: tally.skippedFiles,
    skippedBytes: tally.skippedBytes,
    failedFiles: tally.failedFiles,
    failures: tally.failures,
    retries: live.retries,
    ...(live.evictedBytes ? { evictedBytes: live.evictedBytes } : {}),
    verifiedFiles: progress.verifiedFiles + (live.verifying?.files ?? 0),
    verifiedBytes: progress.verifiedBytes + (live.verifying?.bytes ?? 0),
    ...(live.bytesPerSecond === undefined ? {} : { bytesPerSecond: live.bytesPerSecond }),
    ...(etaMs === undefined ? {} : { etaMs }),
    ...(live.limitedBy === undefined ? {} : { limitedBy: live.limitedBy }),
    ledger: live.ledger,
  };
}

/** Bytes of whole files, and of files under way what is durable already: one huge file must not look like a standstill. */
function loadedSoFar({ tally }: JobProgress, ledger: Ledger, totalBytes: number | undefined): number {
  const most =
    totalBytes === undefined ? Number.POSITIVE_INFINITY : totalBytes - tally.skippedBytes - tally.failedBytes;
  return Math.max(tally.loadedBytes, Math.min(ledger.cachedBytes, most));
}
