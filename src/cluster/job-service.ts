/** The coordinator's jobs: who may start, who waits, who is asked about. See types.ts for the whole picture. */
import { randomUUID } from 'node:crypto';
import { PrimedError } from '../core/errors.ts';
import type { JobSnapshot, JobSource, JobState, LoadOptions } from '../core/job.ts';
import { newJob } from '../core/job-machine.ts';
import { checkReplicas } from '../core/load-options.ts';
import type { Clock, JobId, LoadId, Log, RunId } from '../core/types.ts';
import type { Origins } from '../origin/types.ts';
import type { Fleet } from './fleet.ts';
import { already, keyOf, lookupKey, submitted } from './job-paths.ts';
import { JobRun } from './job-run.ts';
import { JobStore } from './job-store.ts';
import { JobTurns } from './job-turns.ts';
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
  readonly #turns: JobTurns;
  readonly #timer: NodeJS.Timeout;
  #nextNumber = 1;
  #closing: Promise<void> | undefined;

  constructor(deps: JobDeps) {
    this.#deps = deps;
    this.#turns = new JobTurns(deps.settings);
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
    for (const job of open) if (job.progress.state !== 'WAITING') this.#turns.start(job);
    for (const job of open) if (job.progress.state === 'WAITING') this.#turns.enter(job);
    for (const number of store.manifests())
      if (this.#jobs.get(number)?.active !== true) await store.dropManifest(number);
    await this.#prune();
  }

  async submit(source: JobSource, options: LoadOptions): Promise<SubmitResult> {
    const key = keyOf(source, this.#deps.origins);
    // While no worker is there, the job waits for one.
    checkReplicas(options, Math.max(1, this.#deps.fleet.takers));
    for (;;) {
      this.#refuseWhenClosing();
      const latest = this.#byKey.get(key);
      if (latest?.active !== true) return await this.#begin(source, options, key, latest);
      await latest.durable.catch(() => undefined);
      if (latest.progress.stopping) await latest.ended;
      else if (latest.active) return already(latest.definition, source, options);
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
    this.#turns.close();
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
    const { clock } = this.#deps;
    this.#turns.check(source.path);
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
    if (job.active && this.#closing === undefined) this.#turns.enter(job);
    return submitted(jobId, source);
  }

  #refuseWhenClosing(): void {
    if (this.#closing !== undefined)
      throw new PrimedError('STOPPING', 'The daemon is shutting down; submit the load again when it is back.');
  }

  #lookupKey(path: string): string {
    return lookupKey(path, this.#deps.origins, (key) => this.#byKey.has(key));
  }

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

  // --- housekeeping

  #tick(): void {
    for (const job of this.#turns.running) job.tick();
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
