/** Jobs as the job service would tell them. */
import type { JobSnapshot } from '../../src/core/job.ts';
import { defaultLoadOptions } from '../../src/core/load-options.ts';
import { emptyLedger, type JobId, type LoadId, type RunId } from '../../src/core/types.ts';
import { MiB } from '../../src/core/units.ts';

/** Just started: nothing is listed, nothing loaded. */
export function newSnapshot(path: string, more: Partial<JobSnapshot> = {}): JobSnapshot {
  return {
    jobId: 'job-1' as JobId,
    type: 'LOAD',
    runId: 'run-1' as RunId,
    loadId: 'load-1' as LoadId,
    source: { kind: 'path', path },
    options: defaultLoadOptions,
    state: 'RUNNING',
    submittedAtMs: Date.UTC(2026, 0, 2),
    activeMs: 1000,
    listingDone: false,
    scannedFiles: 0,
    processedFiles: 0,
    loadedFiles: 0,
    loadedEmptyFiles: 0,
    loadedBytes: 0,
    skippedFiles: 0,
    skippedBytes: 0,
    failedFiles: 0,
    failures: [],
    retries: 0,
    verifiedFiles: 0,
    verifiedBytes: 0,
    ledger: emptyLedger(),
    ...more,
  };
}

/** Its listing is done, and nothing loaded. */
export const snapshotOf = (path: string, more: Partial<JobSnapshot> = {}): JobSnapshot =>
  newSnapshot(path, { listingDone: true, scannedFiles: 4, totalFiles: 4, totalBytes: 400 * MiB, ...more });

/** A free that has three of the four files of a worker by now. */
export const freeSnapshot = (path: string, more: Partial<JobSnapshot> = {}): JobSnapshot =>
  newSnapshot(path, {
    type: 'FREE',
    free: {
      dryRun: false,
      workers: [{ worker: 'w1', files: 4, bytes: 4 * MiB, freedFiles: 3, freedBytes: 3 * MiB, done: false }],
      absent: [],
    },
    ...more,
  });
