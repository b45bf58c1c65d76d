/** `primed job load`: submit, follow, show or stop the load of a path. */
import type { Command } from 'commander';
import type { LoadTarget, PrimedClient } from '../client/client.ts';
import { parseLoadOptions } from '../core/load-options.ts';
import { planText } from '../core/plan-text.ts';
import { type CliContext, type RegisterVerb, runs, withClient } from './context.ts';
import { exitCodes, UsageError } from './exit.ts';
import { followToEnd, type Mode, modeOf, ofJob, saySubmitted } from './job-modes.ts';
import { loadFigures } from './meter.ts';
import { addVerb, type CommonFlags, jsonOf, say } from './verb.ts';

interface LoadFlags extends CommonFlags {
  readonly path?: string;
  readonly indexFile?: string;
  readonly submit?: boolean;
  readonly progress?: boolean;
  readonly stop?: boolean;
  readonly plan?: boolean;
  readonly bandwidth?: string;
  readonly verify?: boolean;
  readonly partialListing?: boolean;
  readonly metadataOnly?: boolean;
  readonly skipIfExists?: boolean;
  readonly fileFilterRegx?: string;
  readonly replicas?: string;
  readonly batchSize?: string;
  readonly segmentSize?: string;
  readonly priority?: string;
  readonly verbose?: boolean;
}

/** Each flag of a submission, and the option of the REST API that it is. */
const optionOfFlag = {
  bandwidth: 'bandwidth',
  verify: 'verify',
  partialListing: 'partialListing',
  metadataOnly: 'loadMetadataOnly',
  skipIfExists: 'skipIfExists',
  fileFilterRegx: 'fileFilterRegx',
  replicas: 'replicas',
  batchSize: 'batchSize',
  segmentSize: 'segmentSize',
  priority: 'priority',
} as const satisfies Partial<Record<keyof LoadFlags, string>>;

/** Which flags say something in which mode; elsewhere they would be ignored, so they are refused. */
const modesOfFlag: Readonly<Record<string, readonly Mode[]>> = {
  ...Object.fromEntries(Object.keys(optionOfFlag).map((flag) => [flag, ['follow', 'submit', 'plan'] as const])),
  verbose: ['follow', 'progress'],
};

export const registerJobLoad: RegisterVerb = (job, context) => {
  const command = addVerb(job, {
    name: 'load',
    description:
      'load a path from its origin; without --submit, --progress, --stop or --plan: submit, follow, and report',
    operands: [['[path]', 'what to load: s3://bucket/dir/, s3://bucket/key, file:///dir/']],
    flags: [
      ['--path <path>', 'the same as the argument'],
      ['--index-file <path>', 'load the paths that this file has, one a line'],
      ['--submit', 'submit, and do not wait'],
      ['--progress', 'show how far the load is'],
      ['--stop', 'stop the load'],
      ['--plan', 'load nothing, and say what a load would do: requests and their price, bytes, room, time'],
      ['--bandwidth <size>', 'bytes a second that one worker reads from the origin at most, such as 200MB'],
      ['--verify', 'afterwards list the origin again, and read and check everything that was cached'],
      ['--partial-listing', 'begin to load before the listing is complete'],
      ['--metadata-only', 'cache sizes, ETags and times, no data'],
      ['--skip-if-exists', 'do not load again what is cached at the same version'],
      ['--file-filter-regx <pattern>', 'load only files whose whole base name matches'],
      ['--replicas <count>', 'workers that shall have each file'],
      ['--batch-size <count>', 'files handed to a worker at a time'],
      ['--segment-size <size>', 'cut files at multiples of this, and spread them over workers, such as 8MB'],
      ['--priority <weight>', 'share of the workers while several loads run, 1 to 100 (default: 10)'],
      ['--verbose', 'name the files that failed, with reasons'],
    ],
    examples: [
      'primed job load s3://datasets/imagenet/',
      'primed job load s3://models/llama/ --replicas 2 --verify --submit',
      'primed job load s3://models/llama/ --progress --verbose',
      'primed job load s3://models/llama/ --replicas 2 --plan',
    ],
  });
  runs(command, context, (path: string | undefined, flags: LoadFlags) => jobLoad(context, path, flags, command));
};

async function jobLoad(
  context: CliContext,
  argument: string | undefined,
  flags: LoadFlags,
  command: Command,
): Promise<number> {
  const mode = modeOf(flags);
  const target = targetOf(argument, flags);
  refuseIdleFlags(command, flags, mode);
  const options = Object.fromEntries(
    Object.entries(optionOfFlag).flatMap(([flag, option]) => {
      const value = flags[flag as keyof LoadFlags];
      return value === undefined ? [] : [[option, value]];
    }),
  );
  // The coordinator would say the same; this saves it the trouble.
  parseLoadOptions(options);
  return withClient(context, flags, (client) => {
    if (mode === 'progress') return showProgress(context, client, pathOf(target), flags);
    if (mode === 'plan') return plan(context, client, { target, options, flags });
    if (mode === 'stop') return stop(context, client, pathOf(target), flags);
    return submit(context, client, { target, options, flags, following: mode === 'follow' });
  });
}

function targetOf(argument: string | undefined, { path, indexFile }: LoadFlags): LoadTarget {
  const given = [argument, path, indexFile].filter((value) => value !== undefined);
  if (given.length !== 1 || given[0] === '') {
    throw new UsageError(
      `Give exactly one of <path>, --path and --index-file${given.length === 0 ? '' : `, not ${given.length} of them`}.`,
    );
  }
  return indexFile === undefined ? { path: (argument ?? path)! } : { indexFile };
}

/** A job of an index file is known by the path of that file. */
function pathOf(target: LoadTarget): string {
  return 'path' in target ? target.path : target.indexFile;
}

function refuseIdleFlags(command: Command, flags: LoadFlags, mode: Mode): void {
  const idle = Object.keys(flags).filter((flag) => modesOfFlag[flag]?.includes(mode) === false);
  if (idle.length === 0) return;
  const names = idle.map((flag) => command.options.find((option) => option.attributeName() === flag)?.long ?? flag);
  throw new UsageError(`${names.join(', ')} mean${names.length === 1 ? 's' : ''} nothing together with --${mode}.`);
}

async function submit(
  context: CliContext,
  client: PrimedClient,
  order: { target: LoadTarget; options: Record<string, unknown>; flags: LoadFlags; following: boolean },
): Promise<number> {
  const { io } = context;
  const submitted = await client.submit(order.target, order.options);
  saySubmitted(io, order, submitted);
  if (!submitted.success) return exitCodes.failed;
  if (!order.following) return exitCodes.done;
  const path = pathOf(order.target);
  const { jobId } = submitted;
  return followToEnd(context, client, {
    path,
    job: { jobId, type: 'LOAD', figures: loadFigures, ask: (signal) => client.progress(path, { signal }) },
    report: () => showProgress(context, client, path, order.flags),
  });
}

async function plan(
  { io }: CliContext,
  client: PrimedClient,
  { target, options, flags }: { target: LoadTarget; options: Record<string, unknown>; flags: LoadFlags },
): Promise<number> {
  say(io, flags, await client.plan(target, options), planText);
  return exitCodes.done;
}

function showProgress(
  context: CliContext,
  client: PrimedClient,
  path: string,
  { format, verbose }: LoadFlags,
): Promise<number> {
  const { io } = context;
  const options = { verbose: verbose === true };
  return ofJob(context, format, `Load for path '${path}' cannot be found.`, async () => {
    if (format === 'json') io.stdout.write(jsonOf(await client.progress(path, options)));
    else io.stdout.write(withNewline(await client.progressText(path, options)));
  });
}

function stop(context: CliContext, client: PrimedClient, path: string, flags: CommonFlags): Promise<number> {
  const missing = `Cannot find load job for path ${path}, it might have already been stopped or finished`;
  return ofJob(context, flags.format, missing, async () => {
    say(context.io, flags, await client.stop(path), () => `Load '${path}' is successfully stopped.\n`);
  });
}

function withNewline(text: string): string {
  return text.endsWith('\n') ? text : `${text}\n`;
}
