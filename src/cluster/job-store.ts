/**
 * The coordinator's memory on disk: one LMDB environment.
 *
 *   jobs    number of the job                 → JobRecord (msgpack): definition, state, cursor, counters at the end
 *   chunks  [number of the job, chunk]        → manifest chunk (see manifest.ts), until loading has ended
 *   done    [number of the job, chunk]        → Tally (msgpack) of a chunk whose files are all settled
 *   meta    "format"
 *   seen    [number of the job, pass and hash] → nothing: a path that an index file has named (see seen-paths.ts)
 *
 * A chunk and the cursor behind it are written in one transaction, so is the end of a chunk and its tally: what is read
 * after a crash is a manifest without gaps, and each file of it either in a tally or still in a chunk.
 */
import { mkdirSync } from 'node:fs';
import { type Database, open, type RootDatabase } from 'lmdb';
import type { JobSource, JobType, LoadOptions } from '../core/job.ts';
import type { JobProgress, Tally } from '../core/job-machine.ts';
import type { LimitSums } from '../core/limit-causes.ts';
import type { JobId, Ledger, LoadId, RunId } from '../core/types.ts';
import { committing, kept } from '../store/committed.ts';
import { prepareDatabase } from '../store/new-database.ts';
import { refusal } from '../store/upgrade.ts';
import { jobStoreSteps } from './job-store-steps.ts';
import { decodeChunk, encodeChunk, type ManifestChunk } from './manifest.ts';

/**
 * Of the database, in `meta`; steps to it are in job-store-steps.ts. Records say it too: releases that knew no `meta` look
 * there, and refuse what they would not understand.
 */
export const jobStoreFormat = 3;
/** What `dropManifest` removes in one transaction: chunks have 100 KiB, the others far less. */
const chunksAtOnce = 1000;
const rowsAtOnce = 10_000;

/** Where a listing goes on: behind the last page that is in the manifest. */
export interface ListingCursor {
  /** Lines of the index file, or paths of a list, that are done; 0 for a path. */
  readonly line: number;
  /** Resumes the listing of the prefix (of the next line). */
  readonly after?: string;
}

const nothing = Buffer.alloc(0);

export interface JobDefinition {
  /** Rises with each submission, over restarts. */
  readonly number: number;
  readonly jobId: JobId;
  readonly type: JobType;
  /** A name that finds the job, given by whoever submitted it. */
  readonly alias?: string;
  /** Of a FREE: it says what would go, and removes nothing. */
  readonly dryRun?: boolean;
  readonly runId: RunId;
  readonly loadId: LoadId;
  /** The load id is that of an earlier job, which was stopped. */
  readonly resumed: boolean;
  /** A file that does not stand verification is loaded anew by this run, under a load id that owns nothing yet. */
  readonly repairRunId: RunId;
  readonly repairLoadId: LoadId;
  /** The path as it was written. */
  readonly source: JobSource;
  /** The path as jobs are told apart; of a FREE with its type before it, of a list a hash of the paths. */
  readonly key: string;
  readonly options: LoadOptions;
}

/** Under which claim a job is run, where several coordinators share the jobs. */
export interface JobClaim {
  /** Random; of the claim, not of the coordinator. */
  readonly id: string;
  /** Rises from claim to claim of all jobs. */
  readonly term: number;
  /** Another coordinator had the job before: what its manifest said is not here, and is found in the cache. */
  readonly takenOver: boolean;
}

export interface JobRecord {
  readonly version: number;
  readonly definition: JobDefinition;
  /** Undefined: this coordinator is the only one. */
  readonly claim?: JobClaim;
  /** While RUNNING its tally is empty: the tallies of the chunks are the truth. */
  readonly progress: JobProgress;
  readonly chunks: number;
  readonly cursor?: ListingCursor;
  /** Of the index file that the cursor belongs to. */
  readonly sourceVersion?: string;
  readonly verifyCursor?: ListingCursor;
  readonly verifyPass?: number;
  readonly repairs: boolean;
  readonly retries: number;
  readonly evictedBytes?: number;
  /** What it was waiting for, in milliseconds (core/limit-causes). */
  readonly limitedMs?: LimitSums;
  /** Folded at the end; before, the worker is asked. */
  readonly ledger?: Ledger;
  readonly bytesPerSecond?: number;
}

export class JobStore {
  readonly #dir: string;
  readonly #root: RootDatabase;
  readonly #jobs: Database<JobRecord, number>;
  readonly #chunks: Database<Buffer, [number, number]>;
  readonly #done: Database<Tally, [number, number]>;
  readonly #seen: Database<Buffer, [number, string]>;
  readonly #pending = new Set<Promise<unknown>>();
  #closed = false;

  /** Opens or creates the store below `dir`. Throws STORE_VERSION for another format, STORE_FOREIGN, STORE_CORRUPT. */
  constructor(dir: string) {
    mkdirSync(dir, { recursive: true });
    prepareDatabase(dir, 'jobs');
    this.#dir = dir;
    this.#root = open({ path: dir, maxDbs: 8, noSubdir: false, ...committing });
    this.#jobs = this.#root.openDB({ name: 'jobs', encoding: 'msgpack' });
    this.#chunks = this.#root.openDB({ name: 'chunks', encoding: 'binary' });
    this.#done = this.#root.openDB({ name: 'done', encoding: 'msgpack' });
    this.#seen = this.#root.openDB({ name: 'seen', encoding: 'binary' });
    this.#checkFormat(dir);
  }

  /** An empty one gets the format of this program; one that has jobs and says none is of an earlier release. */
  #checkFormat(dir: string): void {
    const meta = this.#root.openDB<number, string>({ name: 'meta', encoding: 'msgpack' });
    const found = meta.get('format') ?? (this.#jobs.getKeysCount({ limit: 1 }) > 0 ? 1 : undefined);
    if (found === undefined) meta.putSync('format', jobStoreFormat);
    else if (found !== jobStoreFormat) {
      void this.#root.close();
      throw refusal({ dir, kind: 'jobs', format: jobStoreFormat, steps: jobStoreSteps }, found);
    }
  }

  /** All jobs, oldest first. */
  jobs(): JobRecord[] {
    return Array.from(this.#jobs.getRange(), ({ value }) => value);
  }

  job(number: number): JobRecord | undefined {
    if (this.#closed) return undefined;
    return this.#jobs.get(number);
  }

  /** Resolves when it is durable, and all that was written before. */
  async putJob(record: Omit<JobRecord, 'version'>): Promise<void> {
    await this.saveJob(record);
    // It waits for what others have begun since as well, whose failure is told to them alone.
    await Promise.allSettled([this.#root.flushed]);
  }

  /**
   * Resolves when it is visible to a process that opens the store after a crash of this one. `seen`: what SeenPaths said
   * of the page that the cursor of the record stands behind.
   */
  async saveJob(record: Omit<JobRecord, 'version'>, seen: readonly string[] = []): Promise<void> {
    await this.#write(() => this.#put(record, seen));
  }

  async removeJobs(numbers: readonly number[]): Promise<void> {
    if (numbers.length > 0)
      await this.#write(() => {
        for (const number of numbers) void this.#jobs.remove(number);
      });
  }

  /** A page of the listing, and the record whose cursor stands behind it. */
  async addChunk(
    record: Omit<JobRecord, 'version'>,
    index: number,
    chunk: ManifestChunk,
    seen: readonly string[],
  ): Promise<void> {
    await this.#write(() => {
      void this.#chunks.put([record.definition.number, index], encodeChunk(chunk));
      this.#put(record, seen);
    });
  }

  #put(record: Omit<JobRecord, 'version'>, seen: readonly string[]): void {
    const { number } = record.definition;
    void this.#jobs.put(number, { version: jobStoreFormat, ...record });
    for (const key of seen) void this.#seen.put([number, key], nothing);
  }

  hasSeen(number: number, key: string): boolean {
    return !this.#closed && this.#seen.doesExist([number, key]);
  }

  chunk(number: number, index: number): ManifestChunk | undefined {
    if (this.#closed) return undefined;
    const bytes = this.#chunks.get([number, index]);
    return bytes === undefined ? undefined : decodeChunk(bytes);
  }

  /** All chunks, in order; with `open`, those that have unsettled files. */
  *chunks(number: number, { open = false } = {}): Iterable<number> {
    if (this.#closed) return;
    for (const key of this.#chunks.getKeys({ start: [number, 0], end: [number + 1, 0] })) {
      if (!open || !this.#done.doesExist(key)) yield key[1];
    }
  }

  async endChunk(number: number, index: number, tally: Tally): Promise<void> {
    await this.#write(() => void this.#done.put([number, index], tally));
  }

  *tallies(number: number): Iterable<Tally> {
    if (this.#closed) return;
    for (const { value } of this.#done.getRange({ start: [number, 0], end: [number + 1, 0] })) yield value;
  }

  /** Forgets manifest and tallies of a job; in steps, so that a long manifest does not hold up other writers. */
  async dropManifest(number: number): Promise<void> {
    const range = { start: [number, 0] as [number, number], end: [number + 1, 0] as [number, number] };
    for (const database of this.#manifestTables) {
      const limit = (database as unknown) === this.#chunks ? chunksAtOnce : rowsAtOnce;
      // A closed environment must not even be asked: LMDB would read unmapped memory.
      while (!this.#closed) {
        const keys = [...database.getKeys({ ...range, limit })];
        if (keys.length === 0) break;
        await this.#write(() => {
          for (const key of keys) void database.remove(key);
        });
      }
    }
  }

  /** Numbers of jobs that have chunks, tallies or seen paths. */
  manifests(): number[] {
    const numbers = new Set<number>();
    for (const database of this.#manifestTables) {
      let from = 0;
      for (;;) {
        const [key] = database.getKeys({ start: [from, 0], limit: 1 });
        if (key === undefined) break;
        numbers.add(key[0]);
        from = key[0] + 1;
      }
    }
    return [...numbers];
  }

  /** A string sorts behind every number, so that one range takes in the keys of each table. */
  get #manifestTables(): readonly Database<unknown, [number, number]>[] {
    return [this.#chunks, this.#done, this.#seen] as never;
  }

  /** Waits for what is being written; what comes later is dropped, as a crash would drop it. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await Promise.allSettled(this.#pending);
    // What could not be written was told to those who wanted it.
    await Promise.allSettled([this.#root.flushed]);
    await this.#root.close();
  }

  /** One transaction. */
  async #write(action: () => void): Promise<void> {
    if (this.#closed) return;
    const written = kept(this.#root.batch(action), { dir: this.#dir, kind: 'jobs' });
    this.#pending.add(written);
    try {
      await written;
    } finally {
      this.#pending.delete(written);
    }
  }
}
