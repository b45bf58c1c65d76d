/** `primed job history`: jobs that have ended, as far as the coordinator keeps them. */
import { Option } from 'commander';
import type { JobRow } from '../client/types.ts';
import type { JobState } from '../core/job.ts';
import { formatTimeLeft } from '../core/sizes.ts';
import { positiveInteger, type RegisterVerb } from './context.ts';
import { amountsOf, pathOf, pathsOf } from './job-list.ts';
import { formatTable } from './table.ts';
import { addAsking } from './verb.ts';

const endStates = ['succeeded', 'failed', 'stopped'] as const;

interface HistoryFlags {
  readonly state?: (typeof endStates)[number];
  readonly limit: number;
}

export const registerJobHistory: RegisterVerb = (job, context) => {
  addAsking<HistoryFlags, readonly JobRow[]>(job, context, {
    name: 'history',
    description:
      'list jobs that have ended, the newest first, as far back as the coordinator keeps them (job.retention, job.max_ended)',
    operands: [['[path]', 'only those of paths that begin with this']],
    flags: [
      new Option('--state <state>', 'only those that ended so').choices(endStates),
      new Option('--limit <count>', 'so many at most').argParser(positiveInteger).default(50),
    ],
    examples: ['primed job history', 'primed job history s3://datasets/ --state failed --limit 10 --format json'],
    async ask(client, { state, limit }, prefix: string | undefined) {
      const wanted = new Set<JobState>((state === undefined ? endStates : [state]).map(upper));
      return (await client.list({ type: 'ALL' }))
        .filter((row) => wanted.has(row.state))
        .filter((row) => prefix === undefined || pathsOf(row).some((path) => path.startsWith(prefix)))
        .slice(0, limit);
    },
    text: (rows) => formatTable(columns, rows.map(cellsOf)),
  });
};

const upper = (state: string): JobState => state.toUpperCase() as JobState;

const columns = ['JOB ID', 'TYPE', 'STATE', 'FILES', 'BYTES', 'FAILED', 'ENDED', 'TOOK', 'PATH'];

function cellsOf(row: JobRow): string[] {
  const { jobId, type, state, startedAt, endedAt } = row;
  const took = startedAt === undefined || endedAt === undefined ? '-' : formatTimeLeft(msBetween(startedAt, endedAt));
  return [jobId, type, state, ...amountsOf(row), endedAt ?? '-', took, pathOf(row)];
}

const msBetween = (from: string, to: string): number => Math.max(0, Date.parse(to) - Date.parse(from));
