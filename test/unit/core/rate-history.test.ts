/** What a rate was: kept in memory that does not grow, drawn without what nobody knows, and the same on the other side. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type JobNow, RateBook } from '../../../src/core/rate-book.ts';
import { coarsePoints, finePoints, RateHistory, type RateRecord } from '../../../src/core/rate-history.ts';

const minute = 60_000;
const hour = 60 * minute;
const valuesOf = (history: RateHistory, nowMs: number, spanMs: number): number[][] =>
  history.stretches(nowMs, spanMs).map((points) => points.map(({ value }) => value));

test('seconds for ten minutes, means of ten seconds for six hours, and nothing beyond', () => {
  const history = new RateHistory();
  for (let second = 0; second < 8 * 3600; second += 1) history.add(second * 1000 + 300, second % 10);
  const nowMs = (8 * 3600 - 1) * 1000 + 300;
  const [fine] = valuesOf(history, nowMs, 10 * minute);
  expect([fine!.length, fine!.slice(-3)]).toEqual([finePoints, [7, 8, 9]]);
  const [coarse] = valuesOf(history, nowMs, 6 * hour);
  expect([coarse!.length, new Set(coarse)]).toEqual([coarsePoints, new Set([4.5])]);
  expect([history.last, history.largest(nowMs, 10 * minute), history.largest(nowMs, hour)]).toEqual([9, 9, 4.5]);
  const { fine: sent, coarse: means } = history.record(nowMs);
  expect([sent.values.length, means.values.length]).toEqual([finePoints, coarsePoints]);
  expect(JSON.stringify(history.record(nowMs)).length).toBeLessThan(20_000);
});

test('a timer that is late leaves no gap, a longer silence does; what comes too late is passed over', () => {
  const history = new RateHistory();
  for (const second of [100, 101, 104, 120, 121]) history.add(second * 1000, second);
  history.add(99_000, 7);
  history.add(Number.NaN, 7);
  history.add(122_000, Number.NaN);
  expect(valuesOf(history, 121_500, minute)).toEqual([
    [100, 101, 101, 101, 104],
    [120, 121],
  ]);
  expect(valuesOf(history, 121_500, 10_000)).toEqual([[120, 121]]);
  expect(history.last).toBe(121);
  expect(history.record(121_500).fine).toEqual({
    agoMs: 500,
    values: [100, 101, 101, 101, 104, ...Array<null>(15).fill(null), 120, 121],
  });
});

test('one that is new says nothing, and one that is silent for days has nothing to say', () => {
  const history = new RateHistory();
  expect([history.record(5000), history.stretches(5000, hour), history.largest(5000, hour)]).toEqual([
    { fine: { agoMs: 0, values: [] }, coarse: { agoMs: 0, values: [] } },
    [],
    0,
  ]);
  history.add(1000, 5);
  history.add(1000 * hour, 6);
  expect(valuesOf(history, 1000 * hour, 6 * hour)).toEqual([[6]]);
  expect(history.record(1001 * hour).fine.values).toEqual([]);
});

test('for how long it was zero is known, here and on the other side', () => {
  const history = new RateHistory();
  expect(history.stillMs(0)).toBeUndefined();
  history.add(0, 0);
  expect(history.stillMs(20_000)).toBe(20_000);
  for (let second = 0; second < 300; second += 1) history.add(second * 1000, second < 100 ? 5 : 0);
  expect(history.stillMs(300_000)).toBe(201_000);
  for (const record of [history.record(300_000), history.sketch(300_000)])
    expect(Math.abs(RateHistory.of(record, 1e9).stillMs(1e9)! - 201_000)).toBeLessThanOrEqual(10_000);
  const never = new RateHistory();
  for (let second = 0; second < 60; second += 1) never.add(second * 1000, 0);
  expect(RateHistory.of(never.record(60_000), 1e9).stillMs(1e9)).toBe(60_000);
  history.add(301_000, 1);
  expect(history.stillMs(302_000)).toBeUndefined();
});

test('what somebody else knows is put into what is known here, and takes nothing away', () => {
  const here = new RateHistory();
  for (let second = 0; second < 100; second += 1) here.add(1e6 + second * 1000, 5);
  // One that has just begun, and counts otherwise.
  const other = new RateHistory();
  for (let second = 0; second < 10; second += 1) other.add(5e9 + second * 1000, 8);
  here.merge(other.record(5e9 + 9_000), 1e6 + 129_000);
  expect(valuesOf(here, 1e6 + 129_000, 10 * minute)).toEqual([Array(100).fill(5), Array(10).fill(8)]);
  expect(valuesOf(here, 1e6 + 129_000, hour)).toEqual([Array(10).fill(5), [8]]);
  expect([here.last, here.lastMs]).toEqual([8, 1e6 + 129_000]);
  // What is older than what was seen last is put where it belongs.
  here.add(1e6 + 130_000, 9);
  const gap = { fine: { agoMs: 10_000, values: [1, null, 2] }, coarse: { agoMs: 0, values: [] } };
  here.merge(gap, 1e6 + 130_000);
  expect(valuesOf(here, 1e6 + 130_000, 15_000)).toEqual([[1], [2, ...Array<number>(9).fill(8), 9]]);
  expect(here.last).toBe(9);
  // One that knows nothing has nothing to say.
  here.merge(new RateHistory().record(0), 1e6 + 130_000);
  expect(valuesOf(here, 1e6 + 130_000, hour).flat().length).toBe(12);
});

test('ten seconds of which some were told are the mean of all of them', () => {
  const history = new RateHistory();
  for (let second = 0; second < 9; second += 1) history.add(1e6 + second * 1000, 100);
  const there = RateHistory.of(history.record(1e6 + 9000), 1e7 + 9000);
  there.add(1e7 + 9000, 0);
  expect(there.record(1e7 + 9000).coarse.values).toEqual([90]);
});

test('ten seconds of which something was added here before the rest was told are the mean of all of them', () => {
  const told = new RateHistory();
  for (let second = 0; second < 4; second += 1) told.add(second * 1_000, 200);
  const here = new RateHistory();
  for (const second of [4, 5]) here.add(second * 1_000, 0);
  here.merge(told.record(5_000), 5_000);
  for (const second of [6, 7]) here.add(second * 1_000, 0);
  expect(here.largest(7_000, 3_600_000)).toBeGreaterThan(100);
});

test('half a minute in which nobody counted is a gap in hours too', () => {
  const history = new RateHistory();
  for (let second = 0; second < 60; second += 1) history.add(second * 1000, 5);
  for (let second = 90; second < 120; second += 1) history.add(second * 1000, 6);
  expect(valuesOf(history, 120_000, hour)).toEqual([Array(6).fill(5), Array(3).fill(6)]);
});

test('a sketch has the last ten minutes, and what follows is drawn behind it', () => {
  const history = new RateHistory();
  for (let second = 0; second < 3600; second += 1) history.add(second * 1000, second);
  const sketch = history.sketch(3600_000);
  expect([sketch.fine.values.length, sketch.coarse.values.length]).toEqual([0, 59]);
  // The clock of who draws is another one.
  const there = RateHistory.of(sketch, 1e12);
  for (let second = 0; second < 20; second += 1) there.add(1e12 + second * 1000, 4000);
  const [line] = valuesOf(there, 1e12 + 20_000, 10 * minute);
  expect(line!.length).toBeGreaterThan(58);
  expect([line![0]! < 3100, line!.at(-1)]).toEqual([true, 4000]);
  // What is seen here is of seconds.
  expect(line!.filter((value) => value === 4000).length).toBe(20);
});

test('whatever was said, it is bounded, has nothing of the future, and arrives on the other side as it was', () => {
  const said = fc.array(fc.record({ afterMs: fc.nat(30_000), value: fc.nat(1e9) }), { maxLength: 100 });
  fc.assert(
    fc.property(said, fc.integer({ min: 1e7, max: 1e12 }), fc.nat(5000), (list, hereMs, waitMs) => {
      const history = new RateHistory();
      let nowMs = 0;
      for (const { afterMs, value } of list) {
        nowMs += afterMs;
        history.add(nowMs, value);
      }
      nowMs += waitMs;
      const record = JSON.parse(JSON.stringify(history.record(nowMs))) as RateRecord;
      expect(record.fine.values.length).toBeLessThanOrEqual(finePoints);
      const there = RateHistory.of(record, hereMs);
      for (const spanMs of [minute, 10 * minute, 6 * hour]) {
        const [here, other] = [history.stretches(nowMs, spanMs), there.stretches(hereMs, 7 * hour)];
        for (const { agoMs } of [...here, ...other].flat()) expect(agoMs).toBeGreaterThanOrEqual(0);
        for (const stretch of here)
          for (const [at, { agoMs }] of stretch.entries())
            if (at > 0) expect(agoMs).toBeLessThan(stretch[at - 1]!.agoMs);
      }
      const rounded = record.fine.values.filter((value) => value !== null);
      const shown = there.record(hereMs).fine.values.filter((value) => value !== null);
      // The second that it began with may lie just outside.
      expect(rounded.join(' ')).toMatch(new RegExp(`${shown.join(' ')}$`));
      expect(rounded.length - shown.length).toBeLessThanOrEqual(1);
    }),
  );
});

const job = (id: string, more: Partial<JobNow> = {}): JobNow => ({
  ...{ id, state: 'RUNNING', bytesPerSecond: 10, doneBytes: 0, loads: true },
  ...more,
});

test('loads count for the cluster, and what says no rate is measured by what it did', () => {
  const book = new RateBook();
  for (let second = 0; second <= 4; second += 1) {
    const verifies = job('v', { state: 'VERIFYING', bytesPerSecond: 999, doneBytes: second * 50, loads: false });
    book.sample(second * 1000, [job('a'), job('b', { bytesPerSecond: undefined }), verifies], 7);
  }
  expect([book.loading.last, book.serving.last, book.rateOf('a'), book.rateOf('b'), book.rateOf('v')]).toEqual([
    10,
    7,
    10,
    undefined,
    50,
  ]);
  // What it does now is another thing, and begins anew.
  book.sample(5000, [job('v', { state: 'RUNNING', doneBytes: 1e9, loads: false })], 0);
  expect(book.rateOf('v')).toBeUndefined();
});

test('as many jobs as may be: those that have ended go, those that run never do', () => {
  const book = new RateBook(3);
  book.sample(0, [job('a'), job('b'), job('c')], 0);
  book.sample(1000, [job('b'), job('c'), job('d')], 0);
  expect(book.job('d')).toBeUndefined();
  // It is a part of the whole all the same.
  expect(book.loading.last).toBe(30);
  for (let second = 2; second < 9; second += 1) book.sample(second * 1000, [job('b'), job('c')], 0);
  book.sample(9000, [job('b'), job('c'), job('d')], 0);
  expect(['a', 'b', 'c', 'd'].map((id) => book.job(id) !== undefined)).toEqual([false, true, true, true]);
});
