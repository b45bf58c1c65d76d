/** The daemon under demonstration: the real executable in a process of its own, as a user would start it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { PrimedError } from '../core/errors.ts';
import { makePortFinder } from './ports.ts';

export interface DaemonPorts {
  readonly api: number;
  readonly http: number;
  readonly s3: number;
}

export interface DaemonOrder {
  /** Default: standalone. */
  readonly role?: 'standalone' | 'coordinator' | 'worker';
  /** Settings that have no flag. */
  readonly environment?: Readonly<Record<string, string>>;
  /** The built main.js. */
  readonly executable: string;
  readonly dataDir: string;
  readonly storeBytes: number;
  readonly ports: DaemonPorts;
  readonly logPath: string;
  /** AWS_* variables; those of the caller do not reach the daemon. */
  readonly awsEnvironment: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
}

const readyLimitMs = 60_000;
const readyPollMs = 25;
const stopLimitMs = 10_000;
/** USER_HZ, which Linux fixes for /proc on all its common architectures. */
const ticksPerSecond = 100;
const quotedLogLines = 15;

export class DemoDaemon {
  readonly #child: ChildProcess;
  readonly #order: DaemonOrder;
  readonly #exited: Promise<string>;
  #ended: string | undefined;
  /** From the start of the process to ready. */
  readyAfterMs = 0;

  private constructor(child: ChildProcess, order: DaemonOrder) {
    this.#child = child;
    this.#order = order;
    this.#exited = new Promise((resolve) => {
      child.once('exit', (code, signal) => resolve(signal ?? `exit code ${code}`));
      child.once('error', (error) => resolve(error.message));
    });
    void this.#exited.then((how) => {
      this.#ended = how;
    });
  }

  /** Starts it without waiting: `ready` waits. So whoever cleans up knows the process from its first moment. */
  static start(order: DaemonOrder): DemoDaemon {
    const log = openSync(order.logPath, 'a');
    const at = (port: number) => `127.0.0.1:${port}`;
    const { role = 'standalone', ports } = order;
    const worker = ['--store-size', `${order.storeBytes}B`, '--http', at(ports.http), '--s3', at(ports.s3)];
    const flags = [
      ...['--data', order.dataDir],
      ...(role === 'worker' ? [] : ['--api', at(ports.api)]),
      ...(role === 'coordinator' ? [] : worker),
    ];
    const child = spawn(process.execPath, [order.executable, role, ...flags], {
      stdio: ['ignore', log, log],
      env: { ...daemonEnvironment(order.awsEnvironment), ...order.environment },
    });
    closeSync(log);
    return new DemoDaemon(child, order);
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  get apiUrl(): string {
    return `http://127.0.0.1:${this.#order.ports.api}`;
  }

  get httpUrl(): string {
    return `http://127.0.0.1:${this.#order.ports.http}`;
  }

  get s3Url(): string {
    return `http://127.0.0.1:${this.#order.ports.s3}`;
  }

  /** Resolves on 200 of /health/ready. Rejects with the end of the log when the process ends first, or after 60 s. */
  async ready(): Promise<void> {
    const startedMs = performance.now();
    for (;;) {
      if (this.#ended !== undefined) throw await this.#failure(`ended while it started (${this.#ended})`);
      if (await answersOk(`${this.#order.role === 'worker' ? this.httpUrl : this.apiUrl}/health/ready`)) break;
      if (performance.now() - startedMs > readyLimitMs)
        throw await this.#failure(`was not ready within ${readyLimitMs} ms`);
      await sleep(readyPollMs, undefined, { signal: this.#order.signal });
    }
    this.readyAfterMs = performance.now() - startedMs;
  }

  /** Rejects if the process has ended by itself. */
  async mustRun(): Promise<void> {
    if (this.#ended !== undefined) throw await this.#failure(`ended by itself (${this.#ended})`);
  }

  /** User and system time of the process so far; undefined when it is gone. */
  async cpuSeconds(): Promise<number | undefined> {
    try {
      const stat = await readFile(`/proc/${this.pid}/stat`, 'utf8');
      return cpuSecondsOf(stat);
    } catch {
      return undefined;
    }
  }

  /** kill -9, without waiting. */
  killNow(): void {
    if (this.#ended === undefined) this.#child.kill('SIGKILL');
  }

  /** kill -9; resolves when the process is gone. */
  async kill(): Promise<void> {
    this.killNow();
    await this.#exited;
  }

  /** SIGTERM, and SIGKILL when that does not end it within 10 s. */
  async stop(): Promise<void> {
    if (this.#ended !== undefined) return;
    this.#child.kill('SIGTERM');
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), stopLimitMs);
    await this.#exited;
    clearTimeout(timer);
  }

  async #failure(what: string): Promise<PrimedError> {
    const log = await readFile(this.#order.logPath, 'utf8').catch(() => '');
    const lines = log.trimEnd().split('\n').slice(-quotedLogLines).join('\n');
    return new PrimedError('INTERNAL', `The daemon ${what}. The end of its log:\n${lines}`);
  }
}

/** From the text of /proc/<pid>/stat. The name in parentheses may itself hold spaces and parentheses. */
export function cpuSecondsOf(stat: string): number {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  // utime and stime are fields 14 and 15 of proc(5); the first one here is field 3.
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
}

const freePort = makePortFinder();

/** For a daemon that is not told any. */
export async function freePorts(): Promise<DaemonPorts> {
  return { api: await freePort(), http: await freePort(), s3: await freePort() };
}

/** Whether it answers with 200, within five seconds. */
export async function answersOk(url: string): Promise<boolean> {
  try {
    const answer = await fetch(url, { signal: AbortSignal.timeout(5000) });
    await answer.arrayBuffer();
    return answer.status === 200;
  } catch {
    return false;
  }
}

/** Neither the caller's AWS settings, nor primed's, nor a proxy may bend where the demo's daemon goes. */
function daemonEnvironment(aws: Readonly<Record<string, string>>): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) => !/^(AWS_|PRIMED_|HTTPS?_PROXY$|ALL_PROXY$)/i.test(name));
  return { ...Object.fromEntries(kept), ...aws };
}
