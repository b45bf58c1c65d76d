/** Generations 1 and 3 of the job API, of the real daemon: on one machine, and forwarded by the workers of a cluster. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { KiB, MiB } from '../../src/core/units.ts';
import { type Answer, call, ended, type Json, list, submit } from '../support/api.ts';
import { type Cluster, openCluster } from '../support/cluster.ts';
import { smallDataset } from '../support/origin.ts';
import { openScene, type Scene } from '../support/scene.ts';

const path = 's3://demo/data/';
const totalBytes = smallDataset.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const ends = new Set(['SUCCEEDED', 'FAILED', 'STOPPED']);

/** Asks until the answer says so. Limit: 60 s. */
async function until(ask: () => Promise<Answer>, done: (json: Json) => boolean): Promise<Json> {
  let json: Json;
  const asked = async () => {
    json = (await ask()).json();
    return done(json);
  };
  await expect.poll(asked, { timeout: 60_000, interval: 20 }).toBe(true);
  return json;
}

describe('on one machine', () => {
  let scene: Scene;
  let api: string;
  let worker: string;
  beforeAll(async () => {
    scene = await openScene();
    api = scene.daemon.api;
    worker = `http://127.0.0.1:${scene.daemon.ports.http}`;
  });
  afterAll(() => scene?.close());

  const g1 = (fields: Record<string, string>, method = 'GET') =>
    call(worker, method, `/v1/load?${new URLSearchParams({ path, ...fields })}`);
  const target = (handle: string) => call(api, 'GET', `/api/v1/load?target=${encodeURIComponent(handle)}`);

  it('generation 1 submits, reports in a tight loop, and stops, on the port of the worker', async () => {
    const submitted = await g1({ opType: 'submit', partialListing: 'true' }, 'POST');
    expect([submitted.status, submitted.json()]).toMatchObject([
      200,
      { success: true, path, jobId: expect.stringMatching(uuid) },
    ]);
    const report = await until(
      () => g1({ opType: 'progress', progressFormat: 'TEXT', verbose: 'false' }),
      ({ jobState }) => ends.has(jobState),
    );
    expect(report).toMatchObject({ jobState: 'SUCCEEDED', path, respProperties: { 'Job State': 'SUCCEEDED' } });
    expect(report.message).toContain(`\tBytes Loaded: ${(totalBytes / MiB).toFixed(2)}MB`);
    await scene.readBack(smallDataset);
    expect((await g1({ opType: 'stop' })).json()).toMatchObject({ success: false });
    const unknown = await call(worker, 'GET', '/v1/load?path=s3://demo/none/&opType=progress');
    expect([unknown.status, unknown.json().jobState]).toEqual([200, 'FAILED']);
  });

  it('generation 3 loads a list of paths as one job under an alias, and IF_CHANGED fetches nothing again', async () => {
    const keys = smallDataset.map(({ key }) => `s3://demo/${key}`);
    const submitted = await call(api, 'POST', '/api/v1/load', { paths: [keys[0], path], alias: 'mine' });
    expect([submitted.status, submitted.json()]).toMatchObject([
      200,
      { alias: 'mine', id: expect.stringMatching(uuid) },
    ]);
    const job = await until(
      () => target('mine'),
      ({ state }) => ends.has(state),
    );
    expect(job).toMatchObject({
      id: submitted.json().id,
      state: 'SUCCEEDED',
      paths: [keys[0], path],
      loadedBytes: totalBytes,
      totalBytes,
      failedFiles: 0,
      quota: { unlimited: true },
    });
    expect((await list(api)).json()[0]).toMatchObject({ alias: 'mine', paths: [keys[0], path] });
    expect((await call(api, 'GET', '/api/v1/load')).json().results[0].id).toBe(job.id);
    for (const handle of [job.id, keys[0]!]) expect((await target(handle)).json().id).toBe(job.id);
    scene.origin.resetStats();
    const options = { loadPolicy: 'IF_CHANGED' };
    const again = (await call(api, 'POST', '/api/v1/load', { paths: [path], options })).json();
    const second = await until(
      () => target(again.alias),
      ({ state }) => ends.has(state),
    );
    expect(second).toMatchObject({ state: 'SUCCEEDED', loadedBytes: 0, skippedBytes: totalBytes, skipIfExists: true });
    expect(scene.origin.stats().byOperation.GetObject ?? 0).toBe(0);
    // One that has changed is fetched, and only that.
    const changed = { ...smallDataset.at(-1)!, version: 2 };
    scene.origin.add(changed);
    const third = (await call(api, 'POST', '/api/v1/load', { paths: [path], options })).json();
    await until(
      () => target(third.alias),
      ({ state }) => ends.has(state),
    );
    expect(Object.keys(scene.origin.stats().bytesByKey)).toEqual([changed.key]);
  });

  it('an alias survives a restart; an identical job is 409; DELETE stops', async () => {
    scene.origin.add({ key: 'slow/a.bin', sizeBytes: 40 * MiB });
    scene.origin.setKnobs({ bytesPerSecond: 4 * MiB });
    const body = { paths: ['s3://demo/slow/', 's3://demo/slow/a.bin'], alias: 'slow' };
    const { id } = (await call(api, 'POST', '/api/v1/load', body)).json();
    await until(
      () => target('slow'),
      ({ loadedBytes }) => loadedBytes > 0,
    );
    const identical = await call(api, 'POST', '/api/v1/load', body);
    expect([identical.status, identical.json().status]).toEqual([409, expect.stringContaining(id)]);
    await scene.daemon.kill();
    await scene.restart();
    const job = (await target('slow')).json();
    expect(job).toMatchObject({ id, alias: 'slow', paths: body.paths });
    expect(job.state).toMatch(/RUNNING|WAITING/);
    const stopped = await call(api, 'DELETE', '/api/v1/load', { target: 'slow' });
    expect([stopped.status, stopped.json()]).toMatchObject([200, { id, alias: 'slow' }]);
    expect((await target('slow')).json().state).toBe('STOPPED');
    expect((await call(api, 'DELETE', '/api/v1/load', { target: 'slow' })).json()).toMatchObject({
      status: 'No job found...',
    });
    scene.origin.setKnobs({ bytesPerSecond: 0 });
  });

  it('both ports have an OpenAPI document', async () => {
    for (const [base, route] of [
      [api, '/api/v1/load'],
      [worker, '/v1/load'],
    ] as const) {
      const document = (await call(base, 'GET', '/openapi.json')).json();
      expect(document.openapi).toMatch(/^3\./);
      expect(document.paths).toHaveProperty([route]);
    }
  });
});

describe('in a cluster', () => {
  let cluster: Cluster | undefined;
  afterEach(async () => {
    await cluster?.close();
    cluster = undefined;
  });

  it('any worker forwards generation 1 to the coordinator, and says when it cannot reach it', async () => {
    const objects = Array.from({ length: 20 }, (_, n) => ({ key: `data/${n}`, sizeBytes: 64 * KiB + n }));
    cluster = await openCluster({ workers: ['w1', 'w2'], origin: { objects } });
    const { api } = cluster.coordinator;
    const g1 = (id: string, opType: string) =>
      call(cluster!.workers.get(id)!.api, 'GET', `/v1/load?path=${path}&opType=${opType}`);
    const { jobId } = (await g1('w1', 'submit')).json();
    const report = await until(
      () => g1('w2', 'progress'),
      ({ jobState }) => ends.has(jobState),
    );
    expect(report).toMatchObject({ jobState: 'SUCCEEDED', respProperties: { 'Files Failed': '0' } });
    expect(await ended(api, path)).toMatchObject({ jobId, mJobState: 'SUCCEEDED', mTotalFileCount: 20 });
    cluster.origin.setKnobs({ bytesPerSecond: 64 * KiB });
    const second = (await submit(api, path)).json();
    expect((await g1('w1', 'submit')).json()).toMatchObject({
      success: true,
      jobId: second.jobId,
      message: `Load already running for path '${path}'`,
    });
    expect((await g1('w2', 'stop')).json()).toMatchObject({ success: true });
    expect((await g1('w1', 'progress')).json().jobState).toBe('STOPPED');
    await cluster.coordinator.kill();
    const askedAtMs = performance.now();
    expect((await g1('w1', 'submit')).json()).toMatchObject({
      success: false,
      jobId: 'NONE',
      code: 'COORDINATOR_UNREACHABLE',
    });
    expect((await g1('w2', 'progress')).status).toBe(503);
    expect(performance.now() - askedAtMs).toBeLessThan(20_000);
  });
});
