/** The coordinator's jobs: who may start, who waits, who is asked about. See types.ts for the whole picture. */
import { PrimedError, reportOf } from '../core/errors.ts';
import {
  countStates,
  type JobSnapshot,
  type JobSource,
  type JobState,
  type JobType,
  type LoadOptions,
} from '../core/job.ts';
import type { LoadPlan } from '../core/load-plan.ts';
import type { OriginLimit } from '../core/origin-limits.ts';
import type { PriceTable } from '../core/price.ts';
import type { Clock, Log } from '../core/types.ts';
import type { Origins } from '../origin/types.ts';
import type { Fleet } from './fleet.ts';
import { definitionOf, findJob, orderOfFree, orderOfLoad, progressOf } from './job-orders.ts';
import { refuseOverlaps } from './job-overlaps.ts';
import { already, type Order, submitted } from './job-paths.ts';
import { JobRun } from './job-run.ts';
import { JobStore } from './job-store.ts';
import { JobTurns } from './job-turns.ts';
import { LoadPlanner } from './load-planner.ts';
import type { JobDeps } from './run-context.ts';
import { defaultJobServiceSettings, type JobServiceSettings } from './settings.ts';
import { type JobObserver, nobody, type OpenJobService, type SubmitResult } from './types.ts';
import { upgradeJobStore } from './upgrade-job-store.ts';

export interface JobServiceOptions {
  /** Folder of the job store. */
  readonly dir: string;
  readonly fleet: Fleet;
  readonly origins: Origins;
  readonly clock: Clock;
  readonly log: Log;
  readonly settings?: Partial<JobServiceSettings>;
  readonly observe?: JobObserver;
  /** Of requests to origins, for plans. */
  readonly prices?: PriceTable | undefined;
  /** Limits of origins as they are now, for plans. */
  readonly originLimits?: () => readonly OriginLimit[];
  /** What the start is busy with, where it takes longer. */
  readonly tellStart?: ((status: string) => void) | undefined;
}

/** Opens the job store and goes on with the jobs that had not ended. Rejects as `upgradeJobStore` does. */
export async function openJobService(options: JobServiceOptions): Promise<OpenJobService> {
  const { dir, fleet, origins, clock, log, observe = nobody } = options;
  const settings = { ...defaultJobServiceSettings, ...options.settings };
  await upgradeJobStore(dir, { log, tell: options.tellStart });
  const deps = { fleet, origins, clock, log, settings, observe, store: new JobStore(dir) };
  const service = new LocalJobService(deps, options);
  await service.recover();
  return service;
}

class LocalJobService implements OpenJobService {
  readonly #deps: JobDeps;
  /** By number: oldest first. */
  readonly #jobs = new Map<number, JobRun>();
  readonly #byId = new Map<string, JobRun>();
  /** The newest job of each path, and of each alias. */
  readonly #byKey = new Map<string, JobRun>();
  readonly #byAlias = new Map<string, JobRun>();
  readonly #turns: JobTurns;
  readonly #planner: LoadPlanner;
  readonly #timer: NodeJS.Timeout;
  #nextNumber = 1;
  #closing: Promise<void> | undefined;
  /** Plans end with it. */
  readonly #closed = new AbortController();

  constructor(deps: JobDeps, { prices, originLimits: limits }: Pick<JobServiceOptions, 'prices' | 'originLimits'>) {
    this.#deps = deps;
    this.#planner = new LoadPlanner({ deps, prices, limits, history: () => this.list({ types: ['LOAD'] }) });
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
    for (const job of open) if (job.progress.state !== 'WAITING') this.#turns.enter(job);
    for (const job of open) if (job.progress.state === 'WAITING') this.#turns.enter(job);
    for (const number of store.manifests())
      if (this.#jobs.get(number)?.active !== true) await store.dropManifest(number);
    await this.#prune();
  }

  async submit(source: JobSource, options: LoadOptions, alias?: string): Promise<SubmitResult> {
    const { origins, fleet } = this.#deps;
    return this.#submit(orderOfLoad({ source, options, alias }, { origins, takers: fleet.takers }));
  }

  async plan(source: JobSource, options: LoadOptions, signal: AbortSignal): Promise<LoadPlan> {
    this.#refuseWhenClosing();
    const { origins, fleet } = this.#deps;
    const order = orderOfLoad({ source, options, alias: undefined }, { origins, takers: fleet.takers });
    const latest = this.#byKey.get(order.key);
    const before = latest && { state: latest.progress.state, active: latest.active, definition: latest.definition };
    return this.#planner.plan(order, before, AbortSignal.any([signal, this.#closed.signal]));
  }

  async free(path: string, { dryRun }: { readonly dryRun: boolean }): Promise<SubmitResult> {
    return this.#submit(orderOfFree(path, dryRun, this.#deps.origins));
  }

  async #submit(order: Order): Promise<SubmitResult> {
    for (;;) {
      this.#refuseWhenClosing();
      const latest = this.#byKey.get(order.key);
      if (latest?.active !== true) {
        refuseOverlaps(order, this.#jobs.values(), this.#deps.origins);
        return await this.#begin(order, latest);
      }
      await latest.durable.catch(() => undefined);
      if (latest.progress.stopping) await latest.ended;
      else if (latest.active) return already(latest.definition, order);
    }
  }

  async stop(handle: string, type: JobType = 'LOAD'): Promise<boolean> {
    return (await this.#find(handle, type)?.stop()) ?? false;
  }

  async limit(handle: string, bandwidthBytesPerSecond: number | undefined): Promise<boolean> {
    const job = this.#find(handle, 'LOAD');
    return job === undefined || !job.active ? false : job.limit(bandwidthBytesPerSecond);
  }

  snapshot(handle: string, type: JobType = 'LOAD'): JobSnapshot | undefined {
    return this.#find(handle, type)?.snapshot({ allFailures: true });
  }

  byId(jobId: string): JobSnapshot | undefined {
    return this.#byId.get(jobId)?.snapshot({ allFailures: true });
  }

  list({ states, types }: { states?: readonly JobState[]; types?: readonly JobType[] }): readonly JobSnapshot[] {
    const jobs = [...this.#jobs.values()].reverse();
    return jobs
      .filter((job) => states === undefined || states.includes(job.progress.state))
      .filter((job) => types === undefined || types.includes(job.definition.type))
      .map((job) => job.snapshot());
  }

  counts(): ReadonlyMap<JobState, number> {
    return countStates(Array.from(this.#jobs.values(), (job) => job.progress.state));
  }

  async ended(jobId: string): Promise<JobSnapshot> {
    const job = this.#byId.get(jobId);
    if (job === undefined) throw new PrimedError('JOB_NOT_FOUND', `Job ${jobId} cannot be found.`, { jobId });
    return job.ended;
  }

  async caughtUp(): Promise<void> {}

  trouble(): undefined {
    return undefined;
  }

  reconfigure(settings: Partial<JobServiceSettings>): void {
    Object.assign(this.#deps.settings, settings);
    this.#turns.fill();
  }

  close(limitMs = this.#deps.settings.stopDeadlineMs): Promise<void> {
    this.#closing ??= this.#close(limitMs);
    return this.#closing;
  }

  async #close(limitMs: number): Promise<void> {
    this.#closed.abort(new PrimedError('STOPPING', 'The daemon is shutting down; ask again when it is back.'));
    clearInterval(this.#timer);
    this.#turns.close();
    await Promise.all([...this.#jobs.values()].map((job) => job.pause(limitMs)));
    await this.#deps.store.close();
  }

  // --- submission

  async #begin(order: Order, latest: JobRun | undefined): Promise<SubmitResult> {
    const { type, source } = order;
    this.#turns.check(source.path, type);
    const before = latest === undefined ? undefined : { state: latest.progress.state, definition: latest.definition };
    const definition = { ...definitionOf(order, before), number: this.#nextNumber };
    const { jobId } = definition;
    const progress = progressOf(order, this.#deps.clock.wallMs());
    const job = new JobRun({ definition, progress, chunks: 0, repairs: false, retries: 0 }, 'new', this.#deps);
    this.#know(job);
    try {
      await job.durable;
    } catch (cause) {
      this.#forget(job);
      throw new PrimedError(
        'STORE_IO',
        `The job of '${source.path}' could not be made durable: ${reportOf(cause).message}`,
        { path: source.path },
        { cause },
      );
    }
    this.#deps.observe.submitted();
    if (job.active && this.#closing === undefined) this.#turns.enter(job);
    return submitted(jobId, order);
  }

  #refuseWhenClosing(): void {
    if (this.#closing !== undefined)
      throw new PrimedError('STOPPING', 'The daemon is shutting down; submit the job again when it is back.');
  }

  #find(handle: string, type: JobType): JobRun | undefined {
    return findJob(handle, type, this.#deps.origins, {
      byKey: (key) => this.#byKey.get(key),
      byAlias: (alias) => this.#byAlias.get(alias),
      byId: (jobId) => this.#byId.get(jobId),
    });
  }

  #know(job: JobRun): void {
    const { number, jobId, key, alias } = job.definition;
    if (alias !== undefined) this.#byAlias.set(alias, job);
    this.#jobs.set(number, job);
    this.#byId.set(jobId, job);
    this.#byKey.set(key, job);
    this.#nextNumber = Math.max(this.#nextNumber, number + 1);
  }

  #forget(job: JobRun): void {
    const { number, jobId, key, alias } = job.definition;
    if (alias !== undefined && this.#byAlias.get(alias) === job) this.#byAlias.delete(alias);
    this.#jobs.delete(number);
    this.#byId.delete(jobId);
    if (this.#byKey.get(key) === job) this.#byKey.delete(key);
  }

  // --- housekeeping

  #tick(): void {
    for (const job of this.#turns.running) job.tick();
    // That it failed was said when the job ended.
    for (const job of this.#jobs.values()) job.saveEnd().catch(() => undefined);
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
