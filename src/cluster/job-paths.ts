/** What a job is keyed by, and what is said to a second submission of the same key. */
import { PrimedError } from '../core/errors.ts';
import { hasWildcard } from '../core/file-filter.ts';
import type { JobSource, LoadOptions } from '../core/job.ts';
import { optionDifferences } from '../core/load-options.ts';
import type { Origins } from '../origin/types.ts';
import { localIndexPath } from './index-file.ts';
import type { SubmitResult } from './types.ts';

/** What tells jobs apart: the path in its normal form. Throws PATH_WILDCARD and PATH_INVALID. */
export function keyOf(source: JobSource, origins: Pick<Origins, 'resolve'>): string {
  if (hasWildcard(source.path)) {
    throw new PrimedError(
      'PATH_WILDCARD',
      `Load does not support wildcard path '${source.path}': load the directory with a file filter (fileFilterRegx), or name the files in an index file.`,
      { path: source.path },
    );
  }
  if (source.kind === 'index') {
    const local = localIndexPath(source.path);
    if (local !== undefined) return local;
    if (!source.path.includes('://')) {
      throw new PrimedError(
        'PATH_INVALID',
        `The index file '${source.path}' is neither s3://bucket/key nor an absolute path: it lies at the origin, or on the machine of the coordinator.`,
        { path: source.path },
      );
    }
  }
  return origins.resolve(source.path).path;
}

/** The key of a path that may belong to any job, or to none. */
export function lookupKey(path: string, origins: Pick<Origins, 'resolve'>, isKnown: (key: string) => boolean): string {
  if (path.startsWith('/')) return path;
  try {
    const { path: normal } = origins.resolve(path);
    if (isKnown(normal)) return normal;
  } catch {
    // No path of the UFS: perhaps an index file of the coordinator.
  }
  try {
    return localIndexPath(path) ?? path;
  } catch {
    return path;
  }
}

export function submitted(jobId: string, source: JobSource): SubmitResult {
  return { jobId, started: true, message: `Load '${source.path}' is successfully submitted. JobId: ${jobId}` };
}

/** The answer to a submission whose path is being loaded. Throws JOB_CONFLICT. */
export function already(
  running: { readonly jobId: string; readonly source: JobSource; readonly options: LoadOptions },
  source: JobSource,
  options: LoadOptions,
): SubmitResult {
  const differences = [...optionDifferences(running.options, options)];
  if (running.source.kind !== source.kind) {
    differences.unshift(
      running.source.kind === 'index'
        ? 'it is loaded as an index file, asked for as a path'
        : 'it is loaded as a path, asked for as an index file',
    );
  }
  const { jobId } = running;
  if (differences.length > 0) {
    throw new PrimedError(
      'JOB_CONFLICT',
      `Load already running for path '${source.path}' (job ${jobId}) with other options: ${differences.join('; ')}. Stop it first, or submit the same options.`,
      { path: source.path, jobId },
    );
  }
  return { jobId, started: false, message: `Load already running for path '${source.path}'` };
}
