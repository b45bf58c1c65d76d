/** What the console's page is made of, without a browser: events out of pieces, figures as text, what it knows. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { EventReader } from '../../../src/console/events.ts';
import { agoText, countText, leftText, niceTop, percentText, rateText, sizeText } from '../../../src/console/format.ts';
import { linesOf } from '../../../src/console/lines.ts';
import { ledgerFacts } from '../../../src/console/report.ts';
import { ConsoleState, originOf, useOf } from '../../../src/console/state.ts';
import type { ConsoleJob, ConsoleWorker } from '../../../src/core/console-feed.ts';
import { newsOf, withNews } from '../../../src/core/console-feed.ts';
import { RateHistory } from '../../../src/core/rate-history.ts';
import { GiB, MiB } from '../../../src/core/units.ts';

const job = (more: Partial<ConsoleJob> = {}): ConsoleJob => ({
  ...{ id: 'j1', type: 'LOAD', state: 'RUNNING', path: 's3://b/dir/', kind: 'path', submittedAtMs: 1000 },
  ...{ doneFiles: 0, doneBytes: 0, failures: 0 },
  ...more,
});

test('events come out whole however their bytes are cut, and comments not at all', () => {
  const text = 'event: hello\ndata: {}\n\n:\n\ndata: a\ndata:  b\r\n\r\nevent: x\n\ndata: last\n\n';
  const wanted = [
    { name: 'hello', data: '{}' },
    { name: 'message', data: 'a\n b' },
    { name: 'message', data: 'last' },
  ];
  fc.assert(
    fc.property(fc.array(fc.nat(text.length), { maxLength: 20 }), (cuts) => {
      const reader = new EventReader();
      const at = [0, ...cuts.sort((a, b) => a - b), text.length];
      expect(at.slice(1).flatMap((end, index) => reader.read(text.slice(at[index], end)))).toEqual(wanted);
    }),
  );
});

test('an event without an end is given up', () => {
  const piece = 'x'.repeat(1000);
  for (const [first, pieces] of [
    ['', 12],
    ['data: a\n', 12],
  ] as const) {
    const reader = new EventReader(10_000);
    reader.read(first);
    expect(() => Array.from({ length: pieces }, () => reader.read(piece))).toThrow(/without an end/);
  }
  const lines = new EventReader(10_000);
  expect(() => Array.from({ length: 12 }, () => lines.read(`data: ${piece}\n`))).toThrow(/without an end/);
});

test('what differs brings one state to the other', () => {
  const rows = fc.uniqueArray(fc.record({ id: fc.stringMatching(/^[a-e]$/), v: fc.nat(2) }), {
    selector: ({ id }) => id,
  });
  fc.assert(
    fc.property(rows, rows, fc.boolean(), (before, after, whole) => {
      const text = (list: { id: string; v: number }[]) => new Map(list.map((row) => [row.id, JSON.stringify(row)]));
      const news = newsOf(whole ? new Map() : text(before), text(after));
      const shown = new Map(before.map((row) => [row.id, row]));
      const parsed = news && { put: news.put.map((row) => JSON.parse(row)), gone: news.gone };
      withNews(shown, parsed, whole);
      expect(shown).toEqual(new Map(after.map((row) => [row.id, row])));
      if (JSON.stringify(before) === JSON.stringify(after) && !whole) expect(news).toBeUndefined();
    }),
  );
});

test('figures have three digits that count, and what is not known is a dash', () => {
  expect([0, 980, 1023, 1024, 1.5 * MiB, 99.96 * MiB, 1010 * MiB, 1.42 * GiB, 12 * 1024 * GiB].map(sizeText)).toEqual([
    ...['0 B', '980 B', '1,023 B', '1.00 KiB', '1.50 MiB', '100 MiB', '1,010 MiB', '1.42 GiB', '12.0 TiB'],
  ]);
  expect([
    sizeText(undefined),
    rateText(Number.NaN),
    countText(undefined),
    percentText(undefined),
    leftText(Number.POSITIVE_INFINITY),
  ]).toEqual(Array(5).fill('–'));
  expect([percentText(0.999), percentText(1), rateText(2 * MiB), countText(1234567)]).toEqual([
    ...['99 %', '100 %', '2.00 MiB/s', '1,234,567'],
  ]);
  expect([agoText(10_000, 11_000), agoText(0, 192_000), agoText(undefined, 0)]).toEqual([
    'just now',
    '3m 12s ago',
    '–',
  ]);
});

test('a curve ends at 1, 2 or 5 of a power of ten, in its unit', () => {
  expect([0, 1, 3, 180, 700].map(niceTop)).toEqual([1, 1, 5, 200, 1000]);
  expect(niceTop(3.2 * GiB)).toBe(5 * GiB);
  fc.assert(fc.property(fc.double({ min: 0, max: 1e15, noNaN: true }), (bytes) => niceTop(bytes) >= bytes * 0.999));
});

test('a curve has a line for each stretch that is known', () => {
  const history = new RateHistory();
  for (const second of [1, 2, 9, 10]) history.add(second * 1000, second);
  expect(linesOf(history, { nowMs: 10_000, spanMs: 10_000, top: 10 })).toEqual([
    [
      [0.1, 0.1],
      [0.2, 0.2],
    ],
    [
      [0.9, 0.9],
      [1, 1],
    ],
  ]);
  expect(linesOf(history, { nowMs: 10_000, spanMs: 1500, top: 0 })).toEqual([
    [
      [500 / 1500, 0],
      [1, 0],
    ],
  ]);
});

test('a job is as fast as it is said to be; when a check is done follows from that', () => {
  const state = new ConsoleState();
  const news = (row: ConsoleJob) => ({ whole: false, atMs: 0, jobs: { put: [row], gone: [] } });
  state.take(news(job({ bytes: 100, doneBytes: 25, bytesPerSecond: 5, etaMs: 15_000 })));
  expect(state.figures(state.jobs.get('j1')!)).toEqual({ share: 0.25, bytesPerSecond: 5, etaMs: 15_000 });
  state.take(news(job({ state: 'VERIFYING', bytes: 100, doneBytes: 40, bytesPerSecond: 10 })));
  state.sample(1000);
  expect(state.figures(state.jobs.get('j1')!)).toEqual({ share: 0.4, bytesPerSecond: 10, etaMs: 6000 });
  // It reads nothing from the origin.
  expect([state.rates.get('j1')!.last, state.loading.last]).toEqual([10, 0]);
  expect(state.figures(job({ state: 'WAITING', bytes: 1 }))).toEqual({});
  expect(state.figures(job({ metadataOnly: true, files: 4, doneFiles: 1, bytes: 100 }))).toEqual({ share: 0.25 });
  state.take({ whole: true, atMs: 0 });
  state.sample(9000);
  expect([state.jobs.size, state.rates.size]).toEqual([0, 0]);
});

test('the past of what is shown is asked for once, and again when it may have a gap', () => {
  const state = new ConsoleState();
  const past = { fine: { agoMs: 0, values: [] }, coarse: { agoMs: 0, values: [5, 6] } };
  state.want('j1', 'sketch');
  expect([...state.wanted]).toEqual([['j1', 'sketch']]);
  state.tookPast('j1', 'sketch', past, 1e9);
  state.want('j1', 'sketch');
  expect([state.wanted.size, state.rates.get('j1')!.last]).toEqual([0, 6]);
  state.want('j1', 'all');
  state.want('j1', 'sketch');
  expect([...state.wanted]).toEqual([['j1', 'all']]);
  state.tookPast('j1', 'all', undefined, 1e9);
  state.want('j1', 'sketch');
  expect([state.wanted.size, state.rates.get('j1')!.last]).toEqual([0, 6]);
  state.pastIsOld();
  state.want('j1', 'sketch');
  expect(state.wanted.size).toBe(1);
});

test('what was seen stays, whatever the coordinator that is found again knows', () => {
  const state = new ConsoleState();
  const row = job({ bytesPerSecond: 5 });
  const worker = {
    id: 'w',
    state: 'LIVE',
    version: '1',
    capacityBytes: 1,
    freeBytes: 1,
    files: 0,
    servedBytesPerSecond: 3,
  };
  const put = (jobs: ConsoleJob[], workers: object[], trouble?: string) =>
    state.take({
      ...{
        whole: true,
        atMs: 0,
        jobs: { put: jobs, gone: [] },
        workers: { put: workers as ConsoleWorker[], gone: [] },
      },
      head: { version: '1', standalone: false, jobs: {}, ...(trouble && { trouble }) },
    });
  put([row], [worker]);
  for (let second = 0; second < 60; second += 1) state.sample(1e9 + second * 1000);
  // It has begun anew: it has not heard of the jobs, nor of any worker.
  put([], [{ ...worker, state: 'LOST' }], 'etcd has not told of the jobs yet');
  const nothing = { fine: { agoMs: 0, values: [] }, coarse: { agoMs: 0, values: [] } };
  state.tookCluster(nothing, nothing, 1e9 + 80_000);
  state.sample(1e9 + 80_000);
  put([row], [worker]);
  state.tookPast('j1', 'sketch', { ...nothing, coarse: { agoMs: 3000, values: [7] } }, 1e9 + 90_000);
  state.sample(1e9 + 90_000);
  const seen = (history: RateHistory | undefined) =>
    history?.stretches(1e9 + 90_000, 3_600_000).map((points) => points.map(({ value }) => value));
  expect([seen(state.loading), seen(state.serving)]).toEqual([
    [Array(6).fill(5), [5]],
    [Array(6).fill(3), [3]],
  ]);
  expect(seen(state.rates.get('j1'))).toEqual([Array(6).fill(5), [6.5]]);
});

test('who may what follows from who listens; where nobody is asked, everybody may everything', () => {
  const state = new ConsoleState();
  expect(state.may('admin')).toBe(true);
  state.hello({ caller: { name: 'x', role: 'submit' } });
  expect([state.may('read'), state.may('submit'), state.may('admin')]).toEqual([true, true, false]);
});

test('the parts of a store add up to its capacity, whatever was said', () => {
  const bytes = fc.nat(1000);
  const worker = fc.record({
    capacityBytes: bytes,
    freeBytes: bytes,
    reservedBytes: bytes,
    pinnedBytes: bytes,
    heldBytes: bytes,
  });
  fc.assert(
    fc.property(worker, (figures) => {
      const use = useOf({ id: 'w', state: 'LIVE', version: '1', files: 0, ...figures } as ConsoleWorker);
      expect(Math.min(...Object.values(use))).toBeGreaterThanOrEqual(0);
      expect(Object.values(use).reduce((a, b) => a + b)).toBe(figures.capacityBytes);
    }),
  );
});

test('origins of paths', () => {
  expect(['s3://b/k/x', 's3://b', 'file:///nas/x', 'odd'].map(originOf)).toEqual([
    's3://b/',
    's3://b/',
    'file:///',
    'odd',
  ]);
});

test('the account of a job names what is not nothing', () => {
  const ledger = {
    originBytes: MiB,
    peerBytes: 0,
    cachedBytes: MiB,
    discardedBytes: { failed: 5, lost: 0 },
    inFlightBytes: 0,
  };
  const known = ledgerFacts({ jobId: 'j', mJobState: 'RUNNING', ledger }).filter(([, text]) => text !== undefined);
  expect(known).toEqual([
    ['From the origin', '1.00 MiB'],
    ['Cached', '1.00 MiB'],
    ['Discarded, of parts that failed', '5 B'],
  ]);
});
