/**
 * The log: pino, JSON lines on standard output. Lanes do not log; what they have to say comes by message.
 *
 * Lines of one text are limited (core/line-limit), those of level debug and those with a fact `event` excepted: what happens once for each job or
 * call is told however many there are, what happens for each file or attempt is not. The newest line that was left out is
 * written when its time has come, with `leftOut`: how many others were.
 */
import { createRequire } from 'node:module';
import { type DestinationStream, type Logger, type LoggerOptions, pino } from 'pino';
import { LineLimit, type LineLimits } from '../core/line-limit.ts';
import type { Log } from '../core/types.ts';
import { traceFacts } from './trace.ts';

export const logLevels = ['debug', 'info', 'warn', 'error'] as const;
export type LogLevel = (typeof logLevels)[number];

/** Names under which a secret could come into a line; whatever stands there is replaced. */
const secretNames = [
  'authorization',
  'api_token',
  'apiToken',
  'token',
  'sessionToken',
  'session_token',
  'secretAccessKey',
  'secret_access_key',
  'accessKeyId',
  'access_key_id',
  'credentials',
];
const redactPaths = ['', '*.', '*.*.', '*.*.*.'].flatMap((parents) => secretNames.map((name) => `${parents}${name}`));

export interface LogOptions {
  readonly level: LogLevel;
  /** Lines for people. Without the package pino-pretty JSON is written all the same, and the log says so. */
  readonly pretty: boolean;
  /** Where lines go in place of standard output; for tests. */
  readonly destination?: DestinationStream;
  readonly limits?: LineLimits;
  /** Milliseconds of a clock that only goes forward. */
  readonly now?: () => number;
}

/** What it leaves out may change. */
export interface LevelLog extends Log {
  level: string;
  /** Writes what was left out and waits for its time: before the end. */
  tellLeftOut(): void;
}

/** A fault that lasts is 1,440 lines a day and text. */
const defaultLimits: LineLimits = { burst: 30, everyMs: 60_000 };

/** Makes the log of the process. */
export function makeLog(options: LogOptions): LevelLog {
  return limited(pinoOf(options), options);
}

function pinoOf({ level, pretty, destination }: LogOptions): Logger {
  const options: LoggerOptions = {
    level,
    redact: { paths: redactPaths, censor: '[secret]' },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
    base: null,
    mixin: traceFacts,
    serializers: { error: pino.stdSerializers.err, err: pino.stdSerializers.err },
  };
  const lines = destination ?? pino.destination({ fd: 1, sync: true });
  if (!pretty) return pino(options, lines);
  const format = loadPretty();
  if (format !== undefined) return pino(options, { write: (line) => lines.write(format(line)) });
  const log = pino(options, lines);
  log.warn({}, 'log.pretty is on, but the package pino-pretty is not installed: writing JSON');
  return log;
}

type Limited = 'info' | 'warn' | 'error';

/** Who has no token can ask as often as he likes. */
function isEvent(facts: { readonly event?: string; readonly result?: string }): boolean {
  return facts.event !== undefined && facts.result !== 'refused';
}

function limited(log: Logger, { limits = defaultLimits, now = () => performance.now() }: LogOptions): LevelLog {
  const limit = new LineLimit(limits);
  /** By text, the newest that was left out. */
  const waiting = new Map<string, { readonly level: Limited; readonly facts: object; readonly message: string }>();
  let timer: NodeJS.Timeout | undefined;
  /** @param atEnd no later time will come */
  const tellWaiting = (atEnd: boolean): void => {
    timer = undefined;
    for (const [text, { level, facts, message }] of waiting) {
      const leftOut = atEnd ? limit.leftOut(text) : limit.due(text, now());
      if (leftOut === undefined) continue;
      waiting.delete(text);
      log[level]({ ...facts, leftOut: leftOut - 1 }, message);
    }
    if (waiting.size > 0) wait();
  };
  const wait = (): void => {
    timer ??= setTimeout(() => tellWaiting(false), limits.everyMs).unref();
  };
  const write = (level: Limited, facts: object, message: string): void => {
    if (isEvent(facts) || !log.isLevelEnabled(level)) {
      log[level](facts, message);
      return;
    }
    const text = `${level} ${message}`;
    const leftOut = limit.take(text, now());
    if (leftOut === undefined) {
      waiting.set(text, { level, facts, message });
      wait();
      return;
    }
    waiting.delete(text);
    log[level](leftOut === 0 ? facts : { ...facts, leftOut }, message);
  };
  return {
    debug: (facts, message) => log.debug(facts, message),
    info: (facts, message) => write('info', facts, message),
    warn: (facts, message) => write('warn', facts, message),
    error: (facts, message) => write('error', facts, message),
    get level() {
      return log.level;
    },
    set level(level) {
      log.level = level;
    },
    tellLeftOut() {
      clearTimeout(timer);
      tellWaiting(true);
    },
  };
}

/** A development dependency: an installation without it still has to start. */
function loadPretty(): ((line: string) => string) | undefined {
  try {
    const { prettyFactory } = createRequire(import.meta.url)('pino-pretty') as typeof import('pino-pretty');
    const colorize = process.stdout.isTTY === true && !process.env.NO_COLOR;
    return prettyFactory({ colorize }) as (line: string) => string;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'MODULE_NOT_FOUND') return undefined;
    throw error;
  }
}
