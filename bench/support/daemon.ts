/** The real executable under test: started as a user starts it, spoken to by the REST API, measured from outside. */
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { answersOk } from '../../src/demo/daemon.ts';
import type { Transfer } from '../ceilings/receiver.ts';
import { hasEnded, insistOnSuccess, progressOf, submitLoad } from './jobs.ts';
import {
  cpuSecondsOf,
  freePort,
  type MemoryUse,
  memoryOf,
  plainEnvironment,
  startChild,
  waitUntilReady,
} from './process.ts';
import { projectRoot, type Workspace } from './workspace.ts';

export interface OriginSettings {
  readonly endpoint: string;
  readonly accessKeyId?: string;
  readonly secretAccessKey?: string;
  /** A file with the certificates to trust. */
  readonly certificatePath?: string;
}

export interface DaemonOrder {
  readonly origin: OriginSettings;
  readonly stores: readonly { readonly dir: string; readonly sizeBytes: number }[];
  /** Everything else that the daemon keeps; a new folder without it. */
  readonly dataDir?: string;
  /** Further lines of `[worker]`. */
  readonly worker?: readonly string[];
  /** A folder from which `file://` paths may be loaded. */
  readonly files?: string;
}

export interface LoadOutcome extends Transfer {
  /** Files that were loaded. */
  readonly files: number;
}

export interface Daemon {
  readonly pid: number;
  /** `http://host:port` of its API. */
  readonly base: string;
  readonly s3Port: number;
  /** To start another one in its place. */
  readonly order: DaemonOrder;
  /** From the start of the process to 200 on /health/ready. */
  readonly startSeconds: number;
  readonly startCpuSeconds: number;
  /**
   * Submits a load and waits for SUCCEEDED. Seconds and CPU are those of the whole daemon between the two.
   * @param askEveryMs otherwise as often as makes the seconds right to about 1%; each question costs daemon and asker about 1 ms
   */
  load(path: string, options?: Readonly<Record<string, string>>, askEveryMs?: number): Promise<LoadOutcome>;
  memory(): MemoryUse;
  stop(): Promise<void>;
}

const startDeadlineMs = 120_000;
const loadDeadlineMs = 1_800_000;

export async function startDaemon(workspace: Workspace, given: DaemonOrder): Promise<Daemon> {
  const executable = join(projectRoot, 'dist', 'main.js');
  if (!existsSync(executable)) throw new Error(`${executable} is missing; run npm run build`);
  const dir = workspace.folder('daemon');
  const dataDir = given.dataDir ?? join(dir, 'data');
  const order = { ...given, dataDir };
  const [api, http, s3] = [await freePort(), await freePort(), await freePort()];
  const configPath = join(dir, 'primed.toml');
  writeFileSync(configPath, configuration(order, { dataDir, api, http, s3 }));

  const startedAt = performance.now();
  const child = startChild([process.execPath, executable, 'standalone', '--config', configPath], {
    logPath: join(dir, 'daemon.log'),
    // The default goes by the machine; figures of all machines are with one budget.
    env: plainEnvironment({ AWS_EC2_METADATA_DISABLED: 'true', PRIMED_WORKER_MEMORY_BUDGET: '512MB' }),
  });
  workspace.defer(() => child.stop());
  const base = `http://127.0.0.1:${api}`;
  await waitUntilReady(child, () => answersOk(`${base}/health/ready`), startDeadlineMs);
  const startSeconds = (performance.now() - startedAt) / 1000;
  const startCpuSeconds = cpuSecondsOf(child.pid);

  return {
    pid: child.pid,
    base,
    s3Port: s3,
    order,
    startSeconds,
    startCpuSeconds,
    load: (path, options = {}, askEveryMs) =>
      load({ base, pid: child.pid, ended: child.ended, path, options, askEveryMs }),
    memory: () => memoryOf(child.pid),
    stop: () => child.stop(),
  };
}

function configuration(order: DaemonOrder, place: { dataDir: string; api: number; http: number; s3: number }): string {
  const { origin, stores } = order;
  const keys =
    origin.accessKeyId === undefined
      ? ['anonymous = true']
      : [`access_key_id = "${origin.accessKeyId}"`, `secret_access_key = "${origin.secretAccessKey}"`];
  return [
    `data_dir = "${place.dataDir}"`,
    `[api]\nlisten = "127.0.0.1:${place.api}"`,
    `[worker]\nhttp_listen = "127.0.0.1:${place.http}"\ns3_listen = "127.0.0.1:${place.s3}"`,
    ...(order.worker ?? []),
    ...stores.map((store) => `[[worker.store]]\ndir = "${store.dir}"\nsize = "${store.sizeBytes}"`),
    `[log]\nlevel = "warn"`,
    // Only what is measured; and the bytes of a made index were never written.
    `[scrub]\nperiod = "0s"`,
    `[[ufs]]\nprefix = "s3://"\nendpoint = "${origin.endpoint}"\nregion = "us-east-1"\npath_style = true`,
    ...(origin.certificatePath === undefined ? [] : [`ca_file = "${origin.certificatePath}"`]),
    ...keys,
    ...(order.files === undefined ? [] : [`[[ufs]]\nprefix = "file://${order.files}"`]),
    '',
  ].join('\n');
}

async function load(order: {
  base: string;
  pid: number;
  ended: () => string | undefined;
  path: string;
  options: Readonly<Record<string, string>>;
  askEveryMs: number | undefined;
}): Promise<LoadOutcome> {
  const { base, pid, path } = order;
  const startedAt = performance.now();
  const cpuBefore = cpuSecondsOf(pid);
  await submitLoad(base, path, order.options);
  for (;;) {
    const seconds = (performance.now() - startedAt) / 1000;
    const cpuSeconds = cpuSecondsOf(pid) - cpuBefore;
    const progress = await progressOf(base, path);
    if (hasEnded(progress)) {
      const { mLoadedByteCount, loadedFiles } = insistOnSuccess(path, progress);
      // The clock stopped before the question: what the question itself cost is not the load's.
      return { bytes: mLoadedByteCount, files: loadedFiles, seconds, cpuSeconds };
    }
    if (seconds * 1000 > loadDeadlineMs)
      throw new Error(`the load of ${path} took longer than ${loadDeadlineMs / 1000} s`);
    const ended = order.ended();
    if (ended !== undefined) throw new Error(ended);
    // A hundredth of what has passed: the answer is right to about 1%, and asking costs next to nothing.
    await sleep(order.askEveryMs ?? Math.min(1000, Math.max(5, seconds * 10)));
  }
}
