/** What the phases of a job share: the job, the collaborators, and the signal that ends everything. */
import type { JobSnapshot } from '../core/job.ts';
import type { JobEvent, JobProgress } from '../core/job-machine.ts';
import type { Clock, JobId, Log } from '../core/types.ts';
import type { Origins } from '../origin/types.ts';
import type { Fleet } from './fleet.ts';
import type { JobClaim, JobDefinition, JobStore, ListingCursor } from './job-store.ts';
import type { ListingWaits } from './listing-waits.ts';
import type { JobServiceSettings } from './settings.ts';
import type { JobObserver } from './types.ts';

export interface JobDeps {
  readonly fleet: Fleet;
  readonly origins: Origins;
  readonly store: JobStore;
  readonly clock: Clock;
  readonly log: Log;
  readonly settings: JobServiceSettings;
  readonly observe: JobObserver;
  /**
   * Tells other coordinators how the job stands; resolves when that is durable. Rejects where it is not this one's to say
   * (any more).
   */
  readonly tell?: (jobId: JobId) => Promise<void>;
  /**
   * Tells them how the job has ended, before anybody hears of it here. Rejects likewise: the job is then left as it was.
   */
  readonly publish?: (ended: JobSnapshot, claim: JobClaim | undefined) => Promise<void>;
}

/** What of a job changes besides its progress, and is durable with it. */
export interface JobMarks {
  chunks: number;
  cursor: ListingCursor | undefined;
  sourceVersion: string | undefined;
  verifyCursor: ListingCursor | undefined;
  /** Counts from 0; those after the first look for what went with lost workers. */
  verifyPass: number;
  /** The repair run was started: its ledger belongs to the job. */
  repairs: boolean;
}

export interface RunContext {
  readonly definition: JobDefinition;
  readonly claim: JobClaim | undefined;
  readonly deps: JobDeps;
  /** Fires when the job is stopped, pauses or has failed: phases return soon, without an answer. */
  readonly signal: AbortSignal;
  readonly marks: JobMarks;
  /** What its listings wait for. */
  readonly waits: ListingWaits;
  progress(): JobProgress;
  apply(event: JobEvent): void;
  /** The job as the store keeps it. */
  record(): Parameters<JobStore['putJob']>[0];
}

/**
 * The worker has given up a file that nobody stopped: it closes, and the job goes on when the daemon comes back. Or other
 * coordinators cannot be told of the job.
 */
export class RunInterrupted extends Error {
  constructor() {
    super('the job cannot go on here for now');
    this.name = 'RunInterrupted';
  }
}
