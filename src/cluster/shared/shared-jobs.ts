/**
 * Jobs that several coordinators share through etcd.
 *
 * Who is in it: the Tenure is this coordinator's lease; the JobsMirror has heard of every job, claim and stop; the Book
 * writes, by transactions; OwnedJobs runs what this coordinator has claimed. This file answers callers, and at each change
 * does what core/job-claims decides.
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
import type { JobSnapshot, JobSource, JobState, LoadOptions } from '../../core/job.ts';
import { claimActions, contendDelayMs } from '../../core/job-claims.ts';
import { newJob } from '../../core/job-machine.ts';
import { checkReplicas } from '../../core/load-options.ts';
import { emptyLedger, type JobId, type LoadId, type Random, type RunId } from '../../core/types.ts';
import type { Etcd, Lease } from '../etcd/types.ts';
import { localIndexPath } from '../index-file.ts';
import { already, keyOf, lookupKey, submitted } from '../job-paths.ts';
import type { JobServiceOptions } from '../job-service.ts';
import { JobStore } from '../job-store.ts';
import { JobTurns } from '../job-turns.ts';
import type { JobDeps } from '../run-context.ts';
import { defaultJobServiceSettings } from '../settings.ts';
import { snapshotOf } from '../snapshot.ts';
import { type JobService, nobody, type SubmitResult } from '../types.ts';
import { Book } from './book.ts';
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
/** Attempts at a submission: each fails because another one of the same path began or ended meanwhile. */
const mostAttempts = 10;
/** A stop, and a submission behind a stop, wait so long for the coordinator that runs the job, or takes it over. */
const stopLimitMs = 20_000;
/** Ended jobs are looked through so often, in ticks, and so many removed at a time. */
const ticksPerPruning = 10;
const prunedAtOnce = 100;

/** Opens the local store, and begins to listen to etcd; resolves whether etcd answers or not. Throws STORE_VERSION. */
export async function openSharedJobs(options: SharedJobsOptions): Promise<JobService> {
  const service = new SharedJobs(options);
  await service.open();
  return service;
}

class SharedJobs implements JobService {
  /** Of this process: what an earlier one had claimed goes with its lease. */
  readonly #me = randomUUID();
  readonly #deps: Omit<JobDeps, 'publish'>;
  readonly #timers: Timers;
  readonly #random: Random;
  readonly #turns: JobTurns;
  readonly #book: Book;
  readonly #mirror: JobsMirror;
  readonly #tenure: Tenure;
  readonly #owned: OwnedJobs;
  /** Jobs whose claim is contended for, with how to call that off. */
  readonly #contending = new Map<string, () => void>();
  /** What is being done about which job. */
  readonly #busy = new Set<string>();
  #held = false;
  #scheduled = false;
  #ticks = 0;
  #stopTicking: () => void = () => undefined;
  #closing: Promise<void> | undefined;

  constructor(options: SharedJobsOptions) {
    const { dir, fleet, origins, clock, log, observe = nobody, etcd, root, url, release, leaseMs } = options;
    const { timers = systemTimers, random = Math.random } = options;
    const settings = { ...defaultJobServiceSettings, ...options.settings };
    const keys = new SharedKeys(root);
    this.#timers = timers;
    this.#random = random;
    this.#deps = { fleet, origins, clock, log, settings, observe, store: new JobStore(dir) };
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
  }

  async open(): Promise<void> {
    await this.#owned.open();
    this.#tickLater();
  }

  async submit(source: JobSource, options: LoadOptions): Promise<SubmitResult> {
    const key = this.#keyOf(source);
    checkReplicas(options, Math.max(1, this.#deps.fleet.takers));
    for (let attempt = 0; attempt < mostAttempts; attempt += 1) {
      const lease = this.#mayDecide();
      const latest = this.#mirror.latest(key);
      if (latest !== undefined && isOpen(latest)) {
        if (!this.#isStopping(latest)) return already(latest.definition, source, options);
        await this.#endOf(latest);
        continue;
      }
      this.#turns.check(source.path);
      const jobId = await this.#begin(source, options, key, latest, lease);
      if (jobId !== undefined) return submitted(jobId, source);
    }
    throw new PrimedError('TOO_BUSY', `Loads of '${source.path}' begin and end all the time; submit it again.`);
  }

  async stop(path: string): Promise<boolean> {
    this.#mayDecide();
    const job = this.#mirror.latest(this.#lookupKey(path));
    if (job === undefined || !isOpen(job)) return false;
    // Whoever runs it hears of that, this coordinator too; and whoever takes it over.
    if (!(await this.#book.askToStop(job))) return false;
    return (await this.#endOf(job)) === 'STOPPED';
  }

  snapshot(path: string): JobSnapshot | undefined {
    this.#refuseWhenDeaf();
    return this.#snapshotOf(this.#mirror.latest(this.#lookupKey(path)));
  }

  byId(jobId: string): JobSnapshot | undefined {
    this.#refuseWhenDeaf();
    return this.#snapshotOf(this.#mirror.jobs.get(jobId));
  }

  list({ states }: { states?: readonly JobState[] }): readonly JobSnapshot[] {
    this.#refuseWhenDeaf();
    const jobs = [...this.#mirror.jobs.values()].sort((a, b) => b.number - a.number);
    return jobs
      .map((job) => this.#snapshotOf(job)!)
      .filter(({ state }) => states === undefined || states.includes(state));
  }

  async ended(jobId: string): Promise<JobSnapshot> {
    const job = (): WatchedJob | undefined => this.#mirror.jobs.get(jobId);
    if (job() === undefined) throw new PrimedError('JOB_NOT_FOUND', `Job ${jobId} cannot be found.`, { jobId });
    const over = (): boolean => this.#closing !== undefined || job() === undefined || !isOpen(job()!);
    await this.#mirror.until(over);
    this.#refuseWhenClosing();
    const ended = this.byId(jobId);
    if (ended === undefined) throw new PrimedError('JOB_NOT_FOUND', `Job ${jobId} is forgotten.`, { jobId });
    return ended;
  }

  trouble(): string | undefined {
    if (!this.#mirror.known) return `etcd has not told of the jobs yet: ${this.#whyDeaf()}`;
    return this.#tenure.held ? undefined : `this coordinator holds no lease in etcd: ${this.#whyDeaf()}`;
  }

  close(limitMs = this.#deps.settings.stopDeadlineMs): Promise<void> {
    this.#closing ??= this.#close(limitMs);
    return this.#closing;
  }

  async #close(limitMs: number): Promise<void> {
    this.#stopTicking();
    this.#callOff();
    this.#turns.close();
    const why = new PrimedError('STOPPING', 'The daemon goes down; another coordinator goes on with the job.');
    await this.#owned.pauseAll(why, limitMs);
    // Others need not wait until the lease has ended by itself.
    await this.#tenure.close();
    this.#mirror.close();
    await this.#deps.store.close();
  }

  // --- submission

  async #begin(
    source: JobSource,
    options: LoadOptions,
    key: string,
    latest: WatchedJob | undefined,
    lease: Lease,
  ): Promise<string | undefined> {
    const jobId = randomUUID() as JobId;
    const stopped =
      latest?.snapshot.state === 'STOPPED' && latest.definition.source.kind === source.kind ? latest : undefined;
    const definition = {
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
    const progress = newJob({ verify: options.verify }, this.#deps.clock.wallMs());
    const snapshot = snapshotOf({ ...definition, number: 0 }, progress, { ledger: emptyLedger(), retries: 0 });
    const { begun, revision } = await this.#book.begin(definition, snapshot, lease);
    const heard = await this.#mirror.reached(revision, echoLimitMs);
    if (begun) {
      this.#deps.observe.submitted();
      return jobId;
    }
    if (heard) return undefined;
    throw new PrimedError('ETCD_UNAVAILABLE', `etcd does not tell what it did: ${this.#whyDeaf()}`);
  }

  /** Throws PATH_WILDCARD and PATH_INVALID. */
  #keyOf(source: JobSource): string {
    if (source.kind === 'index' && localIndexPath(source.path) !== undefined) {
      throw new PrimedError(
        'PATH_INVALID',
        `The index file '${source.path}' lies on one machine, and with cluster.backend = "etcd" any coordinator may have to read it: put it at the origin, and name it s3://bucket/key.`,
        { path: source.path },
      );
    }
    return keyOf(source, this.#deps.origins);
  }

  #lookupKey(path: string): string {
    return lookupKey(path, this.#deps.origins, (key) => this.#mirror.latest(key) !== undefined);
  }

  /** The lease under which this coordinator decides. Throws STOPPING and ETCD_UNAVAILABLE. */
  #mayDecide(): Lease {
    this.#refuseWhenClosing();
    const trouble = this.trouble();
    const { lease } = this.#tenure;
    if (trouble === undefined && lease !== undefined) return lease;
    throw new PrimedError(
      'ETCD_UNAVAILABLE',
      `Nothing can be decided about jobs here: ${trouble}. Jobs that ran wait, and nothing is lost.`,
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

  #isStopping({ definition: { jobId } }: WatchedJob): boolean {
    return this.#mirror.stops.has(jobId) || this.#owned.run(jobId)?.progress.stopping === true;
  }

  /** Resolves with the state in which the job has ended. Rejects with STOP_PENDING. */
  async #endOf({ definition: { jobId, source } }: WatchedJob): Promise<JobState | undefined> {
    const over = (): boolean => {
      const job = this.#mirror.jobs.get(jobId);
      return this.#closing !== undefined || job === undefined || !isOpen(job);
    };
    const came = await this.#mirror.until(over, stopLimitMs);
    this.#refuseWhenClosing();
    if (came) return this.#mirror.jobs.get(jobId)?.snapshot.state;
    throw new PrimedError(
      'STOP_PENDING',
      `The stop of '${source.path}' is written down, and no coordinator has carried it out within ${stopLimitMs / 1000} s; it is done as soon as one runs the job.`,
      { jobId },
    );
  }

  // --- claims

  /** Many changes of one turn of the loop are looked at once. */
  #changed(): void {
    if (this.#scheduled || this.#closing !== undefined) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      if (this.#closing === undefined) this.#reconcile();
    });
  }

  #reconcile(): void {
    const { lease } = this.#tenure;
    const { known, jobs, claims, stops } = this.#mirror;
    if (lease === undefined || !known) {
      this.#standStill();
      return;
    }
    this.#held = true;
    const open = new Map(
      [...jobs].filter(([, job]) => isOpen(job)).map(([jobId]) => [jobId, claims.get(jobId)] as const),
    );
    const { adopt, renew, pause, forget, contend } = claimActions({
      ...{ me: this.#me, lease: lease.id, open },
      running: this.#owned.running(),
      kept: this.#owned.kept(),
    });
    const { stopDeadlineMs } = this.#deps.settings;
    const why = new PrimedError('RUN_SUPERSEDED', 'Another coordinator has the job by now.');
    const free = (jobId: string): boolean => !this.#owned.isMoving(jobId);
    for (const jobId of forget.filter(free)) void this.#owned.forget(jobId, why, stopDeadlineMs);
    for (const jobId of pause.filter(free)) void this.#owned.pause(jobId, why, stopDeadlineMs);
    for (const { jobId } of renew) this.#once('renew', jobId, () => this.#book.renew(jobId, claims.get(jobId)!, lease));
    for (const { jobId } of adopt.filter(({ jobId: id }) => free(id)))
      void this.#owned.adopt(jobs.get(jobId)!, claims.get(jobId)!);
    this.#contend(contend);
    for (const jobId of stops)
      if (this.#owned.run(jobId) !== undefined) this.#once('stop', jobId, () => this.#owned.stop(jobId));
  }

  /** Before etcd could give the claims away. */
  #standStill(): void {
    this.#callOff();
    if (!this.#held) return;
    this.#held = false;
    const why = new PrimedError('ETCD_UNAVAILABLE', `This coordinator has no lease in etcd: ${this.#whyDeaf()}`);
    this.#deps.log.warn({ reason: why.message }, 'jobs pause: nothing is decided without a lease');
    void this.#owned.pauseAll(why, this.#deps.settings.stopDeadlineMs);
  }

  #contend(jobIds: readonly string[]): void {
    const wanted = new Set(jobIds);
    for (const [jobId, callOff] of this.#contending) {
      if (wanted.has(jobId)) continue;
      callOff();
      this.#contending.delete(jobId);
    }
    const { coordinators, claims } = this.#mirror;
    for (const jobId of jobIds) {
      if (this.#contending.has(jobId)) continue;
      const who = { me: this.#me, coordinators: coordinators.keys(), claims: claims.values(), random: this.#random };
      this.#contending.set(
        jobId,
        this.#timers.after(contendDelayMs(who), () => this.#claim(jobId)),
      );
    }
  }

  #claim(jobId: string): void {
    this.#contending.delete(jobId);
    const job = this.#mirror.jobs.get(jobId);
    const { lease } = this.#tenure;
    if (lease === undefined || job === undefined || !isOpen(job) || this.#mirror.claims.has(jobId)) return;
    if (!this.#owned.isMoving(jobId)) this.#once('claim', jobId, () => this.#book.claim(job, lease));
  }

  #callOff(): void {
    for (const callOff of this.#contending.values()) callOff();
    this.#contending.clear();
  }

  /** What fails is tried again when something changes, or at the next tick. */
  #once(what: 'claim' | 'renew' | 'stop', jobId: string, act: () => Promise<unknown>): void {
    const key = `${what} ${jobId}`;
    if (this.#busy.has(key)) return;
    this.#busy.add(key);
    act()
      .catch((error: unknown) =>
        this.#deps.log.warn({ jobId, what, reason: reportOf(error).message }, 'etcd was not written'),
      )
      .finally(() => this.#busy.delete(key));
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

/** It stands still, and so has neither a rate nor an end in sight. */
function waiting({ bytesPerSecond: _rate, etaMs: _eta, ...snapshot }: JobSnapshot, reason: string): JobSnapshot {
  return { ...snapshot, reason };
}
