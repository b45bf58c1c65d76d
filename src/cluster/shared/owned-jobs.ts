/**
 * The jobs that this coordinator has claimed: each is run by a JobRun over the local job store, as if there was no other
 * coordinator, and what it comes to is said in etcd. A job that is let go of leaves its manifest here, until it is known that
 * somebody else has had the job since.
 */
import { PrimedError } from '../../core/errors.ts';
import type { JobSnapshot } from '../../core/job.ts';
import { isEnded } from '../../core/job-machine.ts';
import { ledgerAtRest } from '../../core/types.ts';
import { JobRun } from '../job-run.ts';
import type { JobClaim, JobRecord } from '../job-store.ts';
import type { JobTurns } from '../job-turns.ts';
import type { JobDeps } from '../run-context.ts';
import { type Book, notOurs } from './book.ts';
import type { JobsMirror, WatchedClaim, WatchedJob } from './mirror.ts';
import { encodeState, freshRecord, type SharedJob } from './records.ts';
import type { Tenure } from './tenure.ts';
import { pause, type Timers } from './timers.ts';

export interface OwnedJobsOptions {
  readonly deps: Omit<JobDeps, 'publish'>;
  readonly turns: JobTurns;
  readonly book: Book;
  readonly mirror: JobsMirror;
  readonly tenure: Pick<Tenure, 'held' | 'why'>;
  readonly timers: Timers;
}

interface Owned {
  readonly run: JobRun;
  readonly shared: WatchedJob;
  readonly claim: JobClaim;
  /** What etcd was told last, and whether it is being told. */
  said: string;
  saying: Promise<void> | undefined;
}

/** Time to the next attempt to publish an end. */
const publishRetryMs = 200;
/** How long a word of our own takes to come back from etcd; nothing depends on it but what is answered until then. */
const echoLimitMs = 2000;

export class OwnedJobs {
  readonly #options: OwnedJobsOptions;
  readonly #deps: JobDeps;
  readonly #owned = new Map<string, Owned>();
  /** Jobs whose runs begin or end: nothing else is done about them. */
  readonly #moving = new Map<string, Promise<void>>();
  /** Jobs of which something lies in the local store, with their numbers. */
  readonly #kept = new Map<string, number>();
  #closed = false;

  constructor(options: OwnedJobsOptions) {
    this.#options = options;
    this.#deps = {
      ...options.deps,
      tell: (jobId) => this.#tell(jobId),
      publish: (ended, claim) => this.#publish(ended, claim),
    };
    for (const { definition } of options.deps.store.jobs()) this.#kept.set(definition.jobId, definition.number);
  }

  /** Removes manifests without a job: those of records that were removed when the process was killed. */
  async open(): Promise<void> {
    const { store } = this.#options.deps;
    const numbers = new Set(this.#kept.values());
    for (const number of store.manifests()) if (!numbers.has(number)) await store.dropManifest(number);
  }

  run(jobId: string): JobRun | undefined {
    return this.#owned.get(jobId)?.run;
  }

  /** Job ids and terms of what runs here. */
  running(): Map<string, number> {
    return new Map(Array.from(this.#owned, ([jobId, { claim }]) => [jobId, claim.term]));
  }

  kept(): Set<string> {
    return new Set([...this.#kept.keys()].filter((jobId) => !this.#owned.has(jobId)));
  }

  isMoving(jobId: string): boolean {
    return this.#moving.has(jobId);
  }

  /** Runs a job that is claimed. Resolves when that has begun, or waits for its turn. */
  adopt(job: WatchedJob, claim: WatchedClaim): Promise<void> {
    return this.#move(job.definition.jobId, async () => {
      const { log } = this.#deps;
      const { number } = job;
      const { jobId } = job.definition;
      const stored = await this.#storedUnder(job, claim);
      const { id, term, before } = claim;
      const takenOver = stored === undefined ? before !== undefined : stored.claim?.takenOver === true;
      const mine = { id, term, takenOver };
      // Its limit may have changed since that was stored.
      const { options } = job.definition;
      const record =
        stored === undefined
          ? freshRecord(job, number, mine)
          : { ...stored, definition: { ...stored.definition, options }, claim: mine };
      if (isEnded(record.progress.state)) {
        await this.#publishStored(record);
        return;
      }
      // What was said of its bytes holds while it waits for its turn; then the workers are asked.
      const origin = stored === undefined && before === undefined ? 'new' : 'adopted';
      const run = new JobRun({ ...record, ledger: ledgerAtRest(job.snapshot.ledger) }, origin, this.#deps);
      this.#kept.set(jobId, number);
      await run.durable;
      await run.recover();
      if (!run.active) await this.#remove(jobId);
      if (!run.active || run.interrupted || this.#closed || !this.#options.tenure.held) return;
      this.#owned.set(jobId, { run, shared: job, claim: mine, said: '', saying: undefined });
      const facts = { jobId, term, path: job.definition.source.path };
      if (before !== undefined)
        log.info(facts, stored ? 'a job goes on with what this coordinator knows of it' : 'a job was taken over');
      void run.ended.then(
        () => this.#ended(jobId),
        () => undefined,
      );
      this.#options.turns.enter(run);
      this.say(jobId);
    });
  }

  /** Ends what runs of a job, without ending the job; what the workers have under way of it is dropped within the limit. */
  pause(jobId: string, why: PrimedError, limitMs: number): Promise<void> {
    const owned = this.#owned.get(jobId);
    if (owned === undefined) return Promise.resolve();
    this.#owned.delete(jobId);
    return this.#move(jobId, async () => {
      const { fleet, log } = this.#deps;
      const { runId, repairRunId } = owned.run.definition;
      this.#options.turns.leave(owned.run);
      await owned.run.pause(limitMs, why);
      const ended = Promise.allSettled([fleet.endRun(runId), fleet.endRun(repairRunId)]);
      await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, limitMs).unref())]);
      fleet.forget(runId);
      fleet.forget(repairRunId);
      log.warn({ jobId, why: why.message }, 'a job is let go of');
    });
  }

  /** As `pauseAll`, for good: what is claimed already is not begun any more. */
  close(why: PrimedError, limitMs: number): Promise<void> {
    this.#closed = true;
    return this.pauseAll(why, limitMs);
  }

  /** Those that wait for their turn first: none of them is to begin because another makes room. */
  async pauseAll(why: PrimedError, limitMs: number): Promise<void> {
    const waitingFirst = [...this.#owned].sort(([, a], [, b]) => this.#rank(a) - this.#rank(b));
    await Promise.all([...waitingFirst.map(([jobId]) => this.pause(jobId, why, limitMs)), ...this.#moving.values()]);
  }

  /** Removes what lies here of a job. */
  forget(jobId: string, why: PrimedError, limitMs: number): Promise<void> {
    const paused = this.pause(jobId, why, limitMs);
    return paused.then(() => this.#move(jobId, () => this.#remove(jobId)));
  }

  async stop(jobId: string): Promise<void> {
    await this.run(jobId)?.stop();
  }

  /** Gives a job that runs here the bandwidth that was asked for, if it has another. */
  async limit(jobId: string): Promise<void> {
    const run = this.run(jobId);
    const wanted = this.#options.mirror.limits.get(jobId);
    if (run === undefined || wanted === undefined) return;
    const bytesPerSecond = wanted.bytesPerSecond ?? undefined;
    if (run.definition.options.bandwidthBytesPerSecond !== bytesPerSecond) await run.limit(bytesPerSecond);
  }

  /** Counters and clocks of jobs that run are saved; those whose workers gave them up begin anew. */
  tick(): void {
    for (const job of this.#options.turns.running) job.tick();
    for (const [jobId, { run }] of this.#owned) {
      if (run.interrupted) {
        const why = new PrimedError('STOPPED', 'The workers gave the run up; it is begun anew.');
        void this.pause(jobId, why, this.#deps.settings.stopDeadlineMs);
      } else this.say(jobId);
    }
  }

  /** Tells etcd how a job stands, if that is not what it was told last. */
  say(jobId: string): void {
    const owned = this.#owned.get(jobId);
    if (owned === undefined || owned.saying !== undefined || !owned.run.active || !this.#options.tenure.held) return;
    const state = encodeState(this.#sharedOf(owned, owned.run.snapshot()));
    if (state === owned.said) return;
    this.#say(owned, state).catch((error: unknown) =>
      this.#deps.log.debug({ jobId, error: String(error) }, 'etcd was not told how a job stands'),
    );
  }

  /** One word at a time is on its way: an older one never replaces a newer one. False: it is another's to say. */
  async #say(owned: Owned, state: string): Promise<boolean> {
    const { definition } = owned.shared;
    const said = this.#options.book.say(definition.jobId, owned.claim.term, state);
    const over = (): void => {
      owned.saying = undefined;
    };
    owned.saying = said.then(over, over);
    const done = await said;
    if (done) owned.said = state;
    return done;
  }

  /** Resolves when etcd knows how the job stands now. Rejects with RUN_SUPERSEDED, or ETCD_UNAVAILABLE when the lease is over. */
  async #tell(jobId: string): Promise<void> {
    const done = await this.#insist(async () => {
      const owned = this.#owned.get(jobId);
      if (owned === undefined) return false;
      while (owned.saying !== undefined) await owned.saying;
      return this.#say(owned, encodeState(this.#sharedOf(owned, owned.run.snapshot())));
    });
    if (!done) throw notOurs(jobId, this.#owned.get(jobId)?.claim.term ?? 0);
  }

  // --- ends

  /** Resolves when the end is in etcd. Rejects with RUN_SUPERSEDED, or ETCD_UNAVAILABLE when the lease is over. */
  async #publish(snapshot: JobSnapshot, claim: JobClaim | undefined): Promise<void> {
    const { mirror } = this.#options;
    const { jobId } = snapshot;
    const owned = this.#owned.get(jobId);
    const shared = owned?.shared ?? mirror.jobs.get(jobId);
    const { id: claimId, term } = claim!;
    if (shared === undefined) throw notOurs(jobId, term);
    const { definition } = shared;
    const repairs = owned?.run.repairs ?? shared.repairs;
    const { ended, revision } = await this.#insist(() =>
      this.#options.book.end({ definition, claimId, repairs, snapshot }, term),
    );
    if (!ended) throw notOurs(jobId, term);
    await mirror.reached(revision, echoLimitMs);
  }

  /** While the lease holds, etcd may be asked again. */
  async #insist<T>(act: () => Promise<T>): Promise<T> {
    const { tenure, timers } = this.#options;
    for (;;) {
      if (!tenure.held) throw new PrimedError('ETCD_UNAVAILABLE', tenure.why);
      try {
        return await act();
      } catch (error) {
        if (!(error instanceof PrimedError) || !error.retryable) throw error;
        await pause(timers, publishRetryMs, new AbortController().signal);
      }
    }
  }

  /** The job had ended here, and nobody could be told. */
  async #publishStored(record: Omit<JobRecord, 'version'>): Promise<void> {
    const { jobId } = record.definition;
    try {
      await this.#publish(new JobRun(record, 'stored', this.#deps).snapshot({ allFailures: true }), record.claim);
      await this.#remove(jobId);
    } catch (error) {
      this.#deps.log.warn({ jobId, error: String(error) }, 'the end of the job could not be published');
    }
  }

  /** All coordinators know of it: nothing is left to be kept here. */
  #ended(jobId: string): void {
    const owned = this.#owned.get(jobId);
    if (owned === undefined) return;
    this.#owned.delete(jobId);
    const { fleet } = this.#deps;
    fleet.forget(owned.run.definition.runId);
    fleet.forget(owned.run.definition.repairRunId);
    void this.#move(jobId, () => this.#remove(jobId));
  }

  // --- the local store

  /** Of the local store, if nobody else has had the job since it was written. */
  async #storedUnder(job: WatchedJob, { id, before }: WatchedClaim): Promise<JobRecord | undefined> {
    const { store } = this.#deps;
    const { jobId } = job.definition;
    const number = this.#kept.get(jobId);
    const stored = number === undefined ? undefined : store.job(number);
    const known = stored?.claim?.id;
    if (stored !== undefined && number === job.number && known !== undefined && (known === id || known === before))
      return stored;
    await this.#remove(jobId);
    return undefined;
  }

  async #remove(jobId: string): Promise<void> {
    const { store } = this.#deps;
    const number = this.#kept.get(jobId);
    if (number === undefined) return;
    await store.removeJobs([number]);
    await store.dropManifest(number);
    this.#kept.delete(jobId);
  }

  /** One thing at a time is done about a job. Never rejects. */
  #move(jobId: string, act: () => Promise<void>): Promise<void> {
    const done: Promise<void> = (this.#moving.get(jobId) ?? Promise.resolve())
      .then(act)
      .catch((error: unknown) => this.#deps.log.error({ jobId, error }, 'a job could not be moved'))
      .finally(() => {
        if (this.#moving.get(jobId) === done) this.#moving.delete(jobId);
        this.onMoved();
      });
    this.#moving.set(jobId, done);
    return done;
  }

  /** Called after each of them. */
  onMoved: () => void = () => undefined;

  #rank({ run }: Owned): number {
    return this.#options.turns.runs(run) ? 1 : 0;
  }

  #sharedOf({ shared, claim, run }: Owned, snapshot: JobSnapshot): SharedJob {
    return { definition: shared.definition, claimId: claim.id, repairs: run.repairs, snapshot };
  }
}
