/**
 * Whose turn it is: so many jobs of each type run at once, the others wait: those that ran before, at a coordinator that is
 * lost or before a restart, then the highest priority first, and in the order in which they came. Room is freed while all loads that may run do: they may be waiting for just that.
 */
import { PrimedError } from '../core/errors.ts';
import type { JobType } from '../core/job.ts';
import type { JobRun } from './job-run.ts';
import type { JobServiceSettings } from './settings.ts';

export class JobTurns {
  readonly #settings: Pick<JobServiceSettings, 'maxActive' | 'maxWaiting'>;
  readonly #running = new Set<JobRun>();
  readonly #waiting: JobRun[] = [];
  #closed = false;

  constructor(settings: Pick<JobServiceSettings, 'maxActive' | 'maxWaiting'>) {
    this.#settings = settings;
  }

  get running(): Iterable<JobRun> {
    return this.#running;
  }

  /** It has its turn. */
  runs(job: JobRun): boolean {
    return this.#running.has(job);
  }

  /** Throws JOB_LIMIT when neither a job more may run, nor one more wait. */
  check(path: string, type: JobType): void {
    if (this.#hasTurn(type) || this.#waiting.length < this.#settings.maxWaiting) return;
    const running = this.#runningOf(type);
    throw new PrimedError(
      'JOB_LIMIT',
      `${running} jobs run and ${this.#waiting.length} wait already, as many as job.max_active and job.max_waiting allow; submit '${path}' again when one has ended.`,
      { running, waiting: this.#waiting.length },
    );
  }

  /** Drives the job, now or when its turn comes. */
  enter(job: JobRun): void {
    const { type } = job.definition;
    // What is being stopped waits for nobody.
    if (job.progress.stopping || this.#hasTurn(type)) {
      this.#start(job);
      return;
    }
    const after = this.#waiting.findIndex((other) => goesBefore(job, other));
    this.#waiting.splice(after < 0 ? this.#waiting.length : after, 0, job);
    job.queue(`waits for its turn: ${this.#runningOf(type)} jobs run already`);
    // A job that is stopped while it waits leaves the queue.
    void job.ended.then(
      () => this.#leaveQueue(job),
      () => undefined,
    );
  }

  /** The job runs and waits no more: the next one's turn has come. */
  leave(job: JobRun): void {
    this.#leaveQueue(job);
    if (this.#running.delete(job)) this.fill();
  }

  /** Those that wait, as many as may run by now. */
  fill(): void {
    while (!this.#closed) {
      const at = this.#waiting.findIndex(({ definition }) => this.#hasTurn(definition.type));
      if (at < 0) return;
      const [next] = this.#waiting.splice(at, 1);
      if (next!.active) this.#start(next!);
    }
  }

  /** From now on nobody's turn comes. */
  close(): void {
    this.#closed = true;
  }

  #start(job: JobRun): void {
    this.#running.add(job);
    job.drive();
    void job.ended.then(
      () => this.leave(job),
      () => undefined,
    );
  }

  #hasTurn(type: JobType): boolean {
    return this.#runningOf(type) < this.#settings.maxActive;
  }

  #runningOf(type: JobType): number {
    let count = 0;
    for (const { definition } of this.#running) if (definition.type === type) count += 1;
    return count;
  }

  #leaveQueue(job: JobRun): void {
    const at = this.#waiting.indexOf(job);
    if (at >= 0) this.#waiting.splice(at, 1);
  }
}

function goesBefore(job: JobRun, other: JobRun): boolean {
  if (hasRun(job) !== hasRun(other)) return hasRun(job);
  return job.definition.options.priority > other.definition.options.priority;
}

/** It has begun, here or elsewhere: files of it are with workers, or loaded. */
function hasRun({ progress }: JobRun): boolean {
  return progress.startedAtMs !== undefined;
}
