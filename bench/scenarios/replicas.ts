/** How often the origin is read for one, two and three replicas, and when a worker dies in the middle. */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseSize } from '../../src/core/sizes.ts';
import { MiB } from '../../src/core/units.ts';
import type { SpawnedOrigin } from '../../src/demo/origin/api.ts';
import { openStore } from '../../src/store/index.ts';
import { startDemoOrigin } from '../origins/demo.ts';
import { type Cluster, openLocalCluster } from '../support/cluster.ts';
import { insistOnSuccess, progressUntil, submitLoad } from '../support/jobs.ts';
import { quietLog } from '../support/made-index.ts';
import { readMetrics } from '../support/metrics.ts';
import { figure, type Row, type Verdict, verdict } from '../support/results.ts';
import type { Context, Scenario } from '../support/scenario.ts';

const workers = ['w1', 'w2', 'w3', 'w4'];
const path = 's3://demo/data/';
const segmentBytes = 8 * MiB;
/** Of the load in which a worker dies: slow enough for a middle. */
const pacedBytesPerSecond = 16 * MiB;
/** What the origin counts as sent before all of it is: a twentieth of a second's worth. */
const pieceBytes = pacedBytesPerSecond / 20;
/** The memory of its workers: some parts, where the whole dataset would be in flight otherwise. */
const smallBudget = '64MB';
/** Without a byte for so long, what was on the way has arrived. */
const settleMs = 50;

interface Reading {
  /** Bytes that the origin has sent, over those of the dataset. */
  readonly ratio: number;
  readonly copiedRatio: number;
  /** What a death may have cost, over the dataset: 0 where nobody died. */
  readonly lostRatio: number;
}

export const replicas: Scenario = {
  summary: 'bytes read from the origin for replicas = 1, 2 and 3, and with a worker that is killed',
  async run(context) {
    const { quick, log } = context;
    const objects = Array.from({ length: quick ? 4 : 16 }, (_, n) => ({
      key: `data/object-${n}.bin`,
      sizeBytes: 32 * MiB + n * 4097,
    }));
    const totalBytes = objects.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    const rows: Row[] = [];
    const verdicts: Verdict[] = [];
    for (const count of [1, 2, 3]) {
      log(`replicas = ${count}`);
      const { ratio, copiedRatio } = await reading(context, { objects, totalBytes, count });
      rows.push(rowOf(`replicas = ${count}`, { ratio, copiedRatio, lostRatio: 0 }));
      verdicts.push(verdict(`Read from the origin, replicas = ${count}`, ratio, 'x', 'at most', 1));
    }
    for (const { count, isBack } of [
      { count: 1, isBack: true },
      { count: 1, isBack: false },
      { count: 2, isBack: false },
    ]) {
      const name = `replicas = ${count}, a worker killed${isBack ? ' and started again' : ''}`;
      log(name);
      const killed = await reading(context, { objects, totalBytes, count, kill: { id: 'w2', isBack } });
      rows.push(rowOf(name, killed));
      verdicts.push(verdict(`Read from the origin, ${name}`, killed.ratio, 'x', 'at most', 1 + killed.lostRatio));
    }
    return {
      title: 'How often the origin is read',
      about: `${workers.length} workers; counted at the origin, over the bytes of the dataset. In the last three rows a worker is killed (SIGKILL) when a third is durable. Started again at once, as systemd does, and back within its lease, it has what was durable, and what was in flight is read again: received and not in its store, or on the way. Where it stays away, what it had received and not passed on, by its own account, is read again, and what was on its way there; nothing else. With one replica that is all that it had.`,
      parameters: { objects: objects.length, datasetMiB: Math.round(totalBytes / MiB), segmentMiB: segmentBytes / MiB },
      rows,
      verdicts,
      notes: [],
    };
  },
};

function rowOf(name: string, { ratio, copiedRatio, lostRatio }: Reading): Row {
  return {
    name,
    figures: {
      'read from the origin': figure('x', [ratio]),
      'copied between workers': figure('x', [copiedRatio]),
      'what its death may cost': figure('x', [lostRatio]),
    },
  };
}

async function reading(
  { workspace }: Context,
  order: {
    objects: readonly { key: string; sizeBytes: number }[];
    totalBytes: number;
    count: number;
    kill?: { readonly id: string; readonly isBack: boolean };
  },
): Promise<Reading> {
  const { objects, totalBytes, count, kill } = order;
  const folder = workspace.folder('cluster');
  const storeSize = `${Math.ceil(totalBytes / MiB) + 256}MB`;
  const cluster = await openLocalCluster({
    folder,
    startOrigin: () => startDemoOrigin(workspace, objects),
    workers,
    storeSize,
    env: {
      PRIMED_LOG_LEVEL: 'warn',
      PRIMED_JOB_SEGMENT_SIZE: `${segmentBytes / MiB}MB`,
      // Who is back within the lease is not taken for lost.
      PRIMED_CLUSTER_LEASE: kill?.isBack ? '10s' : '2s',
      ...(kill === undefined ? {} : { PRIMED_WORKER_MEMORY_BUDGET: smallBudget }),
    },
  });
  workspace.defer(() => cluster.close());
  const { api } = cluster.coordinator;
  if (kill !== undefined) await cluster.origin.setKnobs({ bytesPerSecond: pacedBytesPerSecond });
  await submitLoad(api, path, { replicas: String(count) });
  let lostBytes = 0;
  if (kill !== undefined) {
    await progressUntil(api, path, ({ ledger }) => ledger.cachedBytes > (totalBytes * count) / 3);
    const { receivedBytes, passedOnBytes, arrivingBytes } = await standStill(cluster, kill.id);
    await cluster.kill(kill.id);
    process.kill(cluster.origin.pid, 'SIGCONT');
    await cluster.origin.setKnobs({ bytesPerSecond: 0 });
    lostBytes = receivedBytes + arrivingBytes - passedOnBytes;
    if (kill.isBack) {
      lostBytes = receivedBytes + arrivingBytes - (await durableBytes(join(folder, kill.id), storeSize));
      await cluster.start(kill.id);
    }
  }
  const end = insistOnSuccess(path, await progressUntil(api, path, () => false));
  const { bytesByKey } = await cluster.origin.stats();
  const sent = Object.values(bytesByKey).reduce((sum, bytes) => sum + bytes, 0);
  await cluster.close();
  return {
    ratio: sent / totalBytes,
    copiedRatio: end.ledger.peerBytes / totalBytes,
    lostRatio: lostBytes / totalBytes,
  };
}

/**
 * Stops the origin, so that nothing arrives between this look at a worker and its death. What the worker has received from the origin,
 * what of it it has passed on, and what is on its way there: at most.
 */
async function standStill(
  cluster: Cluster<SpawnedOrigin>,
  id: string,
): Promise<{ receivedBytes: number; passedOnBytes: number; arrivingBytes: number }> {
  process.kill(cluster.origin.pid, 'SIGSTOP');
  for (let before = -1; ; ) {
    const [received, passedOn, units] = await readMetrics(cluster.workers.get(id)!.api, [
      'primed_origin_bytes_total',
      'primed_peer_served_bytes_total',
      'primed_units_in_flight',
    ]);
    if (received === before)
      return { receivedBytes: received!, passedOnBytes: passedOn!, arrivingBytes: units! * pieceBytes };
    before = received!;
    await sleep(settleMs);
  }
}

/** What a worker that does not run has in its store. */
async function durableBytes(dataDir: string, storeSize: string): Promise<number> {
  const store = await openStore({
    indexDir: join(dataDir, 'index'),
    stores: [{ dir: join(dataDir, 'store'), sizeBytes: parseSize(storeSize) }],
    now: Date.now,
    log: quietLog,
    ledgerFlushMs: 1000,
  });
  const { usedBytes } = store.usage();
  await store.close();
  return usedBytes;
}
