/** What a job looks like to people (TEXT) and programs (JSON): Alluxio's lines and keys in their order, then ours. */
import { freeTotals } from './free-job.ts';
import { freeJson, freeTextLines } from './free-report.ts';
import type { JobSnapshot } from './job.ts';
import { failureReason } from './job-machine.ts';
import { limitText } from './limit-causes.ts';
import { bandwidthText } from './load-options.ts';
import { formatSize, formatTimeLeft } from './sizes.ts';
import { printable, timesOf, withoutUnknown } from './text.ts';
import { discardReasons, ledgerDifference } from './types.ts';

export interface ReportOptions {
  readonly verbose: boolean;
}

/** The TEXT report, each line ended by a newline. Unknown values are left out or zero, never NaN. */
export function textReport(job: JobSnapshot, { verbose }: ReportOptions): string {
  const lines = job.free === undefined ? loadTextLines(job, verbose) : freeTextLines(job, job.free);
  return `${lines.join('\n')}\n`;
}

function loadTextLines(job: JobSnapshot, verbose: boolean): string[] {
  const outOfFiles = job.totalFiles === undefined ? '' : ` out of ${job.totalFiles}`;
  const outOfBytes = job.totalBytes === undefined ? '' : ` out of ${formatSize(job.totalBytes)}`;
  const lines = [
    `Progress for loading path '${printable(job.source.path)}':`,
    `\tSettings:\tbandwidth: ${bandwidthText(job.options)}\tverify: ${job.options.verify}`,
    `\tJob State: ${job.state}${job.reason === undefined ? '' : ` (${printable(job.reason)})`}`,
    `\tFiles Processed: ${job.processedFiles}${outOfFiles}`,
    `\tBytes Loaded: ${formatSize(job.loadedBytes)}${outOfBytes}`,
    `\tThroughput: ${formatSize(job.bytesPerSecond ?? 0)}/s`,
    `\tBlock load failure rate: ${failurePercentage(job).toFixed(2)}%`,
    `\tFiles Failed: ${job.failedFiles}`,
    `\tFiles Skipped: ${job.skippedFiles}`,
    `\tBytes Skipped: ${formatSize(job.skippedBytes)}`,
  ];
  const listed = listedSoFar(job);
  if (listed !== undefined) lines.push(`\tListing: ${listed} keys so far`);
  if (job.etaMs !== undefined) lines.push(`\tETA: ${formatTimeLeft(job.etaMs)}`);
  const limit = job.limitedBy?.[0];
  if (limit !== undefined) lines.push(`\tLimited by: ${limitText(limit)}`);
  lines.push(`\tRetries: ${job.retries}`);
  if (job.evictedBytes !== undefined) lines.push(`\tEvicted for it: ${formatSize(job.evictedBytes)}`);
  lines.push(`\tSegment Size: ${formatSize(job.options.segmentBytes)}`);
  if (job.options.verify) lines.push(`\tFiles Verified: ${verifiedText(job)}`);
  lines.push(`\tLedger: ${ledgerText(job)}`);
  if (verbose) {
    for (const failure of job.failures)
      lines.push(`\t\t${printable(failure.path)}: ${printable(failureReason(failure))}`);
    const unlisted = job.failedFiles - job.failures.length;
    if (job.failures.length > 0 && unlisted > 0) lines.push(`\t\t... and ${unlisted} more`);
  }
  return lines;
}

/** Keys, while they are being listed; undefined: nothing is. How many there will be nobody knows. */
export function listedSoFar({ type, state, listingDone, scannedFiles }: JobSnapshot): number | undefined {
  return type === 'LOAD' && state === 'RUNNING' && !listingDone ? scannedFiles : undefined;
}

/** The JSON report. Keys whose value is not known are absent. */
export function jsonReport(job: JobSnapshot, { verbose }: ReportOptions = { verbose: false }): Record<string, unknown> {
  if (job.free !== undefined) return freeJson(job, job.free);
  return withoutUnknown({
    mVerbose: verbose,
    mJobState: job.state,
    mBandwidth: job.options.bandwidthBytesPerSecond,
    mVerificationEnabled: job.options.verify,
    mProcessedFileCount: job.processedFiles,
    mTotalFileCount: job.totalFiles,
    mLoadedByteCount: job.loadedBytes,
    mTotalByteCount: job.totalBytes,
    mThroughput: rounded(job.bytesPerSecond),
    mFailurePercentage: failurePercentage(job),
    mFailedFileCount: job.failedFiles,
    mFailedFilesWithReasons: verbose
      ? Object.fromEntries(job.failures.map((failure) => [failure.path, failureReason(failure)]))
      : undefined,
    mSkippedByteCount: job.skippedBytes,
    mSkipIfExists: job.options.skipIfExists,
    mMetadataOnly: job.options.loadMetadataOnly,
    mTimeElapsed: Math.round(job.activeMs),
    ...identityOf(job),
    runId: job.runId,
    loadId: job.loadId,
    reason: job.reason,
    listingDone: job.listingDone,
    segmentBytes: job.options.segmentBytes,
    scannedFiles: job.scannedFiles,
    loadedFiles: job.loadedFiles,
    skippedFiles: job.skippedFiles,
    verifiedFiles: job.verifiedFiles,
    verifiedBytes: job.verifiedBytes,
    verifiedByPages: job.options.verify ? job.verifiedByPages : undefined,
    retries: job.retries,
    evictedBytes: job.evictedBytes,
    etaMs: rounded(job.etaMs),
    limitedBy: job.limitedBy,
    ...timesOf(job),
    ledger: {
      ...job.ledger,
      discardedBytes: { ...job.ledger.discardedBytes },
      inFlightBytes: ledgerDifference(job.ledger),
    },
  });
}

/**
 * One row of the job list. `files` and `bytes` are those of the manifest, once known; `failures` is their count. Of a FREE
 * they are what the workers had, and `failures` counts workers that did not answer.
 */
export function listRow(job: JobSnapshot): Record<string, unknown> {
  const { jobId, ...source } = identityOf(job);
  const common = {
    ...{ jobId, type: job.type, ...source },
    ...{ state: job.state, reason: job.reason, ...timesOf(job) },
  };
  if (job.free !== undefined) {
    const { dryRun, absent } = job.free;
    return withoutUnknown({ ...common, options: { dryRun }, ...freeTotals(job.free), failures: absent.length });
  }
  return withoutUnknown({
    ...common,
    options: withoutUnknown({ ...job.options }),
    files: job.totalFiles,
    bytes: job.totalBytes,
    scannedFiles: listedSoFar(job),
    processedFiles: job.processedFiles,
    loadedBytes: job.loadedBytes,
    skippedBytes: job.skippedBytes,
    verifiedBytes: job.options.verify ? job.verifiedBytes : undefined,
    bytesPerSecond: rounded(job.bytesPerSecond),
    etaMs: rounded(job.etaMs),
    limitedBy: job.limitedBy,
    failures: job.failedFiles,
  });
}

function verifiedText({ verifiedFiles, verifiedBytes, verifiedByPages = 0 }: JobSnapshot): string {
  const text = `${verifiedFiles} (${formatSize(verifiedBytes)})`;
  if (verifiedByPages === 0) return text;
  return `${text}, ${verifiedByPages} of them by pages alone, for want of a checksum of the whole to compare`;
}

function rounded(figure: number | undefined): number | undefined {
  return figure === undefined ? undefined : Math.round(figure);
}

/** Files failed of those processed, 0 to 100. */
function failurePercentage(job: JobSnapshot): number {
  return job.processedFiles === 0 ? 0 : (job.failedFiles / job.processedFiles) * 100;
}

/** Whole bytes, because a balance that is rounded shows nothing. */
function ledgerText(job: JobSnapshot): string {
  const { originBytes, peerBytes, cachedBytes, discardedBytes } = job.ledger;
  const copied = peerBytes === 0 ? '' : ` + ${peerBytes}B from workers`;
  const reasons = discardReasons.filter((reason) => discardedBytes[reason] > 0);
  const discarded = reasons.reduce((sum, reason) => sum + discardedBytes[reason], 0);
  const detail =
    reasons.length === 0 ? '' : ` (${reasons.map((reason) => `${reason} ${discardedBytes[reason]}B`).join(', ')})`;
  const inFlight = ledgerDifference(job.ledger);
  return `${originBytes}B from origin${copied} = ${cachedBytes}B cached + ${discarded}B discarded${detail}${inFlight === 0 ? '' : ` + ${inFlight}B in flight`}`;
}

function identityOf(job: JobSnapshot): Record<string, unknown> {
  const { jobId, alias, source } = job;
  const named = alias === undefined ? {} : { alias };
  if (source.kind === 'paths') return { jobId, paths: source.paths, ...named };
  return { jobId, [source.kind === 'path' ? 'path' : 'indexFile']: source.path, ...named };
}
