/**
 * A cluster of real processes, each on a machine of its own as far as the network goes: an origin, a coordinator, workers
 * (netns.ts). Whoever started it asks them through gateways, which nothing cuts.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Gateways, startGateways } from './gateways.ts';
import { type Host, type Network, openNetwork } from './netns.ts';
import { type Child, plainEnvironment, startChild, waitUntilReady } from './process.ts';
import { projectRoot } from './workspace.ts';

/** What the origin of a cluster has to be for it. */
export interface PlacedOrigin {
  readonly endpoint: string;
  readonly port: number;
  close(): Promise<void>;
}

export interface NetClusterOrder<O extends PlacedOrigin> {
  /** On a real disk; everything lies below it. */
  readonly folder: string;
  readonly startOrigin: (host: Host) => Promise<O>;
  /** Ids, and names of their machines. */
  readonly workers: readonly string[];
  /** Of every link but the origin's. */
  readonly bitsPerSecond?: number;
  readonly storeSize: string;
  /** For all daemons. */
  readonly env?: Readonly<Record<string, string>>;
}

export interface NetDaemon {
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

export interface NetCluster<O extends PlacedOrigin = PlacedOrigin> {
  readonly network: Network;
  readonly origin: O;
  /** The origin as reached from here. */
  readonly originEndpoint: string;
  readonly workers: Map<string, NetDaemon>;
  coordinator: NetDaemon;
  /** Starts a worker, or starts it again with its data, and waits until the coordinator says that it is live. */
  start(id: string): Promise<NetDaemon>;
  kill(id: string): Promise<void>;
  startCoordinator(): Promise<void>;
  close(): Promise<void>;
}

export const netCredentials = { accessKeyId: 'AKIDNET', secretAccessKey: 'secret of the network' } as const;
const token = 'token-of-the-network';
const coordinatorName = 'coordinator';
const ports = { api: 19_999, http: 28_080, s3: 29_998 } as const;
const startLimitMs = 60_000;

export async function openNetCluster<O extends PlacedOrigin>(order: NetClusterOrder<O>): Promise<NetCluster<O>> {
  const network = openNetwork(['origin', coordinatorName, ...order.workers]);
  const gateways = startGateways(network.outside);
  const undo: (() => unknown)[] = [() => network.close(), () => gateways.close()];
  const close = async (): Promise<void> => {
    for (let step = undo.pop(); step !== undefined; step = undo.pop()) await step();
  };
  try {
    for (const name of [coordinatorName, ...order.workers]) network.shape(name, order.bitsPerSecond);
    const origin = await order.startOrigin(network.host('origin'));
    undo.push(() => origin.close());
    const originEndpoint = await gateways.open({ host: network.host('origin').address, port: origin.port });
    const hand = new DaemonHand(order, network, gateways, origin);
    undo.push(() => hand.killAll());
    const cluster: NetCluster<O> = {
      network,
      origin,
      originEndpoint,
      workers: new Map(),
      coordinator: await hand.start(coordinatorName),
      async start(id) {
        const daemon = await hand.start(id);
        cluster.workers.set(id, daemon);
        await untilLive(cluster, id);
        return daemon;
      },
      async kill(id) {
        await cluster.workers.get(id)!.kill();
        cluster.workers.delete(id);
      },
      async startCoordinator() {
        cluster.coordinator = await hand.start(coordinatorName);
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
}: Pick<NetCluster, 'coordinator'>): Promise<{ id: string; state: string; epoch: number }[]> {
  const answer = await fetch(`${coordinator.api}/api/v1/workers`, { signal: AbortSignal.timeout(10_000) });
  return (await answer.json()) as { id: string; state: string; epoch: number }[];
}

async function untilLive(cluster: Pick<NetCluster, 'coordinator'>, id: string): Promise<void> {
  const deadlineMs = performance.now() + startLimitMs;
  while ((await workersOf(cluster)).find((row) => row.id === id)?.state !== 'LIVE') {
    if (performance.now() > deadlineMs) throw new Error(`worker ${id} was not live within ${startLimitMs} ms`);
    await sleep(20);
  }
}

class DaemonHand {
  readonly #order: NetClusterOrder<PlacedOrigin>;
  readonly #network: Network;
  readonly #gateways: Gateways;
  readonly #env: Readonly<Record<string, string>>;
  readonly #children = new Set<Child>();

  constructor(order: NetClusterOrder<PlacedOrigin>, network: Network, gateways: Gateways, origin: PlacedOrigin) {
    this.#order = order;
    this.#network = network;
    this.#gateways = gateways;
    this.#env = {
      ...environmentOf(origin.endpoint),
      PRIMED_API_TOKEN: token,
      // The S3 port asks for no token, and is to be reached from the other machines.
      PRIMED_INSECURE: 'true',
      ...order.env,
    };
  }

  /** Resolves on 200 of /health/ready. */
  async start(name: string): Promise<NetDaemon> {
    const host = this.#network.host(name);
    const isWorker = name !== coordinatorName;
    const dataDir = join(this.#order.folder, name);
    const at = (port: number) => `${host.address}:${port}`;
    const [role, ...rest] = isWorker
      ? ['worker', '--store-size', this.#order.storeSize, '--http', at(ports.http), '--s3', at(ports.s3)]
      : ['coordinator', '--api', at(ports.api)];
    const coordinator = `http://${this.#network.host(coordinatorName).address}:${ports.api}`;
    const executable = join(projectRoot, 'dist', 'main.js');
    const logPath = `${dataDir}.log`;
    const child = startChild([...host.by, process.execPath, executable, role!, '--data', dataDir, ...rest], {
      logPath,
      env: plainEnvironment({
        ...this.#env,
        ...(isWorker ? { PRIMED_CLUSTER_ID: name, PRIMED_COORDINATOR: coordinator } : {}),
      }),
    });
    this.#children.add(child);
    const reach = (port: number) => this.#gateways.open({ host: host.address, port, token });
    const api = await reach(isWorker ? ports.http : ports.api);
    const s3 = isWorker ? await reach(ports.s3) : '';
    await waitUntilReady(child, () => answersReady(api), startLimitMs);
    return {
      pid: child.pid,
      api,
      s3,
      log: () => readFileSync(logPath, 'utf8'),
      signal: (signal) => void process.kill(child.pid, signal),
      kill: () => this.#kill(child),
    };
  }

  async killAll(): Promise<void> {
    await Promise.all(Array.from(this.#children, (child) => this.#kill(child)));
  }

  async #kill(child: Child): Promise<void> {
    await child.stop('SIGKILL');
    this.#children.delete(child);
  }
}

async function answersReady(base: string): Promise<boolean> {
  try {
    const answer = await fetch(`${base}/health/ready`, { signal: AbortSignal.timeout(5000) });
    await answer.arrayBuffer();
    return answer.status === 200;
  } catch {
    return false;
  }
}

function environmentOf(endpoint: string): Record<string, string> {
  return {
    AWS_ENDPOINT_URL: endpoint,
    AWS_REGION: 'us-east-1',
    AWS_ACCESS_KEY_ID: netCredentials.accessKeyId,
    AWS_SECRET_ACCESS_KEY: netCredentials.secretAccessKey,
    AWS_EC2_METADATA_DISABLED: 'true',
    AWS_CONFIG_FILE: '/dev/null',
    AWS_SHARED_CREDENTIALS_FILE: '/dev/null',
  };
}
