/** A file's story as the page puts it together: of the loads that it knows, what each says of the file, and where it lies. */
import type { ConsoleJob } from '../core/console-feed.ts';
import { covers } from '../core/path-scope.ts';
import { isFailureMap, type JobReport } from './report.ts';

export interface PathStat {
  readonly type: 'file' | 'directory';
  readonly files: number;
  readonly bytes: number;
  readonly cachedBytes: number;
  readonly pinned?: true;
  readonly workers?: readonly { readonly id: string }[];
  readonly unanswered?: readonly { readonly id: string }[];
  readonly file?: {
    readonly state: string;
    readonly sizeBytes: number;
    readonly cachedBytes: number;
    readonly etag: string;
    readonly versionId?: string;
    readonly pinned?: true;
    readonly lastModified: string;
    readonly cachedAt?: string;
    readonly loadId?: string;
    readonly workers?: readonly string[];
    readonly segments?: readonly {
      readonly index: number;
      readonly offset: number;
      readonly length: number;
      readonly workers: readonly string[];
      readonly partly?: readonly string[];
    }[];
  };
}

export interface FileLoad {
  readonly jobId: string;
  readonly source: string;
  readonly state: string;
  readonly submittedAt?: string;
  readonly outcome: 'failed' | 'cached' | 'not-ended' | 'not-kept' | 'no-failure';
  readonly words: string;
  readonly failure?: string;
}

export interface FileStory {
  /** The newest first. */
  readonly loads: readonly FileLoad[];
  readonly olderLoads: number;
  /** Of index files and lists, in which it is not named. */
  readonly indexLoads: number;
  readonly stat?: PathStat;
}

export type Ask = <T>(path: string, query: Readonly<Record<string, string>>) => Promise<T>;

/** Each is asked for what failed in it. */
const mostLoads = 20;

/** Rejects as `ask` does, but for what is not there. */
export async function storyOf(path: string, jobs: readonly ConsoleJob[], ask: Ask): Promise<FileStory> {
  if (path.endsWith('/')) throw new Error('That is a directory; give the path of a file.');
  const stat = await unlessGone(ask<PathStat>('/api/v1/fs/stat', { path }));
  const maybe = jobs
    .filter((job) => job.type === 'LOAD' && (job.kind !== 'path' || covers(job.path, path)))
    .sort((a, b) => b.submittedAtMs - a.submittedAtMs);
  const loads: FileLoad[] = [];
  let indexLoads = 0;
  // One after the other: each may be a long answer.
  for (const job of maybe.slice(0, mostLoads)) {
    const query = { path: job.id, format: 'JSON', verbose: 'true' };
    const report = await unlessGone(ask<JobReport>('/api/v1/master/progress_job/load', query));
    const load = loadOf(job, report, { path, loadId: stat?.file?.loadId });
    const sure = job.kind === 'path' || report?.paths?.some((one) => covers(one, path)) === true;
    if (sure || load.outcome === 'failed' || load.outcome === 'cached') loads.push(load);
    else if (job.kind === 'index') indexLoads += 1;
  }
  return { loads, indexLoads, olderLoads: Math.max(0, maybe.length - mostLoads), ...(stat && { stat }) };
}

const words: Readonly<Record<FileLoad['outcome'], string>> = {
  failed: 'The file failed.',
  cached: 'What is cached of the file came with it.',
  'not-ended': 'It has not ended.',
  'not-kept': 'More files failed than are named; whether this one did is not kept.',
  'no-failure':
    'No failure of the file: it was loaded or there already, or the load did not come to it (filtered, not at the origin, or ended before).',
};

export function loadOf(
  { id, path: source, state, submittedAtMs, endedAtMs }: ConsoleJob,
  report: JobReport | undefined,
  { path, loadId }: { readonly path: string; readonly loadId: string | undefined },
): FileLoad {
  const named = isFailureMap(report?.mFailedFilesWithReasons) ? report.mFailedFilesWithReasons : {};
  const failure = Object.hasOwn(named, path) ? named[path]! : undefined;
  const about = { jobId: id, source, state, submittedAt: new Date(submittedAtMs).toISOString() };
  const ended = (outcome: FileLoad['outcome']): FileLoad => ({ ...about, outcome, words: words[outcome] });
  if (failure !== undefined) return { ...about, outcome: 'failed', words: failure, failure };
  if (loadId !== undefined && loadId === report?.loadId) return ended('cached');
  if (endedAtMs === undefined) return ended('not-ended');
  const unnamed = report === undefined || (report.mFailedFileCount ?? 0) > Object.keys(named).length;
  return ended(unnamed ? 'not-kept' : 'no-failure');
}

async function unlessGone<T>(asked: Promise<T>): Promise<T | undefined> {
  try {
    return await asked;
  } catch (error) {
    if ((error as { status?: number }).status === 404) return undefined;
    throw error;
  }
}
