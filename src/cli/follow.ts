/** Watching a job until it ends. */
import type { PrimedClient } from '../client/client.ts';
import { PrimedError } from '../core/errors.ts';
import type { JobState, JobType } from '../core/job.ts';
import type { CliIo } from './io.ts';
import { type Figures, makeMeter, type Watched } from './meter.ts';

/** `superseded`: the progress of the path is that of a newer job. */
export interface FollowEnd {
  readonly state: JobState;
  readonly superseded: boolean;
}

/** Often enough for a bar that moves; an answer costs the coordinator well below a millisecond. */
const askEveryMs = 500;
/** A coordinator that is restarted goes on with its jobs: this long it is waited for. */
const patienceMs = 30_000;

const endStates: ReadonlySet<JobState> = new Set(['STOPPED', 'SUCCEEDED', 'FAILED']);

/**
 * Resolves when the job has ended, or with `interrupted` at Ctrl-C, which leaves it running. Progress goes to standard
 * error: a bar on a terminal, lines elsewhere. Rejects with COORDINATOR_UNREACHABLE after 30 s without an answer.
 */
export async function follow<P extends Watched & { readonly jobId: string }>(given: {
  io: CliIo;
  client: PrimedClient;
  jobId: string;
  type: JobType;
  /** The newest progress of the path. */
  ask: (signal: AbortSignal) => Promise<P>;
  figures: Figures<P>;
  /** What is said at Ctrl-C. */
  goesOn: string;
}): Promise<FollowEnd | 'interrupted'> {
  const { io, client, jobId, type, ask, figures } = given;
  const interrupted = new AbortController();
  const forget = io.onInterrupt(() => interrupted.abort());
  const meter = makeMeter(io, figures);
  let silentSinceMs: number | undefined;
  try {
    for (;;) {
      const progress = await askOnce(ask, interrupted.signal);
      if (progress === undefined) break;
      if (progress instanceof PrimedError) {
        silentSinceMs ??= io.now();
        if (io.now() - silentSinceMs >= patienceMs) throw progress;
        meter.waiting(progress.message);
      } else {
        silentSinceMs = undefined;
        if (progress.jobId !== jobId) return { state: await endOf(client, jobId, type), superseded: true };
        meter.show(progress);
        if (endStates.has(progress.mJobState)) return { state: progress.mJobState, superseded: false };
      }
      if (!(await pause(io, interrupted.signal))) break;
    }
  } finally {
    forget();
    meter.end();
  }
  io.stderr.write(`${given.goesOn}\n`);
  return 'interrupted';
}

/** An unreachable coordinator is an answer here, and nothing is one at Ctrl-C; everything else is thrown. */
async function askOnce<P>(
  ask: (signal: AbortSignal) => Promise<P>,
  signal: AbortSignal,
): Promise<P | PrimedError | undefined> {
  try {
    return await ask(signal);
  } catch (error) {
    if (signal.aborted) return undefined;
    if (error instanceof PrimedError && (error.code === 'COORDINATOR_UNREACHABLE' || error.code === 'STOPPING'))
      return error;
    throw error;
  }
}

async function endOf(client: PrimedClient, jobId: string, type: JobType): Promise<JobState> {
  const row = (await client.list({ type })).find((job) => job.jobId === jobId);
  if (row !== undefined) return row.state;
  throw new PrimedError('JOB_NOT_FOUND', `The coordinator does not know job ${jobId} any more.`, { jobId });
}

/** False when Ctrl-C came. */
async function pause(io: CliIo, signal: AbortSignal): Promise<boolean> {
  try {
    await io.sleep(askEveryMs, signal);
  } catch (error) {
    if (!signal.aborted) throw error;
  }
  return !signal.aborted;
}
