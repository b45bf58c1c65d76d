/** The real executable, started as a user starts it: on free loopback ports, with its log kept for when it fails. */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Agent, request } from 'undici';
import { freePort, plainEnvironment } from '../../bench/support/process.ts';
import { projectRoot } from './files.ts';

export const executable = join(projectRoot, 'dist', 'main.js');

export interface DaemonOrder {
  /** `--data`; the log lies beside it. */
  readonly dataDir: string;
  /** Where the log lies in place of that. */
  readonly log?: string;
  /** `--store-size`; default 1GB. Null: the configuration file says what stores there are. */
  readonly storeSize?: string | null;
  /** Default: what is built here. Of an earlier release: see release.ts. */
  readonly executable?: string;
  /** Default: standalone. */
  readonly role?: 'standalone' | 'coordinator' | 'worker';
  /** Added to a plain environment: the AWS variables of an origin, for example. */
  readonly env?: Readonly<Record<string, string>>;
  readonly args?: readonly string[];
  /** A program with its arguments that becomes the daemon (exec), in place of starting it directly. */
  readonly by?: readonly string[];
  /** The same ports again, for a restart; default: free ones. */
  readonly ports?: DaemonPorts;
  /** Its ports speak TLS, with a certificate that this one (PEM) has signed. */
  readonly ca?: string;
}

export interface DaemonPorts {
  readonly api: number;
  readonly http: number;
  readonly s3: number;
}

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface Daemon {
  readonly pid: number;
  readonly ports: DaemonPorts;
  /** `http://127.0.0.1:<api>`; of a worker its HTTP port. */
  readonly api: string;
  readonly ca?: string;
  readonly s3: string;
  /** Resolves when the process has ended, however. */
  readonly exited: Promise<Exit>;
  /** SIGKILL; resolves when the process is gone. */
  kill(): Promise<Exit>;
  /** SIGTERM; rejects with the log when the process has not ended after `limitMs`, and kills it. */
  terminate(limitMs?: number): Promise<Exit>;
  /** Everything that the process has said so far. */
  log(): string;
}

const startLimitMs = 30_000;
const stopLimitMs = 10_000;

/** Resolves on 200 of /health/ready. Rejects with the log when the process ends before, or is not ready in time: it is killed. */
export async function startDaemon(order: DaemonOrder): Promise<Daemon> {
  const daemon = await spawnDaemon(order);
  try {
    await untilReady(daemon);
  } catch (error) {
    await daemon.kill();
    throw error;
  }
  return daemon;
}

/** Does not wait: for a daemon that is killed while it starts, or that must refuse to. */
export async function spawnDaemon(order: DaemonOrder): Promise<Daemon> {
  const ports = order.ports ?? { api: await freePort(), http: await freePort(), s3: await freePort() };
  const logPath = order.log ?? `${order.dataDir}.log`;
  const log = openSync(logPath, 'a');
  const at = (port: number) => `127.0.0.1:${port}`;
  const { storeSize = '1GB' } = order;
  const places = ['--data', order.dataDir, ...(storeSize === null ? [] : ['--store-size', storeSize])];
  const { role = 'standalone' } = order;
  const workerListens = ['--http', at(ports.http), '--s3', at(ports.s3)];
  const listens = [
    ...(role === 'worker' ? [] : ['--api', at(ports.api)]),
    ...(role === 'coordinator' ? [] : workerListens),
  ];
  const args = [role, ...places, ...listens, ...(order.args ?? [])];
  const [program, ...words] = [...(order.by ?? []), process.execPath, order.executable ?? executable, ...args];
  const child = spawn(program!, words, {
    stdio: ['ignore', log, log],
    env: plainEnvironment({ AWS_EC2_METADATA_DISABLED: 'true', ...order.env }),
  });
  closeSync(log);
  const exited = exitOf(child);
  const scheme = order.ca === undefined ? 'http' : 'https';
  return {
    pid: child.pid!,
    ports,
    ...(order.ca === undefined ? {} : { ca: order.ca }),
    api: `${scheme}://${at(role === 'worker' ? ports.http : ports.api)}`,
    s3: `${scheme}://${at(ports.s3)}`,
    exited,
    log: () => readFileSync(logPath, 'utf8'),
    kill: () => {
      child.kill('SIGKILL');
      return exited;
    },
    terminate: async (limitMs = stopLimitMs) => {
      child.kill('SIGTERM');
      const exit = await within(exited, limitMs);
      if (exit !== undefined) return exit;
      child.kill('SIGKILL');
      throw new Error(`the daemon had not ended ${limitMs} ms after SIGTERM:\n${tail(logPath)}`);
    },
  };
}

/** Asks for 200 on /health/ready until the limit. */
export async function untilReady(daemon: Daemon, limitMs = startLimitMs): Promise<void> {
  const deadline = performance.now() + limitMs;
  for (;;) {
    const exit = await within(daemon.exited, 0);
    if (exit !== undefined)
      throw new Error(`the daemon ended with ${exit.signal ?? exit.code}:\n${lastLines(daemon.log())}`);
    if (await answersOk(`${daemon.api}/health/ready`, daemon.ca)) return;
    if (performance.now() > deadline) throw new Error(`not ready within ${limitMs} ms:\n${lastLines(daemon.log())}`);
    await sleep(20);
  }
}

/** When a line was logged first, in milliseconds since 1970. */
export function loggedMs(log: string, message: string): number {
  const line = log.split('\n').find((one) => one.includes(message));
  return line === undefined ? Number.NaN : new Date(JSON.parse(line).time).getTime();
}

async function answersOk(url: string, ca?: string): Promise<boolean> {
  const dispatcher = new Agent(ca === undefined ? {} : { connect: { ca } });
  try {
    const answer = await request(url, { dispatcher, signal: AbortSignal.timeout(5_000) });
    await answer.body.dump();
    return answer.statusCode === 200;
  } catch {
    return false;
  } finally {
    await dispatcher.destroy();
  }
}

function exitOf(child: ChildProcess): Promise<Exit> {
  return new Promise((resolve, reject) => {
    child.once('exit', (code, signal) => resolve({ code, signal }));
    child.once('error', reject);
  });
}

async function within<T>(promise: Promise<T>, limitMs: number): Promise<T | undefined> {
  const cancel = new AbortController();
  const limit = sleep(limitMs, undefined, { signal: cancel.signal }).catch(() => undefined);
  try {
    return await Promise.race([promise, limit]);
  } finally {
    cancel.abort();
  }
}

const tail = (path: string) => lastLines(readFileSync(path, 'utf8'));
const lastLines = (text: string) => text.trimEnd().split('\n').slice(-30).join('\n');
