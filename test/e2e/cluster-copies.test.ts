/** Where the bytes of replicas come from, with real processes: the origin gives each of them once, whoever joins or dies. */
import { closeSync, openSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, it, vi } from 'vitest';
import { KiB, MiB } from '../../src/core/units.ts';
import { contentAt } from '../../src/demo/origin/content.ts';
import { crc64nvme, crc64nvmeToBase64 } from '../../src/platform/checksum.ts';
import { ended, loaded, progress, submit } from '../support/api.ts';
import { type Cluster, openCluster, placesOf, readBack } from '../support/cluster.ts';
import { listedBy } from '../support/origin.ts';
import { rawRequest } from '../support/raw-http.ts';

// Five processes, on a machine that may have other work.
vi.setConfig({ testTimeout: 240_000 });

const path = 's3://demo/data/';
const objects = [
  ...Array.from({ length: 3 }, (_, n) => ({
    key: `data/large-${n}.bin`,
    sizeBytes: 40 * MiB + n * 4097,
    contentType: 'text/x-large',
  })),
  ...Array.from({ length: 40 }, (_, n) => ({
    key: `data/small-${n}.bin`,
    sizeBytes: 16 * KiB + n,
    contentType: 'text/x-small',
  })),
];
const totalBytes = objects.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);

let cluster: Cluster | undefined;
afterEach(async () => {
  await cluster?.close();
  cluster = undefined;
});

/** Segments of two parts, and a lease that a busy machine does not end. */
async function open(workers: readonly string[], env: Record<string, string> = {}): Promise<Cluster> {
  cluster = await openCluster({
    ...{ workers, origin: { objects } },
    env: { PRIMED_JOB_SEGMENT_SIZE: '16MB', PRIMED_CLUSTER_LEASE: '30s', ...env },
  });
  return cluster;
}

function sentBytes({ origin }: Cluster): number {
  const sent = origin.requests.filter(({ operation }) => operation === 'GetObject');
  return sent.reduce((sum, { bytesSent }) => sum + bytesSent, 0);
}

async function checksumAt(port: number, key: string, also: Record<string, string> = {}): Promise<string> {
  const asks = { 'x-amz-checksum-mode': 'ENABLED', ...also };
  const { status, headers } = await rawRequest(port, `/demo/${key}`, { method: 'HEAD', headers: asks });
  return `${status} ${headers['x-amz-checksum-crc64nvme']}`;
}

async function placed(of: Cluster): Promise<string[][]> {
  return placesOf(of, await listedBy(of.origin, 'data/'));
}

it.each([2, 3])('%i replicas are copied, and the origin is read once', async (replicas) => {
  const its = await open(['w1', 'w2', 'w3']);
  its.origin.resetStats();
  const report = await loaded(its.coordinator.api, path, { replicas: String(replicas) });
  expect(report.ledger).toMatchObject({
    originBytes: totalBytes,
    peerBytes: (replicas - 1) * totalBytes,
    inFlightBytes: 0,
  });
  expect(sentBytes(its)).toBe(totalBytes);
  const places = await placed(its);
  expect(places.map((ids) => new Set(ids).size)).toEqual(places.map(() => replicas));
  // What the origin says of an object goes with each copy, and to a reader through any worker.
  for (const { s3 } of its.workers.values()) {
    await expect.poll(async () => (await fetch(`${s3}/`)).status, { timeout: 20_000, interval: 50 }).toBe(200);
    for (const { key, contentType } of objects) {
      const answer = await fetch(`${s3}/${its.origin.bucket}/${key}`, { method: 'HEAD' });
      expect([answer.status, answer.headers.get('content-type')]).toEqual([200, contentType]);
    }
  }
});

it('a replica has parts of a segment durable while the origin still owes its source the last one', async () => {
  const one = { key: 'data/one.bin', sizeBytes: 32 * MiB };
  cluster = await openCluster({
    ...{ workers: ['w1', 'w2'], origin: { objects: [one] } },
    env: { PRIMED_JOB_SEGMENT_SIZE: '32MB', PRIMED_CLUSTER_LEASE: '30s' },
  });
  const its = cluster;
  const { api } = its.coordinator;
  const stall = { fault: { kind: 'stall' }, key: one.key, rangeFrom: { from: 24 * MiB, to: 32 * MiB } } as const;
  const fault = its.origin.setFault(stall);
  expect((await submit(api, path, { replicas: '2' })).status).toBe(200);
  const ledger = async () => (await progress(api, path)).json().ledger;
  // Three parts of four, twice.
  await expect.poll(async () => (await ledger()).cachedBytes, { timeout: 60_000, interval: 50 }).toBe(2 * 24 * MiB);
  expect(await ledger()).toMatchObject({ peerBytes: 24 * MiB });
  expect(its.origin.fired(fault)).toBeGreaterThan(0);
  expect((await progress(api, path)).json().mJobState).toBe('RUNNING');
  its.origin.clearFaults();
  its.origin.dropConnections();
  const report = await ended(api, path);
  expect(report).toMatchObject({ mJobState: 'SUCCEEDED', mLoadedByteCount: one.sizeBytes });
  expect(report.ledger).toMatchObject({ peerBytes: one.sizeBytes, inFlightBytes: 0 });
  expect(sentBytes(its)).toBe(one.sizeBytes);
  for (const id of ['w1', 'w2']) await readBack(its, id);
});

it.each([2, 3])(
  'with %i replicas a worker that is killed in the middle costs no byte of the origin',
  async (replicas) => {
    const its = await open(['w1', 'w2', 'w3', 'w4'], { PRIMED_CLUSTER_LEASE: '3s' });
    const { api } = its.coordinator;
    its.origin.resetStats();
    // The job cannot end before this file is given.
    const key = 'data/large-2.bin';
    const fault = its.origin.setFault({ fault: { kind: 'stall' }, key });
    const silentBytes = objects.find((one) => one.key === key)!.sizeBytes;
    expect((await submit(api, path, { replicas: String(replicas) })).status).toBe(200);
    const ledger = async () => (await progress(api, path)).json().ledger;
    await expect
      .poll(async () => (await ledger()).cachedBytes, { timeout: 40_000, interval: 50 })
      .toBe(replicas * (totalBytes - silentBytes));
    await expect.poll(() => its.origin.fired(fault), { timeout: 20_000 }).toBeGreaterThan(0);
    await its.kill('w2');
    await expect.poll(async () => (await ledger()).discardedBytes.lost, { timeout: 30_000 }).toBeGreaterThan(0);
    expect((await progress(api, path)).json().mJobState).toBe('RUNNING');
    its.origin.clearFaults();
    its.origin.dropConnections();
    const report = await ended(api, path);
    expect(report).toMatchObject({
      mJobState: 'SUCCEEDED',
      mLoadedByteCount: totalBytes,
      ledger: { inFlightBytes: 0 },
    });
    expect(sentBytes(its)).toBe(totalBytes);
    const places = await placed(its);
    expect(places.map((ids) => ids.length)).toEqual(places.map(() => replicas));
    await readBack(its, 'w4');
  },
);

it('workers that join get what moved to them from those that have it, and more replicas from the first', async () => {
  const its = await open(['w1']);
  const { api } = its.coordinator;
  await loaded(api, path);
  its.origin.resetStats();
  await its.start('w2');
  await its.start('w3');
  const report = await loaded(api, path, { skipIfExists: true });
  expect(sentBytes(its)).toBe(0);
  expect(report.ledger).toMatchObject({ originBytes: 0, inFlightBytes: 0 });
  expect(report.ledger.peerBytes).toBeGreaterThan(totalBytes / 4);
  expect(report.ledger.peerBytes).toBeLessThan(totalBytes);
  const moved = (await placed(its)).filter((ids) => ids.length === 2);
  expect(moved.length).toBeGreaterThan(20);
  const again = await loaded(api, path, { skipIfExists: true });
  expect(again.ledger).toMatchObject({ originBytes: 0, peerBytes: 0 });
  await loaded(api, path, { skipIfExists: true, replicas: '2' });
  expect(sentBytes(its)).toBe(0);
  for (const ids of await placed(its)) expect(ids.length).toBeGreaterThanOrEqual(2);
});

it('a source puts its bad pages right while it is copied from, and loads anew in the same job where that fails', async () => {
  const its = await open(['w1', 'w2']);
  const { api } = its.coordinator;
  await loaded(api, path);
  const store = join(its.dir, 'w1', 'store', 'store.dat');
  const file = openSync(store, 'r+');
  // A byte of each page that may hold data of large files.
  for (let at = 8 * MiB; at < Math.min(256 * MiB, statSync(store).size); at += 256 * KiB)
    writeSync(file, Buffer.of(0xa5, 0x5a, 0xa5), 0, 3, at + 4000);
  closeSync(file);
  its.origin.resetStats();
  // Of the first page that is asked for.
  const refused = its.origin.setFault({ fault: { kind: 'status', status: 403 }, times: 1 });
  const report = await loaded(api, path, { skipIfExists: true, replicas: '2' });
  expect(report).toMatchObject({ mJobState: 'SUCCEEDED' });
  expect(its.origin.fired(refused)).toBe(1);
  expect(its.coordinator.log()).toContain('what has a bad page is loaded anew');
  expect(its.workers.get('w1')!.log()).toContain('a bad page was replaced where it lies');
  const places = await placed(its);
  expect(places.map((ids) => ids.length)).toEqual(places.map(() => 2));
  // What the other one had did not leave the origin again.
  expect(sentBytes(its)).toBeGreaterThan(0);
  expect(sentBytes(its)).toBeLessThan(totalBytes);
});

it('a file in segments whose bytes were wrong on the way is found by the checksum of the whole object, and loaded anew', async () => {
  const [large] = objects as [(typeof objects)[0]];
  const its = await openCluster({
    ...{
      workers: ['w1', 'w2', 'w3'],
      origin: { objects: [large], checksums: ['crc64nvme'], checksumMaxBytes: 64 * MiB },
    },
    env: { PRIMED_JOB_SEGMENT_SIZE: '8MB', PRIMED_CLUSTER_LEASE: '30s' },
  });
  cluster = its;
  const fault = its.origin.setFault({ fault: { kind: 'corrupt', atByte: MiB }, key: large.key, times: 1 });
  await loaded(its.coordinator.api, path);
  expect(its.origin.fired(fault)).toBe(1);
  const [entry] = await listedBy(its.origin, 'data/');
  for (const { ports } of its.workers.values())
    await expect.poll(() => checksumAt(ports.s3, large.key), { timeout: 20_000 }).toBe('200 undefined');
  its.origin.resetStats();
  expect(await loaded(its.coordinator.api, path, { verify: 'true', skipIfExists: 'true' })).toMatchObject({
    mJobState: 'SUCCEEDED',
    verifiedFiles: 1,
    verifiedByPages: 0,
  });
  // It was read once more, is right now, and lies on several workers.
  expect(sentBytes(its)).toBe(large.sizeBytes);
  expect(new Set((await placesOf(its, [entry!])).flat()).size).toBeGreaterThan(1);
  await readBack({ ...its, objects: [large] }, 'w2');
  // What was compared is told to readers, through whichever worker, with the whole of the object.
  const right = crc64nvmeToBase64(crc64nvme(contentAt(large.key, 1, 0, large.sizeBytes)));
  for (const { ports } of its.workers.values()) {
    await expect.poll(() => checksumAt(ports.s3, large.key), { timeout: 20_000 }).toBe(`200 ${right}`);
    expect(await checksumAt(ports.s3, large.key, { range: 'bytes=0-9' })).toBe('206 undefined');
  }
  its.origin.resetStats();
  await loaded(its.coordinator.api, path, { verify: 'true', skipIfExists: 'true' });
  expect(sentBytes(its)).toBe(0);
});
