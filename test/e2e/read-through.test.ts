/** Reads of what is not cached: from the origin, once, kept by policy, and never two versions in one answer. */

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  type ListObjectsV2CommandOutput,
} from '@aws-sdk/client-s3';
import { afterEach, expect, it } from 'vitest';
import { makeRing, segmentKey, workerIdentity } from '../../src/core/ring.ts';
import { KiB, MiB } from '../../src/core/units.ts';
import { contentAt } from '../../src/demo/origin/content.ts';
import { loaded } from '../support/api.ts';
import { type Cluster, openCluster, segmentBytes } from '../support/cluster.ts';
import { temporaryFolder } from '../support/files.ts';
import { expectContent } from '../support/origin.ts';
import { openScene, type Scene, s3Of } from '../support/scene.ts';

const through = { PRIMED_READING_READ_THROUGH: 'always' };
const large = { key: 'data/large.bin', sizeBytes: 100 * MiB + 4097 };
const small = { key: 'data/dir/small.bin', sizeBytes: 70 * KiB };
const objects = [large, small, { key: 'data/empty.bin', sizeBytes: 0 }, { key: 'data/one.bin', sizeBytes: 1 }];

let scene: Scene | undefined;
let cluster: Cluster | undefined;
afterEach(async () => {
  await scene?.close();
  await cluster?.close();
  scene = undefined;
  cluster = undefined;
});

async function body(url: string, init?: RequestInit): Promise<Uint8Array> {
  const answer = await fetch(url, init);
  expect([url, answer.status]).toEqual([url, init?.headers === undefined ? 200 : 206]);
  return new Uint8Array(await answer.arrayBuffer());
}

/** Body bytes that the origin has sent of an object. */
function gets(key: string): number {
  return (scene ?? cluster)!.origin.stats().bytesByKey[key] ?? 0;
}

async function metric(base: string, name: string, labels = ''): Promise<number> {
  const text = await (await fetch(`${base}/metrics`)).text();
  const lines = text.split('\n').filter((line) => line.startsWith(name) && line.includes(labels));
  return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
}

it('a miss is read from the origin, kept, and given from then on without it', async () => {
  scene = await openScene({ origin: { objects }, daemon: { env: through } });
  const { daemon, origin } = scene;
  const client = s3Of(daemon);
  const before = await client.send(new HeadObjectCommand({ Bucket: 'demo', Key: large.key }));
  expect([before.ContentLength, gets(large.key)]).toEqual([large.sizeBytes, 0]);
  await scene.readBack(objects);
  for (const { key, sizeBytes } of objects) expect([key, gets(key)]).toEqual([key, sizeBytes]);
  // Where a part lies is asked of the origin once; its bytes are in the cache.
  const second = { Bucket: 'demo', Key: large.key, PartNumber: 2 };
  const part = await client.send(new GetObjectCommand(second));
  expectContent(await part.Body!.transformToByteArray(), large, 8 * MiB, 8 * MiB);
  const parts = { PartsCount: 13, ContentRange: `bytes ${8 * MiB}-${16 * MiB - 1}/${large.sizeBytes}` };
  expect(part).toMatchObject(parts);
  const last = await client.send(new HeadObjectCommand({ ...second, PartNumber: 13 }));
  expect(last).toMatchObject({ PartsCount: 13, ContentLength: 4 * MiB + 4097 });
  const fault = origin.setFault({ operation: '*', fault: { kind: 'status', status: 500 } });
  const head = await client.send(new HeadObjectCommand({ Bucket: 'demo', Key: large.key }));
  expect(head.ContentLength).toBe(large.sizeBytes);
  expect(await client.send(new HeadObjectCommand(second))).toMatchObject(parts);
  client.destroy();
  expectContent(await body(`${daemon.s3}/demo/${large.key}`), large);
  expect([origin.fired(fault), gets(large.key)]).toEqual([0, large.sizeBytes]);
  const none = await fetch(`${daemon.s3}/demo/data/none`);
  expect(none.status).toBe(503);
  origin.clearFaults();
  await expect.poll(async () => (await fetch(`${daemon.s3}/demo/data/none`)).status, { timeout: 10_000 }).toBe(404);
  expect((await fetch(`${daemon.s3}/no-bucket-here/data/none`)).status).toBe(404);
});

it('a range is fetched by the page, and what has landed is durable: a load brings only the rest', async () => {
  scene = await openScene({ origin: { objects }, daemon: { env: through } });
  const range = async (from: number, length: number): Promise<void> => {
    const bytes = await body(`${scene!.daemon.s3}/demo/${large.key}`, {
      headers: { range: `bytes=${from}-${from + length - 1}` },
    });
    expectContent(bytes, large, from, length);
  };
  await range(50 * MiB + 5, 64 * KiB);
  expect(gets(large.key)).toBe(MiB);
  await range(50 * MiB + 70_000, 64 * KiB);
  expect(gets(large.key)).toBe(MiB);
  await scene.daemon.kill();
  await scene.restart();
  await range(50 * MiB + 5, 64 * KiB);
  expect(gets(large.key)).toBe(MiB);
  const report = await loaded(scene.daemon.api, 's3://demo/data/', { skipIfExists: 'true' });
  expect(report).toMatchObject({ mJobState: 'SUCCEEDED' });
  expect(gets(large.key)).toBe(large.sizeBytes);
  await scene.readBack(objects);
});

it('one who reads on finds what comes next on its way already', async () => {
  scene = await openScene({ origin: { objects }, daemon: { env: { ...through, PRIMED_READING_READ_AHEAD: '8MB' } } });
  const { daemon } = scene;
  const range = async (from: number, length: number): Promise<void> => {
    const headers = { range: `bytes=${from}-${from + length - 1}` };
    expectContent(await body(`${daemon.s3}/demo/${large.key}`, { headers }), large, from, length);
  };
  await range(0, MiB);
  expect(gets(large.key)).toBe(MiB);
  await range(MiB, MiB);
  await expect.poll(() => gets(large.key), { timeout: 10_000 }).toBeGreaterThanOrEqual(8 * MiB);
  await range(2 * MiB, MiB);
  expect(gets(large.key)).toBeLessThanOrEqual(32 * MiB);
});

it('without room it is read and not kept', async () => {
  scene = await openScene({ origin: { objects }, daemon: { env: through, storeSize: '16MB' } });
  const { daemon } = scene;
  expectContent(await body(`${daemon.s3}/demo/${large.key}`), large);
  expect(await metric(daemon.api, 'primed_read_not_kept_total')).toBeGreaterThan(0);
  expect(await metric(daemon.api, 'primed_read_bytes_total', 'source="pass"')).toBeGreaterThan(50 * MiB);
  await scene.readBack([small]);
});

it('a list is that of the origin, level by level, and page by page', async () => {
  scene = await openScene({ origin: { objects }, daemon: { env: through } });
  const client = s3Of(scene.daemon);
  const level = await client.send(new ListObjectsV2Command({ Bucket: 'demo', Prefix: 'data/', Delimiter: '/' }));
  expect(level.CommonPrefixes?.map(({ Prefix }) => Prefix)).toEqual(['data/dir/']);
  expect(level.Contents?.map(({ Key, Size }) => [Key, Size])).toEqual([
    ['data/empty.bin', 0],
    [large.key, large.sizeBytes],
    ['data/one.bin', 1],
  ]);
  const keys: string[] = [];
  let token: string | undefined;
  do {
    const page: ListObjectsV2CommandOutput = await client.send(
      new ListObjectsV2Command({
        ...{ Bucket: 'demo', Prefix: 'data/', Delimiter: '/', MaxKeys: 1 },
        ...(token === undefined ? {} : { ContinuationToken: token }),
      }),
    );
    keys.push(
      ...(page.Contents ?? []).map(({ Key }) => Key!),
      ...(page.CommonPrefixes ?? []).map((one) => one.Prefix!),
    );
    token = page.NextContinuationToken;
  } while (token !== undefined);
  expect(keys).toEqual(['data/dir/', 'data/empty.bin', large.key, 'data/one.bin']);
  client.destroy();
});

/** A list needs an answer of every live worker: these have heard by now which those are. */
async function knowEachOther(): Promise<void> {
  for (const { s3 } of cluster!.workers.values())
    await expect.poll(async () => (await fetch(`${s3}/`)).status, { timeout: 20_000, interval: 50 }).toBe(200);
}

const shared = { key: 'data/shared.bin', sizeBytes: Number(process.env.SHARED_MIB ?? 12) * MiB + 4097 };

it('fifty readers through two workers take each byte from the origin once', async () => {
  cluster = await openCluster({ workers: ['w1', 'w2'], origin: { objects: [shared] }, env: through });
  const urls = [...cluster.workers.values()].map(({ s3 }) => `${s3}/demo/${shared.key}`);
  await knowEachOther();
  const reads = Array.from({ length: 50 }, (_, n) => body(urls[n % 2]!));
  for (const bytes of await Promise.all(reads)) expectContent(bytes, shared);
  const said = [...cluster.workers.values()].flatMap((worker) => worker.log().split('\n'));
  expect(said.filter((line) => line.includes('elsewhere'))).toEqual([]);
  expect(gets(shared.key)).toBe(shared.sizeBytes);
  const used = await Promise.all(
    [...cluster.workers.values()].map(({ api }) => metric(api, 'primed_store_used_bytes')),
  );
  for (const bytes of used) expect(bytes).toBeGreaterThan(0);
  expect(used.reduce((sum, bytes) => sum + bytes)).toBeLessThan(shared.sizeBytes + 8 * MiB);
  const heads = cluster.origin.requests.filter(({ operation }) => operation === 'HeadObject');
  expect(heads.length).toBe(1);
}, 180_000);

const three = ['w1', 'w2', 'w3'];
const ring = makeRing(three.map((id) => ({ identity: workerIdentity(id), id })));

/** An object whose first segment belongs to w1, and whose last ones to w2. */
function lateOnSecond(): { key: string; sizeBytes: number } {
  for (let n = 0; ; n += 1) {
    const key = `data/late-${n}.bin`;
    const ownerOf = (index: number) => ring.owners(segmentKey(`s3://demo/${key}`, index), 1)[0]!.id;
    if (ownerOf(0) === 'w1' && ownerOf(4) === 'w2' && ownerOf(5) === 'w2') return { key, sizeBytes: 6 * segmentBytes };
  }
}

it('a worker that is killed under readers costs them nothing: what it had is fetched by another', async () => {
  const late = lateOnSecond();
  cluster = await openCluster({
    ...{ workers: three, env: through },
    origin: { objects: [late], knobs: { bytesPerSecond: 4 * MiB } },
  });
  await knowEachOther();
  const { workers, kill } = cluster;
  const url = `${workers.get('w1')!.s3}/demo/${late.key}`;
  const reads = Array.from({ length: 6 }, () => body(url));
  await expect.poll(() => gets(late.key), { timeout: 20_000 }).toBeGreaterThan(0);
  await kill('w2');
  expect(gets(late.key)).toBeLessThan(4 * segmentBytes);
  for (const bytes of await Promise.all(reads)) expectContent(bytes, late);
  expect(gets(late.key)).toBeLessThan(2 * late.sizeBytes);
  await expect.poll(() => gets(late.key)).toBeGreaterThanOrEqual(late.sizeBytes);
});

/** Two pieces, so that there is something to mix. */
const changing = { key: 'data/changing.bin', sizeBytes: MiB + 64 * KiB };

/** Which version of the object these are the bytes of: that of their beginning. */
function versionOf(bytes: Uint8Array, from: number, newest: number): number | undefined {
  const head = Buffer.from(bytes.subarray(0, 64));
  for (let version = newest; version > 0; version -= 1)
    if (head.equals(Buffer.from(contentAt(changing.key, version, from, 64)))) return version;
  return undefined;
}

it('readers of an object that changes get one version each, and none older than their question', async () => {
  const reads = Number(process.env.CHANGING_READS ?? 400);
  const env = { ...through, PRIMED_READING_MAX_AGE: '0s' };
  scene = await openScene({ origin: { objects: [changing] }, daemon: { env } });
  const { daemon, origin } = scene;
  const url = `${daemon.s3}/demo/${changing.key}`;
  let newest = 1;
  const seen = new Set<number>();
  const count = { whole: 0, refused: 0, cut: 0 };
  let left = reads;
  const reader = async (): Promise<void> => {
    while (left > 0) {
      left -= 1;
      if (left % 20 === 0) newest = origin.bump({ key: changing.key })!;
      const before = newest;
      // Two pages, few bytes of each; and now and then all of it.
      const from = left % 10 === 0 ? 0 : MiB - 32 * KiB;
      const answer = await fetch(url, { headers: { range: `bytes=${from}-${MiB + 32 * KiB - 1}` } });
      if (answer.status !== 206) {
        expect([answer.status, await answer.text()]).toEqual([503, expect.stringMatching(/<Code>\w+/)]);
        count.refused += 1;
        continue;
      }
      let bytes: Uint8Array;
      try {
        bytes = new Uint8Array(await answer.arrayBuffer());
      } catch {
        count.cut += 1;
        continue;
      }
      const version = versionOf(bytes, from, newest);
      expect(version).toBeGreaterThanOrEqual(before);
      expectContent(bytes, { ...changing, version: version! }, from, MiB + 32 * KiB - from);
      seen.add(version!);
      count.whole += 1;
    }
  };
  await Promise.all(Array.from({ length: 16 }, reader));
  expect(seen.size).toBeGreaterThan(newest / 4);
  expect([count.whole > reads / 2, count]).toEqual([true, expect.anything()]);
  // It stands still: everybody gets the last one, and the store has no other.
  expectContent(await body(url), { ...changing, version: newest });
  await expect
    .poll(() => metric(daemon.api, 'primed_store_used_bytes'), { timeout: 30_000, interval: 200 })
    .toBeLessThan(3 * MiB);
}, 600_000);

it('what is older than max_age is asked about once, and given as it is while the origin is away', async () => {
  const env = { ...through, PRIMED_READING_MAX_AGE: '1h' };
  scene = await openScene({ origin: { objects: [changing] }, daemon: { env } });
  const { daemon, origin } = scene;
  const url = `${daemon.s3}/demo/${changing.key}`;
  const heads = (): number => origin.stats().byOperation.HeadObject ?? 0;
  for (let n = 0; n < 5; n += 1) expectContent(await body(url), changing);
  expect([heads(), gets(changing.key)]).toEqual([1, changing.sizeBytes]);
  const conditions: [Record<string, string>, number][] = [];
  const etag = (await fetch(url)).headers.get('etag')!;
  conditions.push([{ 'if-none-match': etag }, 304], [{ 'if-match': '"other"' }, 412]);
  for (const [headers, status] of conditions) expect((await fetch(url, { headers })).status).toBe(status);

  // Another daemon does not know any more how old it is.
  origin.bump({ key: changing.key });
  await scene.daemon.terminate();
  await scene.restart();
  expectContent(await body(`${scene.daemon.s3}/demo/${changing.key}`), { ...changing, version: 2 });
  const fault = origin.setFault({ operation: '*', fault: { kind: 'status', status: 503 } });
  await scene.daemon.terminate();
  await scene.restart();
  const stale = Array.from({ length: 5 }, () => body(`${scene!.daemon.s3}/demo/${changing.key}`));
  for (const bytes of await Promise.all(stale)) expectContent(bytes, { ...changing, version: 2 });
  expect(origin.fired(fault)).toBeGreaterThan(0);
  expect(await metric(scene.daemon.api, 'primed_read_stale_total')).toBe(5);
  expect(scene.daemon.log()).toContain('it is given as it is');
  await scene.daemon.terminate();
  await scene.restart({ env: { PRIMED_READING_ORIGIN_AWAY: 'refuse', ...env } });
  expect((await fetch(`${scene.daemon.s3}/demo/${changing.key}`)).status).toBe(503);
  origin.clearFaults();
  await expect
    .poll(async () => (await fetch(`${scene!.daemon.s3}/demo/${changing.key}`)).status, { timeout: 20_000 })
    .toBe(200);
});

it('a change of the policy holds for the threads that serve what is whole here', async () => {
  const folder = temporaryFolder('policy');
  const file = join(folder.path, 'primed.toml');
  const write = (more: string): void => writeFileSync(file, `[reading]\nread_through = "always"\n${more}`);
  write('');
  try {
    scene = await openScene({ origin: { objects: [changing] }, daemon: { args: ['--config', file] } });
    const { daemon, origin } = scene;
    const url = `${daemon.s3}/demo/${changing.key}`;
    for (let n = 0; n < 2; n += 1) expectContent(await body(url), changing);
    origin.bump({ key: changing.key });
    // Objects never change, as far as it was told.
    expectContent(await body(url), changing);
    write('max_age = "0s"\n');
    process.kill(daemon.pid, 'SIGHUP');
    await expect.poll(() => daemon.log(), { timeout: 20_000 }).toContain('the configuration was read again');
    await expect
      .poll(async () => versionOf(new Uint8Array(await (await fetch(url)).arrayBuffer()), 0, 2), { timeout: 10_000 })
      .toBe(2);
  } finally {
    folder.remove();
  }
});

it('an object that changes between the look at its head and that at its bytes is given as it is now, by every worker', async () => {
  cluster = await openCluster({ workers: ['w1', 'w2'], origin: { objects: [changing] }, env: through });
  await knowEachOther();
  const { workers, origin } = cluster;
  const urls = [...workers.values()].map(({ s3 }) => `${s3}/demo/${changing.key}`);
  // Objects never change, as far as they were told: all of them keep what they heard.
  for (const url of urls) expect((await fetch(url, { method: 'HEAD' })).status).toBe(200);
  origin.bump({ key: changing.key });
  for (const url of [...urls, ...urls]) expectContent(await body(url), { ...changing, version: 2 });
  // And what refusals of the old version say.
  expect(gets(changing.key)).toBeLessThan(changing.sizeBytes + 16 * KiB);
});
