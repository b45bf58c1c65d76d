/** The coordinator's jobs: who may start, who waits, who is asked about. See types.ts for the whole picture. */
import { randomUUID } from 'node:crypto';
import { PrimedError } from '../core/errors.ts';
import { hasWildcard } from '../core/file-filter.ts';
import type { JobSnapshot, JobSource, JobState, LoadOptions } from '../core/job.ts';
import { newJob } from '../core/job-machine.ts';
import { checkReplicas, optionDifferences } from '../core/load-options.ts';
import type { Clock, JobId, LoadId, Log, RunId } from '../core/types.ts';
import type { Origins } from '../origin/types.ts';
import type { Fleet } from './fleet.ts';
import { localIndexPath } from './index-file.ts';
import { JobRun } from './job-run.ts';
import { JobStore } from './job-store.ts';
import type { JobDeps } from './run-context.ts';
import { defaultJobServiceSettings, type JobServiceSettings } from './settings.ts';
import type { JobObserver, JobService, SubmitResult } from './types.ts';

export interface JobServiceOptions {
  /** Folder of the job store. */
  readonly dir: string;
  readonly fleet: Fleet;
  readonly origins: Origins;
  readonly clock: Clock;
  readonly log: Log;
  readonly settings?: Partial<JobServiceSettings>;
  readonly observe?: JobObserver;
}

const nobody: JobObserver = { submitted() {}, settled() {}, verified() {}, ended() {} };

/** Opens the job store and goes on with the jobs that had not ended. Throws STORE_VERSION. */
export async function openJobService(options: JobServiceOptions): Promise<JobService> {
  const { dir, fleet, origins, clock, log, observe = nobody } = options;
  const settings = { ...defaultJobServiceSettings, ...options.settings };
  const service = new LocalJobService({ fleet, origins, clock, log, settings, observe, store: new JobStore(dir) });
  await service.recover();
  return service;
}

class LocalJobService implements JobService {
  readonly #deps: JobDeps;
  /** By number: oldest first. */
  readonly #jobs = new Map<number, JobRun>();
  readonly #byId = new Map<string, JobRun>();
  /** The newest job of each path. */
  readonly #byKey = new Map<string, JobRun>();
  readonly #waiting: JobRun[] = [];
  readonly #running = new Set<JobRun>();
  readonly #timer: NodeJS.Timeout;
  #nextNumber = 1;
  #closing: Promise<void> | undefined;

  constructor(deps: JobDeps) {
    this.#deps = deps;
    this.#timer = setInterval(() => this.#tick(), deps.settings.tickMs);
    this.#timer.unref();
  }

  async recover(): Promise<void> {
    const { store } = this.#deps;
    for (const record of store.jobs()) {
      const job = new JobRun(record, 'stored', this.#deps);
      this.#know(job);
      await job.recover();
    }
    const open = [...this.#jobs.values()].filter((job) => job.active);
    // Those that ran go on before others start.
    for (const job of open) if (job.progress.state !== 'WAITING') this.#start(job);
    for (const job of open) if (job.progress.state === 'WAITING') this.#enqueue(job);
    for (const number of store.manifests())
      if (this.#jobs.get(number)?.active !== true) await store.dropManifest(number);
    await this.#prune();
  }

  async submit(source: JobSource, options: LoadOptions): Promise<SubmitResult> {
    const key = this.#keyOf(source);
    // While no worker is there, the job waits for one.
    checkReplicas(options, Math.max(1, this.#deps.fleet.takers));
    for (;;) {
      this.#refuseWhenClosing();
      const latest = this.#byKey.get(key);
      if (latest?.active !== true) return await this.#begin(source, options, key, latest);
      await latest.durable.catch(() => undefined);
      if (latest.progress.stopping) await latest.ended;
      else if (latest.active) return already(latest, source, options);
    }
  }

  async stop(path: string): Promise<boolean> {
    const job = this.#byKey.get(this.#lookupKey(path));
    return job === undefined || !job.active ? false : job.stop();
  }

  snapshot(path: string): JobSnapshot | undefined {
    return this.#byKey.get(this.#lookupKey(path))?.snapshot({ allFailures: true });
  }

  byId(jobId: string): JobSnapshot | undefined {
    return this.#byId.get(jobId)?.snapshot({ allFailures: true });
  }

  list({ states }: { states?: readonly JobState[] }): readonly JobSnapshot[] {
    const jobs = [...this.#jobs.values()].reverse();
    return jobs
      .filter((job) => states === undefined || states.includes(job.progress.state))
      .map((job) => job.snapshot());
  }

  async ended(jobId: string): Promise<JobSnapshot> {
    const job = this.#byId.get(jobId);
    if (job === undefined) throw new PrimedError('JOB_NOT_FOUND', `Job ${jobId} cannot be found.`, { jobId });
    return job.ended;
  }

  close(limitMs = this.#deps.settings.stopDeadlineMs): Promise<void> {
    this.#closing ??= this.#close(limitMs);
    return this.#closing;
  }

  async #close(limitMs: number): Promise<void> {
    clearInterval(this.#timer);
    await Promise.all([...this.#jobs.values()].map((job) => job.pause(limitMs)));
    await this.#deps.store.close();
  }

  // --- submission

  async #begin(
    source: JobSource,
    options: LoadOptions,
    key: string,
    latest: JobRun | undefined,
  ): Promise<SubmitResult> {
    const { settings, clock } = this.#deps;
    if (this.#running.size >= settings.maxActive && this.#waiting.length >= settings.maxWaiting) {
      throw new PrimedError(
        'JOB_LIMIT',
        `${this.#running.size} jobs run and ${this.#waiting.length} wait already, as many as job.max_active and job.max_waiting allow; submit '${source.path}' again when one has ended.`,
        { running: this.#running.size, waiting: this.#waiting.length },
      );
    }
    const jobId = randomUUID() as JobId;
    const stopped =
      latest?.progress.state === 'STOPPED' && latest.definition.source.kind === source.kind ? latest : undefined;
    const definition = {
      number: this.#nextNumber,
      jobId,
      runId: randomUUID() as RunId,
      loadId: stopped?.definition.loadId ?? (randomUUID() as LoadId),
      resumed: stopped !== undefined,
      repairRunId: randomUUID() as RunId,
      repairLoadId: randomUUID() as LoadId,
      source,
      key,
      options,
    };
    const progress = newJob({ verify: options.verify }, clock.wallMs());
    const job = new JobRun({ definition, progress, chunks: 0, repairs: false, retries: 0 }, 'new', this.#deps);
    this.#know(job);
    try {
      await job.durable;
    } catch (cause) {
      this.#forget(job);
      throw new PrimedError(
        'STORE_IO',
        `The load of '${source.path}' could not be made durable: ${String(cause)}`,
        { path: source.path },
        { cause },
      );
    }
    this.#deps.observe.submitted();
    if (job.active && this.#closing === undefined) this.#enqueue(job);
    return { jobId, started: true, message: `Load '${source.path}' is successfully submitted. JobId: ${jobId}` };
  }

  #refuseWhenClosing(): void {
    if (this.#closing !== undefined)
      throw new PrimedError('STOPPING', 'The daemon is shutting down; submit the load again when it is back.');
  }

  /** What tells jobs apart: the path in its normal form. Throws PATH_WILDCARD and PATH_INVALID. */
  #keyOf(source: JobSource): string {
    if (hasWildcard(source.path)) {
      throw new PrimedError(
        'PATH_WILDCARD',
        `Load does not support wildcard path '${source.path}': load the directory with a file filter (fileFilterRegx), or name the files in an index file.`,
        { path: source.path },
      );
    }
    if (source.kind === 'index') {
      const local = localIndexPath(source.path);
      if (local !== undefined) return local;
      if (!source.path.includes('://')) {
        throw new PrimedError(
          'PATH_INVALID',
          `The index file '${source.path}' is neither s3://bucket/key nor an absolute path: it lies at the origin, or on the machine of the coordinator.`,
          { path: source.path },
        );
      }
    }
    return this.#deps.origins.resolve(source.path).path;
  }

  /** The key of a path that may belong to any job, or to none. */
  #lookupKey(path: string): string {
    if (path.startsWith('/')) return path;
    try {
      const { path: normal } = this.#deps.origins.resolve(path);
      if (this.#byKey.has(normal)) return normal;
    } catch {
      // No path of the UFS: perhaps an index file of the coordinator.
    }
    try {
      return localIndexPath(path) ?? path;
    } catch {
      return path;
    }
  }

  // --- turns

  #know(job: JobRun): void {
    const { number, jobId, key } = job.definition;
    this.#jobs.set(number, job);
    this.#byId.set(jobId, job);
    this.#byKey.set(key, job);
    this.#nextNumber = Math.max(this.#nextNumber, number + 1);
  }

  #forget(job: JobRun): void {
    const { number, jobId, key } = job.definition;
    this.#jobs.delete(number);
    this.#byId.delete(jobId);
    if (this.#byKey.get(key) === job) this.#byKey.delete(key);
  }

  #enqueue(job: JobRun): void {
    if (this.#running.size < this.#deps.settings.maxActive) {
      this.#start(job);
      return;
    }
    this.#waiting.push(job);
    job.queue(`waits for its turn: ${this.#running.size} jobs run already`);
    // A job that is stopped while it waits leaves the queue.
    void job.ended.then(
      () => this.#leaveQueue(job),
      () => undefined,
    );
  }

  #start(job: JobRun): void {
    this.#running.add(job);
    job.drive();
    void job.ended.then(
      () => this.#next(job),
      () => undefined,
    );
  }

  #next(ended: JobRun): void {
    this.#running.delete(ended);
    while (this.#closing === undefined && this.#running.size < this.#deps.settings.maxActive) {
      const job = this.#waiting.shift();
      if (job === undefined) return;
      if (job.active) this.#start(job);
    }
  }

  #leaveQueue(job: JobRun): void {
    const at = this.#waiting.indexOf(job);
    if (at >= 0) this.#waiting.splice(at, 1);
  }

  // --- housekeeping

  #tick(): void {
    for (const job of this.#running) job.tick();
    this.#prune().catch((error: unknown) => this.#deps.log.error({ error }, 'old jobs could not be removed'));
  }

  /** Forgets ended jobs that are too old or too many. */
  async #prune(): Promise<void> {
    const { settings, clock, store } = this.#deps;
    const ended = [...this.#jobs.values()].filter((job) => !job.active);
    const tooMany = ended.length - settings.maxEnded;
    const oldestMs = clock.wallMs() - settings.retentionMs;
    const gone = ended.filter((job, index) => index < tooMany || (job.progress.endedAtMs ?? 0) < oldestMs);
    for (const job of gone) this.#forget(job);
    await store.removeJobs(gone.map((job) => job.definition.number));
  }
}

/** The answer to a submission whose path is being loaded. Throws JOB_CONFLICT. */
function already(running: JobRun, source: JobSource, options: LoadOptions): SubmitResult {
  const differences = [...optionDifferences(running.definition.options, options)];
  if (running.definition.source.kind !== source.kind) {
    differences.unshift(
      running.definition.source.kind === 'index'
        ? 'it is loaded as an index file, asked for as a path'
        : 'it is loaded as a path, asked for as an index file',
    );
  }
  const { jobId } = running.definition;
  if (differences.length > 0) {
    throw new PrimedError(
      'JOB_CONFLICT',
      `Load already running for path '${source.path}' (job ${jobId}) with other options: ${differences.join('; ')}. Stop it first, or submit the same options.`,
      { path: source.path, jobId },
    );
  }
  return { jobId, started: false, message: `Load already running for path '${source.path}'` };
}
