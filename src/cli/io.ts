/** What a verb touches of the world, so that tests can be that world. */
import { once } from 'node:events';
import { setTimeout as wait } from 'node:timers/promises';

export interface Stream extends NodeJS.WritableStream {
  readonly isTTY?: boolean;
  readonly columns?: number;
  readonly rows?: number;
}

/** Where keys come from. */
export interface Keys extends NodeJS.ReadableStream {
  readonly isTTY?: boolean;
  setRawMode?(raw: boolean): unknown;
}

export type EndSignal = 'SIGTERM' | 'SIGHUP';

export interface CliIo {
  readonly stdin: Keys;
  readonly stdout: Stream;
  readonly stderr: Stream;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Milliseconds of a clock that only goes forward. */
  readonly now: () => number;
  readonly sleep: (milliseconds: number, signal: AbortSignal) => Promise<void>;
  /** Calls `handler` at Ctrl-C in place of ending the process, until the returned function is called. */
  readonly onInterrupt: (handler: () => void) => () => void;
  /** The same, of what ends a process from outside. */
  readonly onTerminate: (handler: (signal: EndSignal) => void) => () => void;
  /** Calls `handler`, which may not wait, when the process ends for whatever reason it can still see. */
  readonly onExit: (handler: () => void) => () => void;
}

const endSignals: readonly EndSignal[] = ['SIGTERM', 'SIGHUP'];

/** The world of the real process. */
export function processIo(): CliIo {
  for (const stream of [process.stdout, process.stderr]) stream.on('error', passOverGone);
  return {
    // Standard input is opened when somebody asks for it.
    get stdin() {
      return process.stdin;
    },
    stdout: process.stdout,
    stderr: process.stderr,
    env: process.env,
    now: () => performance.now(),
    sleep: (milliseconds, signal) => wait(milliseconds, undefined, { signal }),
    onInterrupt(handler) {
      process.on('SIGINT', handler);
      return () => process.off('SIGINT', handler);
    },
    onTerminate(handler) {
      for (const signal of endSignals) process.on(signal, handler);
      return () => {
        for (const signal of endSignals) process.off(signal, handler);
      };
    },
    onExit(handler) {
      process.on('exit', handler);
      return () => process.off('exit', handler);
    },
  };
}

/** A reader that leaves (`primed --help | head`) has what it wanted: the verb goes on to its end, and what it says is heard by nobody. */
function passOverGone(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EPIPE') throw error;
}

/** Colours only where a terminal shows them, and not where NO_COLOR is set to anything (no-color.org). */
export function colorAllowed(io: CliIo, stream: Stream): boolean {
  return redrawable(io, stream) && !io.env.NO_COLOR;
}

/** The locale's own word for its characters; where there is none, as in most containers, a terminal of today has them. */
export function unicodeAllowed({ env }: Pick<CliIo, 'env'>): boolean {
  const locale = env.LC_ALL || env.LC_CTYPE || env.LANG;
  return !locale || /utf-?8/i.test(locale);
}

/** Whether what stands there can be drawn over. */
export function redrawable(io: CliIo, stream: Stream): boolean {
  return stream.isTTY === true && io.env.TERM !== 'dumb';
}

/**
 * For output of any length: `produce` gets a `write` that waits while the reader is slower. A reader that leaves
 * (`primed fs cat … | head`) has what it wanted: the signal is aborted, and this resolves all the same.
 */
export async function writeMuch(
  stream: Stream,
  produce: (write: (piece: Uint8Array | string) => Promise<void>, left: AbortSignal) => Promise<void>,
): Promise<void> {
  const left = new AbortController();
  const leave = (): void => left.abort();
  stream.once('close', leave).once('error', leave);
  try {
    await produce(async (piece) => {
      left.signal.throwIfAborted();
      if (!stream.write(piece)) await once(stream, 'drain', { signal: left.signal });
    }, left.signal);
  } catch (error) {
    if (!left.signal.aborted) throw error;
  } finally {
    stream.off('close', leave).off('error', leave);
  }
}
