/** A job over several workers, of which one is slow, or one file never ends: the others go on. */
import { afterEach, expect, it } from 'vitest';
import { openJobService } from '../../../src/cluster/job-service.ts';
import { ringPlacement } from '../../../src/cluster/placement.ts';
import type { JobService } from '../../../src/cluster/types.ts';
import { parseLoadOptions } from '../../../src/core/load-options.ts';
import type { Segment } from '../../../src/core/segments.ts';
import { MiB } from '../../../src/core/units.ts';
import { fleetOf } from './fake-fleet.ts';
import { FakeCluster } from './fake-links.ts';
import { FakeOrigins, silent } from './fakes.ts';
import { cleanUp, dir, folder, ManualClock, until } from './stage.ts';

let jobs: JobService | undefined;
let release = (): void => undefined;
afterEach(async () => {
  release();
  await jobs?.close();
  jobs = undefined;
  await cleanUp();
});

const files = 400;
const batchSize = 10;

function manyFiles(): FakeOrigins {
  const origins = new FakeOrigins();
  for (let i = 0; i < files; i += 1) origins.put(`${dir}${String(i).padStart(5, '0')}`, 5000, 'v1');
  return origins;
}

async function openJobs(cluster: FakeCluster, origins = manyFiles()): Promise<JobService> {
  const settings = { listingKeys: 50, listingRetryMs: 1, tickMs: 20 };
  jobs = await openJobService({
    dir: folder(),
    fleet: fleetOf(cluster),
    origins,
    clock: new ManualClock(),
    log: silent,
    settings,
  });
  return jobs;
}

/** Loads that `which` says hang until the test lets them go. */
function hold(cluster: FakeCluster, which: (worker: string, segment: Segment) => boolean): { readonly count: number } {
  const held = { count: 0 };
  const gate = new Promise<void>((resolve) => {
    release = resolve;
  });
  for (const [id, link] of cluster.links) {
    link.delay = async (segment) => {
      if (!which(id, segment)) return;
      held.count += 1;
      await gate;
    };
  }
  return held;
}

it('a worker that is slow holds up its own files, and nobody else’s', async () => {
  const cluster = new FakeCluster('a', 'b', 'c', 'd');
  const service = await openJobs(cluster);
  const held = hold(cluster, (worker) => worker === 'a');
  const { jobId } = await service.submit({ kind: 'path', path: dir }, parseLoadOptions({ batchSize }));
  const loaded = (): number => service.byId(jobId)!.loadedFiles;
  // What belongs to the others is all there while the slow one has not ended a single file.
  await until(() => held.count === 2 * batchSize);
  const { owners } = ringPlacement(cluster);
  const paths = Array.from({ length: files }, (_, i) => `${dir}${String(i).padStart(5, '0')}`);
  const ofOthers = paths.filter((path) => owners(path, 0, 1)[0]!.id !== 'a').length;
  await until(() => loaded() === ofOthers);
  expect(held.count).toBe(2 * batchSize);
  expect(cluster.disk('a').segments.size).toBe(0);
  release();
  expect(await service.ended(jobId)).toMatchObject({ state: 'SUCCEEDED', loadedFiles: files });
  expect(cluster.disk('a').segments.size).toBe(files - ofOthers);
});

it('a file that never ends keeps the job running, and no other file waiting', async () => {
  const cluster = new FakeCluster('a', 'b');
  const service = await openJobs(cluster);
  hold(cluster, (_worker, { file }) => file.path.endsWith('00007'));
  const { jobId } = await service.submit({ kind: 'path', path: dir }, parseLoadOptions({ batchSize: 1 }));
  await until(() => service.byId(jobId)!.loadedFiles === files - 1);
  expect(service.byId(jobId)!.state).toBe('RUNNING');
  release();
  expect((await service.ended(jobId)).state).toBe('SUCCEEDED');
});

it('a worker that is lost gives its place, with the files that waited for it', async () => {
  const cluster = new FakeCluster('a', 'b', 'c');
  const service = await openJobs(cluster);
  const held = hold(cluster, (worker) => worker === 'a');
  const { jobId } = await service.submit({ kind: 'path', path: dir }, parseLoadOptions({ batchSize }));
  await until(() => held.count === 2 * batchSize);
  cluster.lose('a');
  expect(await service.ended(jobId)).toMatchObject({ state: 'SUCCEEDED', loadedFiles: files });
});

it('what was set aside of a file is loaded when no other is left, and the rest copied by workers that have joined meanwhile', async () => {
  const cluster = new FakeCluster('a', 'b');
  const origins = new FakeOrigins();
  const count = 40;
  origins.put(`${dir}large`, count * MiB, 'v1');
  const service = await openJobs(cluster, origins);
  let setAside = 0;
  for (const link of cluster.links.values())
    link.setsAside = async ({ index }) => {
      if (index !== count - 1) return false;
      setAside += 1;
      // All others are there by then.
      await until(() => cluster.disk('a').segments.size + cluster.disk('b').segments.size === count - 1);
      for (const name of ['c', 'd']) cluster.join(name);
      return true;
    };
  const { jobId } = await service.submit({ kind: 'path', path: dir }, parseLoadOptions({ segmentSize: MiB }));
  expect(await service.ended(jobId)).toMatchObject({ state: 'SUCCEEDED' });
  expect(setAside).toBe(1);
  for (const name of ['c', 'd']) expect(cluster.disk(name).segments.size).toBeGreaterThan(2);
  expect(cluster.source.sent.size).toBe(count);
  expect(cluster.source.sentBytes).toBe(count * MiB);
});
