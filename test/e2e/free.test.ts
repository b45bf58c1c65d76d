/** `job free`, of the real daemon and over a cluster: what goes, what is said of it, and what a death in the middle costs. */
import { afterEach, expect, it } from 'vitest';
import { KiB, MiB } from '../../src/core/units.ts';
import { call, type Json, loaded, progress, stop, submit } from '../support/api.ts';
import { primed } from '../support/cli.ts';
import { type Cluster, openCluster, placesOf, untilLive } from '../support/cluster.ts';
import { listedBy } from '../support/origin.ts';

const objects = [
  ...Array.from({ length: 3 }, (_, n) => ({ key: `data/large-${n}.bin`, sizeBytes: 24 * MiB + n * 4097 })),
  ...Array.from({ length: 60 }, (_, n) => ({ key: `data/small-${n}.bin`, sizeBytes: 16 * KiB + n })),
  { key: 'other/kept.bin', sizeBytes: MiB },
];
const dataBytes = objects
  .filter(({ key }) => key.startsWith('data/'))
  .reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
const path = 's3://demo/data/';

let cluster: Cluster | undefined;
afterEach(async () => {
  await cluster?.close();
  cluster = undefined;
});

const free = (base: string, verb: string, body: object) => call(base, 'POST', `/api/v1/master/${verb}_job/free`, body);

async function progressOf(of: Cluster): Promise<Json> {
  return (await free(of.coordinator.api, 'progress', { path, format: 'JSON' })).json();
}

async function freed(of: Cluster): Promise<Json> {
  let report: Json;
  await expect
    .poll(
      async () => {
        report = await progressOf(of);
        return report.mJobState;
      },
      { timeout: 60_000, interval: 50 },
    )
    .toMatch(/SUCCEEDED|FAILED|STOPPED/);
  return report;
}

/** A lease that a busy machine does not let run out. */
const env = { PRIMED_CLUSTER_LEASE: '5s' };

/** Bytes that the stores of all live workers have in use. */
async function usedBytes({ workers }: Cluster): Promise<number> {
  let sum = 0;
  for (const { api } of workers.values()) {
    const metrics = (await call(api, 'GET', '/metrics')).text;
    sum += Number(/^primed_store_used_bytes(?:\{[^}]*\})? (\S+)$/m.exec(metrics)?.[1]);
  }
  return sum;
}

it('a dry run says what would go; then it goes from every worker, and its space is free again', async () => {
  cluster = await openCluster({ workers: ['w1', 'w2', 'w3'], origin: { objects }, env });
  const { api } = cluster.coordinator;
  await loaded(api, 's3://demo/other/');
  const before = await usedBytes(cluster);
  await loaded(api, path, { replicas: '2' });
  expect(await usedBytes(cluster)).toBeGreaterThanOrEqual(before + 2 * dataBytes);
  const dry = await primed(api, ['job', 'free', '--dry-run', '--format', 'JSON', path]);
  expect(dry.code).toBe(0);
  expect(JSON.parse(dry.stdout)).toMatchObject({
    dryRun: true,
    mJobState: 'SUCCEEDED',
    bytes: 2 * dataBytes,
    freedBytes: 0,
  });
  expect(await usedBytes(cluster)).toBeGreaterThanOrEqual(before + 2 * dataBytes);
  const said = await primed(api, ['job', 'free', path]);
  expect([said.code, said.stdout]).toEqual([0, expect.stringContaining('\tJob State: SUCCEEDED\n')]);
  const report = await freed(cluster);
  expect(report).toMatchObject({
    mJobState: 'SUCCEEDED',
    bytes: 2 * dataBytes,
    freedBytes: 2 * dataBytes,
    absentWorkers: [],
  });
  expect(report.workers.map(({ worker }: Json) => worker).sort()).toEqual(['w1', 'w2', 'w3']);
  expect(await usedBytes(cluster)).toBe(before);
  const places = await placesOf(cluster, await listedBy(cluster.origin, 'data/'));
  expect(places.filter((ids) => ids.length > 0)).toEqual([]);
  expect((await placesOf(cluster, await listedBy(cluster.origin, 'other/'))).flat()).toHaveLength(1);
  const rows = (await call(api, 'GET', '/api/v1/master/list_job?job-type=FREE')).json();
  expect(rows.map(({ type, options }: Json) => [type, options.dryRun])).toEqual([
    ['FREE', false],
    ['FREE', true],
  ]);
});

it('what a running load has is not pulled away, and goes when that is stopped, half loaded files too', async () => {
  cluster = await openCluster({ workers: ['w1', 'w2'], origin: { objects }, env });
  const { api } = cluster.coordinator;
  cluster.origin.setKnobs({ bytesPerSecond: 8 * MiB });
  const { jobId } = (await submit(api, path)).json();
  await expect
    .poll(async () => (await progress(api, path)).json().ledger.cachedBytes, { timeout: 30_000, interval: 20 })
    .toBeGreaterThan(MiB);
  for (const asked of [path, 's3://demo/', 's3://demo/data/large-0.bin']) {
    const refused = await free(api, 'submit', { path: asked });
    expect([refused.status, refused.json().message]).toEqual([409, expect.stringContaining(jobId)]);
  }
  await stop(api, path);
  expect(await usedBytes(cluster)).toBeGreaterThan(0);
  expect((await free(api, 'submit', { path })).status).toBe(200);
  expect(await freed(cluster)).toMatchObject({ mJobState: 'SUCCEEDED' });
  expect(await usedBytes(cluster)).toBe(0);
});

it('a worker that is away is named, and the job has failed; when it is back the rest goes', async () => {
  cluster = await openCluster({ workers: ['w1', 'w2'], origin: { objects }, env });
  const { api } = cluster.coordinator;
  await loaded(api, path, { replicas: '2' });
  await cluster.kill('w2');
  expect((await free(api, 'submit', { path })).status).toBe(200);
  const report = await freed(cluster);
  expect(report).toMatchObject({ mJobState: 'FAILED', absentWorkers: ['w2'], reason: expect.stringContaining('w2') });
  expect(await usedBytes(cluster)).toBe(0);
  await cluster.start('w2');
  expect(await usedBytes(cluster)).toBeGreaterThanOrEqual(dataBytes);
  expect((await free(api, 'submit', { path })).status).toBe(200);
  expect(await freed(cluster)).toMatchObject({ mJobState: 'SUCCEEDED', freedBytes: dataBytes });
  expect(await usedBytes(cluster)).toBe(0);
});

it('a worker that hangs and is killed in the middle loses what it had when it is back', async () => {
  cluster = await openCluster({ workers: ['w1', 'w2'], origin: { objects }, env: { PRIMED_CLUSTER_LEASE: '30s' } });
  const { api } = cluster.coordinator;
  await loaded(api, path, { replicas: '2' });
  process.kill(cluster.workers.get('w1')!.pid, 'SIGSTOP');
  expect((await free(api, 'submit', { path })).status).toBe(200);
  // The other worker is done, and this one has not answered.
  const half = { mJobState: 'RUNNING', freedBytes: dataBytes, workers: [{ worker: 'w2', done: true }] };
  await expect.poll(() => progressOf(cluster!), { timeout: 30_000 }).toMatchObject(half);
  await cluster.kill('w1');
  await cluster.start('w1');
  expect(await freed(cluster)).toMatchObject({ mJobState: 'SUCCEEDED', freedBytes: 2 * dataBytes, absentWorkers: [] });
  expect(await usedBytes(cluster)).toBe(0);
});

it('goes on after kill -9 of the coordinator, and says all that has gone', async () => {
  cluster = await openCluster({ workers: ['w1', 'w2'], origin: { objects }, env: { PRIMED_CLUSTER_LEASE: '30s' } });
  await loaded(cluster.coordinator.api, path, { replicas: '2' });
  const { pid } = cluster.workers.get('w1')!;
  process.kill(pid, 'SIGSTOP');
  const { jobId } = (await free(cluster.coordinator.api, 'submit', { path })).json();
  // One worker is done, and the other has not answered, when the coordinator dies.
  const half = { mJobState: 'RUNNING', freedBytes: dataBytes, workers: [{ worker: 'w2', done: true }] };
  await expect.poll(() => progressOf(cluster!), { timeout: 30_000 }).toMatchObject(half);
  await cluster.restartCoordinator();
  process.kill(pid, 'SIGCONT');
  await untilLive(cluster, ['w1', 'w2']);
  expect(await freed(cluster)).toMatchObject({ jobId, mJobState: 'SUCCEEDED', freedBytes: 2 * dataBytes });
  expect(await usedBytes(cluster)).toBe(0);
});
