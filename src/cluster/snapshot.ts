/** From the state of a job and the live figures of its run to what reports are made of. Pure. */

import { type Pace, timeLeftMs } from '../core/eta.ts';
import type { FlowSums } from '../core/flows.ts';
import type { InTurn } from '../core/in-turn.ts';
import type { JobSnapshot } from '../core/job.ts';
import { isEnded, type JobProgress, processedFiles } from '../core/job-machine.ts';
import type { Limit } from '../core/limit-causes.ts';
import type { Ledger } from '../core/types.ts';
import type { JobDefinition } from './job-store.ts';
import { movedBytes } from './run-figures.ts';

export interface LiveFigures {
  readonly ledger: Ledger;
  readonly retries: number;
  readonly evictedBytes?: number;
  readonly bytesPerSecond?: number;
  readonly limitedBy?: readonly Limit[];
  /** How it went so far, and the time by the same clock. */
  readonly pace?: Pace;
  readonly turn?: InTurn;
  readonly flows?: FlowSums;
  readonly nowMs?: number;
  /** Why nothing goes on. */
  readonly waitingFor?: string | undefined;
  /** Of the page of the verification that is under way. */
  readonly verifying?: { readonly files: number; readonly bytes: number; readonly byPages: number } | undefined;
}

export function snapshotOf(definition: JobDefinition, progress: JobProgress, live: LiveFigures): JobSnapshot {
  const { jobId, type, alias, runId, loadId, source, options } = definition;
  const { state, startedAtMs, endedAtMs, listing, listingDone, tally, free } = progress;
  const reason = progress.reason ?? live.waitingFor;
  const totalBytes = listingDone ? listing.bytes + tally.grownBytes : undefined;
  // What a stopped run has of a file waits for the next one; a failed run gives it back.
  const whole = isEnded(state) && state !== 'STOPPED';
  const { replicas } = definition.options;
  const loadedBytes = whole ? tally.loadedBytes : loadedSoFar(progress, live.ledger, { totalBytes, replicas });
  const etaMs = etaOf(definition, progress, live);
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
    ...(progress.verifiedByPages === undefined
      ? {}
      : {
          verifiedByPages: Math.min(
            progress.verifiedByPages + (live.verifying?.byPages ?? 0),
            progress.verifiedFiles + (live.verifying?.files ?? 0),
          ),
        }),
    verifiedBytes: progress.verifiedBytes + (live.verifying?.bytes ?? 0),
    ...(live.bytesPerSecond === undefined ? {} : { bytesPerSecond: live.bytesPerSecond }),
    ...(etaMs === undefined ? {} : { etaMs }),
    ...(live.limitedBy === undefined ? {} : { limitedBy: live.limitedBy }),
    ledger: live.ledger,
  };
}

/** Bytes of whole files, and of files under way what is durable already: one huge file must not look like a standstill. */
function loadedSoFar(
  { tally }: JobProgress,
  ledger: Ledger,
  { totalBytes, replicas }: { readonly totalBytes: number | undefined; readonly replicas: number },
): number {
  const most =
    totalBytes === undefined ? Number.POSITIVE_INFINITY : totalBytes - tally.skippedBytes - tally.failedBytes;
  // What workers have made durable counts as often as they are to have it.
  return Math.max(tally.loadedBytes, Math.min(Math.floor(ledger.cachedBytes / replicas), most));
}

/** Until everything is loaded, of a load whose listing has ended. */
function etaOf(definition: JobDefinition, progress: JobProgress, live: LiveFigures): number | undefined {
  const { state, listing, listingDone, tally } = progress;
  const { pace, nowMs, ledger, turn, flows } = live;
  if (definition.type !== 'LOAD' || state !== 'RUNNING' || !listingDone) return undefined;
  if (pace === undefined || nowMs === undefined) return undefined;
  const bytes = listing.bytes + tally.grownBytes - tally.skippedBytes - tally.failedBytes;
  const left = {
    files: listing.files - processedFiles(tally),
    bytes: bytes * definition.options.replicas - movedBytes(ledger),
    ...(turn && { turn }),
    ...(flows && { flows }),
  };
  return timeLeftMs(pace, left, nowMs);
}
