/** Several coordinators over a real etcd: each answers every call, and the loss of one, or of etcd, costs a load time only. */
import { kill } from 'node:process';
import { afterEach, expect, it } from 'vitest';
import { KiB, MiB } from '../../src/core/units.ts';
import { call, ended, type Json, list, progress, stop, submit } from '../support/api.ts';
import { placesOf, readBack, segmentBytes } from '../support/cluster.ts';
import { type Daemon, loggedMs } from '../support/daemon.ts';
import { listedBy } from '../support/origin.ts';
import {
  coordinatorLeaseMs,
  openSharedCluster,
  type SharedCluster,
  socketsPerWorker,
} from '../support/shared-cluster.ts';

const objects = [
  ...Array.from({ length: 4 }, (_, n) => ({ key: `data/large-${n}.bin`, sizeBytes: 24 * MiB + n * 4097 })),
  ...Array.from({ length: 60 }, (_, n) => ({ key: `data/small-${n}.bin`, sizeBytes: 16 * KiB + n })),
];
const totalBytes = objects.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
const path = 's3://demo/data/';
const slowly = { bytesPerSecond: 4 * MiB };
/** What two workers have asked for and not yet made durable, at most. */
const inFlightBytes = 2 * socketsPerWorker * segmentBytes;
const failOverMs = 10_000;
const paused = 'jobs pause: nothing is decided without a lease';
const eventually = { timeout: 60_000, interval: 50 };

let cluster: SharedCluster;
afterEach(() => cluster.close());

/** Coordinators `a` and `b`, and a load that `a` runs, of which a part is durable. */
async function underWay(): Promise<{ a: Daemon; b: Daemon; before: number }> {
  cluster = await openSharedCluster({ origin: { objects }, coordinators: ['a', 'b'], workers: ['w1', 'w2'] });
  const [a, b] = ['a', 'b'].map((id) => cluster.coordinators.get(id)!) as [Daemon, Daemon];
  cluster.origin.resetStats();
  cluster.origin.setKnobs(slowly);
  expect((await submit(a.api, path)).status).toBe(200);
  await expect.poll(() => cachedBytes(b), eventually).toBeGreaterThan(totalBytes / 8);
  expect(cluster.owner()).toBe('a');
  return { a, b, before: await cachedBytes(b) };
}

async function report({ api }: Daemon): Promise<Json> {
  const answer = await progress(api, path);
  return answer.status === 200 ? answer.json() : {};
}

async function cachedBytes(daemon: Daemon): Promise<number> {
  return (await report(daemon)).ledger?.cachedBytes ?? 0;
}

/** The job is right, the origin gave no durable byte twice, and the account says so. */
async function expectWhole(daemon: Daemon): Promise<Json> {
  cluster.origin.setKnobs({ bytesPerSecond: 0 });
  const done = await ended(daemon.api, path);
  expect(done).toMatchObject({
    mJobState: 'SUCCEEDED',
    mLoadedByteCount: totalBytes,
    mProcessedFileCount: objects.length,
    ledger: { inFlightBytes: 0, cachedBytes: totalBytes },
  });
  const { originBytes, peerBytes, discardedBytes } = done.ledger;
  const discarded = Object.values<number>(discardedBytes).reduce((sum, bytes) => sum + bytes, 0);
  expect(originBytes + peerBytes).toBe(totalBytes + discarded);
  const sent = cluster.origin.requests.filter((one) => one.operation === 'GetObject');
  const sentBytes = sent.reduce((sum, { bytesSent }) => sum + bytesSent, 0);
  expect(sentBytes).toBeGreaterThanOrEqual(totalBytes);
  expect(sentBytes - totalBytes).toBeLessThanOrEqual(inFlightBytes);
  const places = await placesOf(cluster, await listedBy(cluster.origin, 'data/'));
  expect(places.filter((ids) => ids.length !== 1)).toEqual([]);
  for (const id of cluster.workers.keys()) await readBack({ ...cluster, objects }, id);
  return done;
}

it('each of two coordinators answers every call, whoever runs the load', async () => {
  const { a, b } = await underWay();
  const [mine, theirs] = [(await list(a.api)).json(), (await list(b.api)).json()];
  expect([mine.length, theirs.length]).toEqual([1, 1]);
  expect(theirs[0].jobId).toBe(mine[0].jobId);
  expect((await progress(b.api, path, 'TEXT')).text).toMatch(/Job State: RUNNING/);
  const again = await submit(b.api, path);
  expect([again.status, again.json().message]).toEqual([200, `Load already running for path '${path}'`]);
  const other = await submit(b.api, path, { verify: 'true' });
  expect([other.status, other.json().code]).toEqual([409, 'JOB_CONFLICT']);
  // A worker asks any of them, for clients of the first generation.
  const { api: worker } = cluster.workers.get('w1')!;
  const asked = await call(worker, 'GET', `/v1/load?opType=progress&path=${encodeURIComponent(path)}`);
  expect([asked.status, asked.json().jobState]).toEqual([200, 'RUNNING']);
  const stopped = await stop(b.api, path);
  expect([stopped.status, stopped.json().message]).toEqual([200, `Load '${path}' is successfully stopped.`]);
  for (const daemon of [a, b])
    await expect.poll(async () => (await report(daemon)).mJobState, eventually).toBe('STOPPED');
  cluster.origin.setKnobs({ bytesPerSecond: 0 });
  expect((await submit(b.api, path)).status).toBe(200);
  const done = await ended(a.api, path);
  expect(done).toMatchObject({ mJobState: 'SUCCEEDED', mProcessedFileCount: objects.length });
  expect(done.mLoadedByteCount + done.mSkippedByteCount).toBe(totalBytes);
});

it('the same path submitted to both at once is one job', async () => {
  cluster = await openSharedCluster({ origin: { objects }, coordinators: ['a', 'b'], workers: ['w1'] });
  const apis = ['a', 'b'].map((id) => cluster.coordinators.get(id)!.api);
  cluster.origin.setKnobs(slowly);
  const answers = await Promise.all([...apis, ...apis, ...apis].map((api) => submit(api, path)));
  expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200));
  expect(new Set(answers.map((answer) => answer.json().jobId)).size).toBe(1);
  expect(answers.filter((answer) => /successfully submitted/.test(answer.text))).toHaveLength(1);
  cluster.origin.setKnobs({ bytesPerSecond: 0 });
  for (const api of apis) expect((await ended(api, path)).mJobState).toBe('SUCCEEDED');
});

it('a coordinator that is killed in the middle of a load is followed by the other within 10 s', async () => {
  const { b, before } = await underWay();
  const { jobId, runId } = await report(b);
  const killedMs = performance.now();
  await cluster.kill('a');
  const { api: worker } = cluster.workers.get('w1')!;
  const asked = await call(worker, 'GET', `/v1/load?opType=progress&path=${encodeURIComponent(path)}`);
  expect([asked.status, asked.json().jobState]).toEqual([200, 'RUNNING']);
  await expect.poll(() => cluster.owner(), eventually).toBe('b');
  // It goes on: more is durable than was when the first one died.
  await expect.poll(() => cachedBytes(b), eventually).toBeGreaterThan(before);
  const tookMs = performance.now() - killedMs;
  expect(tookMs).toBeLessThan(failOverMs);
  expect(await report(b)).toMatchObject({ mJobState: 'RUNNING', jobId, runId });
  await expectWhole(b);
  const a = await cluster.startCoordinator('a');
  expect(await report(a)).toEqual(await report(b));
  console.log(`fail-over: ${Math.round(tookMs)} ms`);
});

it('a coordinator that stood still for longer than its lease, and goes on, does not disturb its successor', async () => {
  const { a, b, before } = await underWay();
  kill(a.pid, 'SIGSTOP');
  try {
    await expect.poll(() => cluster.owner(), eventually).toBe('b');
    await expect.poll(() => cachedBytes(b), eventually).toBeGreaterThan(before);
  } finally {
    kill(a.pid, 'SIGCONT');
  }
  // It is back, knows whose job it is, and that one goes on.
  await expect.poll(async () => (await call(a.api, 'GET', '/health/ready')).status, eventually).toBe(200);
  expect(cluster.owner()).toBe('b');
  const done = await expectWhole(b);
  await expect.poll(() => report(a), eventually).toEqual(done);
  expect(a.log()).toMatch(/jobs pause: nothing is decided without a lease|the lease of this coordinator is lost/);
  expect(a.log()).not.toMatch(/"the job has ended"/);
  expect(b.log()).toMatch(/a job was taken over/);
});

it('while etcd is away a load pauses and says why, and nothing is lost', async () => {
  const { a, b, before } = await underWay();
  const [etcd] = cluster.etcd.members;
  const saidBefore = [a, b].map((daemon) => daemon.log().length);
  await etcd!.stop();
  const [stoppedMs, stoppedWallMs] = [performance.now(), Date.now()];
  for (const daemon of [a, b]) {
    await expect.poll(async () => (await call(daemon.api, 'GET', '/health/ready')).status, eventually).toBe(503);
    expect((await call(daemon.api, 'GET', '/health/ready')).json().reason).toMatch(/etcd/);
    await expect.poll(async () => (await report(daemon)).reason, eventually).toMatch(/^waits for etcd: /);
    expect((await report(daemon)).mJobState).toBe('RUNNING');
    const refused = await submit(daemon.api, `${path}small-1.bin`);
    expect([refused.status, refused.json().code]).toEqual([503, 'ETCD_UNAVAILABLE']);
  }
  // Before its lease could have ended, by its own account: how long this test took to ask says nothing.
  for (const [at, daemon] of [a, b].entries()) {
    const pausedMs = (): number => loggedMs(daemon.log().slice(saidBefore[at]), paused);
    await expect.poll(pausedMs, eventually).not.toBeNaN();
    expect(pausedMs() - stoppedWallMs).toBeLessThan(coordinatorLeaseMs);
  }
  await expect.poll(() => performance.now() - stoppedMs, eventually).toBeGreaterThan(15_000);
  // Nothing was asked of the origin meanwhile.
  const asked = cluster.origin.requests.length;
  await expect.poll(() => performance.now() - stoppedMs, eventually).toBeGreaterThan(16_000);
  expect(cluster.origin.requests.length).toBe(asked);
  await etcd!.start();
  await expect.poll(() => cachedBytes(b), eventually).toBeGreaterThan(before);
  const done = await expectWhole(a);
  await expect.poll(() => report(b), eventually).toEqual(done);
  for (const daemon of [a, b])
    await expect.poll(async () => (await call(daemon.api, 'GET', '/health/ready')).status, eventually).toBe(200);
});
