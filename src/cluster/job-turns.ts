/** Whose turn it is: so many jobs run at once, the others wait in the order in which they came. */
import { PrimedError } from '../core/errors.ts';
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

  /** Throws JOB_LIMIT when neither a job more may run, nor one more wait. */
  check(path: string): void {
    const { maxActive, maxWaiting } = this.#settings;
    if (this.#running.size < maxActive || this.#waiting.length < maxWaiting) return;
    throw new PrimedError(
      'JOB_LIMIT',
      `${this.#running.size} jobs run and ${this.#waiting.length} wait already, as many as job.max_active and job.max_waiting allow; submit '${path}' again when one has ended.`,
      { running: this.#running.size, waiting: this.#waiting.length },
    );
  }

  /** Drives the job, now or when its turn comes. */
  enter(job: JobRun): void {
    if (this.#running.size < this.#settings.maxActive) {
      this.start(job);
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

  /** Drives a job that has had its turn, whoever runs beside it. */
  start(job: JobRun): void {
    this.#running.add(job);
    job.drive();
    void job.ended.then(
      () => this.leave(job),
      () => undefined,
    );
  }

  /** The job runs and waits no more: the next one's turn has come. */
  leave(job: JobRun): void {
    this.#leaveQueue(job);
    if (!this.#running.delete(job)) return;
    while (!this.#closed && this.#running.size < this.#settings.maxActive) {
      const next = this.#waiting.shift();
      if (next === undefined) return;
      if (next.active) this.start(next);
    }
  }

  /** From now on nobody's turn comes. */
  close(): void {
    this.#closed = true;
  }

  #leaveQueue(job: JobRun): void {
    const at = this.#waiting.indexOf(job);
    if (at >= 0) this.#waiting.splice(at, 1);
  }
}
