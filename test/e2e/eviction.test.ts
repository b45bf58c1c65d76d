/** A store that is full: what goes when a load needs room, what stays, and what is told of it. */
import { afterEach, expect, it } from 'vitest';
import { MiB } from '../../src/core/units.ts';
import { ended, fs, type Json, loaded, progress, submit } from '../support/api.ts';
import { primed } from '../support/cli.ts';
import { type Cluster, openCluster, readBack, untilLive } from '../support/cluster.ts';
import { expectContent } from '../support/origin.ts';
import { openScene, type Scene } from '../support/scene.ts';

const files = (folder: string, count: number, mib: number) =>
  Array.from({ length: count }, (_, at) => ({ key: `${folder}/${at}.bin`, sizeBytes: mib * MiB }));

let scene: Scene | undefined;
let cluster: Cluster | undefined;
afterEach(async () => {
  await scene?.close();
  await cluster?.close();
  scene = undefined;
  cluster = undefined;
});

async function metric(base: string, name: string): Promise<number> {
  const text = await (await fetch(`${base}/metrics`)).text();
  return Number(
    text
      .split('\n')
      .find((line) => line.startsWith(name))
      ?.split(' ')[1],
  );
}

async function cachedBelow(api: string, path: string): Promise<string[]> {
  const answer = (await fs(api, 'ls', path)).json();
  return (answer.entries ?? []).map((entry: Json) => entry.path.replace('s3://demo/', ''));
}

it('what was not read for longest goes; what is pinned, was read, or is being read stays', {
  timeout: 120_000,
}, async () => {
  const [a, b] = [files('a', 10, 20), files('b', 5, 20)];
  scene = await openScene({ origin: { objects: [...a, ...b] }, daemon: { storeSize: '256MB' } });
  const { daemon, origin } = scene;
  await loaded(daemon.api, 's3://demo/a/');
  expect((await primed(daemon.api, ['fs', 'pin', 's3://demo/a/0.bin'])).stdout).toBe('s3://demo/a/0.bin is pinned.\n');
  await scene.readBack(a.slice(1, 3));
  // It has begun, and its reader takes nothing: far more is left than sockets hold.
  const slow = await fetch(`${daemon.s3}/demo/${a[3]!.key}`);
  const report = await loaded(daemon.api, 's3://demo/b/');
  expect(report.evictedBytes).toBe(60 * MiB);
  expect((await progress(daemon.api, 's3://demo/b/', 'TEXT')).text).toContain('Evicted for it: 60.00MB');
  const left = await cachedBelow(daemon.api, 's3://demo/a/');
  expect(left.slice(0, 4)).toEqual(a.slice(0, 4).map(({ key }) => key));
  expect(left).toHaveLength(7);
  expectContent(new Uint8Array(await slow.arrayBuffer()), a[3]!);
  await scene.readBack(b);
  expect(await metric(daemon.api, 'primed_store_evictions_total{reason="space"}')).toBe(3);
  expect(await metric(daemon.api, 'primed_store_evicted_bytes_total{reason="space"}')).toBe(60 * MiB);
  expect(await metric(daemon.api, 'primed_store_pinned_bytes')).toBe(20 * MiB);
  const listed = (await primed(daemon.api, ['fs', 'ls', 's3://demo/a/'])).stdout.split('\n');
  expect(listed.filter((line) => line.includes('complete, pinned'))).toHaveLength(1);
  expect((await primed(daemon.api, ['fs', 'stat', 's3://demo/a/0.bin'])).stdout).toMatch(/Pinned: +yes/);
  // The load of what is there in part brings what went, and nothing else.
  const sent = (): number => a.reduce((sum, { key }) => sum + origin.stats().bytesByKey[key]!, 0);
  const before = sent();
  const again = await loaded(daemon.api, 's3://demo/a/', { skipIfExists: true });
  expect([again.mLoadedByteCount, again.skippedFiles]).toEqual([60 * MiB, 7]);
  expect(sent() - before).toBe(60 * MiB);
  await scene.readBack(a);
});

it('a restart forgets neither what was read nor what is pinned', { timeout: 120_000 }, async () => {
  const [a, b] = [files('a', 10, 20), files('b', 3, 20)];
  scene = await openScene({ origin: { objects: [...a, ...b] }, daemon: { storeSize: '256MB' } });
  await loaded(scene.daemon.api, 's3://demo/a/');
  await primed(scene.daemon.api, ['fs', 'pin', 's3://demo/a/5.bin']);
  await scene.readBack(a.slice(0, 5));
  await scene.daemon.terminate();
  await scene.restart();
  const { api } = scene.daemon;
  expect(JSON.parse((await primed(api, ['fs', 'pins', '--format', 'json'])).stdout)).toMatchObject([
    { path: 's3://demo/a/5.bin', pinned: true, pending: [] },
  ]);
  await loaded(api, 's3://demo/b/');
  const left = await cachedBelow(api, 's3://demo/a/');
  expect(left).toEqual(expect.arrayContaining(a.slice(0, 6).map(({ key }) => key)));
  expect(left.length).toBeLessThan(10);
  expect((await primed(api, ['fs', 'unpin', 's3://demo/a/5.bin'])).stdout).toContain('not pinned any more');
  expect((await fs(api, 'stat', 's3://demo/a/5.bin')).json().pinned).toBeUndefined();
});

it('a load that cannot have its room is refused with the numbers, and nothing goes for it', {
  timeout: 120_000,
}, async () => {
  const [a, b] = [files('a', 8, 20), files('b', 10, 20)];
  scene = await openScene({ origin: { objects: [...a, ...b] }, daemon: { storeSize: '256MB' } });
  const { api } = scene.daemon;
  await loaded(api, 's3://demo/a/');
  await primed(api, ['fs', 'pin', 's3://demo/a/']);
  await submit(api, 's3://demo/b/');
  const report = await ended(api, 's3://demo/b/');
  expect(report.mJobState).toBe('FAILED');
  expect(report.reason).toMatch(/STORE_NO_ROOM.*160\.00MB are pinned, 0B belong to running loads, 0B could be evicted/);
  expect(await cachedBelow(api, 's3://demo/a/')).toHaveLength(8);
});

it('the workers of a cluster know pins that were set while they were down, and say what is left of a file', {
  timeout: 120_000,
}, async () => {
  const whole = { key: 'large.bin', sizeBytes: 44 * MiB };
  const singles = files('single', 24, 4);
  cluster = await openCluster({
    origin: { objects: [whole, ...singles] },
    workers: ['one', 'two'],
    storeSize: '32MB',
  });
  const { api } = cluster.coordinator;
  await loaded(api, 's3://demo/large.bin');
  await cluster.kill('two');
  const pinned = await primed(api, ['fs', 'pin', 's3://demo/single/0.bin']);
  expect(pinned.code).toBe(0);
  const two = await cluster.start('two');
  await untilLive(cluster, ['one', 'two']);
  await loaded(api, 's3://demo/single/0.bin');
  for (const worker of cluster.workers.values()) {
    const stat = async (): Promise<boolean> =>
      (await fs(worker.api, 'ls', 's3://demo/single/0.bin')).json().entries?.[0]?.pinned === true;
    if ((await fs(worker.api, 'ls', 's3://demo/single/0.bin')).status === 200)
      await expect.poll(stat, { timeout: 10_000 }).toBe(true);
  }
  expect(two.pid).toBeGreaterThan(0);
  // One file after the other, until one of the workers needs the room of its part of the large one.
  let missingBytes = 0;
  for (const { key } of singles) {
    await loaded(api, `s3://demo/${key}`);
    const stat = (await fs(api, 'stat', 's3://demo/large.bin')).json();
    missingBytes = stat.missingBytes;
    if (missingBytes > 0) break;
  }
  expect(missingBytes).toBeGreaterThan(0);
  expect(missingBytes, 'the other worker has its part').toBeLessThan(whole.sizeBytes);
  const [entry] = (await fs(api, 'ls', 's3://demo/large.bin')).json().entries;
  expect(entry).toMatchObject({ state: 'partial', missingBytes });
  const listing = await (await fetch(`${cluster.workers.get('one')!.s3}/demo?list-type=2`)).text();
  expect(listing).not.toContain('large.bin');
  const before = cluster.origin.stats().bytesByKey[whole.key]!;
  await loaded(api, 's3://demo/large.bin', { skipIfExists: true });
  expect(cluster.origin.stats().bytesByKey[whole.key]! - before).toBe(missingBytes);
  await readBack(cluster, 'one', [whole]);
});
