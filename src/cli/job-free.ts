/** `primed job free`: remove what is cached of a path from every worker, follow, show or stop that. */
import type { Command } from 'commander';
import type { PrimedClient } from '../client/client.ts';
import { type CliContext, type RegisterVerb, runs, withClient } from './context.ts';
import { exitCodes, UsageError } from './exit.ts';
import { followToEnd, modeOf, ofJob, saySubmitted } from './job-modes.ts';
import { freeFigures } from './meter.ts';
import { addVerb, type CommonFlags, jsonOf, say } from './verb.ts';

interface FreeFlags extends CommonFlags {
  readonly path?: string;
  readonly dryRun?: boolean;
  readonly submit?: boolean;
  readonly progress?: boolean;
  readonly stop?: boolean;
}

export const registerJobFree: RegisterVerb = (job, context) => {
  const command = addVerb(job, {
    name: 'free',
    description:
      'remove what is cached at and below a path from every worker; without --submit, --progress or --stop: submit, follow, and report',
    operands: [['[path]', 'what to remove: s3://bucket/dir/, s3://bucket/key']],
    flags: [
      ['--path <path>', 'the same as the argument'],
      ['--dry-run', 'say what would go, and remove nothing'],
      ['--submit', 'submit, and do not wait'],
      ['--progress', 'show how far it is'],
      ['--stop', 'stop it; what is gone stays gone'],
    ],
    examples: ['primed job free s3://datasets/imagenet/ --dry-run', 'primed job free s3://datasets/imagenet/'],
  });
  runs(command, context, (path: string | undefined, flags: FreeFlags) => jobFree(context, path, flags, command));
};

async function jobFree(
  context: CliContext,
  argument: string | undefined,
  flags: FreeFlags,
  command: Command,
): Promise<number> {
  const mode = modeOf(flags);
  const given = [argument, flags.path].filter((path) => path !== undefined);
  const [path] = given;
  if (path === undefined || path === '' || given.length > 1)
    throw new UsageError(`Give exactly one of <path> and --path (${command.name()} --help says more).`);
  if (flags.dryRun === true && (mode === 'progress' || mode === 'stop'))
    throw new UsageError(`--dry-run means nothing together with --${mode}.`);
  return withClient(context, flags, (client) => {
    if (mode === 'progress') return showProgress(context, client, path, flags);
    if (mode === 'stop') return stop(context, client, path, flags);
    return submit(context, client, { path, flags, following: mode === 'follow' });
  });
}

async function submit(
  context: CliContext,
  client: PrimedClient,
  { path, flags, following }: { path: string; flags: FreeFlags; following: boolean },
): Promise<number> {
  const submitted = await client.free(path, { dryRun: flags.dryRun === true });
  saySubmitted(context.io, { flags, following }, submitted);
  if (!following) return exitCodes.done;
  const { jobId } = submitted;
  return followToEnd(context, client, {
    path,
    job: { jobId, type: 'FREE', figures: freeFigures, ask: (signal) => client.freeProgress(path, { signal }) },
    report: () => showProgress(context, client, path, flags),
  });
}

function showProgress(context: CliContext, client: PrimedClient, path: string, flags: FreeFlags): Promise<number> {
  const { io } = context;
  return ofJob(context, flags.format, `Free for path '${path}' cannot be found.`, async () => {
    if (flags.format === 'json') io.stdout.write(jsonOf(await client.freeProgress(path)));
    else io.stdout.write(await client.freeProgressText(path));
  });
}

function stop(context: CliContext, client: PrimedClient, path: string, flags: CommonFlags): Promise<number> {
  const missing = `Cannot find free job for path ${path}, it might have already been stopped or finished`;
  return ofJob(context, flags.format, missing, async () => {
    say(context.io, flags, await client.stopFree(path), ({ message }) => `${message}\n`);
  });
}
