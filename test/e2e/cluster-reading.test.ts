/** Reading a cluster through any of its workers: every byte, every list, and the truth when a worker or a page is gone. */

import { join } from 'node:path';
import { type _Object, GetObjectCommand, ListObjectsV2Command } from '@aws-sdk/client-s3';
import { afterEach, expect, it } from 'vitest';
import { makeRing, segmentKey, workerIdentity } from '../../src/core/ring.ts';
import { KiB, MiB } from '../../src/core/units.ts';
import { contentAt } from '../../src/demo/origin/content.ts';
import { type Json, loaded } from '../support/api.ts';
import { type Cluster, openCluster, readBack, segmentBytes } from '../support/cluster.ts';
import { expectContent, listedBy } from '../support/origin.ts';
import { rot } from '../support/rot.ts';
import { s3Of } from '../support/scene.ts';

const objects = [
  { key: 'data/empty.bin', sizeBytes: 0 },
  { key: 'data/one.bin', sizeBytes: 1 },
  { key: 'data/segment.bin', sizeBytes: segmentBytes },
  { key: 'data/above.bin', sizeBytes: segmentBytes + 1 },
  ...Array.from({ length: 3 }, (_, n) => ({ key: `data/large-${n}.bin`, sizeBytes: 24 * MiB + n * 4097 })),
  ...Array.from({ length: 30 }, (_, n) => ({ key: `data/dir-${n % 3}/small-${n}.bin`, sizeBytes: 16 * KiB + n })),
];
const totalBytes = objects.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
const path = 's3://demo/data/';
const ids = ['w1', 'w2', 'w3'];
const large = objects[4]!;

let cluster: Cluster | undefined;
afterEach(async () => {
  await cluster?.close();
  cluster = undefined;
});

/**
 * A worker that loses its lease during the load, as a busy machine can have it, comes back with what it has: then there are
 * more copies than were asked for. So a short lease is for tests that wait for its end.
 */
async function loadedCluster(replicas: number, some = objects, options = {}, lease = '15s'): Promise<Cluster> {
  cluster = await openCluster({ workers: ids, origin: { objects: some }, env: { PRIMED_CLUSTER_LEASE: lease } });
  const report = await loaded(cluster.coordinator.api, path, { replicas: String(replicas), ...options });
  const bytes = some.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  expect(report).toMatchObject({ mJobState: 'SUCCEEDED', mLoadedByteCount: bytes });
  cluster.origin.resetStats();
  return cluster;
}

async function range(url: string, from: number, to: number): Promise<Uint8Array> {
  const answer = await fetch(url, { headers: { range: `bytes=${from}-${to - 1}` } });
  expect([url, answer.status, answer.headers.get('content-range')]).toMatchObject([url, 206, expect.any(String)]);
  return new Uint8Array(await answer.arrayBuffer());
}

const api = async (url: string, init?: RequestInit): Promise<Json> => (await fetch(url, init)).json();

it('every worker gives every byte, in ranges too, and lists what the origin lists', async () => {
  const { workers, origin } = await loadedCluster(2);
  const listed = await listedBy(origin, 'data/');
  for (const id of ids) {
    const worker = workers.get(id)!;
    await readBack(cluster!, id);
    for (const [from, to] of [
      [segmentBytes - 1, segmentBytes + 1],
      [3 * segmentBytes - 5, 5 * segmentBytes + 7],
      [large.sizeBytes - 1, large.sizeBytes],
    ] as const) {
      expectContent(await range(`${worker.s3}/demo/${large.key}`, from, to), large, from, to - from);
    }
    const client = s3Of(worker);
    const pages: _Object[] = [];
    let token: string | undefined;
    do {
      const page = await client.send(
        new ListObjectsV2Command({ Bucket: 'demo', Prefix: 'data/', MaxKeys: 7, ContinuationToken: token }),
      );
      pages.push(...(page.Contents ?? []));
      token = page.NextContinuationToken;
    } while (token !== undefined);
    expect(pages.map(({ Key, Size, ETag }) => [Key, Size, ETag])).toEqual(
      listed.map((one) => [one.path.slice('s3://demo/'.length), one.sizeBytes, `"${one.etag}"`]),
    );
    const level = await client.send(new ListObjectsV2Command({ Bucket: 'demo', Prefix: 'data/', Delimiter: '/' }));
    expect(level.CommonPrefixes?.map(({ Prefix }) => Prefix)).toEqual(['data/dir-0/', 'data/dir-1/', 'data/dir-2/']);
    client.destroy();
    const head = await fetch(`${worker.s3}/demo/${large.key}`, { method: 'HEAD' });
    expect([head.status, head.headers.get('content-length')]).toEqual([200, String(large.sizeBytes)]);
    expect((await fetch(`${worker.s3}/demo/data/none`)).status).toBe(404);
  }
  const cat = await fetch(`${cluster!.coordinator.api}/api/v1/fs/cat?path=s3://demo/${large.key}`);
  expectContent(new Uint8Array(await cat.arrayBuffer()), large);
  expect(cluster!.origin.requests.filter(({ operation }) => operation === 'GetObject')).toEqual([]);
});

it('the coordinator says where every byte lies, and what is missing when a worker is gone', async () => {
  const { coordinator, kill } = await loadedCluster(2);
  const stat = (of: string) => api(`${coordinator.api}/api/v1/fs/stat?path=${encodeURIComponent(of)}`);
  const whole = await stat(path);
  expect(whole).toMatchObject({
    type: 'directory',
    files: objects.length,
    bytes: totalBytes,
    cachedFiles: objects.length,
    cachedBytes: totalBytes,
    missingBytes: 0,
    replicas: [{ replicas: 2, bytes: totalBytes }],
  });
  const file = await stat(`s3://demo/${large.key}`);
  expect(file.file.segments).toHaveLength(Math.ceil(large.sizeBytes / segmentBytes));
  for (const { workers } of file.file.segments) expect(new Set(workers).size).toBe(2);
  expect(file.file).toMatchObject({ state: 'complete', segmentBytes, missing: [] });
  await kill('w2');
  const without = await stat(path);
  // Killed a moment ago, or lost already: either way it is named.
  expect(without.unanswered).toEqual([{ id: 'w2', reason: expect.any(String) }]);
  expect(without).toMatchObject({ files: objects.length, cachedBytes: totalBytes, missingBytes: 0 });
  const [one, two] = without.replicas;
  expect([one.replicas, two.replicas, one.bytes + two.bytes]).toEqual([1, 2, totalBytes]);
  const after = await stat(`s3://demo/${large.key}`);
  expect(after.file.segments.flatMap(({ workers }: { workers: string[] }) => workers)).not.toContain('w2');
  const check = await api(`${coordinator.api}/api/v1/fs/check?path=${encodeURIComponent(path)}`, { method: 'POST' });
  expect(check).toMatchObject({ ok: false, badPageCount: 0, unanswered: [{ id: 'w2' }] });
  expect(check.checkedBytes).toBe(2 * totalBytes - one.bytes);
});

const ring = makeRing(ids.map((id) => ({ identity: workerIdentity(id), id })));

/** An object whose first segment lies on others than this worker; and these, the one that readers ask first before. */
function notOn(id: string, sizeBytes: number): { object: { key: string; sizeBytes: number }; on: [string, string] } {
  for (let n = 0; ; n += 1) {
    const object = { key: `data/far-${n}.bin`, sizeBytes };
    const on = ring.placement(segmentKey(`s3://demo/${object.key}`, 0), 2).map((one) => one.id);
    if (!on.includes(id)) return { object, on: on as [string, string] };
  }
}

/** Larger than what the sockets between two workers and a client hold, so that a reader that pauses keeps it in flight. */
const farSegmentBytes = 48 * MiB;

/** Begins so many reads through a worker, and gives how to end each; none has been read beyond its first bytes. */
async function begun(url: string, count: number): Promise<(() => Promise<Uint8Array>)[]> {
  return Promise.all(
    Array.from({ length: count }, async () => {
      const answer = await fetch(url);
      expect(answer.status).toBe(200);
      const reader = answer.body!.getReader();
      const pieces = [(await reader.read()).value!];
      return async () => {
        for (;;) {
          const { value, done } = await reader.read();
          if (done) return Buffer.concat(pieces);
          pieces.push(value);
        }
      };
    }),
  );
}

it.each([
  ['killed', 'SIGKILL'],
  ['stopped, and hangs', 'SIGSTOP'],
] as const)('readers go on at the byte where a worker was %s', async (_, signal) => {
  const { object, on } = notOn('w1', farSegmentBytes + 5);
  const { workers } = await loadedCluster(2, [object], { segmentSize: `${farSegmentBytes / MiB}MB` }, '2s');
  const [first] = on;
  const through = workers.get('w1')!;
  const reads = await begun(`${through.s3}/demo/${object.key}`, 3);
  process.kill(workers.get(first)!.pid, signal);
  for (const read of reads) expectContent(await read(), object);
  // The fault has hit what was on its way.
  const broken = through
    .log()
    .split('\n')
    .filter((line) => line.includes('broke off') && line.includes(`"worker":"${first}"`));
  expect(broken.length).toBeGreaterThanOrEqual(reads.length);
  expect(broken.some((line) => !line.includes('"offset":0,'))).toBe(true);
  await readBack(cluster!, 'w1');
});

it('without another replica a reader is cut off, and told so before it begins', async () => {
  const { object } = notOn('w1', farSegmentBytes + 5);
  const { workers, coordinator } = await loadedCluster(
    1,
    [object],
    { segmentSize: `${farSegmentBytes / MiB}MB` },
    '2s',
  );
  const [only] = ring.placement(segmentKey(`s3://demo/${object.key}`, 0), 1);
  const url = `${workers.get('w1')!.s3}/demo/${object.key}`;
  const [read] = await begun(url, 1);
  await cluster!.kill(only!.id);
  await expect(read!()).rejects.toThrow();
  // Until its lease ends nobody knows whether it is gone, afterwards its bytes are.
  await expect.poll(async () => (await fetch(url)).status, { timeout: 20_000, interval: 100 }).toBe(404);
  expect(await (await fetch(url)).text()).toMatch(/FileNotCached.*on no live worker/s);
  const stat = await api(`${coordinator.api}/api/v1/fs/stat?path=s3://demo/${object.key}`);
  expect(stat.unanswered).toEqual([{ id: only!.id, reason: expect.stringMatching(/lost/) }]);
  expect(stat.file.missing).toContainEqual({ offset: 0, length: farSegmentBytes });
  const list = await fetch(`${workers.get('w1')!.s3}/demo?list-type=2`);
  expect(await list.text()).toContain('<KeyCount>0</KeyCount>');
});

it('a coordinator that comes back denies nothing that a worker has which is not back yet', async () => {
  const { object, on } = notOn('w1', 64 * KiB);
  const [only] = on;
  // So long the coordinator waits for it.
  const { workers, restartCoordinator, start, kill } = await loadedCluster(1, [object]);
  const through = workers.get('w1')!;
  const asked = [`${through.s3}/demo/${object.key}`, `${through.s3}/demo?list-type=2`];
  const links = (): number => through.log().split('the control link of a coordinator is up').length - 1;
  const linksBefore = links();
  await kill(only);
  await restartCoordinator();
  const stateOf = async (id: string): Promise<string> =>
    (await api(`${cluster!.coordinator.api}/api/v1/workers`)).find((row: Json) => row.id === id).state;
  await expect.poll(links, { timeout: 20_000, interval: 20 }).toBeGreaterThan(linksBefore);
  expect(await stateOf('w1')).toBe('LIVE');
  const statuses = new Set<number>();
  // What the coordinator tells comes a moment after the link.
  for (let round = 0; round < 50; round += 1) for (const url of asked) statuses.add((await fetch(url)).status);
  // The fault was there all the while.
  expect(await stateOf(only)).toBe('LOST');
  expect([...statuses]).toEqual([503]);
  await start(only);
  await readBack(cluster!, 'w1');
  expect(await (await fetch(asked[1]!)).text()).toContain('<KeyCount>1</KeyCount>');
});

it('a page that rots on one replica is never served: it is replaced by that of the other', async () => {
  const { object, on } = notOn('w1', 6 * MiB);
  const cluster = await loadedCluster(2, [object], { segmentSize: '8MB' });
  const needle = contentAt(object.key, 1, 3 * MiB, 4096);
  const [bad] = on;
  expect(await rot(join(cluster.dataDir(bad), 'store'), Buffer.from(needle))).toBe(1);
  // Through itself, which has all of the file, and through others.
  for (const id of ids) await readBack(cluster, id);
  expect(cluster.workers.get(bad)!.log()).toContain('does not have its checksum');
  const check = await api(`${cluster.coordinator.api}/api/v1/fs/check?path=${path}`, { method: 'POST' });
  expect(check).toMatchObject({ ok: true, badPageCount: 0 });
  expect(cluster.workers.get(bad)!.log()).toContain('a bad page was replaced where it lies');
  expect(cluster.origin.requests.filter(({ operation }) => operation === 'GetObject')).toEqual([]);
});

it('who can follow is sent to the worker that has it, who signs is not', async () => {
  const { object, on } = notOn('w1', 2 * MiB + 5);
  cluster = await openCluster({
    ...{ workers: ids, origin: { objects: [object] } },
    env: { PRIMED_S3_REDIRECT: 'true' },
  });
  await loaded(cluster.coordinator.api, path, { replicas: '1' });
  const { workers } = cluster;
  await readBack(cluster, 'w1');
  const url = `${workers.get('w1')!.s3}/demo/${object.key}`;
  const sent = await fetch(url, { redirect: 'manual' });
  expect([sent.status, sent.headers.get('location')]).toEqual([
    307,
    `${workers.get(on[0])!.s3}/demo/${object.key}?x-primed-sent=1`,
  ]);
  const followed = await fetch(url, { headers: { range: 'bytes=1000000-2000000' } });
  expect([followed.status, followed.redirected]).toEqual([206, true]);
  expectContent(new Uint8Array(await followed.arrayBuffer()), object, 1_000_000, 1_000_001);
  // Small ranges, and heads, are not worth another round trip.
  expect((await fetch(url, { headers: { range: 'bytes=0-99' }, redirect: 'manual' })).status).toBe(206);
  expect((await fetch(url, { method: 'HEAD', redirect: 'manual' })).status).toBe(200);
  const client = s3Of(workers.get('w1')!);
  const answer = await client.send(new GetObjectCommand({ Bucket: 'demo', Key: object.key }));
  expectContent(await answer.Body!.transformToByteArray(), object);
  client.destroy();
});
