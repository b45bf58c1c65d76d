/** For how long running jobs have got nowhere. */
import type { JobSnapshot, JobState } from './job.ts';

/** Of jobs that ought to get on. */
export const movingStates: readonly JobState[] = ['RUNNING', 'VERIFYING'];

type Moving = Pick<JobSnapshot, 'jobId' | 'state'> & Parameters<typeof markOf>[0];

/** Remembers what each running job had come to when it was last looked at; jobs that run no more are forgotten. */
export class StillJobs {
  #seen = new Map<string, { readonly mark: string; readonly sinceMs: number }>();

  /**
   * The time, in milliseconds, for which the stillest of the running jobs has not moved; 0 where none runs. What happened between two
   * looks counts from the later one. `nowMs` must not go backwards.
   */
  look(jobs: readonly Moving[], nowMs: number): number {
    const before = this.#seen;
    this.#seen = new Map();
    let longestMs = 0;
    for (const job of jobs) {
      if (!movingStates.includes(job.state)) continue;
      const mark = markOf(job);
      const known = before.get(job.jobId);
      const sinceMs = known?.mark === mark ? known.sinceMs : nowMs;
      this.#seen.set(job.jobId, { mark, sinceMs });
      longestMs = Math.max(longestMs, nowMs - sinceMs);
    }
    return longestMs;
  }
}

/** Another text whenever something was listed, received, made durable, settled, verified or freed. */
function markOf(
  job: Pick<
    JobSnapshot,
    'state' | 'scannedFiles' | 'processedFiles' | 'loadedBytes' | 'verifiedFiles' | 'verifiedBytes' | 'ledger' | 'free'
  >,
): string {
  const { state, scannedFiles, processedFiles, loadedBytes, verifiedFiles, verifiedBytes, ledger, free } = job;
  return JSON.stringify([state, scannedFiles, processedFiles, loadedBytes, verifiedFiles, verifiedBytes, ledger, free]);
}
