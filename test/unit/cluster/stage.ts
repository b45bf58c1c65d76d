/** A job service over the fakes, in a folder of its own; `crash` opens a copy of what a kill -9 would leave behind. */
import { cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openJobService } from '../../../src/cluster/job-service.ts';
import { type JobRecord, JobStore } from '../../../src/cluster/job-store.ts';
import type { JobServiceSettings } from '../../../src/cluster/settings.ts';
import { soloFleet } from '../../../src/cluster/solo-fleet.ts';
import type { JobObserver, OpenJobService } from '../../../src/cluster/types.ts';
import { PrimedError } from '../../../src/core/errors.ts';
import type { JobSnapshot } from '../../../src/core/job.ts';
import { parseLoadOptions } from '../../../src/core/load-options.ts';
import type { Clock } from '../../../src/core/types.ts';
import { type FakeDisk, FakeOrigins, FakeWorker, silent } from './fakes.ts';

export class ManualClock implements Clock {
  nowMs = 1_800_000_000_000;
  monotonicMs(): number {
    return this.nowMs;
  }
  wallMs(): number {
    return this.nowMs;
  }
}

export interface Stage {
  readonly dir: string;
  readonly origins: FakeOrigins;
  readonly worker: FakeWorker;
  readonly clock: ManualClock;
  readonly jobs: OpenJobService;
}

const folders: string[] = [];
const services: OpenJobService[] = [];

export async function openStage(
  options: {
    dir?: string;
    origins?: FakeOrigins;
    disk?: FakeDisk;
    clock?: ManualClock;
    settings?: Partial<JobServiceSettings>;
    worker?: FakeWorker;
    observe?: JobObserver;
  } = {},
): Promise<Stage> {
  const dir = options.dir ?? folder();
  const origins = options.origins ?? new FakeOrigins();
  const worker = options.worker ?? new FakeWorker(options.disk);
  const clock = options.clock ?? new ManualClock();
  const settings = { listingKeys: 10, listingRetryMs: 1, tickMs: 20, ...options.settings };
  const jobs = await openJobService({
    dir,
    fleet: soloFleet(worker, origins, silent),
    origins,
    clock,
    log: silent,
    settings,
    ...(options.observe === undefined ? {} : { observe: options.observe }),
  });
  services.push(jobs);
  return { dir, origins, worker, clock, jobs };
}

/** What the next process finds: the files of the store as they are now, and the worker's disk. */
export async function crash(stage: Stage, settings?: Partial<JobServiceSettings>): Promise<Stage> {
  const dir = copied(stage.dir);
  const { origins, clock } = stage;
  const disk = stage.worker.disk;
  // The dead process must not write to the disk that lives on.
  stage.worker.flowing = false;
  stage.worker.pending.length = 0;
  return openStage({ dir, origins, disk, clock, ...(settings === undefined ? {} : { settings }) });
}

/** The jobs that the next process would find after a crash now. */
export async function storedJobs(stage: Stage): Promise<JobRecord[]> {
  const store = new JobStore(copied(stage.dir));
  try {
    return [...store.jobs()];
  } finally {
    await store.close();
  }
}

/**
 * A copy of a store that its process goes on writing. Only one during which no commit ended is what a crash leaves: the
 * two pages at the head of the file, which each commit rewrites, are the same before and after.
 */
export function copied(from: string): string {
  const headOf = (dir: string): Buffer => readFileSync(join(dir, 'data.mdb')).subarray(0, 2 * 4096);
  for (let attempt = 0; attempt < 1000; attempt += 1) {
    const dir = folder();
    const before = headOf(from);
    // the lock file belongs to the process that made it
    cpSync(from, dir, { recursive: true, filter: (path) => !path.endsWith('lock.mdb') });
    if (before.equals(headOf(from)) && before.equals(headOf(dir))) return dir;
  }
  throw new Error(`${from} was never still for as long as a copy takes`);
}

/** The directory that most tests load. */
export const dir = 's3://b/dir/';

/** A stage with so many files in `dir`. */
export async function staged(
  files: number,
  options: Parameters<typeof openStage>[0] = {},
  sizeBytes = 5000,
): Promise<Stage> {
  const stage = await openStage(options);
  for (let i = 0; i < files; i += 1) stage.origins.put(`${dir}${String(i).padStart(5, '0')}`, sizeBytes);
  return stage;
}

export async function load(stage: Stage, path: string, options: Record<string, unknown> = {}): Promise<JobSnapshot> {
  const { jobId } = await stage.jobs.submit({ kind: 'path', path }, parseLoadOptions(options));
  return stage.jobs.ended(jobId);
}

/** So long a disk may take over a commit while others keep it busy: many turns are soon over. */
const untilNs = 30_000_000_000n;

/** Waits for something that is on its way, turn by turn of the event loop; a bounded time. */
export async function until(what: () => boolean, why = String(what)): Promise<void> {
  const fromNs = process.hrtime.bigint();
  while (process.hrtime.bigint() - fromNs < untilNs) {
    if (what()) return;
    await new Promise((resolve) => setImmediate(resolve));
  }
  throw new Error(`it never came to ${why}`);
}

/** Code and message of what a promise is rejected with. */
export async function codeOf(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => 'none',
    (error: unknown) =>
      error instanceof PrimedError ? `${error.code}: ${error.message}` : `not of the catalogue: ${String(error)}`,
  );
}

/** A promise that is not kept, until it is rejected. */
export function hanging(): { promise: Promise<void>; reject: (error: unknown) => void } {
  let reject: (error: unknown) => void = () => undefined;
  const promise = new Promise<void>((_, no) => {
    reject = no;
  });
  return { promise, reject };
}

export function folder(): string {
  const dir = mkdtempSync(join(tmpdir(), 'primed-jobs-'));
  folders.push(dir);
  return dir;
}

export async function cleanUp(): Promise<void> {
  await Promise.all(services.splice(0).map((service) => service.close()));
  for (const dir of folders.splice(0)) rmSync(dir, { recursive: true, force: true });
}
