/** Starts the embedded origin in a process of its own, so that it shares no event loop with the code under test. */
import { type ChildProcess, fork } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { OriginAddress, OriginOptions, SpawnedOrigin } from './api.ts';
import type { CallMessage, ChildMessage } from './process.ts';

const startLimitMs = 20_000;
const callLimitMs = 30_000;
const closeLimitMs = 5_000;

export interface SpawnOptions {
  /** The built process.ts; default: `demo-origin.js` of the built product. */
  readonly script?: string;
  /** A program with its arguments that becomes the process (exec), in place of starting it directly. */
  readonly by?: readonly string[];
}

/**
 * Rejects if the process cannot be started within 20 s, with what it said. Afterwards every command is answered within
 * 30 s or rejects. The process ends with `close`, and by itself when this process does.
 */
export async function spawnOrigin(
  options: OriginOptions = {},
  { script = builtScript(), by = [] }: SpawnOptions = {},
): Promise<SpawnedOrigin> {
  const [execPath, ...execArgv] = [...by, process.execPath];
  const child = fork(script, [], {
    serialization: 'advanced',
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    execPath: execPath!,
    execArgv,
  });
  const line = new Line(child);
  try {
    const address = await line.start(options);
    return remoteOrigin(child, line, address);
  } catch (error) {
    child.kill('SIGKILL');
    throw error;
  }
}

/** Beside the running bundle, which may be a chunk of it in a folder below. */
function builtScript(): string {
  const candidates = ['./demo-origin.js', '../demo-origin.js'].map((path) =>
    fileURLToPath(new URL(path, import.meta.url)),
  );
  const found = candidates.find((path) => existsSync(path));
  if (found !== undefined) return found;
  throw new Error(`The embedded origin is not built: there is no ${candidates.join(' nor ')}. Run \`npm run setup\`.`);
}

function remoteOrigin(child: ChildProcess, line: Line, address: OriginAddress): SpawnedOrigin {
  const remote =
    <A extends unknown[], R>(call: CallMessage['call']) =>
    (...args: A) =>
      line.call(call, args) as Promise<R>;
  return {
    ...address,
    pid: child.pid!,
    setFault: remote('setFault'),
    clearFaults: remote('clearFaults'),
    fired: remote('fired'),
    faults: remote('faults'),
    setKnobs: remote('setKnobs'),
    setCredentials: remote('setCredentials'),
    stats: remote('stats'),
    requestLog: remote('requestLog'),
    resetStats: remote('resetStats'),
    add: remote('add'),
    put: remote('put'),
    bump: remote('bump'),
    remove: remote('remove'),
    prepareEtags: remote('prepareEtags'),
    dropConnections: remote('dropConnections'),
    cpuSeconds: remote('cpuSeconds'),
    close: () => line.close(),
  };
}

interface Waiting {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
  readonly timer: NodeJS.Timeout;
}

/** The IPC channel: calls by number, each with a limit. */
class Line {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, Waiting>();
  readonly #exited: Promise<void>;
  #nextId = 1;

  constructor(child: ChildProcess) {
    this.#child = child;
    this.#exited = new Promise((resolve) => {
      const gone = (why: string) => {
        for (const id of this.#waiting.keys()) this.#settle(id, { error: why });
        resolve();
      };
      child.once('exit', (code, signal) => gone(`the origin process ended (${signal ?? `exit code ${code}`})`));
      child.once('error', (error) => gone(`the origin process failed: ${error.message}`));
    });
    child.on('message', (message: ChildMessage) => {
      if ('id' in message) this.#settle(message.id, message);
      else if ('started' in message) this.#settle(0, { value: message.started });
      else this.#settle(0, { error: message.failed });
    });
  }

  start(options: OriginOptions): Promise<OriginAddress> {
    return this.#send(0, { start: options }, startLimitMs, 'start') as Promise<OriginAddress>;
  }

  call(call: CallMessage['call'], args: readonly unknown[]): Promise<unknown> {
    const id = this.#nextId++;
    return this.#send(id, { id, call, args }, callLimitMs, call);
  }

  /** Asks it to end, and ends it if it does not. */
  async close(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), closeLimitMs);
    // The exit is what counts: an answer may be lost on the way out.
    this.call('close', []).catch(() => {});
    await this.#exited;
    clearTimeout(timer);
  }

  #send(id: number, message: object, limitMs: number, what: string): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => this.#settle(id, { error: `the origin process did not answer ${what} within ${limitMs} ms` }),
        limitMs,
      );
      this.#waiting.set(id, { resolve, reject, timer });
      this.#child.send(message, (error) => {
        if (error !== null) this.#settle(id, { error: `the origin process cannot be reached: ${error.message}` });
      });
    });
  }

  #settle(id: number, outcome: { value?: unknown; error?: string }): void {
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) return;
    this.#waiting.delete(id);
    clearTimeout(waiting.timer);
    if (outcome.error === undefined) waiting.resolve(outcome.value);
    else waiting.reject(new Error(outcome.error));
  }
}
