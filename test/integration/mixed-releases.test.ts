/**
 * A cluster in the middle of an upgrade: nodes of the protocol before, which are that program as it was (test/samples), and those
 * of today work together, in either role; what the older one cannot do is said by name; the way back is refused, or taken by its steps.
 */
import { readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { type Answer, call, check, ended, type Json, list, loaded, progress, submit } from '../support/api.ts';
import { type Cluster, openCluster, placesOf, readBack, segmentBytes, untilLive } from '../support/cluster.ts';
import { spawnDaemon } from '../support/daemon.ts';
import { eventually, held, letGo, objects, olderRelease, path, totalBytes, untilMore } from '../support/mixed.ts';
import { listedBy, originEnvironment } from '../support/origin.ts';

const socketsPerWorker = 2;
const inFlightBytes = 2 * socketsPerWorker * segmentBytes;
const old = olderRelease();
let cluster: Cluster | undefined;
afterEach(async () => {
  await cluster?.close();
  cluster = undefined;
});

/** Two workers and a coordinator, of which those named are old. */
async function open(...olds: string[]): Promise<{ mixed: Cluster; executables: Map<string, string> }> {
  const executables = new Map(olds.map((id) => [id, old()]));
  cluster = await openCluster({
    ...{ origin: { objects }, workers: ['w1', 'w2'], executables },
    env: {
      // None is taken for lost, however busy the machine, unless it is.
      PRIMED_CLUSTER_LEASE: '10s',
      PRIMED_WORKER_LANES: '1',
      PRIMED_WORKER_SOCKETS_PER_LANE: `${socketsPerWorker}`,
    },
  });
  return { mixed: cluster, executables };
}

/** Which version of the protocol the coordinator has spoken with each worker last; one of then does not say: 3. */
function spokenWith({ coordinator, workers }: Cluster): Record<string, number> {
  const ups = coordinator
    .log()
    .split('\n')
    .filter((line) => line.includes('the control link to a worker is up'))
    .map((line) => JSON.parse(line) as { worker: string; protocol?: number });
  const last = (id: string) => ups.findLast(({ worker }) => worker === id)?.protocol ?? 3;
  return Object.fromEntries([...workers.keys()].sort().map((id) => [id, last(id)]));
}

/** Neither side has heard what it does not understand. */
function expectNothingOdd({ coordinator, workers }: Cluster): void {
  for (const { log } of [coordinator, ...workers.values()]) expect(log()).not.toMatch(/makes no sense|INTERNAL/);
}

const cached = async ({ coordinator }: Cluster): Promise<number> =>
  (await progress(coordinator.api, path)).json().ledger.cachedBytes;
const sentBytes = ({ origin }: Cluster): number =>
  origin.requests.reduce((sum, { operation, bytesSent }) => sum + (operation === 'GetObject' ? bytesSent : 0), 0);

/** A load that the worker of the other release copies from, in both directions; checked, asked for again, and read through each. */
async function expectLoads(mixed: Cluster): Promise<void> {
  const { api } = mixed.coordinator;
  mixed.origin.resetStats();
  const report = await loaded(api, path, { replicas: '2', verify: 'true' });
  expect(report).toMatchObject({ mLoadedByteCount: totalBytes, mProcessedFileCount: objects.length });
  expect(report.ledger).toMatchObject({ originBytes: totalBytes, peerBytes: totalBytes, inFlightBytes: 0 });
  expect(sentBytes(mixed)).toBe(totalBytes);
  const places = await placesOf(mixed, await listedBy(mixed.origin, 'data/'));
  expect(places.map((ids) => ids.toSorted())).toEqual(places.map(() => ['w1', 'w2']));
  for (const id of mixed.workers.keys()) await readBack(mixed, id);
  expect(await check(api, path)).toMatchObject({ ok: true, checkedFiles: 2 * objects.length });
  await expectThere(mixed);
}

async function expectThere(mixed: Cluster): Promise<void> {
  const before = sentBytes(mixed);
  const again = await loaded(mixed.coordinator.api, path, { replicas: '2', skipIfExists: 'true' });
  expect(again).toMatchObject({ mSkippedByteCount: totalBytes, ledger: { originBytes: 0 } });
  expect(sentBytes(mixed)).toBe(before);
}

async function expectFreed(mixed: Cluster): Promise<void> {
  const freed = await call(mixed.coordinator.api, 'POST', '/api/v1/master/submit_job/free', { path });
  expect(freed.status, freed.text).toBe(200);
  await expect
    .poll(async () => (await placesOf(mixed, await listedBy(mixed.origin, 'data/'))).flat(), eventually)
    .toEqual([]);
}

const idsOf = (answer: Answer): string[] => answer.json().map((job: Json) => job.jobId);

test('a coordinator, then the worker of one release with those of the other: loads, copies, frees; the way back is kept', async () => {
  const { mixed, executables } = await open('coordinator', 'w1');
  await expectLoads(mixed);
  expect(spokenWith(mixed)).toEqual({ w1: 3, w2: 3 });
  expectNothingOdd(mixed);
  const known = idsOf(await list(mixed.coordinator.api));
  executables.delete('coordinator');
  await mixed.restartCoordinator();
  await untilLive(mixed, ['w1', 'w2']);
  expect(mixed.coordinator.log()).toMatch(/"from":[12],"format":3[^\n]*the job store is brought to a newer format/);
  await expectThere(mixed);
  await expectFreed(mixed);
  await expectLoads(mixed);
  expect(spokenWith(mixed)).toEqual({ w1: 3, w2: 4 });
  const plan = await call(mixed.coordinator.api, 'POST', '/api/v1/master/plan_job/load', { path });
  expect([plan.status, plan.json().code]).toEqual([409, 'WORKER_REFUSED']);
  expect(plan.json().message).toMatch(/'w1'/);
  expectNothingOdd(mixed);

  // Back: refused, and not touched; then by the steps of docs/OPERATIONS.md.
  const dataDir = mixed.dataDir('coordinator');
  const { ports } = mixed.coordinator;
  await mixed.coordinator.terminate();
  const stored = () => readFileSync(join(dataDir, 'jobs', 'data.mdb'));
  const before = stored();
  const refused = await spawnDaemon({
    ...{ role: 'coordinator', dataDir, storeSize: null, ports, executable: old() },
    env: originEnvironment(mixed.origin),
  });
  expect(await refused.exited).toEqual({ code: 1, signal: null });
  expect(refused.log()).toMatch(
    /primed: STORE_VERSION: The job store holds records of version 3, this primed reads version 2/,
  );
  expect(stored().equals(before)).toBe(true);
  renameSync(join(dataDir, 'jobs', 'before-upgrade.mdb'), join(dataDir, 'jobs', 'data.mdb'));
  executables.set('coordinator', old());
  await mixed.restartCoordinator();
  await untilLive(mixed, ['w1', 'w2']);
  // As it was at the upgrade: of the jobs since nothing is known, and what is cached is.
  expect(idsOf(await list(mixed.coordinator.api))).toEqual(known);
  await expectThere(mixed);
});

test('each node is killed in the middle of a load and goes on as the new release: nothing durable is fetched again', async () => {
  const { mixed, executables } = await open('coordinator', 'w1', 'w2');
  mixed.origin.resetStats();
  mixed.origin.setKnobs(held);
  expect((await submit(mixed.coordinator.api, path)).status).toBe(200);
  await untilMore(mixed.origin, () => cached(mixed), 0);
  for (const id of ['coordinator', 'w1', 'w2']) {
    const before = await cached(mixed);
    expect((await progress(mixed.coordinator.api, path)).json().mJobState).toBe('RUNNING');
    executables.delete(id);
    if (id === 'coordinator') await mixed.restartCoordinator();
    else {
      await mixed.kill(id);
      await mixed.start(id);
    }
    await untilLive(mixed, ['w1', 'w2']);
    await untilMore(mixed.origin, () => cached(mixed), before);
  }
  expect((await progress(mixed.coordinator.api, path)).json().mJobState).toBe('RUNNING');
  letGo(mixed.origin);
  const report = await ended(mixed.coordinator.api, path);
  expect(report).toMatchObject({ mJobState: 'SUCCEEDED', mLoadedByteCount: totalBytes, ledger: { inFlightBytes: 0 } });
  expect(spokenWith(mixed)).toEqual({ w1: 4, w2: 4 });
  expectNothingOdd(mixed);
  expect(sentBytes(mixed)).toBeLessThanOrEqual(totalBytes + 3 * inFlightBytes);
  const places = await placesOf(mixed, await listedBy(mixed.origin, 'data/'));
  expect(places.filter((ids) => ids.length !== 1)).toEqual([]);
  for (const id of mixed.workers.keys()) await readBack(mixed, id);
});
