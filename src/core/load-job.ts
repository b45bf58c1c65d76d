/** A load as an object of the third generation of the API. */
import type { JobSnapshot } from './job.ts';
import { failureReason } from './job-machine.ts';
import { withoutUnknown } from './text.ts';

/** Failed files that are named; their number is beside them. */
const namedFailures = 100;

/** Fields of Alluxio's object in its order, then ours. What is not known yet is absent. */
export function loadJobObject(job: JobSnapshot): Record<string, unknown> {
  const { source, options } = job;
  return withoutUnknown({
    id: job.jobId,
    startTime: timeWithOffset(job.startedAtMs ?? job.submittedAtMs),
    state: job.state,
    runningState: runningState(job),
    errorMessage: reasonsOf(job),
    failedFileListPath: '',
    paths: source.kind === 'paths' ? source.paths : source.kind === 'path' ? [source.path] : [],
    index: source.kind === 'index' ? source.path : '',
    skipIfExists: options.skipIfExists,
    loadMetadataOnly: options.loadMetadataOnly,
    verify: options.verify,
    bandwidth: options.bandwidthBytesPerSecond ?? 0,
    timeElapsedMilliseconds: Math.round(job.activeMs),
    loadedBytes: job.loadedBytes,
    skippedBytes: job.skippedBytes,
    totalBytes: job.totalBytes,
    loadedNonEmptyFiles: job.loadedFiles - job.loadedEmptyFiles,
    failedFiles: job.failedFiles,
    scannedFiles: job.scannedFiles,
    // Alluxio shows zeros where no quota is set; a remainder of zero alone would read as none left.
    quota: { totalBytes: 0, remaining: 0, unlimited: true },
    quotaCheckError: '',
    alias: job.alias,
    replicas: options.replicas,
    processedFiles: job.processedFiles,
    totalFiles: job.totalFiles,
  });
}

function runningState({ state, listingDone, reason }: JobSnapshot): string {
  switch (state) {
    case 'WAITING':
      return reason ?? 'waits for its turn';
    case 'RUNNING':
      return reason ?? (listingDone ? 'LOADING' : 'LISTING');
    case 'VERIFYING':
      return 'VERIFYING';
    default:
      return '';
  }
}

function reasonsOf({ state, reason, failures }: JobSnapshot): Record<string, string> {
  const files = failures.slice(0, namedFailures).map((failure) => [failure.path, failureReason(failure)] as const);
  return { ...(state === 'FAILED' && reason !== undefined ? { job: reason } : {}), ...Object.fromEntries(files) };
}

/** ISO 8601, with the offset in digits, as clients in Java read it. */
function timeWithOffset(wallMs: number): string {
  return new Date(wallMs).toISOString().replace('Z', '+00:00');
}
