/**
 * What a benchmark says: rows that were measured, and verdicts against the figures to reach. One JSON file each, made
 * by this program alone; scripts/generate-benchmarks.mjs makes the documents from the published ones.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { GiB } from '../../src/core/units.ts';
import type { Transfer } from '../ceilings/receiver.ts';
import { projectRoot, resultsDir } from './workspace.ts';

/** `unit` is written behind the figure; `samples` are all runs in order, of which `value` is the median. */
export interface Figure {
  readonly unit: string;
  readonly value: number;
  readonly samples: readonly number[];
}

/** One line of a table: something that was run, and its figures by column. */
export interface Row {
  readonly name: string;
  readonly figures: Readonly<Record<string, Figure>>;
}

/** A figure to reach. `bound` says on which side of `limit` the value has to be. */
export interface Verdict {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  readonly bound: 'at least' | 'at most';
  readonly limit: number;
  readonly met: boolean;
}

export interface Outcome {
  readonly title: string;
  /** What was measured and how, for the reader of the table. */
  readonly about: string;
  readonly parameters: Readonly<Record<string, string | number | boolean>>;
  readonly rows: readonly Row[];
  readonly verdicts: readonly Verdict[];
  /** What was left out, and why. */
  readonly notes: readonly string[];
}

export function median(values: readonly number[]): number {
  if (values.length === 0) throw new Error('the median of nothing');
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** The value that a share of them, 0 to 1, does not exceed. */
export function quantile(values: readonly number[], share: number): number {
  if (values.length === 0) throw new Error('a quantile of nothing');
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)]!;
}

export function figure(unit: string, samples: readonly number[]): Figure {
  return { unit, value: median(samples), samples };
}

/** Throughput and CPU of transfers; the row is absent when there are none (the program is not installed). */
export function transferRow(name: string, transfers: readonly (Transfer | undefined)[]): Row | undefined {
  const present = transfers.filter((transfer) => transfer !== undefined);
  if (present.length === 0) return undefined;
  return {
    name,
    figures: {
      throughput: figure(
        'GiB/s',
        present.map((transfer) => transfer.bytes / GiB / transfer.seconds),
      ),
      'CPU per GiB': figure(
        's',
        present.map((transfer) => transfer.cpuSeconds / (transfer.bytes / GiB)),
      ),
    },
  };
}

/** The same for many small objects: objects a second, and objects for each second of CPU. */
export function objectsRow(
  name: string,
  objects: number,
  transfers: readonly (Transfer | undefined)[],
): Row | undefined {
  const present = transfers.filter((transfer) => transfer !== undefined);
  if (present.length === 0) return undefined;
  return {
    name,
    figures: {
      rate: figure(
        'objects/s',
        present.map((transfer) => objects / transfer.seconds),
      ),
      'per busy core': figure(
        'objects/s',
        present.map((transfer) => objects / transfer.cpuSeconds),
      ),
    },
  };
}

export function verdict(name: string, value: number, unit: string, bound: Verdict['bound'], limit: number): Verdict {
  return { name, value, unit, bound, limit, met: bound === 'at least' ? value >= limit : value <= limit };
}

/** The median of the runs' own ratios: what disturbs a run disturbs both of its sides. */
export function ratioOfRuns(ours: Figure, ceiling: Figure): number {
  return median(ours.samples.map((value, i) => value / ceiling.samples[i]!));
}

/** Writes bench-results/<name>.json, and with `publish` docs/benchmarks/<name>.json too. */
export function writeResult(
  name: string,
  outcome: Outcome,
  order: { runs: number; quick: boolean; publish: boolean; device: string },
): string {
  const { device, ...how } = order;
  const result = {
    name,
    ...outcome,
    command: `npm run bench -- ${name}`,
    runs: how.runs,
    quick: how.quick,
    date: new Date().toISOString(),
    commit: commit(),
    machine: machine(device),
  };
  const text = `${JSON.stringify(result, roundNumbers, 2)}\n`;
  const paths = [
    join(resultsDir, `${name}.json`),
    ...(how.publish ? [join(projectRoot, 'docs', 'benchmarks', `${name}.json`)] : []),
  ];
  for (const path of paths) {
    mkdirSync(join(path, '..'), { recursive: true });
    writeFileSync(path, text);
  }
  return paths[0]!;
}

/** Six digits say more than was measured. */
function roundNumbers(_key: string, value: unknown): unknown {
  return typeof value === 'number' ? Number(value.toPrecision(6)) : value;
}

/** The commit, with `+` when the tree held changes of files that it knows. */
function commit(): string {
  const git = (...words: string[]) =>
    execFileSync('git', words, { cwd: projectRoot, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  try {
    const dirty =
      git('status', '--porcelain', '--untracked-files=no', '--', 'src', 'native', 'bench', 'package.json') !== '';
    return `${git('rev-parse', '--short=10', 'HEAD')}${dirty ? '+' : ''}`;
  } catch {
    return 'unknown';
  }
}

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGiB: number;
  readonly kernel: string;
  readonly device: string;
  readonly node: string;
}

function machine(dir: string): Machine {
  return {
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / GiB),
    kernel: release(),
    device: deviceOf(dir),
    node: process.versions.node,
  };
}

/** File system type, device and model below a folder, as the kernel names them (proc(5), mountinfo). */
function deviceOf(dir: string): string {
  const { dev } = statSync(dir);
  // The kernel's encoding of a device number: 12 bits of major above 8 bits of minor, the rest higher up.
  const major = (dev >> 8) & 0xfff;
  const minor = (dev & 0xff) | ((dev >> 12) & 0xfff00);
  const line = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .find((candidate) => candidate.split(' ')[2] === `${major}:${minor}`);
  const [type, source] = line?.split(' - ')[1]?.split(' ') ?? ['unknown file system', 'unknown device'];
  try {
    const model = readFileSync(`/sys/dev/block/${major}:${minor}/device/model`, 'utf8').trim();
    return `${type} on ${source} (${model})`;
  } catch {
    return `${type} on ${source}`;
  }
}

/** For people who watch it run. */
export function printOutcome(name: string, outcome: Outcome): void {
  console.log(`\n${name}: ${outcome.title}`);
  for (const row of outcome.rows) {
    const cells = Object.entries(row.figures).map(([column, { value, unit }]) => `${column} ${shown(value)} ${unit}`);
    console.log(`  ${row.name.padEnd(44)} ${cells.join('   ')}`);
  }
  for (const { name: what, value, unit, bound, limit, met } of outcome.verdicts) {
    console.log(
      `  ${met ? 'reached ' : 'MISSED  '} ${what}: ${shown(value)} ${unit} (${bound} ${shown(limit)} ${unit})`.trimEnd(),
    );
  }
  for (const note of outcome.notes) console.log(`  note: ${note}`);
}

function shown(value: number): string {
  return value >= 1000 ? Math.round(value).toLocaleString('en-US') : String(Number(value.toPrecision(3)));
}
