/** What rates were is there after a restart, from a database that is written seldom. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { open } from 'lmdb';
import { afterEach, expect, test } from 'vitest';
import { type MadeCluster, madeJob, madeWorker, partsOf } from '../../../bench/support/made-cluster.ts';
import { openRatesStore, type RatesStore } from '../../../src/cluster/rates-store.ts';
import { PrimedError } from '../../../src/core/errors.ts';
import type { RateRecord } from '../../../src/core/rate-history.ts';
import { coarsePoints } from '../../../src/core/rate-history.ts';
import type { RateRows } from '../../../src/core/rate-rows.ts';
import { RateKeeper } from '../../../src/server/console/rates.ts';
import { temporaryFolder } from '../../support/files.ts';
import { memoryLog } from '../../support/store-fixture.ts';

const folders: { remove(): void }[] = [];
const folder = (): string => {
  const made = temporaryFolder('rates');
  folders.push(made);
  return made.path;
};
afterEach(() => {
  for (const made of folders.splice(0)) made.remove();
});

const bootMs = 1_700_000_000_000;

/** A process that begins at some time, and counts for some seconds. */
function process(made: MadeCluster, rates: Pick<RatesStore, 'all' | 'put'>, atMs: number) {
  const clock = { nowMs: atMs };
  const clocks = { now: () => clock.nowMs, wall: () => clock.nowMs };
  const keeper = new RateKeeper({ ...partsOf(made), rates }, clocks);
  const run = (seconds: number): void => {
    for (let second = 0; second < seconds; second += 1) {
      keeper.sample();
      clock.nowMs += 1000;
    }
  };
  const answer = (query = {}) =>
    keeper.answer(query) as { loading: RateRecord; serving: RateRecord; jobs: Record<string, RateRecord> };
  return { keeper, run, answer };
}

test('a coordinator that is stopped, or killed, leaves what it knew; of the time between nothing is known', async () => {
  const dir = join(folder(), 'rates');
  const made = { jobs: [madeJob(0, 1)], workers: [madeWorker(1)] };
  const store = openRatesStore(dir, memoryLog())!;
  const first = process(made, store, bootMs);
  first.run(100);
  await first.keeper.stop();
  // Killed: what it had kept within its last minute is there, and nothing after it.
  const second = process(made, store, bootMs + 200_000);
  second.run(150);
  await expect.poll(() => store.all().size, { timeout: 30_000 }).toBe(23);
  await store.close();

  const after = openRatesStore(dir, memoryLog())!;
  const third = process(made, after, bootMs + 400_000);
  third.run(10);
  const rate = 50_000_000;
  const known = (points: number): (number | null)[] => Array<number>(points).fill(rate);
  const gap = (points: number): null[] => Array<null>(points).fill(null);
  const values = [...known(10), ...gap(10), ...known(13), ...gap(7), ...known(1)];
  expect(third.answer().loading.coarse.values).toEqual(values);
  expect(third.answer({ job: 'job-0' }).jobs['job-0']!.coarse.values).toEqual(values);
  expect(third.answer().serving.coarse.values.length).toBe(values.length);
  await after.close();
});

test('it is written once a minute, and keeps six hours', async () => {
  const dir = join(folder(), 'rates');
  const store = openRatesStore(dir, memoryLog())!;
  const puts: RateRows[] = [];
  const counted = {
    all: store.all,
    put: async (rows: RateRows) => {
      puts.push(rows);
      return true;
    },
  };
  const one = process({ jobs: [madeJob(0, 1)], workers: [] }, counted, bootMs);
  one.run(7 * 3600);
  await one.keeper.stop();
  // In two transactions: 420 of them would take as long as the disk likes.
  for (const half of [puts.slice(0, 210), puts.slice(210)]) await store.put(new Map(half.flatMap((rows) => [...rows])));
  expect(puts.length).toBe(7 * 60);
  expect(Math.max(...puts.map((rows) => rows.size))).toBeLessThan(10);
  expect(store.all().size).toBe(coarsePoints);
  // A clock that was set back a day: what it calls the future goes.
  await store.put(new Map([[bootMs / 10_000 - 8640, { loading: 1, serving: 1, jobs: {} }]]));
  expect(store.all().size).toBe(1);
  await store.close();
});

test('what could not be written is written with what comes next', async () => {
  const outcomes = [true, false, false, true];
  const puts: RateRows[] = [];
  const failing = {
    all: () => new Map(),
    put: async (rows: RateRows) => {
      puts.push(rows);
      return outcomes[puts.length - 1] ?? true;
    },
  };
  const one = process({ jobs: [madeJob(0, 1)], workers: [] }, failing, bootMs);
  for (const _ of outcomes) {
    one.run(61);
    // What became of it is told behind this turn.
    await new Promise((resolve) => setImmediate(resolve));
  }
  const written = puts.filter((_, at) => outcomes[at]).flatMap((rows) => [...rows.keys()]);
  const places = [...new Set(written)].sort((a, b) => a - b);
  expect(places).toEqual(Array.from({ length: places.length }, (_, at) => places[0]! + at));
  expect(places.length).toBeGreaterThanOrEqual(6 * outcomes.length);
});

test('rows that are damaged are passed over, and those that cannot be read are told of', async () => {
  const log = memoryLog();
  const dir = join(folder(), 'rates');
  const store = openRatesStore(dir, log)!;
  await store.put(new Map([[7, { loading: 1, serving: null, jobs: { j: 2 } }]]));
  await store.close();
  const root = open({ path: dir, maxDbs: 2, noSubdir: false });
  const rows = root.openDB<unknown, number>({ name: 'rows', encoding: 'msgpack' });
  for (const [key, value] of [
    [8, { loading: 1, serving: 1 }],
    [9, 'x'],
    [10, { loading: 'y', serving: 1, jobs: {} }],
  ] as const)
    await rows.put(key, value);
  await root.close();
  const again = openRatesStore(dir, log)!;
  expect([...again.all().keys()]).toEqual([7]);
  await again.close();
  expect(again.all().size).toBe(0);
  expect(log.lines.map(({ message }) => message)).toEqual([expect.stringContaining('cannot be read')]);
});

test('what nobody knows is a gap: of jobs before they were heard of, of what is served while every worker is lost', () => {
  const made = { jobs: [madeJob(0, 1)], workers: [madeWorker(1), madeWorker(2)] };
  let deaf = true;
  const parts = partsOf(made);
  const list: (typeof parts.jobs)['list'] = (which) => {
    if (deaf) throw new PrimedError('ETCD_UNAVAILABLE', 'not yet');
    return parts.jobs.list(which);
  };
  const keeper = new RateKeeper({ ...parts, jobs: { ...parts.jobs, list } });
  keeper.sample();
  expect([keeper.book.loading.last, keeper.book.serving.last]).toEqual([undefined, undefined]);
  deaf = false;
  const live = made.workers;
  made.workers = live.map((row) => ({ ...row, state: 'LOST' as const }));
  keeper.sample();
  expect([keeper.book.loading.last, keeper.book.serving.last]).toEqual([50_000_000, undefined]);
  made.workers = [made.workers[0]!, live[1]!];
  keeper.sample();
  expect(keeper.book.serving.last).toBe(0);
});

test('a folder that cannot be used is told of with its remedy, and stops nothing; a failure to write is told of once', async () => {
  const log = memoryLog();
  const file = join(folder(), 'rates');
  writeFileSync(file, '');
  expect(openRatesStore(file, log)).toBeUndefined();
  const torn = join(folder(), 'rates');
  mkdirSync(torn);
  writeFileSync(join(torn, 'data.mdb'), Buffer.alloc(100_000, 7));
  expect(openRatesStore(torn, log)).toBeUndefined();
  expect(log.lines.map(({ facts }) => (facts as { remedy: string }).remedy)).toEqual(
    Array(2).fill(expect.stringContaining('delete the folder')),
  );
  const store = openRatesStore(join(folder(), 'rates'), log)!;
  await store.close();
  for (const at of [1, 2, 3]) await store.put(new Map([[at, { loading: 1, serving: 1, jobs: {} }]]));
  expect(log.lines.length).toBe(3);
});
