/** Limits on what all workers together ask of an origin: held in every second, changed while they work, and divided anew. */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, it } from 'vitest';
import { KiB, MiB } from '../../src/core/units.ts';
import { call, ended, type Json, progress, submit } from '../support/api.ts';
import { type Cluster, openCluster } from '../support/cluster.ts';
import type { Daemon } from '../support/daemon.ts';
import { greedyTaker, largestShare, type Reading, readCounter, sumOf } from '../support/rates.ts';
import { openScene, type Scene } from '../support/scene.ts';

let cluster: Cluster | undefined;
let scene: Scene | undefined;
afterEach(async () => {
  await cluster?.close();
  await scene?.close();
  cluster = undefined;
  scene = undefined;
});

const origin = 's3://demo/';
const path = 's3://demo/data/';
const eventually = { timeout: 40_000, interval: 20 };
const objectsOf = (count: number, sizeBytes: number) =>
  Array.from({ length: count }, (_, n) => ({ key: `data/${n}`, sizeBytes }));

const limit = async (api: string, change: object): Promise<Json> => {
  const answer = await call(api, 'PUT', '/api/v1/ufs/limit', { path: 's3://demo', ...change });
  expect([answer.status, answer.text]).toEqual([200, expect.any(String)]);
  return answer.json();
};

/** What each worker may read, of those that may read something. */
async function sharesOf(api: string): Promise<Map<string, number>> {
  const rows: Json[] = (await call(api, 'GET', '/api/v1/ufs')).json();
  const shares: Json[] = rows.find((row) => row.origin === origin)?.shares ?? [];
  return new Map(
    shares.filter(({ bytesPerSecond }) => (bytesPerSecond ?? 0) > 0).map((one) => [one.taker, one.bytesPerSecond]),
  );
}

const summed = (shares: Map<string, number>): number => [...shares.values()].reduce((sum, one) => sum + one, 0);

/** Readings of what all workers have received, until `over` says so. */
async function readingsUntil({ workers }: Cluster, over: (last: Reading) => boolean): Promise<Reading[]> {
  const readings: Reading[] = [];
  for (;;) {
    const each = [...workers.values()].map(({ ports }) =>
      readCounter(`http://127.0.0.1:${ports.http}`, 'primed_origin_bytes_total'),
    );
    readings.push(sumOf(await Promise.all(each)));
    if (over(readings.at(-1)!)) return readings;
    await sleep(20);
  }
}

/** `lateMs`: a request may have lain in its socket for as long as this process was busy with something else. */
function arrivalsOf(requests: readonly { readonly at: number }[], lateMs: number): Reading[] {
  const inOrder = [...requests].sort((a, b) => a.at - b.at);
  return inOrder.map(({ at }, count) => ({ fromMs: at - lateMs, toMs: at, count }));
}

it('three workers keep to a limit together, to another one that is set meanwhile, and divide it anew when one dies', async () => {
  const objects = objectsOf(40, 3 * MiB);
  cluster = await openCluster({ workers: ['w1', 'w2', 'w3'], origin: { objects } });
  const { api } = cluster.coordinator;
  expect(await limit(api, { bandwidth: '12MB' })).toMatchObject({ origin, bytesPerSecond: 12 * MiB, source: 'set' });
  expect((await submit(api, path)).status).toBe(200);

  const first = await readingsUntil(cluster, ({ count }) => count > 36 * MiB);
  expect(first.length).toBeGreaterThan(10);
  expect(largestShare(first, 12 * MiB).share).toBeLessThanOrEqual(1.05);
  const shares = await sharesOf(api);
  expect([...shares.keys()].sort()).toEqual(['w1', 'w2', 'w3']);
  expect(summed(shares)).toBeLessThanOrEqual(12 * MiB);

  await limit(api, { bandwidth: '6MB' });
  await expect
    .poll(async () => summed(await sharesOf(api)), { timeout: 20_000, interval: 20 })
    .toBeLessThanOrEqual(6 * MiB);
  const second = await readingsUntil(cluster, ({ count }) => count > 60 * MiB);
  expect(largestShare(second, 6 * MiB).share).toBeLessThanOrEqual(1.05);
  expect(largestShare(second, 6 * MiB).windows).toBeGreaterThan(10);

  const had = (await sharesOf(api)).get('w2')!;
  expect(had).toBeGreaterThan(0);
  await cluster.kill('w2');
  await expect
    .poll(async () => [...(await sharesOf(api)).keys()].sort(), { timeout: 20_000, interval: 20 })
    .toEqual(['w1', 'w3']);
  await expect
    .poll(async () => summed(await sharesOf(api)), { timeout: 20_000, interval: 20 })
    .toBeGreaterThan(5.5 * MiB);
  const third = await readingsUntil(cluster, ({ count }) => count > second.at(-1)!.count * 0.7 + 10 * MiB);
  expect(largestShare(third, 6 * MiB).share).toBeLessThanOrEqual(1.05);
  expect((await progress(api, path)).json().mJobState).toBe('RUNNING');

  expect(await limit(api, { bandwidth: 'none', requests: 'none' })).not.toHaveProperty('bytesPerSecond');
  expect(await ended(api, path)).toMatchObject({ mJobState: 'SUCCEEDED', ledger: { inFlightBytes: 0 } });
});

it('requests of workers and of the coordinator together keep to their limit, also over the death of a coordinator', async () => {
  const perSecond = 120;
  const count = 480;
  const objects = objectsOf(count, 2 * KiB);
  cluster = await openCluster({ workers: ['w1', 'w2'], origin: { objects, logLimit: 100_000 } });
  const { origin: served, workers } = cluster;
  await limit(cluster.coordinator.api, { requests: perSecond });
  expect((await sharesOf(cluster.coordinator.api)).size).toBe(0);
  // It has given nothing to anybody, and what it has said ends with its lease: the next one has other shares to give.
  await cluster.coordinator.kill();
  const isWithout = (one: Daemon): boolean => /away for longer than the lease/.test(one.log());
  await expect.poll(() => [...workers.values()].map(isWithout), eventually).toEqual([true, true]);
  await cluster.restartCoordinator();
  const { api } = cluster.coordinator;
  expect((await call(api, 'GET', '/api/v1/ufs')).json()).toMatchObject([{ origin, requestsPerSecond: perSecond }]);
  const delay = monitorEventLoopDelay({ resolution: 5 });
  delay.enable();
  served.resetStats();
  expect((await submit(api, path)).status).toBe(200);
  expect(await ended(api, path)).toMatchObject({ mJobState: 'SUCCEEDED', mLoadedByteCount: count * 2 * KiB });
  delay.disable();
  const { requests } = served;
  expect(requests.filter(({ operation }) => operation === 'GetObject').length).toBe(count);
  expect(requests.some(({ operation }) => operation !== 'GetObject')).toBe(true);
  const { share, windows } = largestShare(arrivalsOf(requests, delay.max / 1e6), perSecond);
  expect(windows).toBeGreaterThan(1000);
  expect(share).toBeLessThanOrEqual(1.05);
  for (const { ports } of workers.values()) {
    const held = await readCounter(`http://127.0.0.1:${ports.http}`, 'primed_origin_limit_held_seconds_total');
    expect(held.count).toBeGreaterThan(0);
  }
});

it('a limit of the configuration file is kept to, and reached, for as long as there is work', async () => {
  const perSecond = 200;
  const count = 1000;
  cluster = await openCluster({
    workers: ['w1', 'w2'],
    origin: { objects: objectsOf(count, 2 * KiB), logLimit: 100_000 },
    config: `[[ufs]]\nprefix = "s3://demo"\nmax_requests_per_second = ${perSecond}\n`,
  });
  const { api } = cluster.coordinator;
  const delay = monitorEventLoopDelay({ resolution: 5 });
  delay.enable();
  cluster.origin.resetStats();
  const taker = greedyTaker(perSecond / 2);
  expect((await submit(api, path)).status).toBe(200);
  expect(await ended(api, path)).toMatchObject({ mJobState: 'SUCCEEDED', mProcessedFileCount: count });
  const toBeHad = taker.share();
  delay.disable();
  const rows = (await call(api, 'GET', '/api/v1/ufs')).json();
  expect(rows).toMatchObject([{ origin, requestsPerSecond: perSecond, source: 'configuration' }]);
  const { requests } = cluster.origin;
  expect(requests.length).toBeGreaterThan(count);
  expect(largestShare(arrivalsOf(requests, delay.max / 1e6), perSecond).share).toBeLessThanOrEqual(1.05);
  // Over two seconds at least; of what is to be had where a worker waits for a busy machine, and loses what it did not take.
  const reached = largestShare(arrivalsOf(requests, 0), perSecond, 2000);
  expect(reached.windows).toBeGreaterThan(100);
  expect(reached.share).toBeGreaterThan(0.8 * Math.min(1, toBeHad));
});

it('a single daemon keeps to the limits of its configuration, and to those that are set, until they are reset', async () => {
  const folder = { objects: objectsOf(6, 2 * MiB) };
  scene = await openScene({ origin: folder });
  const { api } = scene.daemon;
  await limit(api, { bandwidth: '4MB', requests: 100 });
  expect((await submit(api, path)).status).toBe(200);
  const readings: Reading[] = [];
  const base = `http://127.0.0.1:${scene.daemon.ports.http}`;
  do readings.push(await readCounter(base, 'primed_origin_bytes_total'));
  while (readings.at(-1)!.count < 8 * MiB);
  expect(largestShare(readings, 4 * MiB).share).toBeLessThanOrEqual(1.05);
  expect(await limit(api, { reset: true })).toMatchObject({ origin, source: 'configuration' });
  expect(await ended(api, path)).toMatchObject({ mJobState: 'SUCCEEDED' });
  expect((await call(api, 'GET', '/api/v1/ufs')).json()).toEqual([]);
});

it('what is no limit is refused by name', async () => {
  scene = await openScene({ origin: { objects: [] } });
  const { api } = scene.daemon;
  for (const [body, words] of [
    [{ path: 's3://demo/dir/', bandwidth: '1MB' }, /whole origin/],
    [{ path: 's3://demo', bandwidth: '0' }, /^bandwidth: must be a size/],
    [{ path: 's3://demo', requests: '1.5' }, /^requests: must be a whole number/],
    [{ path: 's3://demo' }, /give bandwidth, requests, or reset/],
    [{ path: 'file:///srv', bandwidth: '1MB' }, /no folder of a \[\[ufs\]\] entry/],
    [{ path: 's3://demo', bandwith: '1MB' }, /unknown field 'bandwith'/],
  ] as const) {
    const answer = await call(api, 'PUT', '/api/v1/ufs/limit', body);
    expect([answer.status, answer.json().message]).toEqual([400, expect.stringMatching(words)]);
  }
});
