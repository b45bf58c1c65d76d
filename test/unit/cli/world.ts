/** A terminal, or none, whose clock stands still between the steps of a verb. */
import { PassThrough, Writable } from 'node:stream';
import type { CliIo, EndSignal, Stream } from '../../../src/cli/io.ts';

export interface World extends CliIo {
  readonly out: () => string;
  readonly outBytes: () => Buffer;
  readonly err: () => string;
  /** Ctrl-C. */
  interrupt(): void;
  /** How many handlers of Ctrl-C there are. */
  interruptHandlers(): number;
  terminate(signal: EndSignal): void;
  /** The process ends. */
  exit(): void;
  /** Keys; only a terminal has them. */
  readonly stdin: PassThrough & { isTTY?: boolean; setRawMode?: (raw: boolean) => void; raw?: boolean };
  /** Called at each sleep, before it ends. */
  onSleep: (milliseconds: number) => void | Promise<void>;
}

export function makeWorld(
  options: { terminal?: boolean; columns?: number; rows?: number; env?: Record<string, string> } = {},
): World {
  const out: Buffer[] = [];
  const err: Buffer[] = [];
  const handlers = new Set<() => void>();
  let nowMs = 0;
  const stream = (into: Buffer[]): Stream =>
    Object.assign(
      new Writable({
        write(chunk: Buffer, _encoding, done) {
          into.push(Buffer.from(chunk));
          done();
        },
      }),
      options.terminal === true ? { isTTY: true, columns: options.columns ?? 200, rows: options.rows ?? 50 } : {},
    );
  const exitHandlers = new Set<() => void>();
  const endHandlers = new Set<(signal: EndSignal) => void>();
  const stdin: World['stdin'] = new PassThrough();
  if (options.terminal === true)
    Object.assign(stdin, {
      isTTY: true,
      setRawMode(raw: boolean) {
        stdin.raw = raw;
      },
    });
  const world: World = {
    stdin,
    stdout: stream(out),
    stderr: stream(err),
    env: options.env ?? {},
    now: () => nowMs,
    onSleep: () => {},
    async sleep(milliseconds, signal) {
      nowMs += milliseconds;
      await world.onSleep(milliseconds);
      signal.throwIfAborted();
    },
    onInterrupt(handler) {
      handlers.add(handler);
      return () => handlers.delete(handler);
    },
    onTerminate(handler) {
      endHandlers.add(handler);
      return () => endHandlers.delete(handler);
    },
    terminate: (signal) => {
      for (const handler of endHandlers) handler(signal);
    },
    onExit(handler) {
      exitHandlers.add(handler);
      return () => exitHandlers.delete(handler);
    },
    exit: () => {
      for (const handler of exitHandlers) handler();
    },
    out: () => Buffer.concat(out).toString(),
    outBytes: () => Buffer.concat(out),
    err: () => Buffer.concat(err).toString(),
    interrupt: () => {
      for (const handler of handlers) handler();
    },
    interruptHandlers: () => handlers.size,
  };
  return world;
}
