/** Limits and pins where coordinators share their jobs over a real etcd: set through any of them, they hold for all, and are kept. */
import { afterEach, expect, it } from 'vitest';
import { KiB, MiB } from '../../src/core/units.ts';
import { call, ended, fs, type Json, loaded, progress, submit } from '../support/api.ts';
import type { Daemon } from '../support/daemon.ts';
import { largestShare, type Reading, readCounter } from '../support/rates.ts';
import { openSharedCluster, type SharedCluster } from '../support/shared-cluster.ts';

const objects = Array.from({ length: 12 }, (_, n) => ({ key: `data/${n}.bin`, sizeBytes: 2 * MiB }));
const path = 's3://demo/data/';
const eventually = { timeout: 30_000, interval: 20 };

let cluster: SharedCluster;
afterEach(() => cluster.close());

const limitUfs = ({ api }: Daemon, change: object) =>
  call(api, 'PUT', '/api/v1/ufs/limit', { path: 's3://demo', ...change });
const limitJob = ({ api }: Daemon, bandwidth: string) =>
  call(api, 'POST', '/api/v1/master/limit_job/load', { path, bandwidth });
const limitsOf = async ({ api }: Daemon): Promise<Json> => (await call(api, 'GET', '/api/v1/ufs')).json();

/** Readings of what the worker has received, until it is so much more than at the first. */
async function readingsOver(bytes: number): Promise<Reading[]> {
  const base = `http://127.0.0.1:${cluster.workers.get('w1')!.ports.http}`;
  const read = (): Promise<Reading> => readCounter(base, 'primed_origin_bytes_total');
  const readings = [await read()];
  while (readings.at(-1)!.count - readings[0]!.count < bytes) readings.push(await read());
  return readings;
}

/** Bytes a second that the worker receives, measured over so many. */
async function rateOver(bytes: number): Promise<number> {
  const readings = await readingsOver(bytes);
  const [first, last] = [readings[0]!, readings.at(-1)!];
  return ((last.count - first.count) / (last.fromMs - first.toMs)) * 1000;
}

it('limits of an origin and of a load, set through the coordinator that does not run it, hold and are kept', async () => {
  cluster = await openSharedCluster({ origin: { objects }, coordinators: ['a', 'b'], workers: ['w1'] });
  const [a, b] = ['a', 'b'].map((id) => cluster.coordinators.get(id)!) as [Daemon, Daemon];
  expect((await limitUfs(b, { bandwidth: '4MB' })).status).toBe(200);
  await expect
    .poll(() => limitsOf(a), eventually)
    .toMatchObject([{ origin: 's3://demo/', bytesPerSecond: 4 * MiB, source: 'set' }]);
  expect((await submit(a.api, path)).status).toBe(200);
  expect(largestShare(await readingsOver(5 * MiB), 4 * MiB).share).toBeLessThanOrEqual(1.05);
  expect(cluster.owner()).toBe('a');

  const limited = await limitJob(b, '2MB');
  expect([limited.status, limited.json().message]).toEqual([200, expect.stringContaining('2048.00KB/s')]);
  const bandwidthAt = async ({ api }: Daemon): Promise<unknown> => (await progress(api, path)).json().mBandwidth;
  for (const one of [a, b]) await expect.poll(() => bandwidthAt(one), eventually).toBe(2 * MiB);
  // The coordinators know it before the worker does.
  await expect.poll(() => rateOver(MiB), eventually).toBeLessThan(3 * MiB);
  const slower = largestShare(await readingsOver(4 * MiB), 2 * MiB);
  expect(slower.windows).toBeGreaterThan(10);
  expect(slower.share).toBeLessThanOrEqual(1.05);

  // What is left takes minutes, however slow this machine is.
  expect((await limitJob(b, '64KB')).status).toBe(200);
  await cluster.kill('b');
  const back = await cluster.startCoordinator('b');
  await expect.poll(() => limitsOf(back), eventually).toMatchObject([{ bytesPerSecond: 4 * MiB, source: 'set' }]);
  await expect.poll(() => bandwidthAt(back), eventually).toBe(64 * KiB);

  const [etcd] = cluster.etcd.members;
  await etcd!.stop();
  const refused = [await limitUfs(a, { bandwidth: '1MB' }), await limitJob(back, '1MB')];
  expect(refused.map((one) => [one.status, one.json().code])).toEqual(refused.map(() => [503, 'ETCD_UNAVAILABLE']));
  await etcd!.start();
  await expect.poll(async () => (await limitJob(back, 'none')).status, eventually).toBe(200);
  await expect.poll(async () => (await limitUfs(a, { bandwidth: 'none' })).status, eventually).toBe(200);
  expect(await ended(a.api, path)).toMatchObject({ mJobState: 'SUCCEEDED', mLoadedByteCount: 24 * MiB });
});

const pin = ({ api }: Daemon, one: string) => call(api, 'PUT', '/api/v1/pins', { path: one });
const unpin = ({ api }: Daemon, one: string) => call(api, 'DELETE', `/api/v1/pins?path=${encodeURIComponent(one)}`);
const pinsAt = async ({ api }: Daemon): Promise<Json> => (await call(api, 'GET', '/api/v1/pins')).json();
const told = (...paths: string[]) => paths.map((one) => ({ path: one, pinned: true, pending: [] }));
/** What of the folder the worker itself takes for pinned. */
async function pinnedBy(worker: Daemon): Promise<string[]> {
  const { entries } = (await fs(worker.api, 'ls', path)).json();
  return entries.filter(({ pinned }: Json) => pinned === true).map((entry: Json) => entry.path);
}

it('what one coordinator has pinned is kept by the other and by the workers when the first is dead, and follows the other', async () => {
  const [first, second, third] = [0, 1, 2].map((n) => `${path}${n}.bin`) as [string, string, string];
  cluster = await openSharedCluster({ origin: { objects }, coordinators: ['a', 'b'], workers: ['w1'] });
  const [a, b] = ['a', 'b'].map((id) => cluster.coordinators.get(id)!) as [Daemon, Daemon];
  await loaded(a.api, path);
  for (const one of [first, second]) expect((await pin(a, one)).json()).toMatchObject({ path: one, pinned: true });
  await expect.poll(() => pinsAt(b), eventually).toEqual(told(first, second));
  await cluster.kill('a');
  expect(await pinsAt(b)).toEqual(told(first, second));
  const worker = cluster.workers.get('w1')!;
  expect(await pinnedBy(worker)).toEqual([first, second]);

  // The worker was told by the one that is dead; what the other says from now on is newer.
  // Of fewer pins too: each change by itself is newer.
  expect((await unpin(b, first)).status).toBe(200);
  await expect.poll(() => pinnedBy(worker), eventually).toEqual([second]);
  expect((await pin(b, third)).status).toBe(200);
  await expect.poll(() => pinnedBy(worker), eventually).toEqual([second, third]);
  // Nobody is there who could tell it again.
  await cluster.kill('b');
  await cluster.kill('w1');
  const again = await cluster.startWorker('w1');
  expect(await pinnedBy(again), 'kept by the worker itself').toEqual([second, third]);

  const back = await cluster.startCoordinator('a');
  await expect.poll(() => pinsAt(back), eventually).toEqual(told(second, third));
  const [etcd] = cluster.etcd.members;
  await etcd!.stop();
  const refused = await pin(back, first);
  expect([refused.status, refused.json().code]).toEqual([503, 'ETCD_UNAVAILABLE']);
  expect(await pinnedBy(again)).toEqual([second, third]);
  await etcd!.start();
  await expect.poll(async () => (await pin(back, first)).status, eventually).toBe(200);
  await expect.poll(() => pinnedBy(again), eventually).toEqual([first, second, third]);
});
