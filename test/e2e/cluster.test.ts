/** Coordinator and workers as processes of their own: who fetches what, what a death costs, and that nothing is lost in it. */
import { afterEach, expect, it } from 'vitest';
import { KiB, MiB } from '../../src/core/units.ts';
import { ended, loaded, progress, submit } from '../support/api.ts';
import { type Cluster, openCluster, placesOf, readBack, untilLive, workersOf } from '../support/cluster.ts';
import { listedBy } from '../support/origin.ts';

const objects = [
  ...Array.from({ length: 3 }, (_, n) => ({ key: `data/large-${n}.bin`, sizeBytes: 24 * MiB + n * 4097 })),
  ...Array.from({ length: 60 }, (_, n) => ({ key: `data/small-${n}.bin`, sizeBytes: 16 * KiB + n })),
];
const totalBytes = objects.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
const path = 's3://demo/data/';

let cluster: Cluster | undefined;
afterEach(async () => {
  await cluster?.close();
  cluster = undefined;
});

const names = (...ids: string[]) => ({ workers: ids, origin: { objects } });

it('three workers share a load with two replicas, and the origin is read once', async () => {
  cluster = await openCluster(names('w1', 'w2', 'w3'));
  const { api } = cluster.coordinator;
  cluster.origin.resetStats();
  const report = await loaded(api, path, { replicas: '2' });
  expect(report).toMatchObject({ mJobState: 'SUCCEEDED', mLoadedByteCount: totalBytes });
  expect(report.ledger).toMatchObject({ originBytes: totalBytes, peerBytes: totalBytes, inFlightBytes: 0 });
  const sent = cluster.origin.requests.filter((one) => one.operation === 'GetObject');
  expect(sent.reduce((sum, { bytesSent }) => sum + bytesSent, 0)).toBe(totalBytes);
  const places = await placesOf(cluster, await listedBy(cluster.origin, 'data/'));
  expect(places.map((ids) => new Set(ids).size)).toEqual(places.map(() => 2));
  for (const id of ['w1', 'w2', 'w3']) expect(places.filter((ids) => ids.includes(id)).length).toBeGreaterThan(20);
});

it('more replicas than workers are refused with both numbers', async () => {
  // None is taken for lost, however busy the machine.
  cluster = await openCluster({ ...names('w1', 'w2'), env: { PRIMED_CLUSTER_LEASE: '60s' } });
  const answer = await submit(cluster.coordinator.api, path, { replicas: '3' });
  expect([answer.status, answer.json().message]).toEqual([400, expect.stringMatching(/3.*2 live workers/)]);
});

it('a worker that is killed in the middle costs time: the job has every byte on those that live', async () => {
  cluster = await openCluster(names('w1', 'w2', 'w3'));
  const { api } = cluster.coordinator;
  cluster.origin.setKnobs({ bytesPerSecond: 24 * MiB });
  expect((await submit(api, path)).status).toBe(200);
  await expect
    .poll(async () => (await progress(api, path)).json().ledger.cachedBytes, { timeout: 20_000, interval: 20 })
    .toBeGreaterThan(totalBytes / 4);
  await cluster.kill('w2');
  expect((await progress(api, path)).json().mJobState).toBe('RUNNING');
  cluster.origin.setKnobs({ bytesPerSecond: 0 });
  const report = await ended(api, path);
  expect(report).toMatchObject({ mJobState: 'SUCCEEDED', mLoadedByteCount: totalBytes, ledger: { inFlightBytes: 0 } });
  expect(report.ledger.discardedBytes.lost).toBeGreaterThan(0);
  const places = await placesOf(cluster, await listedBy(cluster.origin, 'data/'));
  expect(places.filter((ids) => ids.length === 0)).toEqual([]);
  expect((await workersOf(cluster)).find(({ id }) => id === 'w2')?.state).toBe('LOST');
  await readBack(cluster, 'w3');
});

it('a coordinator that is killed goes on after its restart, and nothing that was durable is fetched again', async () => {
  cluster = await openCluster(names('w1', 'w2', 'w3'));
  cluster.origin.setKnobs({ bytesPerSecond: 24 * MiB });
  expect((await submit(cluster.coordinator.api, path)).status).toBe(200);
  const cached = async () => (await progress(cluster!.coordinator.api, path)).json().ledger.cachedBytes;
  await expect.poll(cached, { timeout: 20_000, interval: 20 }).toBeGreaterThan(totalBytes / 4);
  const before = await cached();
  await cluster.restartCoordinator();
  await untilLive(cluster, ['w1', 'w2', 'w3']);
  cluster.origin.setKnobs({ bytesPerSecond: 0 });
  const report = await ended(cluster.coordinator.api, path);
  expect(report).toMatchObject({ mJobState: 'SUCCEEDED', mLoadedByteCount: totalBytes, ledger: { inFlightBytes: 0 } });
  const { originBytes, discardedBytes } = report.ledger;
  const discarded = Object.values<number>(discardedBytes).reduce((sum, bytes) => sum + bytes, 0);
  expect(before).toBeGreaterThan(0);
  expect(originBytes - discarded).toBe(totalBytes);
  const places = await placesOf(cluster, await listedBy(cluster.origin, 'data/'));
  expect(places.map((ids) => ids.length)).toEqual(places.map(() => 1));
  await readBack(cluster, 'w2');
});

it('a job waits while there is no worker, says so, and starts when one joins', async () => {
  cluster = await openCluster(names());
  const { api } = cluster.coordinator;
  expect((await submit(api, path)).status).toBe(200);
  await expect
    .poll(async () => (await progress(api, path, 'TEXT')).text, { timeout: 20_000, interval: 50 })
    .toMatch(/no worker/);
  await cluster.start('w1');
  expect(await ended(api, path)).toMatchObject({ mJobState: 'SUCCEEDED', mLoadedByteCount: totalBytes });
});
