/** What the verbs of jobs have in common: submit and follow, submit alone, show, or stop; and a job that is not there. */
import type { PrimedClient } from '../client/client.ts';
import type { Submitted } from '../client/types.ts';
import { PrimedError } from '../core/errors.ts';
import type { CliContext } from './context.ts';
import { exitCodes, UsageError } from './exit.ts';
import { follow } from './follow.ts';
import type { CliIo } from './io.ts';
import type { Watched } from './meter.ts';
import { type CommonFlags, type Format, say } from './verb.ts';

export type Mode = 'follow' | 'submit' | 'progress' | 'stop' | 'plan';

/** Throws UsageError for flags that exclude each other. */
export function modeOf(flags: Readonly<Partial<Record<Exclude<Mode, 'follow'>, boolean | undefined>>>): Mode {
  const asked = (['submit', 'progress', 'stop', 'plan'] as const).filter((mode) => flags[mode] === true);
  if (asked.length > 1) throw new UsageError(`${asked.map((mode) => `--${mode}`).join(' and ')} exclude each other.`);
  return asked[0] ?? 'follow';
}

/** Says that a job was submitted. With JSON asked for, standard output holds one document: of a job that is followed its report. */
export function saySubmitted(
  io: CliIo,
  { flags, following }: { readonly flags: CommonFlags; readonly following: boolean },
  submitted: Submitted,
): void {
  const message = `${submitted.message}\n`;
  if (following && submitted.success && flags.format === 'json') io.stderr.write(message);
  else say(io, flags, submitted, () => message);
}

/** What `act` prints, or `missing` where there is no such job: with JSON asked for as an error. */
export async function ofJob(
  { io }: CliContext,
  format: Format | undefined,
  missing: string,
  act: () => Promise<void>,
): Promise<number> {
  try {
    await act();
    return exitCodes.done;
  } catch (error) {
    if (!(error instanceof PrimedError) || error.code !== 'JOB_NOT_FOUND') throw error;
    if (format === 'json') throw new PrimedError('JOB_NOT_FOUND', missing, error.facts, { cause: error });
    io.stdout.write(`${missing}\n`);
    return exitCodes.noSuchJob;
  }
}

type Shown = Watched & { readonly jobId: string };
type Followed<P extends Shown> = Pick<Parameters<typeof follow<P>>[0], 'jobId' | 'type' | 'figures' | 'ask'>;

/** Follows a job to its end, then shows its report; the exit code is that of its state. */
export async function followToEnd<P extends Shown>(
  { io, jsonErrors }: CliContext,
  client: PrimedClient,
  { path, job, report }: { path: string; job: Followed<P>; report: () => Promise<number> },
): Promise<number> {
  const verb = job.type.toLowerCase();
  const end = await follow({
    ...{ io, client, ...job },
    goesOn: `The ${verb} goes on. To see it: primed job ${verb} --progress '${path}'. To stop it: primed job ${verb} --stop '${path}'`,
  });
  if (end === 'interrupted') return exitCodes.interrupted;
  if (end.superseded) {
    const name = verb.charAt(0).toUpperCase() + verb.slice(1);
    // There is no report of it any more: nothing that could be JSON.
    (jsonErrors === true ? io.stderr : io.stdout).write(
      `${name} '${path}' ended as ${end.state}; a newer ${verb} of the same path has begun since.\n`,
    );
  } else await report();
  return end.state === 'SUCCEEDED' ? exitCodes.done : exitCodes.failed;
}
