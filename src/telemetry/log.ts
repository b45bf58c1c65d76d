/** The log: pino, JSON lines on standard output. Lanes do not log; what they have to say comes by message. */
import { createRequire } from 'node:module';
import { type DestinationStream, type LoggerOptions, pino } from 'pino';
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
}

/** What it leaves out may change. */
export interface LevelLog extends Log {
  level: string;
}

/** Makes the log of the process. */
export function makeLog({ level, pretty, destination }: LogOptions): LevelLog {
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
