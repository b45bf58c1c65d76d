/** How the console says that an origin does: of all workers that ask it, worst first, with what holds it back. */
import { expect, test } from 'vitest';
import {
  limitText,
  originRows,
  originWorkers,
  perSecondText,
  shareText,
  troubleText,
} from '../../../src/console/origins.ts';
import { ConsoleState } from '../../../src/console/state.ts';
import type { ConsoleJob, ConsoleOrigin, ConsoleWorker } from '../../../src/core/console-feed.ts';
import { type OriginTrouble, originTroubles } from '../../../src/core/origin-use.ts';

const use = (
  origin: string,
  requestsPerMinute: number,
  firstByteMs: number,
  failed: Partial<Record<OriginTrouble, number>> = {},
) => ({
  ...{ origin, requestsPerMinute, firstByteMs, bytesPerSecond: requestsPerMinute * 1000 },
  failuresPerMinute: {
    ...(Object.fromEntries(originTroubles.map((one) => [one, 0])) as Record<OriginTrouble, number>),
    ...failed,
  },
});
const worker = (id: string, ...origins: ReturnType<typeof use>[]) =>
  ({ id, state: 'LIVE', version: '1', capacityBytes: 1, freeBytes: 1, files: 0, origins }) satisfies ConsoleWorker;

function stateOf(workers: ConsoleWorker[], origins: ConsoleOrigin[] = [], jobs: ConsoleJob[] = []): ConsoleState {
  const state = new ConsoleState();
  const news = <R>(put: R[]) => ({ put, gone: [] });
  state.take({ whole: true, atMs: 0, workers: news(workers), origins: news(origins), jobs: news(jobs) });
  return state;
}

test('workers together: requests add up, first bytes weigh by answers, and each is there for itself', () => {
  const [row] = originRows(
    stateOf([worker('w1', use('s3://b/', 540, 10)), worker('w2', use('s3://b/', 60, 110), use('s3://c/', 1, 1))]),
  );
  expect(row).toMatchObject({
    id: 's3://b/',
    state: 'GOOD',
    requestsPerSecond: 10,
    bytesPerSecond: 600_000,
    firstByteMs: 20,
    failedShare: 0,
  });
  expect(originWorkers(row!).map(({ id, requestsPerSecond }) => [id, requestsPerSecond])).toEqual([
    ['w1', 9],
    ['w2', 1],
  ]);
});

test('a coordinator that is told to slow down while it lists is one more who asks', () => {
  const state = stateOf([worker('w1', use('s3://b/', 600, 10))]);
  const listed = [use('s3://b/', 60, 0, { throttled: 60 })];
  state.take({ whole: false, atMs: 1, head: { version: '1', standalone: false, jobs: {}, origins: listed } });
  const [row] = originRows(state);
  expect(row).toMatchObject({ state: 'THROTTLED', requestsPerSecond: 11, failed: { throttled: 60 / 660 } });
  expect(originWorkers(row!).map(({ id, state }) => [id, state])).toEqual([
    ['coordinator', 'THROTTLED'],
    ['w1', 'GOOD'],
  ]);
});

test('what needs somebody comes first, and says of what', () => {
  const rows = originRows(
    stateOf(
      [
        worker(
          'w1',
          use('s3://good/', 900, 5),
          use('s3://some/', 100, 5, { server: 3 }),
          use('s3://slowed/', 100, 5, { throttled: 30, server: 2 }),
        ),
        worker('w2', use('s3://dead/', 10, 0, { unreachable: 10 })),
      ],
      [{ id: 's3://idle/', source: 'set', takers: 0, bytesPerSecond: 5 }],
    ),
  );
  expect(rows.map(({ id, state }) => [id, state])).toEqual([
    ['s3://dead/', 'FAILING'],
    ['s3://slowed/', 'THROTTLED'],
    ['s3://some/', 'RETRYING'],
    ['s3://good/', 'GOOD'],
    ['s3://idle/', 'IDLE'],
  ]);
  expect(rows.map((row) => troubleText(row))).toEqual([
    'not reachable 100 %',
    'told to slow down 30 %, server errors 2 %',
    'server errors 3 %',
    '',
    '',
  ]);
  expect([rows[0]!.firstByteMs, rows[4]!.firstByteMs]).toEqual([undefined, undefined]);
  expect([shareText(0.001), shareText(0), perSecondText(1.5), perSecondText(0), perSecondText(1200)]).toEqual([
    ...['< 1 %', '0 %', '1.5', '0', '1,200'],
  ]);
});

test('a load of files belongs to the root that its workers read, and one of a bucket to its bucket', () => {
  const job = (id: string, path: string): ConsoleJob => ({
    ...{ id, type: 'LOAD', kind: 'path', path, state: 'RUNNING', submittedAtMs: 0 },
    ...{ doneFiles: 0, doneBytes: 0, failures: 0 },
  });
  const rows = originRows(
    stateOf(
      [worker('w1', use('file:///srv/', 60, 5), use('file:///srv/data/', 600, 5), use('s3://b/', 60, 5))],
      [],
      [
        job('1', 'file:///srv/data/x'),
        job('2', 'file:///srv/data'),
        job('3', 's3://b/dir/'),
        job('4', 'file:///mnt/y'),
      ],
    ),
  );
  const loads = rows.map(({ id, loads: of }) => [id, of.map((one) => one.id)]).filter(([, of]) => of!.length > 0);
  expect(Object.fromEntries(loads)).toEqual({ 'file:///srv/data/': ['1', '2'], 's3://b/': ['3'], 'file:///': ['4'] });
});

test('the limit that counts is the longest, and how much of it is in use is told', () => {
  const limits: ConsoleOrigin[] = [
    { id: 's3://', source: 'configuration', takers: 3, requestsPerSecond: 100 },
    { id: 's3://b/', source: 'set', takers: 2, bytesPerSecond: 1_200_000 },
  ];
  const rows = originRows(
    stateOf([worker('w1', use('s3://b/', 600, 5), use('s3://c/', 600, 5), use('s3://d/', 60, 5))], limits),
  );
  const told = Object.fromEntries(rows.map((row) => [row.id, limitText(row)]));
  expect(told['s3://b/']).toBe('586 KiB/s of 1.14 MiB/s (50 %)');
  expect(told['s3://c/']).toBe('11 of 100 requests/s (11 %) of all buckets without one of their own');
});

test('a thousand workers with as many origins as they may name are one row an origin', () => {
  const all = Array.from({ length: 1000 }, (_, n) =>
    worker(`w${n}`, ...Array.from({ length: 16 }, (_one, at) => use(`s3://b${at}/`, 60, 5))),
  );
  const rows = originRows(stateOf(all));
  expect([rows.length, originWorkers(rows[0]!).length, rows[0]!.requestsPerSecond]).toEqual([16, 1000, 1000]);
});
