/**
 * cluster: the coordinator's side of a load.
 *
 * Who is in it: one JobService per coordinator. It keeps jobs and manifests in its own LMDB (jobs are durable before a
 * submit is answered), and drives each active job: list the UFS into the manifest, hand files to the worker
 * `batchSize` at a time, fold the outcomes, verify, end. All decisions are made by core/job-machine; this room does the I/O.
 *
 * Who waits for whom: the lister waits when the manifest is far ahead of the loader only for memory's sake (the manifest is
 * on disk); the loader waits for outcomes of the worker. Nobody polls.
 *
 * What survives a crash: definition, options, listing cursor and manifest, counters by manifest chunk. What is cached is
 * asked of the worker, never remembered here.
 */

import type { JobSnapshot, JobSource, JobState, JobType, LoadOptions } from '../core/job.ts';
import type { Tally } from '../core/job-machine.ts';
import type { LoadPlan } from '../core/load-plan.ts';
import type { JobServiceSettings } from './settings.ts';

export interface SubmitResult {
  readonly jobId: string;
  /** False: a job of this path was running already, and this is its id. */
  readonly started: boolean;
  readonly message: string;
}

/** Told about what only the metrics want to know. */
export interface JobObserver {
  /** A submission that started a job. */
  submitted(): void;
  settled(tally: Tally): void;
  verified(bytes: number): void;
  ended(state: 'SUCCEEDED' | 'FAILED' | 'STOPPED', activeMs: number): void;
}

export const nobody: JobObserver = { submitted() {}, settled() {}, verified() {}, ended() {} };

export interface JobService {
  /**
   * Rejects with PATH_INVALID, PATH_WILDCARD, OPTION_UNSUPPORTED, JOB_CONFLICT, JOB_LIMIT, STOPPING, ETCD_UNAVAILABLE. Durable when resolved.
   * @param alias another name of the job; a list of paths is called by the one in its source.
   */
  submit(source: JobSource, options: LoadOptions, alias?: string): Promise<SubmitResult>;
  /** What that load would do, which is not begun. Rejects likewise, and with ORIGIN_* and TOO_BUSY; ends with the signal. */
  plan(source: JobSource, options: LoadOptions, signal: AbortSignal): Promise<LoadPlan>;
  /** Removes what is cached at and below a path from every worker; with `dryRun` says what that is. Rejects as `submit`. */
  free(path: string, options: { readonly dryRun: boolean }): Promise<SubmitResult>;
  /**
   * False: no such job is active. Resolves when nothing is in flight any more (within 2 s) and STOPPED is durable;
   * rejects with STOP_PENDING once it is written down, with ETCD_UNAVAILABLE before; with STORE_IO where it is stopped and that could not
   * be written down.
   * @param job its path, index file, alias or id
   */
  stop(job: string, type?: JobType): Promise<boolean>;
  /** Limits what each worker reads for the active load; undefined: not any more. False: no such load is active. */
  limit(job: string, bandwidthBytesPerSecond: number | undefined): Promise<boolean>;
  /** The newest job of a path, index file or alias, or the one of this id; undefined: none. Cheap. */
  snapshot(job: string, type?: JobType): JobSnapshot | undefined;
  byId(jobId: string): JobSnapshot | undefined;
  /** Newest first. */
  list(filter: { states?: readonly JobState[]; types?: readonly JobType[] }): readonly JobSnapshot[];
  /** How many jobs are in which state; empty where they are not known yet. Cheap, and never throws. */
  counts(): ReadonlyMap<JobState, number>;
  /** Resolves when the job has reached an end state. */
  ended(jobId: string): Promise<JobSnapshot>;
  /**
   * Resolves when every job is known here that was submitted before, wherever that was; at once where there is one
   * coordinator. Never rejects: what cannot be heard in time is not waited for.
   */
  caughtUp(): Promise<void>;
  /** Why no job can be submitted or stopped now, though the daemon runs; undefined: they can. */
  trouble(): string | undefined;
  /** Pauses all jobs so that a restart continues them; state is saved. What is in flight has `limitMs` to be dropped. */
  close(limitMs?: number): Promise<void>;
}

/** One whose limits the operator may change while it is open. */
export interface OpenJobService extends JobService {
  /** From now on; jobs that wait and may run now begin. */
  reconfigure(settings: Partial<JobServiceSettings>): void;
}
