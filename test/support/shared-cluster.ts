/** Several coordinators and workers as real processes over a real etcd, and an origin. */
import { join } from 'node:path';
import { expect } from 'vitest';
import { MiB } from '../../src/core/units.ts';
import type { EmbeddedOrigin, OriginOptions } from '../../src/demo/origin/api.ts';
import { call } from './api.ts';
import { segmentBytes } from './cluster.ts';
import { type Daemon, type DaemonPorts, startDaemon } from './daemon.ts';
import { type EtcdServer, startEtcd } from './etcd.ts';
import { temporaryFolder } from './files.ts';
import { originEnvironment, startTestOrigin } from './origin.ts';

export interface SharedCluster {
  readonly etcd: EtcdServer;
  readonly origin: EmbeddedOrigin;
  readonly coordinators: Map<string, Daemon>;
  readonly workers: Map<string, Daemon>;
  /** Starts a coordinator, or starts it again with its data and ports. */
  startCoordinator(id: string): Promise<Daemon>;
  /** The same of a worker. */
  startWorker(id: string): Promise<Daemon>;
  kill(id: string): Promise<void>;
  /** Which coordinator has the claim of the only job that has not ended; undefined: none. */
  owner(): string | undefined;
  close(): Promise<void>;
}

/** Another name than that of the address on which they listen: what is in etcd has to be this one. */
const coordinatorHost = 'localhost';
export const coordinatorLeaseMs = 5000;
/** Few, so that parts become durable one after the other, from the beginning. */
export const socketsPerWorker = 2;

export async function openSharedCluster(order: {
  readonly origin: OriginOptions;
  readonly coordinators: readonly string[];
  readonly workers: readonly string[];
  /** Of each node by its id: what it is started with from now on; those not in it with what is built here. */
  readonly executables?: ReadonlyMap<string, string>;
}): Promise<SharedCluster> {
  const folder = temporaryFolder('shared-cluster');
  const [etcd, origin] = await Promise.all([startEtcd(), startTestOrigin(order.origin)]);
  const env = {
    ...originEnvironment(origin),
    PRIMED_CLUSTER_BACKEND: 'etcd',
    PRIMED_CLUSTER_ETCD_ENDPOINTS: etcd.endpoints.join(','),
    PRIMED_CLUSTER_ETCD_COORDINATOR_LEASE: `${coordinatorLeaseMs / 1000}s`,
    PRIMED_CLUSTER_LEASE: '4s',
    PRIMED_JOB_SEGMENT_SIZE: `${segmentBytes / MiB}MB`,
    PRIMED_WORKER_LANES: '1',
    PRIMED_WORKER_SOCKETS_PER_LANE: `${socketsPerWorker}`,
  };
  const ports = new Map<string, DaemonPorts>();
  const start = async (id: string, role: 'coordinator' | 'worker'): Promise<Daemon> => {
    const known = ports.get(id);
    const executable = order.executables?.get(id);
    const daemon = await startDaemon({
      role,
      dataDir: join(folder.path, id),
      storeSize: role === 'worker' ? '512MB' : null,
      env: role === 'worker' ? { ...env, PRIMED_CLUSTER_ID: id } : { ...env, PRIMED_CLUSTER_HOST: coordinatorHost },
      ...(known === undefined ? {} : { ports: known }),
      ...(executable === undefined ? {} : { executable }),
    });
    ports.set(id, daemon.ports);
    return daemon;
  };
  const cluster: SharedCluster = {
    etcd,
    origin,
    coordinators: new Map(),
    workers: new Map(),
    async startCoordinator(id) {
      const daemon = await start(id, 'coordinator');
      cluster.coordinators.set(id, daemon);
      return daemon;
    },
    async startWorker(id) {
      const daemon = await start(id, 'worker');
      cluster.workers.set(id, daemon);
      return daemon;
    },
    async kill(id) {
      const map = cluster.coordinators.has(id) ? cluster.coordinators : cluster.workers;
      await map.get(id)!.kill();
      map.delete(id);
    },
    owner() {
      const claims = etcd.ctl('get', '--prefix', '--print-value-only', '/primed/DefaultAlluxioCluster/jobs/claim/');
      if (claims.trim() === '') return undefined;
      const { url } = JSON.parse(claims) as { url: string };
      return [...ports].find(([, { api }]) => url === `http://${coordinatorHost}:${api}`)?.[0];
    },
    async close() {
      // One that was stopped by a signal does not see another before it goes on.
      const daemons = [...cluster.coordinators.values(), ...cluster.workers.values()];
      await Promise.all(daemons.map((daemon) => daemon.kill()));
      await Promise.all([origin.close(), etcd.close()]);
      folder.remove();
    },
  };
  try {
    for (const id of order.coordinators) await cluster.startCoordinator(id);
    await Promise.all(order.workers.map((id) => cluster.startWorker(id)));
    for (const { api } of cluster.coordinators.values())
      await expect
        .poll(async () => liveWorkers(api), { timeout: 30_000, interval: 50 })
        .toEqual([...order.workers].sort());
    return cluster;
  } catch (error) {
    await cluster.close();
    throw error;
  }
}

async function liveWorkers(api: string): Promise<string[]> {
  const rows = (await call(api, 'GET', '/api/v1/workers')).json() as { id: string; state: string }[];
  return rows.filter(({ state }) => state === 'LIVE').map(({ id }) => id);
}
