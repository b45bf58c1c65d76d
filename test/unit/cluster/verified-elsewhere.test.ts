/** What lies on other workers than the ring says now: it is verified where it is, and not read from the origin again. */
import { afterEach, describe, expect, test } from 'vitest';
import { Fleet } from '../../../src/cluster/fleet.ts';
import { openJobService } from '../../../src/cluster/job-service.ts';
import { ringPlacement } from '../../../src/cluster/placement.ts';
import type { JobSnapshot } from '../../../src/core/job.ts';
import { parseLoadOptions } from '../../../src/core/load-options.ts';
import type { LoadId } from '../../../src/core/types.ts';
import { FakeCluster } from './fake-links.ts';
import { entryOf, FakeOrigins, silent } from './fakes.ts';
import { cleanUp, dir, folder, ManualClock } from './stage.ts';

afterEach(cleanUp);

const paths = Array.from({ length: 12 }, (_, at) => `${dir}${String(at).padStart(2, '0')}`);
const totalBytes = paths.length * 5000;
const whole = (path: string) => {
  const file = entryOf(path, 5000);
  return { file, index: 0, offset: 0, length: file.sizeBytes };
};

async function verifiedLoad(cluster: FakeCluster, options: Record<string, string> = {}): Promise<JobSnapshot> {
  const origins = new FakeOrigins();
  for (const path of paths) origins.put(path, 5000);
  const placement = ringPlacement(cluster);
  const fleet = new Fleet({ members: cluster, placement, origins, maxRestarts: 1, log: silent });
  const settings = { listingKeys: 4, verifyConcurrency: 1 };
  const jobs = await openJobService({ dir: folder(), fleet, origins, clock: new ManualClock(), log: silent, settings });
  const { jobId } = await jobs.submit({ kind: 'path', path: dir }, parseLoadOptions({ verify: 'true', ...options }));
  const job = await jobs.ended(jobId);
  await jobs.close();
  return job;
}

/** Calls once, before the first file is verified anywhere. */
function beforeVerify(cluster: FakeCluster, act: () => void): () => number {
  let calls = 0;
  for (const link of cluster.links.values()) {
    const verify = link.verify.bind(link);
    link.verify = (run, file, segments) => {
      calls += 1;
      if (calls === 1) act();
      return verify(run, file, segments);
    };
  }
  return () => calls;
}

describe.each(['1', '2'])('with %s replicas', (replicas) => {
  const verified = { state: 'SUCCEEDED', totalFiles: 12, verifiedFiles: 12, loadedFiles: 12, failedFiles: 0 };

  test('workers that join while files are verified cost no byte of the origin', async () => {
    const cluster = new FakeCluster('a', 'b');
    const calls = beforeVerify(cluster, () => {
      cluster.join('c');
      cluster.join('d');
    });
    const job = await verifiedLoad(cluster, { replicas });
    expect(job).toMatchObject({ ...verified, totalBytes });
    expect(calls()).toBeGreaterThanOrEqual(12);
    // Some of the files belong to them now, and are left where they are.
    const ring = ringPlacement(cluster);
    const moved = paths.filter((path) => !['a', 'b'].includes(ring.owners(path, 0, 1)[0]!.id));
    expect(moved.length).toBeGreaterThan(0);
    expect(cluster.source.sentBytes).toBe(totalBytes);
  });

  test.each(['STORE_IO', 'WORKER_REFUSED'] as const)('one that fails with %s fails no job', async (code) => {
    const cluster = new FakeCluster('a', 'b', 'c');
    cluster.link('b').failing = code;
    const job = await verifiedLoad(cluster, { replicas });
    expect(job).toMatchObject({ ...verified, totalBytes });
    expect(cluster.link('b').loads).toBeGreaterThan(0);
    expect(cluster.source.sentBytes).toBe(totalBytes);
    for (const path of paths) {
      const there = cluster.holders(whole(path));
      expect([path, there.length, there.includes('b' as never)]).toEqual([path, Number(replicas), false]);
    }
  });
});

test('a worker whose disk begins to fail with what it has is passed over: another one has it, and that is verified', async () => {
  const cluster = new FakeCluster('a', 'b', 'c');
  const own = paths.filter((path) => ringPlacement(cluster).owners(path, 0, 1)[0]!.id === 'b');
  beforeVerify(cluster, () => {
    cluster.link('b').failing = 'STORE_IO';
    for (const path of own) cluster.link('b').bad.add(path);
  });
  const job = await verifiedLoad(cluster);
  expect(own.length).toBeGreaterThan(0);
  expect(job).toMatchObject({ state: 'SUCCEEDED', verifiedFiles: 12, failedFiles: 0 });
  for (const path of own) expect(cluster.holders(whole(path)).filter((id) => id !== 'b')).toHaveLength(1);
});

test('what goes from a worker between being found there and being verified is looked for, and is no bad page', async () => {
  const cluster = new FakeCluster('a', 'b');
  const victim = ringPlacement(cluster).owners(paths[0]!, 0, 1)[0]!.id;
  beforeVerify(cluster, () => cluster.disk(victim).segments.clear());
  const job = await verifiedLoad(cluster);
  expect(job).toMatchObject({ state: 'SUCCEEDED', totalFiles: 12, totalBytes, verifiedFiles: 12 });
  const loads = new Set<LoadId>();
  for (const disk of cluster.disks.values()) for (const { load } of disk.segments.values()) loads.add(load);
  // By the job itself, not by a repair.
  expect(loads.size).toBe(1);
});

test('a file that fails says on which worker, and what that said of its disk', async () => {
  const cluster = new FakeCluster('a', 'b');
  cluster.link('b').failing = 'STORE_IO';
  const job = await verifiedLoad(cluster, { replicas: '2' });
  expect(job.state).toBe('FAILED');
  expect(job.failures[0]).toMatchObject({ code: 'STORE_IO', message: 'worker b: b fails' });
});

test('pages that are bad are said to be so of their worker', async () => {
  const cluster = new FakeCluster('a', 'b');
  const { id } = ringPlacement(cluster).owners(paths[0]!, 0, 1)[0]!;
  cluster.link(id).bad.add(paths[0]!);
  const job = await verifiedLoad(cluster);
  expect(job).toMatchObject({ state: 'FAILED', verifiedFiles: 11, failedFiles: 1 });
  const message = `worker ${id}: 1 pages are bad; also after it was loaded anew`;
  expect(job.failures[0]).toMatchObject({ path: paths[0], code: 'STORE_CORRUPT', message });
});
