/** What a job is keyed by, and what is said to a second submission of the same key. */
import { createHash } from 'node:crypto';
import { PrimedError } from '../core/errors.ts';
import { hasWildcard } from '../core/file-filter.ts';
import type { JobSource, JobType } from '../core/job.ts';
import { optionDifferences } from '../core/load-options.ts';
import type { Origins } from '../origin/types.ts';
import { localIndexPath } from './index-file.ts';
import type { JobDefinition } from './job-store.ts';
import type { SubmitResult } from './types.ts';

/** A submission, as jobs are told apart by it. */
export type Order = Pick<JobDefinition, 'type' | 'source' | 'options' | 'key' | 'alias' | 'dryRun'>;

type Resolving = Pick<Origins, 'resolve'>;

/** What tells loads apart: the path in its normal form, of a list a hash of its set. Throws PATH_WILDCARD and PATH_INVALID. */
export function keyOf(source: JobSource, origins: Resolving): string {
  if (source.kind === 'paths') {
    const paths = source.paths.map((path) => keyOf({ kind: 'path', path }, origins));
    return `paths ${createHash('sha256')
      .update([...new Set(paths)].sort().join('\n'))
      .digest('hex')}`;
  }
  if (hasWildcard(source.path)) {
    throw wildcard(
      'Load',
      source.path,
      'load the directory with a file filter (fileFilterRegx), or name the files in an index file',
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

/** What tells frees apart from each other, and from loads. Throws PATH_WILDCARD and PATH_INVALID. */
export function freeKeyOf(path: string, origins: Resolving): string {
  if (hasWildcard(path)) throw wildcard('Free', path, 'name a file or a directory');
  return freeKey(origins.resolve(path).path);
}

/** The paths that a job is about, in their normal form; undefined: it may be any. */
export function scopesOf({ type, source, key }: Order, origins: Resolving): readonly string[] | undefined {
  if (type === 'FREE') return [key.slice(freeKey('').length)];
  if (source.kind === 'index') return undefined;
  return source.kind === 'path' ? [key] : source.paths.map((path) => origins.resolve(path).path);
}

/** No path of a load begins so. */
function freeKey(path: string): string {
  return `free ${path}`;
}

function wildcard(verb: string, path: string, instead: string): PrimedError {
  return new PrimedError('PATH_WILDCARD', `${verb} does not support wildcard path '${path}': ${instead}.`, { path });
}

/** The key of a path that may belong to any job of this type, or to none. */
export function lookupKey(path: string, type: JobType, origins: Resolving, isKnown: (key: string) => boolean): string {
  if (path.startsWith('/')) return path;
  try {
    const { path: normal } = origins.resolve(path);
    if (type === 'FREE') return freeKey(normal);
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

export const verbOf = (type: JobType): string => (type === 'LOAD' ? 'Load' : 'Free');

export function submitted(jobId: string, { type, source }: Order): SubmitResult {
  const message = `${verbOf(type)} '${source.path}' is successfully submitted. JobId: ${jobId}`;
  return { jobId, started: true, message };
}

const kindWords: Readonly<Record<JobSource['kind'], string>> = {
  path: 'a path',
  paths: 'a list of paths',
  index: 'an index file',
};

/** The answer to a submission whose path has a job under way. Throws JOB_CONFLICT. */
export function already(running: Order & { readonly jobId: string }, asked: Order): SubmitResult {
  const { jobId, type, source } = running;
  const differences = [...optionDifferences(running.options, asked.options)];
  if (source.kind !== asked.source.kind) {
    differences.unshift(`it is loaded as ${kindWords[source.kind]}, asked for as ${kindWords[asked.source.kind]}`);
  }
  if (asked.alias !== undefined && running.alias !== asked.alias) {
    differences.push(`its alias is ${running.alias ?? 'not set'}, asked for ${asked.alias}`);
  }
  if (running.dryRun !== asked.dryRun) differences.push(`dryRun is ${running.dryRun}, asked for ${asked.dryRun}`);
  const what = `${verbOf(type)} already running for path '${asked.source.path}'`;
  if (differences.length === 0) return { jobId, started: false, message: what };
  throw new PrimedError(
    'JOB_CONFLICT',
    `${what} (job ${jobId}) with other options: ${differences.join('; ')}. Stop it first, or submit the same options.`,
    { path: asked.source.path, jobId },
  );
}
