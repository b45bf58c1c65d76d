/** Follows a load by the REST API until it ends, or until the demo has seen enough. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { PrimedClient } from '../client/client.ts';
import type { JobProgress } from '../client/types.ts';
import { PrimedError } from '../core/errors.ts';
import type { JobState } from '../core/job.ts';
import type { Ledger } from '../core/types.ts';
import type { DemoDaemon } from './daemon.ts';
import { humanBytes, humanCount, humanRate } from './human.ts';
import type { Bar } from './show.ts';

const pollMs = 50;
const followLimitMs = 15 * 60_000;
const endStates: readonly JobState[] = ['SUCCEEDED', 'FAILED', 'STOPPED'];

export interface Followed {
  readonly progress: JobProgress;
  /** From the start of following to the first state behind RUNNING, or to the end of following. */
  readonly loadMs: number;
  /** From there to the end. */
  readonly verifyMs: number;
  /** CPU time of the daemon at these two moments. */
  readonly cpuSecondsLoaded: number;
  readonly cpuSeconds: number;
  readonly ended: boolean;
}

export interface FollowOptions {
  readonly client: PrimedClient;
  readonly daemon: DemoDaemon;
  readonly path: string;
  readonly bar: Bar;
  /** Stop following when this says so. */
  readonly until?: (progress: JobProgress) => boolean;
  readonly signal: AbortSignal;
}

/** Rejects when the daemon ends, when nothing ends within 15 min, and when the job ends other than SUCCEEDED. */
export async function follow({ client, daemon, path, bar, until, signal }: FollowOptions): Promise<Followed> {
  const startedMs = performance.now();
  let loadedAt: { ms: number; cpuSeconds: number } | undefined;
  for (;;) {
    await daemon.mustRun();
    const progress = await client.progress(path);
    const nowMs = performance.now();
    const cpuSeconds = (await daemon.cpuSeconds()) ?? 0;
    const state = progress.mJobState;
    if (state !== 'RUNNING' && state !== 'WAITING') loadedAt ??= { ms: nowMs, cpuSeconds };
    bar.update(progress.mLoadedByteCount, detailOf(progress));
    const ended = endStates.includes(state);
    if (ended || until?.(progress) === true) {
      if (ended && state !== 'SUCCEEDED') await failWith(client, path, state);
      const { ms, cpuSeconds: cpuSecondsLoaded } = loadedAt ?? { ms: nowMs, cpuSeconds };
      return { progress, loadMs: ms - startedMs, verifyMs: nowMs - ms, cpuSecondsLoaded, cpuSeconds, ended };
    }
    if (nowMs - startedMs > followLimitMs) {
      throw new PrimedError('INTERNAL', `The load of ${path} was still ${state} after ${followLimitMs} ms.`);
    }
    await sleep(pollMs, undefined, { signal });
  }
}

function detailOf(progress: JobProgress): string {
  if (progress.mJobState === 'VERIFYING')
    return `verifying, ${humanBytes(progress.verifiedBytes ?? 0)} read back from disk`;
  const total = progress.mTotalByteCount === undefined ? '' : ` of ${humanBytes(progress.mTotalByteCount)}`;
  const rate = progress.mThroughput === undefined ? '' : `, ${humanRate(progress.mThroughput)}`;
  const eta = progress.etaMs === undefined ? '' : `, ${Math.ceil(progress.etaMs / 1000)} s left`;
  return `${humanBytes(progress.mLoadedByteCount)}${total}, ${humanCount(progress.mProcessedFileCount)} files${rate}${eta}`;
}

async function failWith(client: PrimedClient, path: string, state: JobState): Promise<never> {
  const report = await client.progressText(path, { verbose: true });
  throw new PrimedError('INTERNAL', `The load of ${path} ended ${state}:\n${report}`);
}

/** The ledger of a JSON report. */
export function ledgerOf(progress: JobProgress): Ledger & { readonly inFlightBytes: number } {
  return progress.ledger as Ledger & { readonly inFlightBytes: number };
}
