/** Child processes of a benchmark: started, waited for, measured by /proc, and stopped by their process id alone. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { accessSync, constants, openSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { cpuSecondsOf as cpuSecondsIn } from '../../src/demo/daemon.ts';
import { makePortFinder } from '../../src/demo/ports.ts';

/** Whether a program is on the PATH. What is not installed is left out of the results by name. */
export function hasProgram(name: string): boolean {
  return (process.env.PATH ?? '').split(delimiter).some((dir) => {
    try {
      accessSync(join(dir, name), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** Of the processes in which vitest runs tests at the same time each takes every eighth, from another one on. */
const { VITEST_POOL_ID: pool } = process.env;

/** As demo/ports has it: each port is given once in this process, and in no other that runs tests beside it. */
export const freePort = makePortFinder(pool === undefined ? undefined : { from: Number(pool) % 8, of: 8 });

/**
 * What every child gets: enough to run, and nothing of the caller's AWS configuration, proxies or certificates, which
 * would change where it connects to.
 */
export function plainEnvironment(extra: Readonly<Record<string, string>> = {}): NodeJS.ProcessEnv {
  return { PATH: process.env.PATH, HOME: process.env.HOME, LANG: 'C.UTF-8', ...extra };
}

export interface Child {
  readonly pid: number;
  readonly logPath: string;
  /** Defined when the process has ended. */
  readonly ended: () => string | undefined;
  /** Default SIGTERM; and SIGKILL after ten seconds. Resolves when the process has ended. */
  stop(signal?: NodeJS.Signals): Promise<void>;
}

export function startChild(command: readonly string[], options: { logPath: string; env?: NodeJS.ProcessEnv }): Child {
  const log = openSync(options.logPath, 'a');
  const [program, ...words] = command;
  const child: ChildProcess = spawn(program!, words, {
    stdio: ['ignore', log, log],
    env: options.env ?? plainEnvironment(),
  });
  let ended: string | undefined;
  const over = new Promise<void>((resolve) => {
    child.once('exit', (code, signal) => {
      ended = `${program} ended with ${signal ?? `exit code ${code}`}`;
      resolve();
    });
    child.once('error', (error) => {
      ended = `${program} could not be started: ${error.message}`;
      resolve();
    });
  });
  return {
    pid: child.pid ?? -1,
    logPath: options.logPath,
    ended: () => ended,
    async stop(signal = 'SIGTERM') {
      if (ended !== undefined) return;
      child.kill(signal);
      const killer = setTimeout(() => child.kill('SIGKILL'), 10_000);
      await over;
      clearTimeout(killer);
    },
  };
}

/** Asks `ready` again and again until it says yes; an ended child or the deadline is an error with the end of the log. */
export async function waitUntilReady(child: Child, ready: () => Promise<boolean>, deadlineMs: number): Promise<void> {
  const end = performance.now() + deadlineMs;
  for (;;) {
    if (await ready()) return;
    const ended = child.ended() ?? (performance.now() > end ? `not ready within ${deadlineMs / 1000} s` : undefined);
    if (ended !== undefined) throw new Error(`${ended}; its log ends with:\n${logTail(child.logPath)}`);
    await sleep(10);
  }
}

export function logTail(path: string, lines = 15): string {
  return readFileSync(path, 'utf8').trimEnd().split('\n').slice(-lines).join('\n');
}

export function acceptsConnections(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port, timeout: 1000 });
    const answer = (yes: boolean) => {
      socket.destroy();
      resolve(yes);
    };
    socket.once('connect', () => answer(true));
    socket.once('error', () => answer(false));
    socket.once('timeout', () => answer(false));
  });
}

/** User and system time of all threads of a process, the kernel's io_uring workers among them, in seconds. */
export function cpuSecondsOf(pid: number): number {
  return cpuSecondsIn(readFileSync(`/proc/${pid}/stat`, 'utf8'));
}

export function childrenOf(pid: number): number[] {
  const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
  return text === '' ? [] : text.split(' ').map(Number);
}

export interface MemoryUse {
  /** Largest resident set so far: anonymous, shared and mapped files together. */
  readonly peakBytes: number;
  readonly residentBytes: number;
  /** The part of the resident set that no file backs. */
  readonly anonymousBytes: number;
}

export function memoryOf(pid: number): MemoryUse {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const bytesOf = (name: string) =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1] ?? Number.NaN) * 1024;
  return { peakBytes: bytesOf('VmHWM'), residentBytes: bytesOf('VmRSS'), anonymousBytes: bytesOf('RssAnon') };
}

export interface Spent {
  readonly seconds: number;
  readonly cpuSeconds: number;
  readonly stdout: string;
}

/**
 * Runs a program to its end and says what it cost, children included. The shell's own `time` is used, because Node
 * does not tell what a child spent. Throws with the program's standard error when it fails.
 */
export function runTimed(command: readonly string[], options: { input?: string; env?: NodeJS.ProcessEnv } = {}): Spent {
  const script = 'exec 3>&2; TIMEFORMAT="spent %3R %3U %3S"; { time timeout 300 "$@" 2>&3; }';
  const timing = execAndKeepErrors(['bash', '-c', script, 'timed', ...command], options);
  const match = /spent ([\d.]+) ([\d.]+) ([\d.]+)\s*$/.exec(timing.stderr);
  if (timing.status !== 0 || !match)
    throw new Error(`${command[0]} failed (${timing.status}): ${timing.stderr.slice(-2000)}`);
  return { seconds: Number(match[1]), cpuSeconds: Number(match[2]) + Number(match[3]), stdout: timing.stdout };
}

function execAndKeepErrors(command: readonly string[], options: { input?: string; env?: NodeJS.ProcessEnv }) {
  const [program, ...words] = command;
  const done = spawnSync(program!, words, {
    encoding: 'utf8',
    env: options.env ?? plainEnvironment(),
    maxBuffer: 1 << 26,
    timeout: 320_000,
    ...(options.input === undefined ? {} : { input: options.input }),
  });
  return {
    status: done.status ?? -1,
    stdout: done.stdout ?? '',
    stderr: done.error ? String(done.error) : (done.stderr ?? ''),
  };
}
