/** Reading a cluster through any of its workers: every byte, every list, and the truth when a worker or a page is gone. */
import { type _Object, ListObjectsV2Command } from '@aws-sdk/client-s3';
import { afterEach, expect, it } from 'vitest';
import { KiB, MiB } from '../../src/core/units.ts';
import { type Json, loaded } from '../support/api.ts';
import { type Cluster, openCluster, readBack, segmentBytes } from '../support/cluster.ts';
import { expectContent, listedBy } from '../support/origin.ts';
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

async function loadedCluster(replicas: number): Promise<Cluster> {
  cluster = await openCluster({ workers: ids, origin: { objects } });
  const report = await loaded(cluster.coordinator.api, path, { replicas: String(replicas) });
  expect(report).toMatchObject({ mJobState: 'SUCCEEDED', mLoadedByteCount: totalBytes });
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
