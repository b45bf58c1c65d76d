/** Load jobs as a user sees them: submitted to a coordinator's REST API, and asked about. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Limit } from '../../src/core/limit-causes.ts';

export interface Progress {
  readonly mJobState: string;
  readonly mLoadedByteCount: number;
  readonly loadedFiles: number;
  readonly listingDone: boolean;
  readonly scannedFiles: number;
  readonly reason?: string;
  readonly limitedBy?: readonly Limit[];
  readonly etaMs?: number;
  readonly ledger: {
    readonly originBytes: number;
    readonly peerBytes: number;
    readonly cachedBytes: number;
    readonly inFlightBytes: number;
  };
}

export async function submitLoad(
  base: string,
  path: string,
  options: Readonly<Record<string, string>> = {},
): Promise<void> {
  await call(`${base}/api/v1/master/submit_job/load`, { path, options });
}

export async function progressOf(base: string, path: string): Promise<Progress> {
  const url = `${base}/api/v1/master/progress_job/load?format=JSON&path=${encodeURIComponent(path)}`;
  return (await call(url)) as Progress;
}

export function hasEnded({ mJobState }: Progress): boolean {
  return !['WAITING', 'RUNNING', 'VERIFYING'].includes(mJobState);
}

/** Asks until `done` says so, or the job has ended; rejects when that takes longer than `limitMs`. */
export async function progressUntil(
  base: string,
  path: string,
  done: (progress: Progress) => boolean,
  { everyMs = 20, limitMs = 1_800_000 } = {},
): Promise<Progress> {
  const deadlineMs = performance.now() + limitMs;
  for (;;) {
    const progress = await progressOf(base, path);
    if (done(progress) || hasEnded(progress)) return progress;
    if (performance.now() > deadlineMs) throw new Error(`the load of ${path} took longer than ${limitMs / 1000} s`);
    await sleep(everyMs);
  }
}

/** The last answer about a job that has to succeed. */
export function insistOnSuccess(path: string, progress: Progress): Progress {
  const { mJobState, reason } = progress;
  if (mJobState === 'SUCCEEDED') return progress;
  throw new Error(`the load of ${path} ended ${mJobState}: ${reason ?? 'no reason given'}`);
}

async function call(url: string, body?: object): Promise<unknown> {
  const answer = await fetch(url, {
    method: body === undefined ? 'GET' : 'POST',
    signal: AbortSignal.timeout(60_000),
    ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
  });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${url} answered ${answer.status}: ${text}`);
  return JSON.parse(text);
}
