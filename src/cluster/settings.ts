/** What the operator decides about jobs. Every queue and every wait of this room has its limit here. */
import type { LoadOptions } from '../core/job.ts';

export interface JobServiceSettings {
  /** Jobs that run at once; the others wait in order. */
  readonly maxActive: number;
  /** Jobs that wait at most; one more is refused with JOB_LIMIT. */
  readonly maxWaiting: number;
  /** How long ended jobs stay listed. */
  readonly retentionMs: number;
  /** How many ended jobs stay listed; the oldest go first. */
  readonly maxEnded: number;
  /** What happens to a file that changes at the origin while it is loaded. */
  readonly onChange: 'restart' | 'fail';
  /** Keys a listing page; also the size of a manifest chunk. */
  readonly listingKeys: number;
  /** Attempts at a listing page, each already retried by the origin's client, and the first pause between them. */
  readonly listingAttempts: number;
  readonly listingRetryMs: number;
  /** HEAD requests at once, for the files of an index file. */
  readonly headConcurrency: number;
  /** Files that are verified at once. */
  readonly verifyConcurrency: number;
  /** How often counters and active time of running jobs are saved, and their rate is sampled. */
  readonly tickMs: number;
  /** Longest wait for a worker to drop what is in flight. It promises 2 s. */
  readonly stopDeadlineMs: number;
}

export const defaultJobServiceSettings: JobServiceSettings = {
  maxActive: 4,
  maxWaiting: 100,
  retentionMs: 7 * 86_400_000,
  maxEnded: 1000,
  onChange: 'restart',
  listingKeys: 1000,
  listingAttempts: 4,
  listingRetryMs: 500,
  headConcurrency: 32,
  verifyConcurrency: 64,
  tickMs: 1000,
  stopDeadlineMs: 5000,
};

/** Files with the workers at once, over all jobs that may run: about 1 KiB each here, so 200 MiB. */
const mostOutstanding = 200_000;

/**
 * Files of a job with the workers at once: one batch is worked on while the next one is handed over, so the pipe never
 * drains; and no more than its part of what the memory is for.
 */
export function outstandingLimit(options: LoadOptions, { maxActive }: Pick<JobServiceSettings, 'maxActive'>): number {
  return Math.min(options.batchSize * 2, Math.floor(mostOutstanding / maxActive));
}
