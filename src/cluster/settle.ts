/** What the outcome of one file means for the counters of its job. Pure. */

import { type ErrorCode, type ErrorReport, errorOf, type PrimedError } from '../core/errors.ts';
import type { Tally } from '../core/job-machine.ts';
import { addTally, emptyTally } from '../core/job-machine.ts';
import type { ManifestEntry } from '../core/types.ts';
import type { FileOutcome } from '../ingest/types.ts';

/**
 * The tally of one settled file; undefined for one that was stopped. Bytes loaded and skipped add up to the size of the
 * version that is cached, or the file is a failed one: an outcome that leaves bytes unaccounted for is no success.
 */
export function tallyOf(entry: ManifestEntry, outcome: FileOutcome): Tally | undefined {
  if (outcome.result === 'stopped') return undefined;
  if (outcome.result === 'failed') {
    return failedTally(entry, outcome.error ?? { code: 'INTERNAL', message: 'the worker gave no reason' });
  }
  const sizeBytes = outcome.version?.sizeBytes ?? entry.sizeBytes;
  const accounted = outcome.loadedBytes + outcome.skippedBytes;
  if (accounted < sizeBytes) {
    return failedTally(entry, {
      code: 'INTERNAL',
      message: `the worker accounted for ${accounted} of ${sizeBytes} bytes`,
    });
  }
  const loadedBytes = Math.min(outcome.loadedBytes, sizeBytes);
  const loaded = outcome.result === 'loaded';
  // Every field by its name: what a spread costs shows with very many files.
  return {
    loadedFiles: loaded ? 1 : 0,
    loadedEmptyFiles: loaded && sizeBytes === 0 ? 1 : 0,
    loadedBytes,
    skippedFiles: loaded ? 0 : 1,
    skippedBytes: sizeBytes - loadedBytes,
    failedFiles: 0,
    failedBytes: 0,
    grownBytes: sizeBytes - entry.sizeBytes,
    failures: emptyTally.failures,
  };
}

/** What the worker says of the run rather than of the file; undefined: nothing. */
export function failureOfRun({ error }: FileOutcome): PrimedError | undefined {
  return error !== undefined && isOfRun(error.code) ? errorOf(error) : undefined;
}

export function isOfRun(code: ErrorCode): boolean {
  return code === 'ORIGIN_LOST' || code === 'RUN_SUPERSEDED';
}

export function failedTally(entry: { path: string; sizeBytes: number }, error: ErrorReport): Tally {
  const { path, sizeBytes } = entry;
  return { ...emptyTally, failedFiles: 1, failedBytes: sizeBytes, failures: [{ path, ...error }] };
}

/** Files whose metadata was cached; nothing of their bytes. */
export function metadataTally(files: { loaded: number; skipped: number }): Tally {
  return { ...emptyTally, loadedFiles: files.loaded, skippedFiles: files.skipped };
}

export { addTally, emptyTally };
