/**
 * What the console shows of a job, a worker and an origin: no more than it shows, because all of it is sent. Pure. What is not
 * known is undefined here, and so absent in JSON: 2,000 rows are made each second, and literals are what is made fastest.
 */
import type { ShareRow } from '../../cluster/limit-sharing.ts';
import type { LimitRow } from '../../cluster/origin-limits.ts';
import type { ConsoleJob, ConsoleOrigin, ConsoleWorker } from '../../core/console-feed.ts';
import { freeTotals } from '../../core/free-job.ts';
import type { JobSnapshot } from '../../core/job.ts';
import { isEnded } from '../../core/job-machine.ts';
import { addressOf, type WorkerFigures, type WorkerRow } from '../../core/membership.ts';
import { listedSoFar } from '../../core/report.ts';
import { cutInMiddle } from '../../core/text.ts';

/** Before it is JSON. */
export type Unsent<R> = { readonly [name in keyof R]: R[name] | undefined } & { readonly id: string };

/** What is sent of a reason, and of a path: both may be 8 KiB, and the report of the job has all of it. */
const mostText = 500;
/** The largest say it. */
const mostLimits = 3;

/** `measured`: its rate, where it does not say one itself. */
export function jobRow(job: JobSnapshot, measured?: number): Unsent<ConsoleJob> {
  return job.free === undefined ? loadRow(job, measured) : freeRow(job, job.free, measured);
}

/** Cached, verified or freed, as its state is about. */
export function doneBytesOf({ free, state, verifiedBytes, loadedBytes, skippedBytes }: JobSnapshot): number {
  if (free !== undefined) return freeTotals(free).freedBytes;
  return state === 'VERIFYING' ? verifiedBytes : loadedBytes + skippedBytes;
}

function loadRow(job: JobSnapshot, measured: number | undefined): Unsent<ConsoleJob> {
  const { options, state } = job;
  const verifying = state === 'VERIFYING';
  const rate = verifying ? measured : job.bytesPerSecond;
  return {
    ...commonRow(job),
    files: job.totalFiles,
    bytes: job.totalBytes,
    scannedFiles: listedSoFar(job),
    doneFiles: verifying ? job.verifiedFiles : job.processedFiles,
    doneBytes: doneBytesOf(job),
    skippedBytes: job.skippedBytes || undefined,
    failures: job.failedFiles,
    retries: job.retries || undefined,
    bytesPerSecond: rate && Math.round(rate),
    // Whole seconds: an estimate knows no less, and a row that says the same need not be sent.
    etaMs: job.etaMs === undefined || verifying || isEnded(state) ? undefined : Math.ceil(job.etaMs / 1000) * 1000,
    replicas: options.replicas === 1 ? undefined : options.replicas,
    bandwidthBytesPerSecond: options.bandwidthBytesPerSecond,
    metadataOnly: options.loadMetadataOnly || undefined,
    dryRun: undefined,
    limitedBy: job.limitedBy?.slice(0, mostLimits),
  };
}

/** Its failures are workers that did not answer. */
function freeRow(
  job: JobSnapshot,
  free: NonNullable<JobSnapshot['free']>,
  measured: number | undefined,
): Unsent<ConsoleJob> {
  const { files, bytes, freedFiles, freedBytes } = freeTotals(free);
  return {
    ...commonRow(job),
    ...{ files, bytes, doneFiles: freedFiles, doneBytes: freedBytes },
    failures: free.absent.length,
    dryRun: free.dryRun || undefined,
    bytesPerSecond: free.dryRun ? undefined : measured && Math.round(measured),
  } as Unsent<ConsoleJob>;
}

function commonRow(job: JobSnapshot) {
  const { jobId, type, state, source, alias, reason } = job;
  return {
    id: jobId,
    type,
    state,
    kind: source.kind,
    path: clipped(source.path),
    alias: alias === undefined || alias === source.path ? undefined : clipped(alias),
    reason: reason === undefined ? undefined : clipped(reason),
    submittedAtMs: job.submittedAtMs,
    startedAtMs: job.startedAtMs,
    endedAtMs: job.endedAtMs,
  };
}

export function workerRow(row: WorkerRow, refusal: Error | undefined): Unsent<ConsoleWorker> {
  const lost = row.state === 'LOST';
  const rates = lost ? undefined : row.use;
  return {
    id: row.id,
    state: refusal === undefined ? row.state : 'REFUSED',
    reason: refusal === undefined ? undefined : clipped(refusal.message),
    drains: row.drains || undefined,
    address: addressOf(row),
    zone: row.zone,
    version: row.version,
    capacityBytes: row.capacityBytes,
    freeBytes: row.freeBytes,
    files: row.files,
    reservedBytes: row.use?.reservedBytes,
    pinnedBytes: row.use?.pinnedBytes,
    heldBytes: row.use?.heldBytes,
    // What a lost one had is shown, and no rates.
    receivedBytesPerSecond: rates?.receivedBytesPerSecond,
    servedBytesPerSecond: rates?.servedBytesPerSecond,
    originFailuresPerMinute: rates?.originFailuresPerMinute,
    originThrottledPerMinute: rates?.originThrottledPerMinute,
    origins: lost || row.origins?.length === 0 ? undefined : row.origins,
    // Of the others it changes with each renewal, and says nothing.
    lastSeenMs: lost ? row.lastSeenMs : undefined,
  };
}

/** Of a process that is coordinator and worker. */
export function ownWorker({ use, ...figures }: WorkerFigures, version: string): ConsoleWorker {
  return { id: 'local', state: 'LIVE', version, ...figures, ...use };
}

export function originRow({ origin, ...limit }: LimitRow, shares: readonly ShareRow[]): ConsoleOrigin {
  return { id: origin, ...limit, takers: shares.filter((share) => share.origin === origin).length };
}

function clipped(text: string): string {
  return cutInMiddle(text, mostText);
}
