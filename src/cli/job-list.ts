/** `primed job list` */
import { Option } from 'commander';
import type { JobRow } from '../client/types.ts';
import { type JobState, jobStates } from '../core/job.ts';
import { formatSize } from '../core/sizes.ts';
import { printable } from '../core/text.ts';
import type { RegisterVerb } from './context.ts';
import { formatTable } from './table.ts';
import { addAsking } from './verb.ts';

interface ListFlags {
  readonly jobType: string;
  readonly jobState?: JobState | 'ACTIVE' | 'ALL';
}

const upperCase = (written: string): string => written.toUpperCase();

export const registerJobList: RegisterVerb = (job, context) => {
  addAsking<ListFlags, readonly JobRow[]>(job, context, {
    name: 'list',
    description: 'list jobs, the newest first',
    flags: [
      new Option('--job-type <type>', 'load, free or all')
        .choices(['load', 'free', 'all', 'LOAD', 'FREE', 'ALL'])
        .default('all'),
      new Option('--job-state <state>', 'only those in this state; active: not ended')
        .choices([...jobStates, 'active', 'all'].map((state) => state.toLowerCase()))
        .argParser(upperCase),
    ],
    examples: ['primed job list', 'primed job list --job-type load --job-state failed --format json'],
    ask: (client, { jobType: type, jobState: state }) =>
      client.list({ type, ...(state === undefined ? {} : { state }) }),
    text: (rows) => formatTable(columns, rows.map(cellsOf)),
  });
};

const columns = ['JOB ID', 'TYPE', 'STATE', 'FILES', 'BYTES', 'FAILED', 'SUBMITTED', 'PATH'];
const unknown = '-';

/** `40 of 2020`, or only the whole when it is reached. */
function share(done: number | undefined, whole: number | undefined, form: (amount: number) => string): string {
  if (whole === undefined) return done === undefined || done === 0 ? unknown : form(done);
  return done === undefined || done === whole ? form(whole) : `${form(done)} of ${form(whole)}`;
}

function cachedOf({ loadedBytes, skippedBytes = 0 }: JobRow): number | undefined {
  return loadedBytes === undefined ? undefined : loadedBytes + skippedBytes;
}

/** What it is about. */
export function pathsOf({ path, indexFile, paths = [] }: JobRow): string[] {
  return [path, indexFile, ...paths].filter((one) => one !== undefined);
}

/** The same, for people. */
export function pathOf({ path, indexFile, paths, alias }: JobRow): string {
  if (paths !== undefined) return printable(`${alias ?? unknown} (${paths.length} paths)`);
  return printable(path ?? `${indexFile ?? unknown} (index file)`);
}

/** Files, bytes, failures. */
export function amountsOf(row: JobRow): string[] {
  return [
    share(row.freedFiles ?? row.processedFiles, row.files, String),
    share(
      row.options?.loadMetadataOnly === true ? row.bytes : (row.freedBytes ?? cachedOf(row)),
      row.bytes,
      formatSize,
    ),
    String(row.failures ?? 0),
  ];
}

function cellsOf(row: JobRow): string[] {
  return [row.jobId, row.type, row.state, ...amountsOf(row), row.submittedAt ?? unknown, pathOf(row)];
}
