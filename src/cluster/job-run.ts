/**
 * One job from the moment it is known until it has ended: applies events to its state, keeps it durable, drives its
 * phases. The phases only run while the job is RUNNING or VERIFYING; one driver at a time.
 */
import assert from 'node:assert/strict';
import { setMaxListeners } from 'node:events';
import { abortable } from '../core/abortable.ts';
import { PrimedError } from '../core/errors.ts';
import type { JobSnapshot } from '../core/job.ts';
import { addTally, emptyTally, isEnded, type JobEvent, type JobProgress, nextState } from '../core/job-machine.ts';
import { limitedTo } from '../core/load-options.ts';
import { emptyLedger, ledgerDifference } from '../core/types.ts';
import { currentSpan, noSpan, type Span, startSpan, traced } from '../telemetry/trace.ts';
import { FreePhase } from './free-phase.ts';
import { JobAtWorkers } from './job-at-workers.ts';
import { figuresAtEnd, recordOf, type StoredJob, storedFigures } from './job-record.ts';
import type { JobRecord } from './job-store.ts';
import { ListingWaits } from './listing-waits.ts';
import { LoadPhase } from './load-phase.ts';
import { type JobDeps, type JobMarks, type RunContext, RunInterrupted } from './run-context.ts';
import { type Figures, RunFigures } from './run-figures.ts';
import { snapshotOf } from './snapshot.ts';
import { UnsavedEnd } from './unsaved-end.ts';
import { VerifyPhase } from './verify-phase.ts';

/** Failures that stay in memory when the job has ended; the others are read from the store when they are asked for. */
const failuresInMemory = 10;

export class JobRun {
  definition: JobRecord['definition'];
  readonly claim: JobRecord['claim'];
  readonly #deps: JobDeps;
  readonly #marks: JobMarks;
  #progress: JobProgress;
  readonly #figures: RunFigures;
  readonly #waits: ListingWaits;
  /** Of an ended job. */
  #final: Figures | undefined;
  #driver: Promise<void> | undefined;
  /** What submitted it; undefined: another process did, or nobody traces that. */
  readonly #submittedBy: string | undefined;
  /** From when it is driven until it has ended, or goes on elsewhere. */
  #span: Span = noSpan;
  readonly #workers: JobAtWorkers;
  readonly #abort = new AbortController();
  #pausing = false;
  #interrupted = false;
  #verifyPhase: VerifyPhase | undefined;
  /** The last word is being written: nothing else may be. */
  #finishing = false;
  readonly #unsavedEnd = new UnsavedEnd(async (record) => {
    await this.#deps.store.putJob(record);
    await this.#dropManifest();
  });
  #resolveEnded!: (job: JobSnapshot) => void;
  #rejectEnded!: (error: PrimedError) => void;
  /** Resolves when the job has ended; rejects with STOPPING when the daemon goes down before. */
  readonly ended = new Promise<JobSnapshot>((resolve, reject) => {
    this.#resolveEnded = resolve;
    this.#rejectEnded = reject;
  });
  /** Settles when the submission is durable. */
  readonly durable: Promise<void>;

  /** `record`: from the store, or not yet in it (then it is written): of a new job, or of one that others have had. */
  constructor(record: StoredJob, origin: 'new' | 'adopted' | 'stored', deps: JobDeps) {
    const {
      definition,
      claim,
      progress,
      chunks,
      cursor,
      sourceVersion,
      verifyCursor,
      verifyPass = 0,
      repairs,
      retries,
      evictedBytes = 0,
      limitedMs = {},
      ledger,
    } = record;
    this.definition = definition;
    this.claim = claim;
    this.#deps = deps;
    this.#submittedBy = origin === 'new' ? currentSpan().traceparent : undefined;
    // Every HEAD of an index file's paths listens.
    setMaxListeners(0, this.#abort.signal);
    this.#progress = progress;
    this.#marks = { chunks, cursor, sourceVersion, verifyCursor, verifyPass, repairs };
    this.#workers = new JobAtWorkers({
      ...{ deps, claim, marks: this.#marks },
      definition: () => this.definition,
      mayHaveRun: definition.type === 'LOAD' && origin !== 'new',
      active: () => this.active,
    });
    const { fleet, clock } = deps;
    this.#waits = new ListingWaits(() => deps.clock.monotonicMs());
    this.#figures = new RunFigures({
      ...{ definition, fleet, clock },
      retriesBefore: retries,
      evictedBefore: evictedBytes,
      ledgerBefore: ledger ?? emptyLedger(),
      limitedBefore: limitedMs,
    });
    // Nobody may wait for the end of a job; a rejection (see pause) is then nobody's either.
    this.ended.catch(() => undefined);
    if (isEnded(progress.state)) this.#end(storedFigures(record));
    this.durable = origin === 'stored' ? Promise.resolve() : deps.store.putJob(record);
    this.durable.catch(() => undefined);
  }

  get progress(): JobProgress {
    return this.#progress;
  }

  get active(): boolean {
    return !isEnded(this.#progress.state);
  }

  /** A repair run was started. */
  get repairs(): boolean {
    return this.#marks.repairs;
  }

  /**
   * The workers have given the run up, or its end could not be published: nothing goes on until another JobRun takes it from
   * there.
   */
  get interrupted(): boolean {
    return this.#interrupted && this.active && !this.#pausing;
  }

  /** Puts the job that was read from the store where it left off. A load of which a stop was under way is for `drive` to end. */
  async recover(): Promise<void> {
    const { store, clock } = this.#deps;
    if (!this.active) return;
    if (this.#progress.state === 'RUNNING') {
      let tally = emptyTally;
      for (const done of store.tallies(this.definition.number)) tally = addTally(tally, done);
      this.#progress = { ...this.#progress, tally };
    }
    const recovered = nextState(this.#progress, { type: 'recovered' }, clock.wallMs());
    if (isEnded(recovered.state)) await this.#conclude(recovered, this.#figures.atRest);
    else this.#progress = recovered;
  }

  /** Starts the job, or goes on with it. Returns at once. */
  drive(): void {
    assert(this.#driver === undefined, 'one driver a job');
    // It is being stopped where it waits.
    if (this.#finishing || this.#abort.signal.aborted) return;
    this.#apply({ type: 'started' });
    const { jobId, type, source } = this.definition;
    this.#span = startSpan(`job ${type.toLowerCase()}`, {
      parent: this.#submittedBy ?? 'none',
      attributes: { 'primed.job_id': jobId, 'primed.run_id': this.definition.runId, 'primed.path': source.path },
    });
    const { runId } = this.definition;
    this.#span.within(() => {
      this.#deps.log.info({ event: 'job', jobId, runId, path: source.path, type }, 'the job runs');
      this.#driver = this.#drive();
    });
  }

  queue(reason: string): void {
    this.#apply({ type: 'queued', reason });
  }

  /**
   * Resolves when nothing is in flight and STOPPED is durable; false: it had ended before. Rejects with STORE_IO where it is stopped
   * and that could not be written down; asked again, it tries that again.
   */
  async stop(): Promise<boolean> {
    await this.durable;
    if (!this.active) return this.#unsavedEnd.record === undefined ? false : this.#isStopped();
    if (this.#finishing) {
      await this.#workers.inTime(this.#driver ?? this.ended, 'the end of the job');
      return this.#isStopped();
    }
    const { store, clock } = this.#deps;
    const asked = nextState(this.#progress, { type: 'stopRequested' }, clock.wallMs());
    if (isEnded(asked.state)) {
      this.#finishing = true;
      await this.#workers.endEarlier(this.#workers.stopDeadline());
      await this.#conclude(nextState(this.#progress, { type: 'stopRequested' }, clock.wallMs()), this.#live());
      return this.#isStopped();
    }
    this.#progress = asked;
    // Durable or not: when the daemon dies now, the job is found stopping, or was never answered for.
    store.saveJob(this.#record()).catch((error: unknown) => this.#logStoreFailure(error));
    this.#abort.abort();
    const untilMs = this.#workers.stopDeadline();
    await this.#workers.endEarlier(untilMs);
    await this.#workers.stop(untilMs);
    await this.#workers.inTime(this.#driver, 'the phases of the job', untilMs);
    // A driver that was interrupted, or is late, has left the job without an end.
    // Where the end cannot be told the job is let go of meanwhile: whoever goes on with it tells.
    const over = this.ended.catch(() => undefined);
    if (this.active && !this.#finishing) await this.#finish({ type: 'stopped' });
    else if (this.active) await this.#workers.inTime(over, 'the end of the job');
    return this.#isStopped();
  }

  async #isStopped(): Promise<boolean> {
    if (this.#progress.state !== 'STOPPED') return false;
    await this.#unsavedEnd.saveStop();
    return true;
  }

  /** Writes down how it has ended, where that has failed before. Rejects with STORE_IO. */
  saveEnd(): Promise<void> {
    return this.#unsavedEnd.save();
  }

  /** Its end is durable: before, it is what the next process goes on with. */
  async #dropManifest(): Promise<void> {
    await this.#deps.store.dropManifest(this.definition.number).catch((error: unknown) => this.#logStoreFailure(error));
  }

  /**
   * Bytes a second that each worker may read for the job from now on; undefined: no limit. Durable when resolved; false: the
   * job has ended.
   */
  async limit(bandwidthBytesPerSecond: number | undefined): Promise<boolean> {
    await this.durable;
    if (!this.active || this.#finishing) return false;
    const { store } = this.#deps;
    const options = limitedTo(this.definition.options, bandwidthBytesPerSecond);
    this.definition = { ...this.definition, options };
    await store.saveJob(this.#record());
    await this.#workers.setBandwidth(bandwidthBytesPerSecond);
    return true;
  }

  /**
   * Drops what is in flight, for `limitMs` at most, and saves the job, so that another JobRun, of this process or of the next
   * one, goes on with it. `ended` rejects with `why`.
   */
  async pause(limitMs: number, why = this.#goesDown()): Promise<void> {
    if (!this.active) return this.saveEnd().catch((error: unknown) => this.#logStoreFailure(error));
    this.#pausing = true;
    this.#abort.abort();
    const untilMs = performance.now() + limitMs;
    await this.#workers.stop(untilMs);
    await this.#workers.inTime(this.#driver, 'the phases of the job', untilMs);
    if (!this.active) return;
    this.#apply({ type: 'paused' });
    // The last word of the store is the end, if that was written and nobody could be told of it.
    if (!this.#finishing)
      await this.#deps.store.putJob(this.#record()).catch((error: unknown) => this.#logStoreFailure(error));
    this.#rejectEnded(why);
  }

  #goesDown(): PrimedError {
    return new PrimedError(
      'STOPPING',
      `The daemon goes down; job ${this.definition.jobId} goes on when it comes back.`,
    );
  }

  /** Saves counters and the clock, and samples the rate. */
  tick(): void {
    if (this.#driver === undefined || this.#finishing || !this.active) return;
    this.#apply({ type: 'ticked' });
    this.#live();
    this.#deps.store.saveJob(this.#record()).catch((error: unknown) => this.#logStoreFailure(error));
  }

  /** Everything that can be said about the job now; `allFailures` reads those of an ended job from the store. */
  snapshot({ allFailures = false }: { allFailures?: boolean } = {}): JobSnapshot {
    const { clock, store } = this.#deps;
    if (!this.active) {
      const stored =
        allFailures && this.#progress.tally.failedFiles > this.#progress.tally.failures.length
          ? (this.#unsavedEnd.record ?? store.job(this.definition.number))
          : undefined;
      return snapshotOf(this.definition, stored?.progress ?? this.#progress, this.#final ?? this.#figures.atRest);
    }
    return snapshotOf(this.definition, nextState(this.#progress, { type: 'ticked' }, clock.wallMs()), {
      ...this.#live(),
      nowMs: clock.monotonicMs(),
      verifying: this.#verifyPhase?.live,
      waitingFor: this.#workers.started ? this.#deps.fleet.waitingFor(this.definition.runId) : undefined,
    });
  }

  // --- driving

  async #drive(): Promise<void> {
    const failure = await this.#runPhases();
    this.#interrupted = failure instanceof RunInterrupted;
    if (this.#pausing || this.#interrupted) this.#span.end('the job goes on elsewhere, or later');
    if (this.#pausing || !this.active || this.#interrupted) return;
    if (this.#progress.stopping) {
      const untilMs = this.#workers.stopDeadline();
      await this.#workers.endEarlier(untilMs);
      await this.#workers.stop(untilMs);
      await this.#finish({ type: 'stopped' });
    } else if (failure !== undefined) {
      this.#abort.abort();
      await this.#workers.stop();
      await this.#finish({ type: 'failed', reason: reasonOf(failure) });
    }
  }

  /** Undefined: the job has ended, or the signal has fired. Never rejects. */
  async #runPhases(): Promise<unknown> {
    const { fleet, log } = this.#deps;
    const { signal } = this.#abort;
    const context = this.#context();
    try {
      await this.durable;
      const { definition } = this;
      await abortable(fleet.settled(), signal);
      if (signal.aborted || this.#progress.stopping) return undefined;
      if (definition.type === 'FREE') {
        const absent = await traced('free', {}, () => new FreePhase(context).run());
        if (!signal.aborted) await this.#finish({ type: 'freeEnded', absent });
        return undefined;
      }
      await this.#workers.start();
      this.#live();
      if (this.#progress.state === 'RUNNING') {
        await traced('load', {}, () => new LoadPhase(context).run());
        if (signal.aborted) return undefined;
        await this.#endLoading();
      }
      if (this.#progress.state === 'VERIFYING') {
        const verifying = new VerifyPhase(context);
        this.#verifyPhase = verifying;
        await traced('verify', {}, () => verifying.run());
        if (signal.aborted) return undefined;
        await this.#finish({ type: 'verifyEnded' });
      }
      return undefined;
    } catch (error) {
      // One of the catalogue is in the line with which the job ends; where in the program it was made helps nobody.
      const known = error instanceof PrimedError || error instanceof RunInterrupted;
      if (!signal.aborted && !known) {
        const { jobId, source } = this.definition;
        log.error({ jobId, path: source.path, error }, 'the job ends because of a defect');
      }
      return error;
    }
  }

  async #endLoading(): Promise<void> {
    const { store, clock } = this.#deps;
    const next = nextState(this.#progress, { type: 'loadingEnded' }, clock.wallMs());
    if (next.state !== 'VERIFYING') {
      await this.#finish({ type: 'loadingEnded' });
      return;
    }
    this.#progress = next;
    await store.putJob(this.#record());
    await store.dropManifest(this.definition.number);
  }

  /** The end is published when it is durable. */
  async #finish(event: JobEvent): Promise<void> {
    const { clock, log } = this.#deps;
    const { definition } = this;
    this.#finishing = true;
    this.#live();
    const ending = traced('settle', {}, () => this.#workers.end());
    await this.#workers.inTime(ending, 'endRun');
    const figures = figuresAtEnd(this.#live(), nextState(this.#progress, { type: 'ticked' }, clock.wallMs()));
    const ended = nextState(this.#progress, event, clock.wallMs());
    assert(isEnded(ended.state), `${event.type} ends a job`);
    if (ledgerDifference(figures.ledger) !== 0) {
      log.error({ jobId: definition.jobId, ledger: figures.ledger }, 'the ledger of the run does not balance');
    }
    await this.#conclude(ended, figures);
    if (this.active) return;
    const { loadedFiles, skippedFiles, failedFiles, failures } = ended.tally;
    const [firstFailure] = failures;
    log[ended.state === 'FAILED' ? 'warn' : 'info'](
      {
        event: 'job',
        jobId: definition.jobId,
        path: definition.source.path,
        state: ended.state,
        reason: ended.reason,
        files: { loaded: loadedFiles, skipped: skippedFiles, failed: failedFiles },
        ...(firstFailure === undefined ? {} : { firstFailure }),
        activeMs: ended.activeMs,
        ledger: figures.ledger,
      },
      'the job has ended',
    );
    if (this.#unsavedEnd.record === undefined) await this.#dropManifest();
  }

  /** The end is durable, then known to other coordinators, then told; one that cannot be written down is told, and written later. */
  async #conclude(ended: JobProgress, figures: Figures): Promise<void> {
    const { store, publish, log } = this.#deps;
    const { jobId } = this.definition;
    this.#finishing = true;
    this.#final = figures;
    const record = this.#record(ended);
    await store.putJob(record).catch((error: unknown) => {
      this.#logStoreFailure(error);
      // Where others are told of the end, that is the word that counts.
      if (publish === undefined) this.#unsavedEnd.keep(record);
    });
    try {
      await publish?.(snapshotOf(this.definition, ended, figures), this.claim);
    } catch (error) {
      log.warn({ jobId, state: ended.state, reason: reasonOf(error) }, 'the end of the job could not be published');
      this.#interrupted = true;
      return;
    }
    this.#progress = ended;
    this.#observeEnd();
    this.#end(figures);
  }

  /** The job has ended here and now, rather than before this process. */
  #observeEnd(): void {
    const { state, activeMs } = this.#progress;
    if (state === 'SUCCEEDED' || state === 'FAILED' || state === 'STOPPED') this.#deps.observe.ended(state, activeMs);
  }

  #end(figures: Figures): void {
    this.#final = figures;
    this.#resolveEnded(this.snapshot());
    const { tally, state, reason } = this.#progress;
    this.#span.set({
      'primed.state': state,
      'primed.loaded_files': tally.loadedFiles,
      'primed.skipped_files': tally.skippedFiles,
      'primed.failed_files': tally.failedFiles,
      'primed.loaded_bytes': tally.loadedBytes,
    });
    this.#span.end(state === 'FAILED' ? (reason ?? 'FAILED') : undefined);
    this.#progress = { ...this.#progress, tally: { ...tally, failures: tally.failures.slice(0, failuresInMemory) } };
  }

  // --- state

  #context(): RunContext {
    const definition = (): JobRecord['definition'] => this.definition;
    return {
      // Its limit may change while phases run.
      get definition() {
        return definition();
      },
      claim: this.claim,
      deps: this.#deps,
      signal: this.#abort.signal,
      marks: this.#marks,
      waits: this.#waits,
      progress: () => this.#progress,
      apply: (event) => this.#apply(event),
      record: () => this.#record(),
    };
  }

  #apply(event: JobEvent): void {
    const { observe } = this.#deps;
    if (event.type === 'settled' || event.type === 'verified') observe.settled(event.tally);
    if (event.type === 'verified') observe.verified(event.bytes);
    this.#progress = nextState(this.#progress, event, this.#deps.clock.wallMs());
  }

  #record(progress: JobProgress = this.#progress): StoredJob {
    return recordOf(this, progress, this.#marks, { live: () => this.#live(), final: this.#final });
  }

  #live(): Figures {
    if (!this.#workers.started) return this.#figures.atRest;
    const { repairs } = this.#marks;
    const { tally, listingDone } = this.#progress;
    const files = tally.loadedFiles + tally.failedFiles;
    const waits = this.#waits.take(listingDone ? 'work' : 'listing');
    return this.#figures.now({ repairs, listing: !listingDone, waits, files });
  }

  #logStoreFailure(error: unknown): void {
    this.#deps.log.error({ jobId: this.definition.jobId, error }, 'the job could not be saved');
  }
}

function reasonOf(error: unknown): string {
  if (error instanceof PrimedError) return `${error.code}: ${error.message}`;
  return `INTERNAL: ${error instanceof Error ? error.message : String(error)}`;
}
