/** The page API and the file API of real workers: alone, and for whatever lies on others. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { pathId } from '../../src/core/path-id.ts';
import { makeRing, segmentKey, workerIdentity } from '../../src/core/ring.ts';
import { KiB, MiB } from '../../src/core/units.ts';
import type { ObjectSpec } from '../../src/demo/origin/objects.ts';
import { type Json, loaded } from '../support/api.ts';
import { openCluster, segmentBytes } from '../support/cluster.ts';
import { expectContent } from '../support/origin.ts';
import { rawRequest } from '../support/raw-http.ts';
import { openScene } from '../support/scene.ts';

const objects: readonly ObjectSpec[] = [
  { key: 'data/empty', sizeBytes: 0 },
  { key: 'data/page', sizeBytes: MiB },
  { key: 'data/a+b & 100% c=ü%41', sizeBytes: 10 * KiB },
  { key: 'data/large', sizeBytes: 3 * segmentBytes + 4097 },
];
const pathOf = ({ key }: ObjectSpec): string => `s3://demo/${key}`;
const closers: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const json = async (url: string): Promise<Json> => (await fetch(url)).json();

/** As the older clients read: by the id alone, page by page, until one is short. */
async function readPages(worker: string, path: string): Promise<Uint8Array> {
  const pages: Uint8Array[] = [];
  for (let page = 0; ; page += 1) {
    const answer = await fetch(`${worker}/v1/file/${pathId(path)}/page/${page}`);
    const body = new Uint8Array(await answer.arrayBuffer());
    expect([path, page, answer.status]).toEqual([path, page, 200]);
    pages.push(body);
    if (body.length < MiB) return Buffer.concat(pages);
  }
}

/** A range, with a path that is written as it is. */
async function readRange(worker: string, object: ObjectSpec, offset: number, length: number): Promise<void> {
  const path = pathOf(object).replace(/[^!-~]/gu, encodeURIComponent);
  const target = `/v1/range/${pathId(pathOf(object))}?ufsFullPath=${path}&offset=${offset}&length=${length}`;
  const { status, body } = await rawRequest(Number(new URL(worker).port), target);
  expect(status).toBe(200);
  const wanted = length < 0 ? object.sizeBytes - offset : length;
  expect(body.length).toBe(wanted);
  expectContent(body, object, offset, wanted);
}

async function readEverything(worker: string): Promise<void> {
  for (const object of objects) {
    expectContent(await readPages(worker, pathOf(object)), object);
    await readRange(worker, object, 0, -1);
  }
  await readRange(worker, objects[3]!, segmentBytes - 3, segmentBytes + 6);
  const listed: Json[] = await json(`${worker}/v1/files?path=${encodeURIComponent('s3://demo/data')}`);
  const wanted = objects.map((one) => [pathOf(one), one.sizeBytes, 100]).sort();
  expect(listed.map((one) => [one.mPath, one.mLength, one.mInAlluxioPercentage]).sort()).toEqual(wanted);
  const [info] = await json(`${worker}/v1/info?${new URLSearchParams({ path: pathOf(objects[2]!) })}`);
  expect(info).toMatchObject({ mType: 'file', mLength: 10 * KiB, mName: 'a+b & 100% c=ü%41', mCompleted: true });
  const ufs = await json(`${worker}/v1/ufsInfo`);
  expect(ufs).toEqual({ 's3://demo/': { alluxio_path: '/demo', endpoint: expect.stringMatching(/^http:/) } });
  const missing = await fetch(`${worker}/v1/file/${pathId('s3://demo/none')}/page/0`);
  expect([missing.status, await missing.json()]).toEqual([404, { message: expect.any(String) }]);
  expect((await fetch(`${worker}/v1/rm/x`, { method: 'POST' })).status).toBe(405);
}

it('one daemon gives what it loaded, also after it was killed, and without its ids', async () => {
  const scene = await openScene({ origin: { objects } });
  closers.push(scene.close);
  await loaded(scene.daemon.api, 's3://demo/data/');
  const worker = () => `http://127.0.0.1:${scene.daemon.ports.http}`;
  await readEverything(worker());
  expect(await json(`${worker()}/v1/node?path=s3://demo/data/page`)).toEqual({
    Host: '127.0.0.1',
    HttpServerPort: scene.daemon.ports.http,
  });
  await scene.daemon.kill();
  rmSync(join(scene.dataDir, 'index', 'ids'), { recursive: true });
  await scene.restart();
  await expect
    .poll(async () => (await fetch(`${worker()}/v1/file/${pathId(pathOf(objects[0]!))}/page/0`)).status)
    .toBe(200);
  await readEverything(worker());
});

it('every worker of a cluster gives everything, names the owner, and goes on without one', async () => {
  const ids = ['w1', 'w2', 'w3'];
  const cluster = await openCluster({ workers: ids, origin: { objects } });
  closers.push(cluster.close);
  await loaded(cluster.coordinator.api, 's3://demo/data/', { replicas: '2' });
  cluster.origin.resetStats();
  const ring = makeRing(ids.map((id) => ({ identity: workerIdentity(id), id })));
  for (const id of ids) {
    const worker = `http://127.0.0.1:${cluster.workers.get(id)!.ports.http}`;
    await readEverything(worker);
    for (const object of objects) {
      const [owner] = ring.owners(segmentKey(pathOf(object), 0), 1);
      const node = await json(`${worker}/v1/node?path=${encodeURIComponent(pathOf(object))}`);
      expect(node.HttpServerPort).toBe(cluster.workers.get(owner!.id)!.ports.http);
    }
  }
  await cluster.kill('w2');
  for (const id of ['w1', 'w3']) {
    const worker = `http://127.0.0.1:${cluster.workers.get(id)!.ports.http}`;
    for (const object of objects) expectContent(await readPages(worker, pathOf(object)), object);
  }
  expect(cluster.origin.requests.filter(({ operation }) => operation === 'GetObject')).toEqual([]);
});
