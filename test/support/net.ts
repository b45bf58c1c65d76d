/** A cluster on a network of its own with the embedded origin, a load under way in it, and what must hold after any fault. */
import { expect } from 'vitest';
import { clusterCredentials, type NetCluster, openNetCluster, workersOf } from '../../bench/support/cluster.ts';
import { KiB, MiB } from '../../src/core/units.ts';
import type { SpawnedOrigin } from '../../src/demo/origin/api.ts';
import { spawnOrigin } from '../../src/demo/origin/spawn.ts';
import { ended, type Json, progress, submit } from './api.ts';
import { placesOf, segmentBytes } from './cluster.ts';
import { projectRoot, temporaryFolder } from './files.ts';
import { listedBy } from './origin.ts';
import { readBack } from './scene.ts';

export type TestNet = NetCluster<SpawnedOrigin>;
/** What a load on a network is judged by, whoever keeps the cluster together. */
export type LoadedNet = Pick<TestNet, 'origin' | 'originEndpoint' | 'coordinator' | 'workers' | 'network'>;

export const objects = [
  ...Array.from({ length: 3 }, (_, n) => ({ key: `data/large-${n}.bin`, sizeBytes: 24 * MiB + n * 4097 })),
  ...Array.from({ length: 60 }, (_, n) => ({ key: `data/small-${n}.bin`, sizeBytes: 16 * KiB + n })),
];
export const totalBytes = objects.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
export const path = 's3://demo/data/';
/** The load takes seconds: a fault comes in its middle, and an end of the fault too. */
const pacedBytesPerSecond = 12 * MiB;
/**
 * What the origin may have sent without that a ledger knows: two parts under way of a worker that is lost, of 4 MiB each, and
 * as much again of what it had received since its last report, which is half a second ago when nothing disturbs it.
 */
export const unheardBytes = 16 * MiB;

export async function openTestNet(order: {
  readonly workers: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}): Promise<TestNet> {
  const folder = temporaryFolder('net');
  const script = `${projectRoot}/dist/demo-origin.js`;
  let origin: SpawnedOrigin | undefined;
  const close = async () => {
    await origin?.close();
    folder.remove();
  };
  try {
    const net = await openNetCluster({
      folder: folder.path,
      workers: order.workers,
      storeSize: '512MB',
      startOrigin: async ({ address, by }) => {
        origin = await spawnOrigin({ objects, credentials: [clusterCredentials], host: address }, { script, by });
        return origin;
      },
      env: {
        PRIMED_CLUSTER_LEASE: '2s',
        PRIMED_JOB_SEGMENT_SIZE: `${segmentBytes / MiB}MB`,
        // Few parts at once: the others are still to be asked for when the fault comes.
        PRIMED_WORKER_LANES: '1',
        PRIMED_WORKER_SOCKETS_PER_LANE: '2',
        PRIMED_INGEST_CONNECT_TIMEOUT: '1s',
        PRIMED_INGEST_FIRST_BYTE_TIMEOUT: '2s',
        PRIMED_INGEST_STALL_TIMEOUT: '2s',
        ...order.env,
      },
    });
    const closeCluster = net.close;
    return Object.assign(net, {
      close: async () => {
        await closeCluster();
        await close();
      },
    });
  } catch (error) {
    await close();
    throw error;
  }
}

/** Submits a load that the origin is slow about; resolves when a quarter is durable and more is in flight. */
export async function underWay(
  net: LoadedNet,
  options: object = {},
  bytesPerSecond = pacedBytesPerSecond,
): Promise<void> {
  await net.origin.prepareEtags();
  await net.origin.resetStats();
  await net.origin.setKnobs({ bytesPerSecond });
  const answer = await submit(net.coordinator.api, path, options);
  expect([answer.status, answer.text]).toEqual([200, expect.anything()]);
  await expect
    .poll(
      async () => {
        const { cachedBytes, inFlightBytes } = (await reportOf(net)).ledger;
        return cachedBytes > totalBytes / 4 && inFlightBytes > 0;
      },
      { timeout: 30_000, interval: 20 },
    )
    .toBe(true);
}

export async function reportOf({ coordinator }: Pick<LoadedNet, 'coordinator'>): Promise<Json> {
  return (await progress(coordinator.api, path)).json();
}

export async function rowOf(net: TestNet, id: string): Promise<{ state: string; epoch: number }> {
  return (await workersOf(net)).find((row) => row.id === id)!;
}

export async function until(net: TestNet, id: string, state: string, limitMs = 20_000): Promise<void> {
  await expect
    .poll(async () => (await rowOf(net, id)).state, { timeout: limitMs, interval: 20, message: `state of ${id}` })
    .toBe(state);
}

/** Bytes of objects that the origin has sent so far: to all, or to one worker. */
export async function sentBytes({ origin, network }: LoadedNet, to?: string): Promise<number> {
  const { bytesByClient } = await origin.stats();
  if (to !== undefined) return bytesByClient[network.host(to).address] ?? 0;
  return Object.values(bytesByClient).reduce((sum, bytes) => sum + bytes, 0);
}

/**
 * The end of a load that a fault hit: it has succeeded; its ledger balances, and agrees with what the origin has counted, but
 * for what connections held that nobody read; what was read more than once is at most `againBytes`; every segment lies on as many
 * workers as asked, or more; and every byte comes back through each live worker as the origin has it.
 *
 * @param order.sentBytes what the origin had sent when the load was over, where more may have followed
 */
export async function endsRight(
  net: LoadedNet,
  {
    replicas = 1,
    againBytes,
    sentBytes: known,
  }: { readonly replicas?: number; readonly againBytes: number; readonly sentBytes?: number },
): Promise<Json> {
  await net.origin.setKnobs({ bytesPerSecond: 0 });
  const report = await ended(net.coordinator.api, path, 90_000);
  expect(report).toMatchObject({ mJobState: 'SUCCEEDED', ledger: { inFlightBytes: 0 } });
  expect(report.mLoadedByteCount + report.mSkippedByteCount).toBe(totalBytes);
  const { originBytes, peerBytes, cachedBytes, discardedBytes } = report.ledger;
  const discarded = Object.values<number>(discardedBytes).reduce((sum, bytes) => sum + bytes, 0);
  expect(originBytes + peerBytes).toBe(cachedBytes + discarded);
  expect(cachedBytes).toBeGreaterThanOrEqual(totalBytes * replicas);
  const sent = known ?? (await sentBytes(net));
  expect(sent).toBeGreaterThanOrEqual(originBytes);
  expect(sent - originBytes, 'sent, and not in the ledger').toBeLessThanOrEqual(unheardBytes);
  expect(sent - totalBytes, 'sent more than once').toBeLessThanOrEqual(againBytes + unheardBytes);
  const listed = await listedBy(
    { endpoint: net.originEndpoint, bucket: net.origin.bucket },
    'data/',
    clusterCredentials,
  );
  const places = await placesOf(net, listed);
  expect(places.filter((ids) => ids.length < replicas)).toEqual([]);
  const live = (await workersOf(net)).filter(({ state }) => state === 'LIVE');
  expect(live.length).toBeGreaterThan(0);
  for (const { id } of live) await readBack(net.workers.get(id)!, net.origin.bucket, objects);
  return report;
}
