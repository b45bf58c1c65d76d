/** Figures that stand in prose are those that programs have published: docs/benchmarks, which bench writes. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

const read = (name: string): string => readFileSync(new URL(`../../../docs/${name}`, import.meta.url), 'utf8');

interface Published {
  readonly rows: readonly {
    readonly name: string;
    readonly figures: Readonly<Record<string, { readonly value: number }>>;
  }[];
}

/** Of a benchmark one figure. Throws where there is none: a table that was renamed is no reason to look away. */
function figure(bench: string, row: string, name: string): number {
  const { rows } = JSON.parse(read(`benchmarks/${bench}.json`)) as Published;
  const found = rows.find((one) => one.name === row)?.figures[name]?.value;
  if (found === undefined) throw new Error(`${bench} has no '${name}' of '${row}'`);
  return found;
}

const bytesPerGiB = 2 ** 30;
const startCpu = (files: string): number => figure('scrape', `start: ${files} files`, 'CPU');
const eachMillion = (startCpu('10,000,000') - startCpu('1,000,000')) / 9;
const index = (files: string): number => figure('scrape', `start: ${files} files`, 'index');
const statSeconds = (files: string): number => figure('scrape', `stat of everything: ${files} files`, 'time') / 1000;

/** What is typed is rounded. */
const within = 0.06;

test.each<readonly [string, RegExp, readonly number[]]>([
  ['OPERATIONS.md', /\| index, below .*?([\d.]+) GB/, [(index('1,000,000') * bytesPerGiB) / 1e9]],
  ['OPERATIONS.md', /\| index, below .*?ten million: ([\d.]+) GiB/, [index('10,000,000')]],
  [
    'OPERATIONS.md',
    /the same, ([\d.]+) MiB after the start/,
    [figure('scrape', 'start: 10,000,000 files', 'peak memory')],
  ],
  [
    'OPERATIONS.md',
    /at most ([\d.]+) MiB after sums/,
    [figure('scrape', 'room for a load: 10,000,000 files', 'peak memory')],
  ],
  [
    'OPERATIONS.md',
    /until it is ready \| ([\d.]+) s of one core, and ([\d.]+) s whatever there is: ([\d.]+) s for ten million/,
    [eachMillion, startCpu('1,000,000') - eachMillion, startCpu('10,000,000')],
  ],
  [
    'ARCHITECTURE.md',
    /The ring is even to ([\d.]+)%/,
    [figure('ring', 'shares of 10,000 workers', 'standard deviation')],
  ],
  [
    'ARCHITECTURE.md',
    /measured ([\d.]+)% over 100 workers and ([\d.]+)% over 10,000/,
    ['100', '10,000'].map((workers) => figure('ring', `shares of ${workers} workers`, 'standard deviation')),
  ],
  [
    'ARCHITECTURE.md',
    /([\d.]+) of the mean among 100 workers and ([\d.]+) among 10,000/,
    ['100', '10,000'].map((workers) => figure('ring', `shares of ${workers} workers`, 'largest, of the mean')),
  ],
])('%s: %s', (document, pattern, published) => {
  const written = pattern.exec(read(document))?.slice(1).map(Number);
  expect(written).toHaveLength(published.length);
  const wrong = published.filter((value, at) => Math.abs(written![at]! / value - 1) > within);
  expect([written, wrong]).toEqual([written, []]);
});

test('OPERATIONS.md: what a sum over a million files takes lies in the range that is said', () => {
  const [, least, most] =
    /`fs stat` of all of them, on a worker \| (\d+) to (\d+) s,/.exec(read('OPERATIONS.md')) ?? [];
  for (const measured of [statSeconds('1,000,000'), statSeconds('10,000,000') / 10]) {
    expect(measured).toBeGreaterThanOrEqual(Number(least));
    expect(measured).toBeLessThanOrEqual(Number(most));
  }
});
