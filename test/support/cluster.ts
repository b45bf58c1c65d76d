/** A cluster of real processes on loopback: an origin, a coordinator, and workers that are told apart by their ids. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import type { ManifestEntry } from '../../src/core/types.ts';
import { MiB } from '../../src/core/units.ts';
import type { EmbeddedOrigin, OriginOptions } from '../../src/demo/origin/api.ts';
import { firstDifference } from '../../src/demo/origin/content.ts';
import type { ObjectSpec } from '../../src/demo/origin/objects.ts';
import { type Daemon, type DaemonOrder, type DaemonPorts, startDaemon } from './daemon.ts';
import { temporaryFolder } from './files.ts';
import { originEnvironment, smallDataset, startTestOrigin } from './origin.ts';
import { readBack as readBackFrom } from './scene.ts';

export const segmentBytes = 4 * MiB;

export interface Cluster {
  readonly origin: EmbeddedOrigin;
  /** What the origin began with. */
  readonly objects: readonly ObjectSpec[];
  /** Each worker has its data below, in a folder of its id. */
  readonly dir: string;
  readonly workers: Map<string, Daemon>;
  coordinator: Daemon;
  /** Where a worker keeps its data. */
  dataDir(id: string): string;
  /** Starts a worker, or starts it again with its data, and waits until the coordinator knows it. */
  start(id: string): Promise<Daemon>;
  kill(id: string): Promise<void>;
  restartCoordinator(): Promise<void>;
  close(): Promise<void>;
}

export async function openCluster(order: {
  readonly origin: OriginOptions;
  readonly workers: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** The configuration file of the coordinator. */
  readonly config?: string;
  /** The configuration file of each worker. */
  readonly workerConfig?: string;
  /** Of each worker. */
  readonly storeSize?: string;
  /** Of each node by its id, that of the coordinator is `coordinator`: what it is started with from now on; those not in it with what is built here. */
  readonly executables?: ReadonlyMap<string, string>;
}): Promise<Cluster> {
  const folder = temporaryFolder('cluster');
  const origin = await startTestOrigin(order.origin);
  const env = {
    ...originEnvironment(origin),
    PRIMED_CLUSTER_LEASE: '2s',
    PRIMED_JOB_SEGMENT_SIZE: `${segmentBytes / MiB}MB`,
    ...order.env,
  };
  const dataDir = join(folder.path, 'coordinator');
  const config = join(folder.path, 'coordinator.toml');
  if (order.config !== undefined) writeFileSync(config, order.config);
  const args = order.config === undefined ? [] : ['--config', config];
  const executableOf = (id: string) => {
    const executable = order.executables?.get(id);
    return executable === undefined ? {} : { executable };
  };
  const startCoordinator = (more: Pick<DaemonOrder, 'ports'> = {}) =>
    startDaemon({
      ...{ role: 'coordinator', dataDir, storeSize: null, env, args },
      ...{ ...executableOf('coordinator'), ...more },
    });
  const coordinator = await startCoordinator();
  const workerConfig = join(folder.path, 'worker.toml');
  if (order.workerConfig !== undefined) writeFileSync(workerConfig, order.workerConfig);
  const workerArgs = order.workerConfig === undefined ? [] : ['--config', workerConfig];
  const ports = new Map<string, DaemonPorts>();
  /** How often a worker has said that it takes part. */
  const joined = (id: string): number => {
    const log = join(folder.path, `${id}.log`);
    return existsSync(log)
      ? readFileSync(log, 'utf8').split(/registered (?:with the coordinator|in etcd)/).length - 1
      : 0;
  };
  const cluster: Cluster = {
    dir: folder.path,
    origin,
    objects: order.origin.objects ?? smallDataset,
    workers: new Map(),
    coordinator,
    dataDir: (id) => join(folder.path, id),
    async start(id) {
      const known = ports.get(id);
      const joinedBefore = joined(id);
      const daemon = await startDaemon({
        role: 'worker',
        dataDir: cluster.dataDir(id),
        storeSize: order.storeSize ?? '512MB',
        env: { ...env, PRIMED_CLUSTER_ID: id, PRIMED_COORDINATOR: cluster.coordinator.api },
        args: workerArgs,
        ...executableOf(id),
        ...(known === undefined ? {} : { ports: known }),
      });
      ports.set(id, daemon.ports);
      cluster.workers.set(id, daemon);
      await untilLive(cluster, [id]);
      // It is listed a moment before it is on disk, and takes part from then on.
      await expect.poll(() => joined(id), { timeout: 20_000, interval: 20 }).toBeGreaterThan(joinedBefore);
      return daemon;
    },
    async kill(id) {
      await cluster.workers.get(id)!.kill();
      cluster.workers.delete(id);
    },
    async restartCoordinator() {
      const { ports: same } = cluster.coordinator;
      await cluster.coordinator.kill();
      cluster.coordinator = await startCoordinator({ ports: same });
    },
    async close() {
      await Promise.all([cluster.coordinator, ...cluster.workers.values()].map((daemon) => daemon.kill()));
      await origin.close();
      folder.remove();
    },
  };
  try {
    await Promise.all(order.workers.map((id) => cluster.start(id)));
    return cluster;
  } catch (error) {
    await cluster.close();
    throw error;
  }
}

export async function untilLive(cluster: Cluster, ids: readonly string[]): Promise<void> {
  await expect
    .poll(async () => (await workersOf(cluster)).filter(({ state }) => state === 'LIVE').map(({ id }) => id), {
      timeout: 20_000,
      interval: 50,
    })
    .toEqual(expect.arrayContaining([...ids]));
}

export async function workersOf({ coordinator }: Cluster): Promise<{ id: string; state: string }[]> {
  const answer = await fetch(`${coordinator.api}/api/v1/workers`);
  return (await answer.json()) as { id: string; state: string }[];
}

/** Reads objects of the origin, by default all, through the S3 port of one worker, and judges every byte. */
export async function readBack(
  { origin, objects, workers }: Pick<Cluster, 'origin' | 'objects' | 'workers'>,
  through: string,
  some: readonly ObjectSpec[] = objects,
): Promise<void> {
  const worker = workers.get(through)!;
  // A list needs an answer of every live worker: this one has heard by now which those are.
  await expect.poll(async () => (await fetch(`${worker.s3}/`)).status, { timeout: 20_000, interval: 50 }).toBe(200);
  await readBackFrom(worker, origin.bucket, some);
}

/** Workers as they are asked for what they have: those of a cluster, on whatever network. */
interface Workers {
  readonly workers: ReadonlyMap<string, { readonly api: string }>;
}

/** Which live workers have a segment, and that what each of them gives is what the origin has. */
export async function holders({ workers }: Workers, entry: ManifestEntry, offset: number): Promise<string[]> {
  const { path, etag, sizeBytes } = entry;
  const end = Math.min(offset + segmentBytes, sizeBytes);
  const found: string[] = [];
  for (const [id, daemon] of workers) {
    const answer = await fetch(`${daemon.api}/internal/v1/data/${encodeURIComponent(path)}`, {
      headers: { range: `bytes=${offset}-${end - 1}`, 'if-match': `"${etag}"` },
    });
    const body = new Uint8Array(await answer.arrayBuffer());
    if (answer.status === 404) continue;
    const key = path.slice(path.indexOf('/', 's3://'.length) + 1);
    expect([path, id, answer.status, body.length]).toEqual([path, id, 206, end - offset]);
    expect([path, id, firstDifference(key, 1, offset, body)]).toEqual([path, id, undefined]);
    found.push(id);
  }
  return found;
}

/** Every segment of these files, with who has it. */
export async function placesOf(cluster: Workers, entries: readonly ManifestEntry[]): Promise<string[][]> {
  const places: string[][] = [];
  for (const entry of entries) {
    for (let offset = 0; offset < entry.sizeBytes; offset += segmentBytes) {
      places.push(await holders(cluster, entry, offset));
    }
  }
  return places;
}
