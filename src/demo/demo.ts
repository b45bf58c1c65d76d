/**
 * `primed demo`: the product on stage, with nothing but this package and a folder on a disk.
 *
 * Who is in it: this process tells the story; the embedded origin and the daemon are processes of their own, as they would be
 * in earnest. Act one loads a dataset of about 2 GiB with `verify`, beside what disk and origin can give. Act two
 * loads another one, kills the daemon with -9 in the middle, starts it again and counts what was fetched twice. Then every
 * object is read back over S3 and its hash compared. Act three is a cluster (cluster-act). Whatever happens, processes and
 * files are cleaned up.
 */
import { setMaxListeners } from 'node:events';
import { rmSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { PrimedClient } from '../client/client.ts';
import { PrimedError, reportOf } from '../core/errors.ts';
import { alignUp, GiB, MiB } from '../core/units.ts';
import { ClusterAct, clusterStoreBytes, workerCount } from './cluster-act.ts';
import { type DaemonOrder, DemoDaemon, freePorts } from './daemon.ts';
import { datasetBytes, planDataset } from './dataset.ts';
import { makeDemoFolder } from './folder.ts';
import { follow, ledgerOf } from './follow.ts';
import { humanBytes, humanCount, humanRate, humanSeconds } from './human.ts';
import type { SpawnedOrigin } from './origin/api.ts';
import type { ObjectSpec } from './origin/objects.ts';
import { spawnOrigin } from './origin/spawn.ts';
import { probeDisk, probeOrigin } from './probes.ts';
import { readBack } from './readback.ts';
import { makeShow, type Show } from './show.ts';
import { brokenPromises, type CrashFigures, type LoadFigures, summaryLines } from './summary.ts';

export interface DemoOptions {
  /** Of the dataset of act one; default 2 GiB, at least 16 MiB. Act two takes a quarter of it, act three an eighth. */
  readonly sizeBytes?: number;
  /** Leave the data folder and say how to serve it. */
  readonly keep?: boolean;
  /** Act two; default true. */
  readonly kill?: boolean;
  /** Act three; default true. */
  readonly cluster?: boolean;
  /** Below this folder instead of the system's temporary one. */
  readonly dataDir?: string;
  /** The built main.js; default: the script that runs. */
  readonly executable?: string;
  /** The built origin process; default: beside main.js. */
  readonly originScript?: string;
  /** Default: standard output. */
  readonly output?: NodeJS.WriteStream;
}

const defaultSizeBytes = 2 * GiB;
const leastSizeBytes = 16 * MiB;
const bucket = 'demo';
const region = 'us-east-1';
const credentials = { accessKeyId: 'AKIDPRIMEDDEMO', secretAccessKey: 'primed/demo+secret' } as const;
/** As with aws-cli's defaults: smaller objects have an MD5 as ETag, larger ones came as multipart uploads. */
const wholeHashMaxBytes = 8 * MiB;
const firstPrefix = 'dataset/';
const secondPrefix = 'second/';
const clusterPrefix = 'cluster/';
/** Act two at full speed: so long, whatever the machine, that a kill surely hits the middle. */
const secondActSeconds = 3;
const killAtShare = 0.4;
/** For connections of a killed daemon to end at the origin. */
const quietLimitMs = 10_000;
const quietPollMs = 10;
const probeBytes = 512 * MiB;
/** Files in the store are rounded up to 4 KiB; index, log and the probe's file lie beside it. */
const storeSpareShare = 1.05;
const storeSpareBytes = 128 * MiB;
const besideStoreBytes = 512 * MiB;

/**
 * Runs the demo and cleans up. Resolves with the exit code: 0 all held, 1 something did not, 130 interrupted. Rejects
 * with REQUEST_INVALID.
 */
export async function runDemo(options: DemoOptions = {}): Promise<number> {
  const { sizeBytes = defaultSizeBytes } = options;
  if (sizeBytes < leastSizeBytes) {
    throw new PrimedError(
      'REQUEST_INVALID',
      `--size is ${humanBytes(sizeBytes)}; the demo needs at least ${humanBytes(leastSizeBytes)}.`,
    );
  }
  const stop = new AbortController();
  setMaxListeners(0, stop.signal);
  const stage = new Stage(options, makeShow(options.output ?? process.stdout), stop.signal);
  const onSignal = () => {
    // The second time at once: `exit` ends the processes and removes the files.
    if (stop.signal.aborted) process.exit(130);
    stop.abort();
  };
  const onExit = () => stage.dropNow();
  process.on('SIGINT', onSignal).on('SIGTERM', onSignal).on('exit', onExit);
  try {
    return await stage.play();
  } catch (error) {
    stage.show.leave();
    if (stop.signal.aborted) {
      stage.show.say('Interrupted.');
      return 130;
    }
    stage.show.say(`The demo failed: ${reportOf(error).message}`);
    return 1;
  } finally {
    await stage.clear();
    process.off('SIGINT', onSignal).off('SIGTERM', onSignal).off('exit', onExit);
  }
}

class Stage {
  readonly show: Show;
  readonly #options: DemoOptions;
  readonly #signal: AbortSignal;
  #folder: string | undefined;
  #origin: SpawnedOrigin | undefined;
  #daemon: DemoDaemon | undefined;
  #client: PrimedClient | undefined;
  #cluster: ClusterAct | undefined;

  constructor(options: DemoOptions, show: Show, signal: AbortSignal) {
    this.#options = options;
    this.show = show;
    this.#signal = signal;
  }

  async play(): Promise<number> {
    const { sizeBytes = defaultSizeBytes, kill = true, cluster = true } = this.#options;
    const secondBytes = kill ? Math.ceil(sizeBytes / 4) : 0;
    const storeBytes = alignUp(Math.ceil((sizeBytes + secondBytes) * storeSpareShare), MiB) + storeSpareBytes;
    // Before the plan: one for more than any disk holds would take all memory.
    const thirdBytes = cluster ? Math.ceil(sizeBytes / 8) : 0;
    const nodeBytes = clusterStoreBytes(Math.ceil(thirdBytes * storeSpareShare), storeSpareBytes);
    const clusterBytes = cluster ? workerCount * nodeBytes : 0;
    const folder = await makeDemoFolder(storeBytes + clusterBytes + besideStoreBytes, this.#options.dataDir);
    this.#folder = folder;
    const first = planDataset({ totalBytes: sizeBytes, prefix: firstPrefix });
    const second = kill ? planDataset({ totalBytes: secondBytes, prefix: secondPrefix, seed: 2 }) : [];
    const third = cluster ? planDataset({ totalBytes: thirdBytes, prefix: clusterPrefix, seed: 3 }) : [];
    this.show.say(
      `A dataset of ${humanCount(first.length)} files, ${humanBytes(datasetBytes(first))}, made on the fly by an S3 origin of our own; data in ${folder}`,
    );

    const origin = await this.#startOrigin([...first, ...second, ...third]);
    // A real origin has its ETags: they are not part of the load.
    await origin.prepareEtags();
    const disk = await probeDisk(folder, probeBytes);
    this.#signal.throwIfAborted();
    const originRate = await probeOrigin({ ...origin, region, credentials }, first[0]!, probeBytes);
    this.show.say(`  disk writes ${humanRate(disk.bytesPerSecond)}, origin gives ${humanRate(originRate)}`);

    const order = await this.#order(folder, origin, storeBytes);
    await this.#startDaemon(order);
    const load = await this.#firstAct(first, origin);
    const crash = kill ? await this.#secondAct(second, origin, order) : undefined;
    const readBackFigures = await this.#readBack([...first, ...second], origin);
    const clusterFigures = cluster ? await this.#thirdAct(third, origin, order, nodeBytes) : undefined;
    const figures = {
      load,
      ...(crash === undefined ? {} : { crash }),
      ...(clusterFigures === undefined ? {} : { cluster: clusterFigures }),
      diskBytesPerSecond: disk.bytesPerSecond,
      diskIsDirect: disk.direct,
      originBytesPerSecond: originRate,
      ...readBackFigures,
    };
    this.show.say('');
    for (const line of summaryLines(figures)) this.show.say(line);
    const broken = brokenPromises(figures);
    for (const promise of broken) this.show.say(`NOT AS PROMISED: ${promise}`);
    return broken.length === 0 ? 0 : 1;
  }

  async #firstAct(objects: readonly ObjectSpec[], origin: SpawnedOrigin): Promise<LoadFigures> {
    const [client, daemon] = [this.#client!, this.#daemon!];
    const path = `s3://${bucket}/${firstPrefix}`;
    const bytes = datasetBytes(objects);
    await origin.resetStats();
    const cpuBefore = (await daemon.cpuSeconds()) ?? 0;
    const { message } = await client.submit({ path }, { verify: 'true' });
    this.show.say(message);
    const bar = this.show.bar('load', bytes);
    const followed = await follow({ client, daemon, path, bar, signal: this.#signal });
    bar.end(`${humanBytes(bytes)} in ${humanSeconds(followed.loadMs)}, verified in ${humanSeconds(followed.verifyMs)}`);
    return {
      files: objects.length,
      bytes,
      loadMs: followed.loadMs,
      verifyMs: followed.verifyMs,
      loadCpuSeconds: followed.cpuSecondsLoaded - cpuBefore,
      originBytes: await sentOf(origin, firstPrefix),
      ledger: ledgerOf(followed.progress),
    };
  }

  async #secondAct(objects: readonly ObjectSpec[], origin: SpawnedOrigin, order: DaemonOrder): Promise<CrashFigures> {
    const path = `s3://${bucket}/${secondPrefix}`;
    const bytes = datasetBytes(objects);
    await origin.setKnobs({ bytesPerSecond: Math.ceil(bytes / secondActSeconds) });
    const { message } = await this.#client!.submit({ path }, { verify: 'true' });
    this.show.say(message);
    const until = (progress: { mLoadedByteCount: number }) => progress.mLoadedByteCount >= killAtShare * bytes;
    const bar = this.show.bar('load', bytes);
    const before = await follow({
      client: this.#client!,
      daemon: this.#daemon!,
      path,
      bar,
      until,
      signal: this.#signal,
    });
    if (before.ended) {
      throw new PrimedError('INTERNAL', 'The second load ended before the daemon could be killed in the middle of it.');
    }
    await this.#daemon!.kill();
    const sentBeforeKillBytes = await sentOf(origin, secondPrefix);
    bar.end(
      `kill -9 at ${humanBytes(before.progress.mLoadedByteCount)} durable, ${humanBytes(sentBeforeKillBytes)} sent; starting again`,
    );
    await this.#startDaemon(order);
    const bar2 = this.show.bar('load', bytes);
    const after = await follow({ client: this.#client!, daemon: this.#daemon!, path, bar: bar2, signal: this.#signal });
    bar2.end('the rest, by itself, and verified');
    await origin.setKnobs({ bytesPerSecond: 0 });
    return {
      bytes,
      durableBeforeKillBytes: before.progress.mLoadedByteCount,
      sentBeforeKillBytes,
      sentBytes: await sentOf(origin, secondPrefix),
      restartMs: this.#daemon!.readyAfterMs,
      ledger: ledgerOf(after.progress),
    };
  }

  /** The daemon of the first acts is gone by then: the machine is the cluster's. */
  async #thirdAct(objects: readonly ObjectSpec[], origin: SpawnedOrigin, order: DaemonOrder, storeBytes: number) {
    await this.#daemon!.stop();
    const { show } = this;
    const act = new ClusterAct({
      ...{ show, origin, bucket, objects, order, storeBytes },
      prefix: clusterPrefix,
      sentBytes: () => sentOf(origin, clusterPrefix),
      folder: this.#folder!,
    });
    this.#cluster = act;
    return act.play();
  }

  async #readBack(objects: readonly ObjectSpec[], origin: SpawnedOrigin) {
    const bytes = datasetBytes(objects);
    const sentBefore = (await origin.stats()).bytesSent;
    const bar = this.show.bar('read back', bytes);
    const startedMs = performance.now();
    let done = 0;
    const files = await readBack({
      s3Url: this.#daemon!.s3Url,
      bucket,
      objects,
      signal: this.#signal,
      onBytes: (more) => {
        done += more;
        bar.update(done, humanBytes(done));
      },
    });
    const readBackMs = performance.now() - startedMs;
    bar.end(`${humanBytes(bytes)} over S3 in ${humanSeconds(readBackMs)}, ${humanCount(files)} hashes right`);
    const originBytesInReadBack = (await origin.stats()).bytesSent - sentBefore;
    return { readBackBytes: bytes, readBackMs, readBackFiles: files, originBytesInReadBack };
  }

  async #startOrigin(objects: readonly ObjectSpec[]): Promise<SpawnedOrigin> {
    const script = this.#options.originScript;
    const options = { objects, bucket, region, credentials: [credentials], wholeHashMaxBytes };
    this.#origin = await spawnOrigin(options, script === undefined ? {} : { script });
    this.#signal.throwIfAborted();
    return this.#origin;
  }

  async #order(folder: string, origin: SpawnedOrigin, storeBytes: number): Promise<DaemonOrder> {
    const executable = this.#options.executable ?? process.argv[1];
    if (executable === undefined)
      throw new PrimedError('INTERNAL', 'The demo does not know which executable to start.');
    return {
      executable,
      dataDir: join(folder, 'data'),
      storeBytes,
      ports: await freePorts(),
      logPath: join(folder, 'daemon.log'),
      awsEnvironment: {
        AWS_ENDPOINT_URL: origin.endpoint,
        AWS_REGION: region,
        AWS_ACCESS_KEY_ID: credentials.accessKeyId,
        AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
        AWS_EC2_METADATA_DISABLED: 'true',
        AWS_CONFIG_FILE: '/dev/null',
        AWS_SHARED_CREDENTIALS_FILE: '/dev/null',
      },
      signal: this.#signal,
    };
  }

  async #startDaemon(order: DaemonOrder): Promise<void> {
    this.#daemon = DemoDaemon.start(order);
    await this.#daemon.ready();
    await this.#client?.close();
    this.#client = new PrimedClient({ coordinator: this.#daemon.apiUrl });
    this.show.say(`  the daemon is ready after ${humanSeconds(this.#daemon.readyAfterMs)}`);
  }

  /** Ends the processes in order and removes the files. Never rejects: every step is tried. */
  async clear(): Promise<void> {
    const folder = this.#folder;
    const keep = this.#options.keep === true && folder !== undefined;
    const steps = [
      () => this.#client?.close(),
      () => this.#daemon?.stop(),
      () => this.#cluster?.clear(),
      () => this.#origin?.close(),
      () => (folder === undefined || keep ? undefined : rm(folder, { recursive: true, force: true })),
    ];
    for (const step of steps) {
      try {
        await step();
      } catch (error) {
        this.show.say(`Cleaning up: ${reportOf(error).message}`);
      }
    }
    if (keep) this.show.say(`Kept: serve it again with \`primed standalone --data ${join(folder, 'data')}\`.`);
  }

  /** The last resort, when the process ends at once and cannot wait. The origin ends when its channel does. */
  dropNow(): void {
    this.#daemon?.killNow();
    this.#cluster?.dropNow();
    if (this.#folder !== undefined && this.#options.keep !== true)
      rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** Body bytes of objects below a prefix, when nothing is on its way any more. */
async function sentOf(origin: SpawnedOrigin, prefix: string): Promise<number> {
  const deadlineMs = performance.now() + quietLimitMs;
  for (;;) {
    const { bytesByKey, inFlight } = await origin.stats();
    if (inFlight === 0) {
      return Object.entries(bytesByKey).reduce((sum, [key, bytes]) => (key.startsWith(prefix) ? sum + bytes : sum), 0);
    }
    if (performance.now() > deadlineMs) {
      throw new PrimedError('INTERNAL', `The origin still had ${inFlight} requests open after ${quietLimitMs} ms.`);
    }
    await sleep(quietPollMs);
  }
}
