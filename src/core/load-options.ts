/** The options of a load as clients send them: every one is understood, or refused by name. */
import { PrimedError } from './errors.ts';
import { compileFileFilter } from './file-filter.ts';
import type { LoadOptions } from './job.ts';
import { defaultPriority, highestPriority, lowestPriority } from './priority.ts';
import { formatSize, parseSize } from './sizes.ts';
import { defaultSegmentBytes, leastSegmentBytes, MiB, mostSegmentBytes } from './units.ts';

export const defaultBatchSize = 200;
/** Two batches are with the workers at once, as far as the limit for all jobs (cluster/settings) goes. */
export const maxBatchSize = 100_000;

export const defaultLoadOptions: LoadOptions = {
  replicas: 1,
  batchSize: defaultBatchSize,
  segmentBytes: defaultSegmentBytes,
  partialListing: false,
  loadMetadataOnly: false,
  skipIfExists: false,
  verify: false,
  priority: defaultPriority,
};

/** The names that `parseLoadOptions` knows, as they are written in requests. */
export const loadOptionNames = [
  'replicas',
  'batchSize',
  'segmentSize',
  'partialListing',
  'loadMetadataOnly',
  'skipIfExists',
  'verify',
  'bandwidth',
  'priority',
  'fileFilterRegx',
  'fileFilterRegex',
] as const;

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/**
 * Options from JSON strings (`"2"`, `"true"`) or native numbers and booleans. `bandwidth` is a size a second and per
 * worker (`"200MB"`, or bytes), `segmentSize` a size. Throws REQUEST_INVALID with the field in the message and in `facts.field`.
 */
export function parseLoadOptions(
  raw: Readonly<Record<string, unknown>>,
  defaults: LoadOptions = defaultLoadOptions,
): LoadOptions {
  const options: Mutable<LoadOptions> = { ...defaults };
  for (const [given, value] of Object.entries(raw)) {
    const name = loadOptionNames.find((known) => known === given);
    if (name === undefined) throw invalid(given, `the option is unknown; known are ${loadOptionNames.join(', ')}`);
    if (value === undefined || value === null) continue;
    switch (name) {
      case 'replicas':
        options.replicas = integerOf(name, value, { from: 1, upTo: 1000 });
        break;
      case 'batchSize':
        options.batchSize = integerOf(name, value, { from: 1, upTo: maxBatchSize });
        break;
      case 'segmentSize':
        options.segmentBytes = segmentSizeOf(value);
        break;
      case 'priority':
        options.priority = integerOf(name, value, { from: lowestPriority, upTo: highestPriority });
        break;
      case 'partialListing':
      case 'loadMetadataOnly':
      case 'skipIfExists':
      case 'verify':
        options[name] = booleanOf(name, value);
        break;
      case 'bandwidth':
        options.bandwidthBytesPerSecond = bandwidthOf(value);
        break;
      case 'fileFilterRegx':
      case 'fileFilterRegex':
        options.fileFilterRegex = patternOf(name, value, options.fileFilterRegex);
        break;
    }
  }
  return options;
}

/**
 * Refuses what this deployment cannot honour. Throws OPTION_UNSUPPORTED, with both numbers, when there are fewer live
 * workers than replicas were asked for.
 */
export function checkReplicas(options: LoadOptions, liveWorkers: number): void {
  if (options.replicas <= liveWorkers) return;
  const workers = liveWorkers === 1 ? 'there is 1 live worker' : `there are ${liveWorkers} live workers`;
  throw new PrimedError(
    'OPTION_UNSUPPORTED',
    `replicas: ${options.replicas} replicas were asked for, and ${workers}; each replica needs a worker of its own.`,
    { field: 'replicas', replicas: options.replicas, liveWorkers },
  );
}

/** What differs between the options of a running job and those of a new submission, one phrase an option. */
export function optionDifferences(running: LoadOptions, asked: LoadOptions): readonly string[] {
  const differences: string[] = [];
  const compare = (name: string, runs: unknown, wants: unknown) => {
    if (runs !== wants) differences.push(`${name} is ${String(runs)}, asked for ${String(wants)}`);
  };
  compare('replicas', running.replicas, asked.replicas);
  compare('batchSize', running.batchSize, asked.batchSize);
  compare('segmentSize', formatSize(running.segmentBytes), formatSize(asked.segmentBytes));
  compare('partialListing', running.partialListing, asked.partialListing);
  compare('loadMetadataOnly', running.loadMetadataOnly, asked.loadMetadataOnly);
  compare('skipIfExists', running.skipIfExists, asked.skipIfExists);
  compare('verify', running.verify, asked.verify);
  compare('priority', running.priority, asked.priority);
  if (running.bandwidthBytesPerSecond !== asked.bandwidthBytesPerSecond) {
    const [runs, wants] = [bandwidthText(running), bandwidthText(asked)];
    const exact = ({ bandwidthBytesPerSecond }: LoadOptions) => `${bandwidthBytesPerSecond}B/s`;
    compare('bandwidth', runs === wants ? exact(running) : runs, runs === wants ? exact(asked) : wants);
  }
  compare('fileFilterRegx', running.fileFilterRegex ?? 'not set', asked.fileFilterRegex ?? 'not set');
  return differences;
}

/** `unlimited`, or the limit of one worker with its unit. */
export function bandwidthText(options: LoadOptions): string {
  const { bandwidthBytesPerSecond } = options;
  return bandwidthBytesPerSecond === undefined ? 'unlimited' : `${formatSize(bandwidthBytesPerSecond)}/s`;
}

/** A boolean that arrives as itself or as `"true"` / `"false"` in any case. Throws REQUEST_INVALID naming `field`. */
export function booleanOf(field: string, value: unknown): boolean {
  if (typeof value === 'boolean') return value;
  if (typeof value === 'string') {
    const word = value.trim().toLowerCase();
    if (word === 'true') return true;
    if (word === 'false') return false;
  }
  throw invalid(field, `must be true or false, not ${shown(value)}`);
}

function integerOf(field: string, value: unknown, limits: { from: number; upTo: number }): number {
  const number = typeof value === 'string' && /^\s*\d{1,15}\s*$/.test(value) ? Number(value) : value;
  if (typeof number !== 'number' || !Number.isSafeInteger(number) || number < limits.from || number > limits.upTo) {
    throw invalid(field, `must be a whole number from ${limits.from} to ${limits.upTo}, not ${shown(value)}`);
  }
  return number;
}

function bandwidthOf(value: unknown): number {
  const hint = `must be a size a second above zero, such as 200MB, not ${shown(value)}`;
  const bytes = sizeOf('bandwidth', value, hint);
  if (bytes < 1) throw invalid('bandwidth', hint);
  return bytes;
}

function sizeOf(field: string, value: unknown, hint: string): number {
  if (typeof value !== 'string' && typeof value !== 'number') throw invalid(field, hint);
  try {
    return parseSize(String(value));
  } catch (cause) {
    throw invalid(field, hint, cause);
  }
}

function segmentSizeOf(value: unknown): number {
  const hint = `must be a multiple of 1MB from ${formatSize(leastSegmentBytes)} to ${formatSize(mostSegmentBytes)}, such as 8MB, not ${shown(value)}`;
  const bytes = sizeOf('segmentSize', value, hint);
  if (bytes < leastSegmentBytes || bytes > mostSegmentBytes || bytes % MiB !== 0) throw invalid('segmentSize', hint);
  return bytes;
}

function patternOf(field: string, value: unknown, earlier: string | undefined): string {
  if (typeof value !== 'string' || value.length === 0)
    throw invalid(field, `must be a regular expression, not ${shown(value)}`);
  if (earlier !== undefined && earlier !== value)
    throw invalid(field, 'fileFilterRegx and fileFilterRegex are the same option, and have different values');
  compileFileFilter(value, field);
  return value;
}

function invalid(field: string, why: string, cause?: unknown): PrimedError {
  return new PrimedError(
    'REQUEST_INVALID',
    `${field}: ${why}.`,
    { field },
    cause === undefined ? undefined : { cause },
  );
}

function shown(value: unknown): string {
  const text = typeof value === 'string' ? `'${value}'` : (JSON.stringify(value) ?? String(value));
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}

/** Options with another limit on the bandwidth; undefined: none. */
export function limitedTo(options: LoadOptions, bandwidthBytesPerSecond: number | undefined): LoadOptions {
  const { bandwidthBytesPerSecond: _, ...others } = options;
  return bandwidthBytesPerSecond === undefined ? others : { ...others, bandwidthBytesPerSecond };
}
