/**
 * How a job has ended, where that could not be written down: kept until it has been. Before, the next process would find the job as it
 * was last, and go on with it.
 */
import { PrimedError, reportOf } from '../core/errors.ts';
import type { StoredJob } from './job-record.ts';

export class UnsavedEnd {
  readonly #write: (record: StoredJob) => Promise<void>;
  #record: StoredJob | undefined;
  #saving: Promise<void> | undefined;

  constructor(write: (record: StoredJob) => Promise<void>) {
    this.#write = write;
  }

  /** Undefined: there is none, or it is written down. */
  get record(): StoredJob | undefined {
    return this.#record;
  }

  /** Its writing has failed. */
  keep(record: StoredJob): void {
    this.#record = record;
  }

  /** Tries again, if there is one. Rejects with STORE_IO. */
  async save(): Promise<void> {
    if (this.#record === undefined) return;
    this.#saving ??= this.#save(this.#record).finally(() => {
      this.#saving = undefined;
    });
    await this.#saving;
  }

  /** The same, for who has asked for that end. */
  async saveStop(): Promise<void> {
    const { jobId, source } = this.#record?.definition ?? {};
    try {
      await this.save();
    } catch (cause) {
      const message = `The job of '${source?.path}' is stopped, but a restart would go on with it until that is written down: ${reportOf(cause).message}`;
      throw new PrimedError('STORE_IO', message, { jobId, path: source?.path }, { cause });
    }
  }

  async #save(record: StoredJob): Promise<void> {
    await this.#write(record);
    this.#record = undefined;
  }
}
