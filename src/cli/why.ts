/** `primed why`: what is kept of a file's story: the loads that it was in, how it ended there, and where it lies now. */
import type { PrimedClient } from '../client/client.ts';
import type { FileEntry, JobProgress, JobRow, PathStat } from '../client/types.ts';
import { PrimedError } from '../core/errors.ts';
import { covers } from '../core/path-scope.ts';
import type { RegisterVerb } from './context.ts';
import { UsageError } from './exit.ts';
import { describeStat } from './fs-stat.ts';
import { pathOf } from './job-list.ts';
import { printable } from './printable.ts';
import { addAsking } from './verb.ts';

/** Each is asked for what failed in it. */
const mostLoads = 20;

export type Outcome =
  /** `failure` says why. */
  | 'failed'
  /** What is cached of the file came with it. */
  | 'cached'
  | 'not-ended'
  /** More files failed than names are kept. */
  | 'not-kept'
  /** It was loaded or there already, or the load did not come to it. */
  | 'no-failure';

export interface LoadStory {
  readonly jobId: string;
  readonly source: string;
  readonly state: JobRow['state'];
  readonly submittedAt?: string;
  readonly endedAt?: string;
  readonly outcome: Outcome;
  readonly failure?: string;
}

export interface Story {
  readonly path: string;
  /** The newest first. */
  readonly loads: readonly LoadStory[];
  /** Loads of the path that are older, and were not asked. */
  readonly olderLoads: number;
  /** Loads from index files in which it is not named as failed; whether it was in them is not kept. */
  readonly indexLoads: number;
  /** Absent: nothing of it is cached. */
  readonly stat?: PathStat;
}

export const registerWhy: RegisterVerb = (program, context) => {
  addAsking(program, context, {
    name: 'why',
    description: 'tell what is kept of a file: the loads that it was in, how it ended there, and where it lies now',
    operands: [['<path>', 'a file: s3://bucket/key, file:///dir/name']],
    examples: ['primed why s3://datasets/a.bin', 'primed why s3://datasets/a.bin --format json'],
    ask: (client, _flags, path: string) => storyOf(client, path),
    text: tell,
  });
};

async function storyOf(client: PrimedClient, path: string): Promise<Story> {
  if (path.endsWith('/')) throw new UsageError(`'${path}' is no file: primed fs stat tells of a directory.`);
  const [rows, stat] = await Promise.all([client.list({ type: 'LOAD', state: 'ALL' }), statOf(client, path)]);
  const maybe = rows.filter((row) => row.indexFile !== undefined || pathsIn(row).some((scope) => covers(scope, path)));
  const loads: LoadStory[] = [];
  let indexLoads = 0;
  // One after the other: each may be a long answer.
  for (const row of maybe.slice(0, mostLoads)) {
    const told = storyIn(row, await progressOf(client, row), { path, file: stat?.file });
    if (row.indexFile === undefined || told.outcome === 'failed' || told.outcome === 'cached') loads.push(told);
    else indexLoads += 1;
  }
  const olderLoads = Math.max(0, maybe.length - mostLoads);
  return { path, loads, olderLoads, indexLoads, ...(stat === undefined ? {} : { stat }) };
}

/** Undefined: nothing of the file is cached. */
async function statOf(client: PrimedClient, path: string): Promise<PathStat | undefined> {
  return unlessGone(client.stat(path));
}

/** Undefined: its record was removed a moment ago. */
async function progressOf(client: PrimedClient, { jobId }: JobRow): Promise<JobProgress | undefined> {
  return unlessGone(client.progress(jobId, { verbose: true }));
}

async function unlessGone<T>(asked: Promise<T>): Promise<T | undefined> {
  try {
    return await asked;
  } catch (error) {
    if (error instanceof PrimedError && error.status === 'NOT_FOUND') return undefined;
    throw error;
  }
}

/** How a file ended in one load, of what the load says of itself. Pure. */
export function storyIn(
  row: JobRow,
  progress: JobProgress | undefined,
  { path, file }: { path: string; file?: FileEntry | undefined },
): LoadStory {
  const { jobId, state, submittedAt, endedAt } = row;
  const named = (progress?.mFailedFilesWithReasons ?? {}) as Readonly<Record<string, string>>;
  const failure = Object.hasOwn(named, path) ? named[path] : undefined;
  const about = {
    ...{ jobId, source: pathOf(row), state },
    ...(submittedAt === undefined ? {} : { submittedAt }),
    ...(endedAt === undefined ? {} : { endedAt }),
  };
  if (failure !== undefined) return { ...about, outcome: 'failed', failure };
  if (file?.loadId !== undefined && file.loadId === progress?.loadId) return { ...about, outcome: 'cached' };
  if (endedAt === undefined) return { ...about, outcome: 'not-ended' };
  const unnamed = progress === undefined || progress.mFailedFileCount > Object.keys(named).length;
  return { ...about, outcome: unnamed ? 'not-kept' : 'no-failure' };
}

function tell({ path, loads, olderLoads, indexLoads, stat }: Story): string {
  const lines = loads.map(({ jobId, source, state, submittedAt = '-', outcome, failure }) => {
    const end = failure === undefined ? words[outcome] : `the file FAILED: ${printable(failure)}`;
    return `${submittedAt}  load ${jobId} of ${source}, ${state}: ${end}\n`;
  });
  if (loads.length === 0) lines.push('No load of it is kept.\n');
  if (indexLoads > 0)
    lines.push(`${indexLoads} from index files, in which no failure of it is kept; whether it was in them is not.\n`);
  if (olderLoads > 0) lines.push(`${olderLoads} older loads were not looked at.\n`);
  const now = stat === undefined ? `Path:          ${printable(path)}\nNothing of it is cached.\n` : describeStat(stat);
  return `${lines.join('')}\n${now}\nNot kept: single attempts, what was evicted, and loads older than job.retention or not among the last job.max_ended.\n`;
}

const words: Readonly<Record<Outcome, string>> = {
  failed: 'the file FAILED',
  cached: 'what is cached of the file came with it',
  'not-ended': 'it has not ended',
  'not-kept': 'more files failed than are named; whether this one did is not kept',
  'no-failure':
    'no failure of the file: it was loaded or there already, or the load did not come to it (filtered, not at the origin, or ended before)',
};

function pathsIn({ path, paths = [] }: JobRow): readonly string[] {
  return path === undefined ? paths : [path];
}
