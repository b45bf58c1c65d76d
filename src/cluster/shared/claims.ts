/**
 * What this coordinator does about claims, at each change of what it has heard: jobs are taken over, paused and contended for, and
 * stops and limits carried out, as core/job-claims decides. Nobody waits for it; what fails is tried again at the next change.
 */
import { PrimedError, reportOf } from '../../core/errors.ts';
import { claimActions, contendDelayMs } from '../../core/job-claims.ts';
import type { Random } from '../../core/types.ts';
import type { JobDeps } from '../run-context.ts';
import type { Book } from './book.ts';
import { isOpen, type JobsMirror, type WatchedJob } from './mirror.ts';
import type { OwnedJobs } from './owned-jobs.ts';
import type { Tenure } from './tenure.ts';
import type { Timers } from './timers.ts';

export interface ClaimsOptions {
  /** Of this process. */
  readonly me: string;
  readonly deps: Pick<JobDeps, 'log' | 'settings'>;
  readonly timers: Timers;
  readonly random: Random;
  readonly book: Book;
  readonly mirror: JobsMirror;
  readonly tenure: Tenure;
  readonly owned: OwnedJobs;
  /** Why nothing can be decided. */
  readonly whyDeaf: () => string;
}

export class Claims {
  readonly #me: string;
  readonly #deps: ClaimsOptions['deps'];
  readonly #timers: Timers;
  readonly #random: Random;
  readonly #book: Book;
  readonly #mirror: JobsMirror;
  readonly #tenure: Tenure;
  readonly #owned: OwnedJobs;
  readonly #whyDeaf: () => string;
  /** Jobs whose claim is contended for, with how to call that off. */
  readonly #contending = new Map<string, () => void>();
  /** What is being done about which job. */
  readonly #busy = new Set<string>();
  /** It had a lease at the last look. */
  #held = false;

  constructor(options: ClaimsOptions) {
    this.#me = options.me;
    this.#deps = options.deps;
    this.#timers = options.timers;
    this.#random = options.random;
    this.#book = options.book;
    this.#mirror = options.mirror;
    this.#tenure = options.tenure;
    this.#owned = options.owned;
    this.#whyDeaf = options.whyDeaf;
  }

  /** At what is known now. */
  look(): void {
    const { lease } = this.#tenure;
    const { known, jobs, claims, stops, limits } = this.#mirror;
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
    const adopted = adopt.filter(({ jobId }) => free(jobId)).map(({ jobId }) => jobs.get(jobId)!);
    const ran = ({ snapshot }: WatchedJob): number => (snapshot.startedAtMs === undefined ? 1 : 0);
    for (const job of adopted.sort((a, b) => ran(a) - ran(b)))
      void this.#owned.adopt(job, claims.get(job.definition.jobId)!);
    this.#contend(contend);
    for (const jobId of limits.keys())
      if (this.#owned.run(jobId) !== undefined) this.#once('limit', jobId, () => this.#owned.limit(jobId));
    for (const jobId of stops)
      if (this.#owned.run(jobId) !== undefined) this.#once('stop', jobId, () => this.#owned.stop(jobId));
  }

  /** Before etcd could give the claims away. */
  #standStill(): void {
    this.callOff();
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
    const job = this.#mirror.byId(jobId);
    const { lease } = this.#tenure;
    if (lease === undefined || job === undefined || !isOpen(job) || this.#mirror.claims.has(jobId)) return;
    if (!this.#owned.isMoving(jobId)) this.#once('claim', jobId, () => this.#book.claim(job, lease));
  }

  callOff(): void {
    for (const callOff of this.#contending.values()) callOff();
    this.#contending.clear();
  }

  /** What fails is tried again when something changes, or at the next tick. */
  #once(what: 'claim' | 'renew' | 'limit' | 'stop', jobId: string, act: () => Promise<unknown>): void {
    const key = `${what} ${jobId}`;
    if (this.#busy.has(key)) return;
    this.#busy.add(key);
    act()
      .catch((error: unknown) =>
        this.#deps.log.warn(
          { jobId, what, reason: reportOf(error).message },
          'something that was to be done about a job was not',
        ),
      )
      .finally(() => this.#busy.delete(key));
  }
}
