/**
 * The last act: a coordinator and three workers, each a process of its own. A dataset is loaded with two replicas, one worker
 * is killed with -9 in the middle and stays away until the job has ended. Then it comes back, and every object is read
 * through each of the three, whatever lies where.
 */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { PrimedClient } from '../client/client.ts';
import { PrimedError } from '../core/errors.ts';
import { alignUp, MiB } from '../core/units.ts';
import { type DaemonOrder, DemoDaemon, freePorts } from './daemon.ts';
import { datasetBytes } from './dataset.ts';
import { follow, ledgerOf } from './follow.ts';
import { humanBytes, humanCount, humanSeconds } from './human.ts';
import type { SpawnedOrigin } from './origin/api.ts';
import type { ObjectSpec } from './origin/objects.ts';
import { readBack } from './readback.ts';
import type { Show } from './show.ts';
import type { ClusterFigures } from './summary.ts';

export interface ClusterActOptions {
  readonly show: Show;
  readonly origin: SpawnedOrigin;
  readonly bucket: string;
  readonly prefix: string;
  readonly objects: readonly ObjectSpec[];
  /** Body bytes of objects below the prefix that the origin has sent, when nothing is on its way any more. */
  readonly sentBytes: () => Promise<number>;
  readonly order: Pick<DaemonOrder, 'executable' | 'awsEnvironment' | 'signal'>;
  readonly folder: string;
  /** Store of each worker. */
  readonly storeBytes: number;
}

export const workerCount = 3;
const replicas = 2;
/** Files of the demo are small beside real ones: cut all the same, and into segments of several parts. */
const segmentBytes = 16 * MiB;
/** A lost worker is found lost after this: short, because somebody watches. */
const lease = '2s';
/** At full speed: so long, whatever the machine, that a kill surely hits the middle. */
const actSeconds = 3;
const killAtShare = 0.4;
const membersLimitMs = 60_000;
const pollMs = 50;

/** Whatever becomes of two workers, each may hold all of the dataset. */
export function clusterStoreBytes(bytes: number, spareBytes: number): number {
  return alignUp(bytes + spareBytes, MiB);
}

export class ClusterAct {
  readonly #options: ClusterActOptions;
  readonly #daemons = new Map<string, DemoDaemon>();
  readonly #orders = new Map<string, DaemonOrder>();
  #client: PrimedClient | undefined;

  constructor(options: ClusterActOptions) {
    this.#options = options;
  }

  async play(): Promise<ClusterFigures> {
    const { show, origin, objects, prefix, bucket, sentBytes } = this.#options;
    const client = await this.#start();
    const path = `s3://${bucket}/${prefix}`;
    const bytes = datasetBytes(objects);
    await origin.setKnobs({ bytesPerSecond: Math.ceil(bytes / actSeconds) });
    show.say((await client.submit({ path }, { replicas: String(replicas), verify: 'true' })).message);
    const bar = show.bar('load', bytes);
    const followed = { client, daemon: this.#daemon('coordinator'), path, signal: this.#options.order.signal };
    const until = (progress: { mLoadedByteCount: number }) => progress.mLoadedByteCount >= killAtShare * bytes;
    const before = await follow({ ...followed, bar, until });
    if (before.ended)
      throw new PrimedError('INTERNAL', 'The load of the cluster ended before a worker could be killed in its middle.');
    const killed = `node-${workerCount}`;
    const { bytesSent } = await origin.stats();
    const countedBytes = await originBytesOf(this.#daemon(killed));
    await this.#daemon(killed).kill();
    // What the origin sent since may have been to this worker.
    const heldBytes = countedBytes + (await origin.stats()).bytesSent - bytesSent;
    bar.end(
      `kill -9 of ${killed} at ${humanBytes(before.progress.mLoadedByteCount)}; it had fetched ${humanBytes(countedBytes)}`,
    );
    const rest = show.bar('load', bytes);
    const after = await follow({ ...followed, bar: rest });
    rest.end(`by the other ${workerCount - 1}, ${replicas} replicas of everything, and verified`);
    await origin.setKnobs({ bytesPerSecond: 0 });
    const sent = await sentBytes();
    await this.#startWorker(killed);
    await this.#untilLive(client);
    const readBackFigures = await this.#readBack();
    return {
      ...{ workers: workerCount, replicas, files: objects.length, bytes, killed },
      durableBeforeKillBytes: before.progress.mLoadedByteCount,
      killedHeldBytes: heldBytes,
      sentBytes: sent,
      loadMs: before.loadMs + after.loadMs,
      ledger: ledgerOf(after.progress),
      ...readBackFigures,
    };
  }

  /** Ends the processes in order; every one is tried. */
  async clear(): Promise<void> {
    await this.#client?.close();
    await Promise.all(Array.from(this.#daemons.values(), (daemon) => daemon.stop()));
  }

  dropNow(): void {
    for (const daemon of this.#daemons.values()) daemon.killNow();
  }

  async #start(): Promise<PrimedClient> {
    const { show, folder, order, storeBytes } = this.#options;
    const make = async (
      name: string,
      role: 'coordinator' | 'worker',
      environment: Readonly<Record<string, string>>,
    ): Promise<void> => {
      const more = { dataDir: join(folder, name), logPath: join(folder, `${name}.log`), ports: await freePorts() };
      this.#orders.set(name, { ...order, ...more, role, storeBytes, environment });
    };
    await make('coordinator', 'coordinator', {
      PRIMED_CLUSTER_LEASE: lease,
      PRIMED_JOB_SEGMENT_SIZE: `${segmentBytes / MiB}MB`,
    });
    const coordinator = this.#begin('coordinator');
    await coordinator.ready();
    for (let index = 1; index <= workerCount; index += 1) {
      await make(`node-${index}`, 'worker', {
        PRIMED_CLUSTER_ID: `node-${index}`,
        PRIMED_COORDINATOR: coordinator.apiUrl,
      });
    }
    await Promise.all(this.#workers.map((name) => this.#startWorker(name)));
    const client = new PrimedClient({ coordinator: coordinator.apiUrl });
    this.#client = client;
    await this.#untilLive(client);
    show.say(`A cluster: a coordinator and ${workerCount} workers, ${replicas} replicas`);
    return client;
  }

  get #workers(): string[] {
    return [...this.#orders.keys()].filter((name) => name !== 'coordinator');
  }

  #begin(name: string): DemoDaemon {
    const daemon = DemoDaemon.start(this.#orders.get(name)!);
    this.#daemons.set(name, daemon);
    return daemon;
  }

  async #startWorker(name: string): Promise<void> {
    await this.#begin(name).ready();
  }

  async #untilLive(client: PrimedClient): Promise<void> {
    const deadlineMs = performance.now() + membersLimitMs;
    for (;;) {
      const live = (await client.workers()).filter(({ state }) => state === 'LIVE');
      if (live.length === workerCount) return;
      if (performance.now() > deadlineMs)
        throw new PrimedError('INTERNAL', `${live.length} of ${workerCount} workers came to the cluster.`);
      await sleep(pollMs, undefined, { signal: this.#options.order.signal });
    }
  }

  /** Every object through every worker. */
  async #readBack() {
    const { show, origin, objects, bucket } = this.#options;
    const { signal } = this.#options.order;
    const bytes = datasetBytes(objects) * workerCount;
    const sentBefore = (await origin.stats()).bytesSent;
    const startedMs = performance.now();
    const bar = show.bar('read back', bytes);
    let done = 0;
    const onBytes = (more: number): void => {
      done += more;
      bar.update(done, humanBytes(done));
    };
    let files = 0;
    for (const name of this.#workers)
      files += await readBack({ s3Url: this.#daemon(name).s3Url, bucket, objects, signal, onBytes });
    const readBackMs = performance.now() - startedMs;
    bar.end(
      `${humanBytes(bytes)} through each of ${workerCount} workers in ${humanSeconds(readBackMs)}, ${humanCount(files)} hashes right`,
    );
    const originBytesInReadBack = (await origin.stats()).bytesSent - sentBefore;
    return { readBackBytes: bytes, readBackMs, readBackFiles: files, originBytesInReadBack };
  }

  #daemon(name: string): DemoDaemon {
    return this.#daemons.get(name)!;
  }
}

/** Body bytes that a worker has received from the origin, by its own metrics. */
async function originBytesOf({ httpUrl }: DemoDaemon): Promise<number> {
  const answer = await fetch(`${httpUrl}/metrics`);
  const value = /^primed_origin_bytes_total (\d+)$/m.exec(await answer.text())?.[1];
  if (value === undefined) throw new PrimedError('INTERNAL', `${httpUrl}/metrics says nothing of bytes of the origin.`);
  return Number(value);
}
