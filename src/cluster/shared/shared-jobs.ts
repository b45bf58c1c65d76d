/**
 * Jobs that several coordinators share through etcd.
 *
 * Who is in it: the Tenure is this coordinator's lease; the JobsMirror has heard of every job, claim and stop; the Book
 * writes, by transactions; OwnedJobs runs what this coordinator has claimed; Claims does at each change what core/job-claims
 * decides. This file answers callers.
 *
 * Who waits for whom: a submission waits for etcd. A stop waits for the coordinator that runs the job, or for the one that
 * takes it over. Answers about jobs wait for nobody: the coordinator that runs a job answers from its JobRun, the others from
 * what was heard, about a second old.
 *
 * What survives: in etcd definitions, states and ends; the manifest of a job lies in the store of the coordinator that runs
 * it, and whoever takes the job over lists it anew and asks the workers what is durable. While etcd is away nothing is decided
 * and no job ends: they pause before their claims could be given away, and go on when it is back.
 */
import { randomUUID } from 'node:crypto';
import { PrimedError, reportOf } from '../../core/errors.ts';
import {
  countStates,
  type JobSnapshot,
  type JobSource,
  type JobState,
  type JobType,
  type LoadOptions,
} from '../../core/job.ts';
import type { LoadPlan } from '../../core/load-plan.ts';
import { emptyLedger, type Random } from '../../core/types.ts';
import type { Etcd, Lease } from '../etcd/types.ts';
import { localIndexPath } from '../index-file.ts';
import { definitionOf, findJob, orderOfFree, orderOfLoad, progressOf } from '../job-orders.ts';
import { type KnownJob, refuseOverlaps } from '../job-overlaps.ts';
import { already, type Order, submitted } from '../job-paths.ts';
import type { JobServiceOptions } from '../job-service.ts';
import { JobStore } from '../job-store.ts';
import { JobTurns } from '../job-turns.ts';
import { LoadPlanner } from '../load-planner.ts';
import type { JobDeps } from '../run-context.ts';
import { defaultJobServiceSettings, type JobServiceSettings } from '../settings.ts';
import { snapshotOf } from '../snapshot.ts';
import { nobody, type OpenJobService, type SubmitResult } from '../types.ts';
import { upgradeJobStore } from '../upgrade-job-store.ts';
import { Book } from './book.ts';
import { Claims } from './claims.ts';
import { SharedKeys } from './keys.ts';
import { isOpen, JobsMirror, type WatchedJob } from './mirror.ts';
import { OwnedJobs } from './owned-jobs.ts';
import { encodeCoordinator } from './records.ts';
import { Tenure } from './tenure.ts';
import { systemTimers, type Timers } from './timers.ts';

export interface SharedJobsOptions extends JobServiceOptions {
  readonly etcd: Pick<Etcd, 'grantLease' | 'put' | 'txn' | 'watchPrefix'>;
  /** Below which all keys lie; ends with a slash. */
  readonly root: string;
  /** Of the coordinator's API, for people. */
  readonly url: string;
  /** Of primed. */
  readonly release: string;
  /** Of the coordinator: when it is over, others take its jobs. */
  readonly leaseMs: number;
  readonly timers?: Timers;
  readonly random?: Random;
}

/** How long a word of etcd may take to be heard by the watch, beyond what the transaction took. */
const echoLimitMs = 5000;
/** Attempts at a submission: each fails because another coordinator began a job meanwhile. */
const mostAttempts = 100;
/** A stop, and a submission behind a stop, wait so long for the coordinator that runs the job, or takes it over. */
const stopLimitMs = 20_000;
/** Ended jobs are looked through so often, in ticks, and so many removed at a time. */
const ticksPerPruning = 10;
const prunedAtOnce = 100;

/** Opens the local store, and begins to listen to etcd; resolves whether etcd answers or not. Rejects as `upgradeJobStore` does. */
export async function openSharedJobs(options: SharedJobsOptions): Promise<OpenJobService> {
  await upgradeJobStore(options.dir, { log: options.log, tell: options.tellStart });
  const service = new SharedJobs(options);
  await service.open();
  return service;
}

class SharedJobs implements OpenJobService {
  /** Of this process: what an earlier one had claimed goes with its lease. */
  readonly #me = randomUUID();
  readonly #deps: Omit<JobDeps, 'publish'>;
  readonly #timers: Timers;
  readonly #turns: JobTurns;
  readonly #book: Book;
  readonly #mirror: JobsMirror;
  readonly #tenure: Tenure;
  readonly #owned: OwnedJobs;
  readonly #claims: Claims;
  #submitting: Promise<void> = Promise.resolve();
  #scheduled = false;
  #ticks = 0;
  #stopTicking: () => void = () => undefined;
  #closing: Promise<void> | undefined;
  readonly #planner: LoadPlanner;
  /** Plans end with it. */
  readonly #closed = new AbortController();

  constructor(options: SharedJobsOptions) {
    const { dir, fleet, origins, clock, log, observe = nobody, etcd, root, url, release, leaseMs } = options;
    const { timers = systemTimers, random = Math.random } = options;
    const settings = { ...defaultJobServiceSettings, ...options.settings };
    const keys = new SharedKeys(root);
    this.#timers = timers;
    this.#deps = { fleet, origins, clock, log, settings, observe, store: new JobStore(dir) };
    this.#planner = new LoadPlanner({
      ...{ deps: this.#deps, prices: options.prices, limits: options.originLimits },
      history: () => this.list({ types: ['LOAD'] }),
    });
    this.#turns = new JobTurns(settings);
    this.#book = new Book({ etcd, keys, me: this.#me, url });
    const onChange = (): void => this.#changed();
    this.#mirror = new JobsMirror({ etcd, keys, timers, log, onChange });
    this.#tenure = new Tenure({
      ...{ etcd, leaseMs, clock, timers, log, onChange },
      key: keys.coordinator(this.#me),
      value: encodeCoordinator({ url, release }),
    });
    this.#owned = new OwnedJobs({
      ...{ deps: this.#deps, turns: this.#turns, book: this.#book, timers },
      mirror: this.#mirror,
      tenure: this.#tenure,
    });
    this.#owned.onMoved = onChange;
    this.#claims = new Claims({
      ...{ me: this.#me, deps: this.#deps, timers, random },
      ...{ book: this.#book, mirror: this.#mirror, tenure: this.#tenure, owned: this.#owned },
      whyDeaf: () => this.#whyDeaf(),
    });
  }

  async open(): Promise<void> {
    await this.#owned.open();
    this.#tickLater();
  }

  async submit(source: JobSource, options: LoadOptions, alias?: string): Promise<SubmitResult> {
    refuseLocal(source);
    const { origins, fleet } = this.#deps;
    return this.#submit(orderOfLoad({ source, options, alias }, { origins, takers: fleet.takers }));
  }

  async plan(source: JobSource, options: LoadOptions, signal: AbortSignal): Promise<LoadPlan> {
    refuseLocal(source);
    this.#refuseWhenClosing();
    this.#refuseWhenDeaf();
    const { origins, fleet } = this.#deps;
    const order = orderOfLoad({ source, options, alias: undefined }, { origins, takers: fleet.takers });
    const latest = this.#mirror.byKey(order.key);
    const before = latest && {
      ...{ state: latest.snapshot.state, active: isOpen(latest), definition: latest.definition },
    };
    return this.#planner.plan(order, before, AbortSignal.any([signal, this.#closed.signal]));
  }

  async free(path: string, { dryRun }: { readonly dryRun: boolean }): Promise<SubmitResult> {
    return this.#submit(orderOfFree(path, dryRun, this.#deps.origins));
  }

  async stop(handle: string, type: JobType = 'LOAD'): Promise<boolean> {
    this.#mayDecide();
    if (this.#find(handle, type) === undefined) await this.caughtUp();
    const job = this.#find(handle, type);
    if (job === undefined || !isOpen(job)) return false;
    // Whoever runs it hears of that, this coordinator too; and whoever takes it over.
    if (!(await this.#book.askToStop(job))) return false;
    return (await this.#endOf(job)) === 'STOPPED';
  }

  /** Whoever runs the load hears of it, and whoever takes it over. */
  async limit(handle: string, bandwidthBytesPerSecond: number | undefined): Promise<boolean> {
    this.#mayDecide();
    if (this.#find(handle, 'LOAD') === undefined) await this.caughtUp();
    const job = this.#find(handle, 'LOAD');
    if (job === undefined || !isOpen(job)) return false;
    const revision = await this.#book.limit(job, bandwidthBytesPerSecond);
    if (revision === undefined) return false;
    await this.#mirror.reached(revision, echoLimitMs);
    await this.#owned.limit(job.definition.jobId);
    return true;
  }

  snapshot(handle: string, type: JobType = 'LOAD'): JobSnapshot | undefined {
    this.#refuseWhenDeaf();
    return this.#snapshotOf(this.#find(handle, type));
  }

  byId(jobId: string): JobSnapshot | undefined {
    this.#refuseWhenDeaf();
    return this.#snapshotOf(this.#mirror.byId(jobId));
  }

  list({ states, types }: { states?: readonly JobState[]; types?: readonly JobType[] }): readonly JobSnapshot[] {
    this.#refuseWhenDeaf();
    const jobs = [...this.#mirror.jobs.values()].sort((a, b) => b.number - a.number);
    return jobs
      .map((job) => this.#snapshotOf(job)!)
      .filter(({ state }) => states === undefined || states.includes(state))
      .filter(({ type }) => types === undefined || types.includes(type));
  }

  counts(): ReadonlyMap<JobState, number> {
    const jobs = this.#mirror.known ? [...this.#mirror.jobs.values()] : [];
    return countStates(jobs.map((job) => this.#snapshotOf(job)!.state));
  }

  async ended(jobId: string): Promise<JobSnapshot> {
    const job = (): WatchedJob | undefined => this.#mirror.byId(jobId);
    if (job() === undefined) throw new PrimedError('JOB_NOT_FOUND', `Job ${jobId} cannot be found.`, { jobId });
    const over = (): boolean => this.#closing !== undefined || job() === undefined || !isOpen(job()!);
    await this.#mirror.until(over);
    this.#refuseWhenClosing();
    const ended = this.byId(jobId);
    if (ended === undefined) throw new PrimedError('JOB_NOT_FOUND', `Job ${jobId} is forgotten.`, { jobId });
    return ended;
  }

  async caughtUp(): Promise<void> {
    if (!this.#tenure.held) return;
    try {
      await this.#mirror.reached(await this.#book.lastBegun(), echoLimitMs);
    } catch (error) {
      this.#deps.log.debug(
        { reason: reportOf(error).message },
        'jobs that were submitted elsewhere may not be known yet',
      );
    }
  }

  trouble(): string | undefined {
    if (!this.#mirror.known) return `etcd has not told of the jobs yet: ${this.#whyDeaf()}`;
    return this.#tenure.held ? undefined : `this coordinator holds no lease in etcd: ${this.#whyDeaf()}`;
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
    this.#closed.abort(new PrimedError('STOPPING', 'The daemon is shutting down; ask another coordinator.'));
    this.#stopTicking();
    this.#claims.callOff();
    this.#turns.close();
    const why = new PrimedError('STOPPING', 'The daemon goes down; another coordinator goes on with the job.');
    await this.#owned.close(why, limitMs);
    // Others need not wait until the lease has ended by itself.
    await this.#tenure.close();
    this.#mirror.close();
    await this.#deps.store.close();
  }

  // --- submission

  async #submit(order: Order): Promise<SubmitResult> {
    for (let attempt = 0; attempt < mostAttempts; attempt += 1) {
      this.#mayDecide();
      const latest = this.#mirror.byKey(order.key);
      if (latest !== undefined && this.#isStopping(latest)) await this.#endOf(latest);
      const result = await this.#inTurn(() => this.#attempt(order));
      if (result !== undefined) return result;
    }
    const message = `Jobs begin and end all the time; submit that of '${order.source.path}' again.`;
    throw new PrimedError('TOO_BUSY', message, { path: order.source.path });
  }

  /** Submissions at this coordinator one after the other: each has to know of those before it. */
  #inTurn<T>(act: () => Promise<T>): Promise<T> {
    const done = this.#submitting.then(act);
    this.#submitting = done.then(
      () => undefined,
      () => undefined,
    );
    return done;
  }

  /** Undefined: it has to be looked at anew. */
  async #attempt(order: Order): Promise<SubmitResult | undefined> {
    const lease = this.#mayDecide();
    const latest = this.#mirror.byKey(order.key);
    if (latest !== undefined && isOpen(latest))
      return this.#isStopping(latest) ? undefined : already(latest.definition, order);
    refuseOverlaps(order, this.#knownJobs(), this.#deps.origins);
    this.#turns.check(order.source.path, order.type);
    const jobId = await this.#begin(order, latest, lease);
    return jobId === undefined ? undefined : submitted(jobId, order);
  }

  /** Undefined: something else was true than was known here, and is known now. */
  async #begin(order: Order, latest: WatchedJob | undefined, lease: Lease): Promise<string | undefined> {
    const before = latest === undefined ? undefined : { state: latest.snapshot.state, definition: latest.definition };
    const definition = definitionOf(order, before);
    const progress = progressOf(order, this.#deps.clock.wallMs());
    const snapshot = snapshotOf({ ...definition, number: 0 }, progress, { ledger: emptyLedger(), retries: 0 });
    const known = { lease, order: this.#mirror.order };
    const { begun, revision } = await this.#book.begin(definition, snapshot, known);
    const heard = await this.#mirror.reached(revision, echoLimitMs);
    if (begun) {
      this.#deps.observe.submitted();
      return definition.jobId;
    }
    if (heard) return undefined;
    throw new PrimedError('ETCD_UNAVAILABLE', `etcd does not tell what it did: ${this.#whyDeaf()}`);
  }

  *#knownJobs(): Iterable<KnownJob> {
    for (const job of this.#mirror.jobs.values()) yield { definition: job.definition, active: isOpen(job) };
  }

  #find(handle: string, type: JobType): WatchedJob | undefined {
    return findJob(handle, type, this.#deps.origins, this.#mirror);
  }

  /** The lease under which this coordinator decides. Throws STOPPING and ETCD_UNAVAILABLE. */
  #mayDecide(): Lease {
    this.#refuseWhenClosing();
    const trouble = this.trouble();
    const { lease } = this.#tenure;
    if (trouble === undefined && lease !== undefined) return lease;
    throw new PrimedError(
      'ETCD_UNAVAILABLE',
      `Nothing can be decided about jobs here: ${trouble?.replace(/\.$/, '')}. Jobs that ran wait, and nothing is lost.`,
    );
  }

  #refuseWhenClosing(): void {
    if (this.#closing !== undefined)
      throw new PrimedError(
        'STOPPING',
        'The daemon is shutting down; ask another coordinator, or this one when it is back.',
      );
  }

  /** What there is cannot be told from what was not heard. */
  #refuseWhenDeaf(): void {
    if (!this.#mirror.known) throw new PrimedError('ETCD_UNAVAILABLE', `${this.trouble()}.`);
  }

  #whyDeaf(): string {
    const { problem } = this.#mirror;
    return problem === undefined ? this.#tenure.why : reportOf(problem).message;
  }

  // --- answers

  #snapshotOf(job: WatchedJob | undefined): JobSnapshot | undefined {
    if (job === undefined || !isOpen(job)) return job?.snapshot;
    const { jobId } = job.definition;
    if (!this.#tenure.held) return waiting(job.snapshot, `waits for etcd: ${this.#whyDeaf()}`);
    const run = this.#owned.run(jobId);
    if (run !== undefined) return run.snapshot({ allFailures: true });
    if (this.#mirror.claims.has(jobId)) return job.snapshot;
    return waiting(job.snapshot, 'its coordinator is gone: another one takes it over');
  }

  #isStopping(job: WatchedJob): boolean {
    const { jobId } = job.definition;
    if (!isOpen(job)) return false;
    return this.#mirror.stops.has(jobId) || this.#owned.run(jobId)?.progress.stopping === true;
  }

  /**
   * Resolves with the state in which the job has ended. Rejects with STOP_PENDING, also where it may have ended unheard: with
   * another code the stop would be asked for again, and could hit a load that was submitted meanwhile.
   */
  async #endOf({ definition: { jobId, source } }: WatchedJob): Promise<JobState | undefined> {
    const over = (): boolean => {
      const job = this.#mirror.byId(jobId);
      return this.#closing !== undefined || job === undefined || !isOpen(job);
    };
    const came = await this.#mirror.until(over, stopLimitMs);
    this.#refuseWhenClosing();
    if (came) return this.#mirror.byId(jobId)?.snapshot.state;
    const how =
      this.#mirror.problem === undefined
        ? `no coordinator has carried it out within ${stopLimitMs / 1000} s`
        : `whether it is carried out is not known here (${this.#whyDeaf().replace(/\.$/, '')})`;
    const message = `The stop of '${source.path}' is written down, and ${how}; it is done as soon as one runs the job.`;
    throw new PrimedError('STOP_PENDING', message, { jobId });
  }

  /** Many changes of one turn of the loop are looked at once. */
  #changed(): void {
    if (this.#scheduled || this.#closing !== undefined) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      if (this.#closing === undefined) this.#claims.look();
    });
  }

  // --- housekeeping

  #tickLater(): void {
    this.#stopTicking = this.#timers.after(this.#deps.settings.tickMs, () => {
      this.#tick();
      if (this.#closing === undefined) this.#tickLater();
    });
  }

  #tick(): void {
    this.#changed();
    if (!this.#tenure.held) return;
    this.#owned.tick();
    this.#ticks += 1;
    if (this.#ticks % ticksPerPruning !== 0) return;
    this.#prune().catch((error: unknown) =>
      this.#deps.log.info({ reason: reportOf(error).message }, 'old jobs could not be removed'),
    );
  }

  /** Forgets ended jobs that are too old or too many. */
  async #prune(): Promise<void> {
    const { settings, clock } = this.#deps;
    const ended = [...this.#mirror.jobs.values()].filter((job) => !isOpen(job)).sort((a, b) => a.number - b.number);
    const tooMany = ended.length - settings.maxEnded;
    const oldestMs = clock.wallMs() - settings.retentionMs;
    const gone = ended.filter(({ snapshot }, index) => index < tooMany || (snapshot.endedAtMs ?? 0) < oldestMs);
    for (const job of gone.slice(0, prunedAtOnce)) await this.#book.forget(job);
  }
}

/** Throws PATH_INVALID for an index file that only one coordinator could read. */
function refuseLocal({ kind, path }: JobSource): void {
  if (kind !== 'index' || localIndexPath(path) === undefined) return;
  throw new PrimedError(
    'PATH_INVALID',
    `The index file '${path}' lies on one machine, and with cluster.backend = "etcd" any coordinator may have to read it: put it at the origin, and name it s3://bucket/key.`,
    { path },
  );
}

/** It stands still, and so has neither a rate nor an end in sight. */
function waiting(
  { bytesPerSecond: _rate, etaMs: _eta, limitedBy: _limit, ...snapshot }: JobSnapshot,
  reason: string,
): JobSnapshot {
  return { ...snapshot, reason };
}
