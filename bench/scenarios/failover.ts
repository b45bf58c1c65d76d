/** How long it takes until the work of a dead worker, or of a dead coordinator, is with others. */
import { setTimeout as sleep } from 'node:timers/promises';
import { makeRing, segmentKey, workerIdentity } from '../../src/core/ring.ts';
import { MiB } from '../../src/core/units.ts';
import type { SpawnedOrigin } from '../../src/demo/origin/api.ts';
import { startDemoOrigin } from '../origins/demo.ts';
import { type Cluster, openLocalCluster } from '../support/cluster.ts';
import { startEtcd } from '../support/etcd.ts';
import { insistOnSuccess, progressOf, progressUntil, submitLoad } from '../support/jobs.ts';
import { figure, verdict } from '../support/results.ts';
import type { Context, Scenario } from '../support/scenario.ts';

const path = 's3://demo/data/';
const workers = ['w1', 'w2', 'w3'];
const victim = 'w2';
const leaseSeconds = 10;
const graceSeconds = 2;
const coordinatorLimitSeconds = 10;
const objects = objectsOf(victim, 6);
const totalBytes = objects.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
/** The load lasts for longer than the fail-over. */
const pacedBytesPerSecond = totalBytes / 30;
/** The memory of workers: a few parts at once, so that some are durable when others are in flight. */
const smallBudget = '64MB';
/** Longer than any fail-over that is worth a figure. */
const patienceMs = 60_000;
/** What the dead coordinator had said last has arrived. */
const saidMs = 300;

export const failover: Scenario = {
  summary: 'from the death of a worker, or of a coordinator, until others go on with its work (needs etcd)',
  async run(context) {
    const { runs, quick, log } = context;
    const [lost, taken]: [number[], number[]] = [[], []];
    for (let run = 1; run <= (quick ? 1 : runs); run += 1) {
      log(`run ${run} of ${quick ? 1 : runs}`);
      lost.push(await workerLost(context));
      taken.push(await coordinatorLost(context));
    }
    const limits = { worker: leaseSeconds + graceSeconds, coordinator: coordinatorLimitSeconds };
    return {
      title: 'Fail-over',
      about: `Killed (SIGKILL) in the middle of a load: a worker of three, which has all of the work, with the default lease of ${leaseSeconds} s, until the first byte of it arrives at another one; and of two coordinators over etcd, with their default lease of 5 s, the one that runs the load, until the other one says of a byte that it has become durable. The load then ends as SUCCEEDED.`,
      parameters: { workers: workers.length, leaseSeconds, datasetMiB: Math.round(totalBytes / MiB) },
      rows: [
        { name: 'worker', figures: { 'fail-over': figure('s', lost) } },
        { name: 'coordinator', figures: { 'fail-over': figure('s', taken) } },
      ],
      verdicts: [
        verdict('Fail-over of a worker', Math.max(...lost), 's', 'at most', limits.worker),
        verdict('Fail-over of a coordinator', Math.max(...taken), 's', 'at most', limits.coordinator),
      ],
      notes: [],
    };
  },
};

/** Objects of one segment each that the ring gives to one worker: nobody else has anything to do before it is lost. */
function objectsOf(worker: string, count: number): { key: string; sizeBytes: number }[] {
  const ring = makeRing(workers.map((id) => ({ id, identity: workerIdentity(id) })));
  const found: { key: string; sizeBytes: number }[] = [];
  for (let n = 0; found.length < count; n += 1) {
    const key = `data/object-${n}.bin`;
    const [owner] = ring.owners(segmentKey(`s3://demo/${key}`, 0), 1);
    if (owner?.id === worker) found.push({ key, sizeBytes: 32 * MiB + n });
  }
  return found;
}

function opened({ workspace }: Context, more: Readonly<Record<string, string>> = {}, coordinators?: readonly string[]) {
  return openLocalCluster({
    folder: workspace.folder('cluster'),
    startOrigin: () => startDemoOrigin(workspace, objects),
    workers,
    storeSize: `${Math.ceil(totalBytes / MiB) + 64}MB`,
    env: { PRIMED_LOG_LEVEL: 'warn', PRIMED_WORKER_MEMORY_BUDGET: smallBudget, ...more },
    ...(coordinators && { coordinators }),
  });
}

/** A load of which something is durable, and something in flight. */
async function underWay(cluster: Cluster<SpawnedOrigin>): Promise<void> {
  const { api } = cluster.coordinator;
  await cluster.origin.setKnobs({ bytesPerSecond: pacedBytesPerSecond });
  await submitLoad(api, path);
  await progressUntil(api, path, ({ ledger }) => ledger.cachedBytes > totalBytes / 12 && ledger.inFlightBytes > 0);
}

/** It was not over before, and ends right. */
async function endsRight(cluster: Cluster<SpawnedOrigin>, api: string): Promise<void> {
  if ((await progressOf(api, path)).mJobState !== 'RUNNING')
    throw new Error('the load ended before the work was with others: nothing failed over');
  await cluster.origin.setKnobs({ bytesPerSecond: 0 });
  insistOnSuccess(path, await progressUntil(api, path, () => false));
  await cluster.close();
}

/** Seconds. */
async function workerLost(context: Context): Promise<number> {
  const cluster = await opened(context);
  context.workspace.defer(() => cluster.close());
  await underWay(cluster);
  await cluster.kill(victim);
  const diedMs = performance.now();
  const others = [...cluster.workers.values()].map(({ api }) => api);
  const received = async (): Promise<number> => {
    const bytes = await Promise.all(others.map(originBytesOf));
    return bytes.reduce((sum, some) => sum + some, 0);
  };
  if ((await received()) > 0) throw new Error(`others than ${victim} have work of their own: nothing would be seen`);
  await untilSo(async () => (await received()) > 0, 'nobody goes on with the work of the worker');
  const seconds = (performance.now() - diedMs) / 1000;
  await endsRight(cluster, cluster.coordinator.api);
  return seconds;
}

/** Seconds. */
async function coordinatorLost(context: Context): Promise<number> {
  const endpoint = await startEtcd(context.workspace);
  const etcd = { PRIMED_CLUSTER_BACKEND: 'etcd', PRIMED_CLUSTER_ETCD_ENDPOINTS: endpoint };
  const cluster = await opened(context, etcd, ['c1', 'c2']);
  context.workspace.defer(() => cluster.close());
  // Whoever a job is submitted to has it.
  await underWay(cluster);
  await cluster.coordinator.kill();
  const diedMs = performance.now();
  const [{ api }] = cluster.others as [Cluster['coordinator']];
  const cachedBytes = async (): Promise<number> => (await progressOf(api, path)).ledger.cachedBytes;
  await sleep(saidMs);
  const before = await cachedBytes();
  await untilSo(async () => (await cachedBytes()) > before, 'nobody goes on with the load');
  const seconds = (performance.now() - diedMs) / 1000;
  await endsRight(cluster, api);
  return seconds;
}

async function untilSo(what: () => Promise<boolean>, otherwise: string): Promise<void> {
  const sinceMs = performance.now();
  while (!(await what())) {
    if (performance.now() - sinceMs > patienceMs) throw new Error(`${otherwise}, after ${patienceMs / 1000} s`);
    await sleep(10);
  }
}

async function originBytesOf(api: string): Promise<number> {
  const text = await (await fetch(`${api}/metrics`)).text();
  const value = /^primed_origin_bytes_total(?:\{[^}]*\})? (\d+)/m.exec(text)?.[1];
  if (value === undefined) throw new Error(`${api} does not say what it has read from the origin`);
  return Number(value);
}
