/**
 * A cluster of real processes: an origin, a coordinator, workers; each on a machine of its own as far as the network goes
 * (netns.ts), or all of them on loopback.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { answersOk } from '../../src/demo/daemon.ts';
import { type Ground, loopbackGround, type Machine, networkGround } from './ground.ts';
import type { Network } from './netns.ts';
import { type Child, plainEnvironment, startChild, waitUntilReady } from './process.ts';
import { projectRoot } from './workspace.ts';

/** What the origin of a cluster has to be for it. */
export interface PlacedOrigin {
  readonly endpoint: string;
  readonly port: number;
}

export interface ClusterOrder<O extends PlacedOrigin> {
  /** On a real disk; everything lies below it. */
  readonly folder: string;
  /** It is closed by whoever starts it, after the cluster. */
  readonly startOrigin: (machine: Machine) => Promise<O>;
  /** Ids, and names of their machines. */
  readonly workers: readonly string[];
  /** By default one; several need etcd, by `env`. */
  readonly coordinators?: readonly string[];
  readonly storeSize: string;
  /** For all daemons. */
  readonly env?: Readonly<Record<string, string>>;
  /** The host by which a worker is to be reached at its HTTP port, where that is not the one on which it listens. */
  readonly reachedAt?: (id: string, httpPort: number) => Promise<string>;
}

export interface ClusterDaemon {
  readonly pid: number;
  /** Its API, or of a worker its HTTP port, as reached from here. */
  readonly api: string;
  /** A worker's S3 port, as reached from here. */
  readonly s3: string;
  log(): string;
  signal(signal: NodeJS.Signals): void;
  /** SIGKILL; resolves when the process is gone. */
  kill(): Promise<void>;
}

export interface Cluster<O extends PlacedOrigin = PlacedOrigin> {
  readonly origin: O;
  /** The origin as reached from here. */
  readonly originEndpoint: string;
  readonly workers: Map<string, ClusterDaemon>;
  /** The first one. */
  coordinator: ClusterDaemon;
  /** Those after the first. */
  readonly others: readonly ClusterDaemon[];
  /** Starts a worker, or starts it again with its data, and waits until the coordinator says that it is live. */
  start(id: string): Promise<ClusterDaemon>;
  kill(id: string): Promise<void>;
  startCoordinator(): Promise<void>;
  close(): Promise<void>;
}

export type NetCluster<O extends PlacedOrigin = PlacedOrigin> = Cluster<O> & { readonly network: Network };

export const clusterCredentials = { accessKeyId: 'AKIDNET', secretAccessKey: 'secret of the network' } as const;
const token = 'token-of-the-network';
const coordinatorName = 'coordinator';
const originName = 'origin';
const startLimitMs = 60_000;

/** Each process in a network namespace. @param bitsPerSecond of every link but the origin's, in each direction */
export async function openNetCluster<O extends PlacedOrigin>(
  order: ClusterOrder<O> & { readonly bitsPerSecond?: number },
): Promise<NetCluster<O>> {
  const ground = networkGround([originName, ...coordinatorsOf(order), ...order.workers]);
  const { network } = ground;
  for (const name of [...coordinatorsOf(order), ...order.workers]) network.shape(name, order.bitsPerSecond);
  // The S3 port asks for no token, and is to be reached from the other machines.
  const env = { PRIMED_API_TOKEN: token, PRIMED_INSECURE: 'true', ...order.env };
  return Object.assign(await open({ ...order, env }, ground, token), { network });
}

/** What stands in for machines of their own gives way to the coordinator, which is measured. */
export const givingWay: readonly string[] = ['nice', '-n', '10'];

/** All of them on loopback. @param by what the command lines of workers begin with */
export function openLocalCluster<O extends PlacedOrigin>(
  order: ClusterOrder<O>,
  by: readonly string[] = [],
): Promise<Cluster<O>> {
  return open(
    order,
    loopbackGround((name) => (name === coordinatorName ? [] : by)),
    undefined,
  );
}

async function open<O extends PlacedOrigin>(
  order: ClusterOrder<O>,
  ground: Ground,
  apiToken: string | undefined,
): Promise<Cluster<O>> {
  const [first, ...others] = coordinatorsOf(order) as [string, ...string[]];
  const undo: (() => unknown)[] = [() => ground.close()];
  const close = async (): Promise<void> => {
    for (let step = undo.pop(); step !== undefined; step = undo.pop()) await step();
  };
  try {
    const origin = await order.startOrigin(ground.machine(originName));
    const daemons = new Daemons(order, ground, origin, apiToken);
    undo.push(() => daemons.killAll());
    const cluster: Cluster<O> = {
      origin,
      originEndpoint: await ground.reach(originName, origin.port),
      workers: new Map(),
      coordinator: await daemons.start(first),
      others: await Promise.all(others.map((name) => daemons.start(name))),
      async start(id) {
        const daemon = await daemons.start(id);
        cluster.workers.set(id, daemon);
        await untilLive(cluster, id);
        return daemon;
      },
      async kill(id) {
        await cluster.workers.get(id)!.kill();
        cluster.workers.delete(id);
      },
      async startCoordinator() {
        cluster.coordinator = await daemons.start(first);
      },
      close,
    };
    await Promise.all(order.workers.map((id) => cluster.start(id)));
    return cluster;
  } catch (error) {
    await close();
    throw error;
  }
}

/** What the coordinator says of its workers. */
export async function workersOf({
  coordinator,
}: Pick<Cluster, 'coordinator'>): Promise<{ id: string; state: string; epoch: number }[]> {
  const answer = await fetch(`${coordinator.api}/api/v1/workers`, { signal: AbortSignal.timeout(10_000) });
  return (await answer.json()) as { id: string; state: string; epoch: number }[];
}

async function untilLive(cluster: Pick<Cluster, 'coordinator'>, id: string): Promise<void> {
  const deadlineMs = performance.now() + startLimitMs;
  while ((await workersOf(cluster)).find((row) => row.id === id)?.state !== 'LIVE') {
    if (performance.now() > deadlineMs) throw new Error(`worker ${id} was not live within ${startLimitMs} ms`);
    await sleep(20);
  }
}

class Daemons {
  readonly #order: ClusterOrder<PlacedOrigin>;
  readonly #ground: Ground;
  readonly #env: Readonly<Record<string, string>>;
  readonly #token: string | undefined;
  readonly #children = new Set<Child>();

  constructor(order: ClusterOrder<PlacedOrigin>, ground: Ground, origin: PlacedOrigin, apiToken: string | undefined) {
    this.#order = order;
    this.#ground = ground;
    this.#token = apiToken;
    this.#env = { ...environmentOf(origin.endpoint), ...order.env };
  }

  /** Resolves on 200 of /health/ready. */
  async start(name: string): Promise<ClusterDaemon> {
    const isWorker = !coordinatorsOf(this.#order).includes(name);
    const { address, by } = this.#ground.machine(name);
    const ports = isWorker
      ? { api: await this.#ground.port(name, 'http'), s3: await this.#ground.port(name, 's3') }
      : { api: await this.#ground.port(name, 'api') };
    const listens = Object.entries(ports).flatMap(([use, port]) => [
      use === 'api' && isWorker ? '--http' : `--${use}`,
      `${address}:${port}`,
    ]);
    const dataDir = join(this.#order.folder, name);
    const logPath = `${dataDir}.log`;
    const command = [...by, process.execPath, join(projectRoot, 'dist', 'main.js')];
    const { storeSize, reachedAt } = this.#order;
    const host = isWorker ? await reachedAt?.(name, ports.api) : undefined;
    const reached = host === undefined ? [] : ['--host', host];
    const role = isWorker ? ['worker', '--store-size', storeSize, ...reached] : ['coordinator'];
    const child = startChild([...command, ...role, '--data', dataDir, ...listens], {
      logPath,
      env: plainEnvironment({ ...this.#env, ...(isWorker ? await this.#workerEnv(name) : {}) }),
    });
    this.#children.add(child);
    const api = await this.#ground.reach(name, ports.api, this.#token);
    await waitUntilReady(child, () => answersOk(`${api}/health/ready`), startLimitMs);
    return {
      pid: child.pid,
      api,
      s3: ports.s3 === undefined ? '' : await this.#ground.reach(name, ports.s3, this.#token),
      log: () => readFileSync(logPath, 'utf8'),
      signal: (signal) => void process.kill(child.pid, signal),
      kill: () => this.#kill(child),
    };
  }

  async #workerEnv(id: string): Promise<Record<string, string>> {
    // Of several they hear from etcd.
    if (coordinatorsOf(this.#order).length > 1) return { PRIMED_CLUSTER_ID: id };
    const { address } = this.#ground.machine(coordinatorName);
    const port = await this.#ground.port(coordinatorName, 'api');
    return { PRIMED_CLUSTER_ID: id, PRIMED_COORDINATOR: `http://${address}:${port}` };
  }

  async killAll(): Promise<void> {
    await Promise.all(Array.from(this.#children, (child) => this.#kill(child)));
  }

  async #kill(child: Child): Promise<void> {
    await child.stop('SIGKILL');
    this.#children.delete(child);
  }
}

function coordinatorsOf({ coordinators = [coordinatorName] }: Pick<ClusterOrder<PlacedOrigin>, 'coordinators'>) {
  return coordinators;
}

function environmentOf(endpoint: string): Record<string, string> {
  return {
    AWS_ENDPOINT_URL: endpoint,
    AWS_REGION: 'us-east-1',
    AWS_ACCESS_KEY_ID: clusterCredentials.accessKeyId,
    AWS_SECRET_ACCESS_KEY: clusterCredentials.secretAccessKey,
    AWS_EC2_METADATA_DISABLED: 'true',
    AWS_CONFIG_FILE: '/dev/null',
    AWS_SHARED_CREDENTIALS_FILE: '/dev/null',
  };
}
