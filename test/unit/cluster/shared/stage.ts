/** Several coordinators over one etcd in memory, each with its local store, and workers that share one disk. */
import { rmSync } from 'node:fs';
import type { JobServiceSettings } from '../../../../src/cluster/settings.ts';
import { openSharedJobs } from '../../../../src/cluster/shared/shared-jobs.ts';
import { soloFleet } from '../../../../src/cluster/solo-fleet.ts';
import type { JobService } from '../../../../src/cluster/types.ts';
import { parseLoadOptions } from '../../../../src/core/load-options.ts';
import { MemoryEtcd, type MemoryEtcdClient } from '../../../support/memory-etcd.ts';
import { type VirtualProcess, VirtualTime } from '../../../support/virtual-time.ts';
import { FakeDisk, FakeOrigins, FakeWorker } from '../fakes.ts';
import { folder } from '../stage.ts';
import { Lines } from '../wire/stage.ts';

export const leaseMs = 5000;
export const root = '/primed/test/jobs/';
export const dir = 's3://b/dir/';

export interface Coordinator {
  readonly name: string;
  readonly dir: string;
  readonly process: VirtualProcess;
  readonly client: MemoryEtcdClient;
  readonly worker: FakeWorker;
  readonly jobs: JobService;
  readonly log: Lines;
}

export class SharedStage {
  readonly time = new VirtualTime();
  readonly etcd = new MemoryEtcd(this.time);
  readonly origins = new FakeOrigins();
  readonly disk = new FakeDisk();
  readonly #opened: JobService[] = [];
  readonly #folders: string[] = [];
  settings: Partial<JobServiceSettings> = {};

  constructor(files = 40, sizeBytes = 5000) {
    for (let i = 0; i < files; i += 1) this.origins.put(`${dir}${String(i).padStart(5, '0')}`, sizeBytes);
  }

  /** Resolves when it holds a lease, and etcd has told it of the jobs. */
  async open(name: string, at = folder()): Promise<Coordinator> {
    const process = this.time.process();
    const client = this.etcd.client(process);
    const worker = new FakeWorker(this.disk);
    const log = new Lines();
    const jobs = await openSharedJobs({
      ...{ dir: at, root, leaseMs, log, clock: process, timers: process, etcd: client, origins: this.origins },
      fleet: soloFleet(worker, this.origins, log),
      url: `http://${name}:19999`,
      release: 'test',
      settings: { listingKeys: 10, listingRetryMs: 1, stopDeadlineMs: 300, ...this.settings },
      random: () => 0.5,
    });
    this.#opened.push(jobs);
    this.#folders.push(at);
    await this.time.until(() => jobs.trouble() === undefined);
    return { name, dir: at, process, client, worker, jobs, log };
  }

  /** kill -9: nothing of it happens any more, and its lease is not renewed. */
  kill({ process, worker, client }: Coordinator): void {
    process.end();
    this.etcd.clients.delete(client);
    worker.flowing = false;
    worker.pending.length = 0;
  }

  /** Waits until a coordinator says of the job of a path that it is in this state. */
  async untilState({ jobs }: Coordinator, state: string, path = dir): Promise<number> {
    return this.time.until(() => jobs.snapshot(path)?.state === state);
  }

  /** Bytes of files that were fetched more than once. */
  fetchedTwice(): [string, number][] {
    return [...this.disk.fetched].filter(([path, bytes]) => bytes > this.origins.objects.get(path)!.sizeBytes);
  }

  async close(): Promise<void> {
    await Promise.all(this.#opened.map((jobs) => jobs.close(100)));
    for (const at of this.#folders) rmSync(at, { recursive: true, force: true });
  }
}

export function submit({ jobs }: Coordinator, options: Record<string, unknown> = {}, path = dir) {
  return jobs.submit({ kind: 'path', path }, parseLoadOptions(options));
}
