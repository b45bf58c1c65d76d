/** What the console shows of a job, a worker and an origin: no more than it shows, because all of it is sent. Pure. */
import type { ShareRow } from '../../cluster/limit-sharing.ts';
import type { LimitRow } from '../../cluster/origin-limits.ts';
import type { ConsoleJob, ConsoleOrigin, ConsoleWorker } from '../../core/console-feed.ts';
import { freeTotals } from '../../core/free-job.ts';
import type { JobSnapshot } from '../../core/job.ts';
import { isEnded } from '../../core/job-machine.ts';
import { addressOf, type WorkerFigures, type WorkerRow } from '../../core/membership.ts';
import type { WorkerUse } from '../../core/worker-use.ts';

/** What is sent of a reason, and of a path: both may be 8 KiB, and the report of the job has all of it. */
const mostText = 500;
/** The largest say it. */
const mostLimits = 3;

export function jobRow(job: JobSnapshot): ConsoleJob {
  const { jobId, type, state, source, alias, reason, options } = job;
  const common = {
    ...{ id: jobId, type, state, path: clipped(source.path), kind: source.kind },
    ...(alias !== undefined && alias !== source.path && { alias: clipped(alias) }),
    ...(reason !== undefined && { reason: clipped(reason) }),
    submittedAtMs: job.submittedAtMs,
    ...(job.startedAtMs !== undefined && { startedAtMs: job.startedAtMs }),
    ...(job.endedAtMs !== undefined && { endedAtMs: job.endedAtMs }),
  };
  if (job.free !== undefined) {
    const { files, bytes, freedFiles, freedBytes } = freeTotals(job.free);
    const { dryRun, absent } = job.free;
    const done = { files, bytes, doneFiles: freedFiles, doneBytes: freedBytes };
    return { ...common, ...done, failures: absent.length, ...(dryRun && { dryRun }) };
  }
  const running = !isEnded(state);
  const verifying = state === 'VERIFYING';
  return {
    ...common,
    ...(job.totalFiles !== undefined && { files: job.totalFiles }),
    ...(job.totalBytes !== undefined && { bytes: job.totalBytes }),
    doneFiles: verifying ? job.verifiedFiles : job.processedFiles,
    doneBytes: verifying ? job.verifiedBytes : job.loadedBytes + job.skippedBytes,
    ...(job.skippedBytes > 0 && { skippedBytes: job.skippedBytes }),
    failures: job.failedFiles,
    ...(job.retries > 0 && { retries: job.retries }),
    ...(job.bytesPerSecond !== undefined && { bytesPerSecond: Math.round(job.bytesPerSecond) }),
    // Whole seconds: an estimate knows no less, and a row that says the same need not be sent.
    ...(running && job.etaMs !== undefined && { etaMs: Math.ceil(job.etaMs / 1000) * 1000 }),
    ...(job.limitedBy !== undefined && { limitedBy: job.limitedBy.slice(0, mostLimits) }),
    ...(options.replicas !== 1 && { replicas: options.replicas }),
    ...(options.bandwidthBytesPerSecond !== undefined && { bandwidthBytesPerSecond: options.bandwidthBytesPerSecond }),
    ...(options.loadMetadataOnly && { metadataOnly: true as const }),
  };
}

export function workerRow(row: WorkerRow, refusal: Error | undefined): ConsoleWorker {
  const { id, state, drains, zone, version, capacityBytes, freeBytes, files, use } = row;
  return {
    ...{ id, state, address: addressOf(row), version, capacityBytes, freeBytes, files },
    ...(refusal !== undefined && { state: 'REFUSED' as const, reason: clipped(refusal.message) }),
    ...(drains && { drains }),
    ...(zone !== undefined && { zone }),
    // What a lost one had is shown, and no rates.
    ...(use !== undefined && (state === 'LOST' ? withoutRates(use) : use)),
    // Of the others it changes with each renewal, and says nothing.
    ...(state === 'LOST' && { lastSeenMs: row.lastSeenMs }),
  };
}

/** Of a process that is coordinator and worker. */
export function ownWorker({ use, ...figures }: WorkerFigures, version: string): ConsoleWorker {
  return { id: 'local', state: 'LIVE', version, ...figures, ...use };
}

function withoutRates({ reservedBytes, pinnedBytes, heldBytes }: WorkerUse): Partial<WorkerUse> {
  return { reservedBytes, pinnedBytes, heldBytes };
}

export function originRow({ origin, ...limit }: LimitRow, shares: readonly ShareRow[]): ConsoleOrigin {
  return { id: origin, ...limit, takers: shares.filter((share) => share.origin === origin).length };
}

function clipped(text: string): string {
  return text.length > mostText ? `${text.slice(0, mostText)}…` : text;
}
