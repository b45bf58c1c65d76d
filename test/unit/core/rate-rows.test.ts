/** Rates as rows that outlive a process: what comes back is what was known, where it was, and nothing else. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { mostJobHistories, RateBook } from '../../../src/core/rate-book.ts';
import { coarsePoints, coarseStepMs, type RateHistory } from '../../../src/core/rate-history.ts';
import { mostJobsOfRow, type RateRows, rowsOf, tellRows } from '../../../src/core/rate-rows.ts';

const hour = 3_600_000;
const job = (id: string, bytesPerSecond: number) => ({
  ...{ id, state: 'RUNNING', bytesPerSecond, doneBytes: 0, loads: true },
});

/** As it goes through the database. */
const kept = (rows: RateRows): RateRows => new Map(JSON.parse(JSON.stringify([...rows])) as never);
const valuesOf = (history: RateHistory | undefined, nowMs: number): number[][] =>
  (history?.stretches(nowMs, 6 * hour) ?? []).map((points) => points.map(({ value }) => Math.round(value)));

test('the next process knows what was, with the time in which nobody counted as a gap', () => {
  const book = new RateBook();
  const bootMs = 1e12;
  for (let second = 0; second < 300; second += 1)
    book.sample(bootMs + second * 1000, second < 100 ? [job('a', 50), job('b', 7)] : [job('b', 7)], 3);
  const rows = kept(rowsOf(book, coarsePoints, { nowMs: bootMs + 299_000, wallMs: bootMs + 299_000 }));
  expect([...rows.values()].at(-1)).toEqual({ loading: 7, serving: 3, jobs: { b: 7 } });

  const next = new RateBook();
  const laterMs = bootMs + 400_000;
  tellRows(next, rows, { nowMs: laterMs, wallMs: laterMs });
  for (let second = 0; second < 30; second += 1) next.sample(laterMs + second * 1000, [job('b', 9)], 4);
  const nowMs = laterMs + 29_000;
  expect(valuesOf(next.loading, nowMs)).toEqual([
    [...Array<number>(10).fill(57), ...Array<number>(20).fill(7)],
    [9, 9, 9],
  ]);
  expect(valuesOf(next.serving, nowMs).map((values) => new Set(values))).toEqual([new Set([3]), new Set([4])]);
  expect(valuesOf(next.job('a'), nowMs)).toEqual([Array<number>(10).fill(50)]);
  expect(valuesOf(next.job('b'), nowMs).map((values) => values.length)).toEqual([30, 3]);
  // Ten minutes are of seconds where there are seconds, and of ten where there are none: not only of what came after.
  expect(next.loading.stretches(nowMs, 600_000).map((points) => points.length)).toEqual([30, 30]);
});

test('what is too old, or of a time that has not come, is not told', () => {
  const wallMs = 1e12;
  const row = { loading: 1, serving: null, jobs: { j: 1 } };
  const place = wallMs / coarseStepMs;
  const book = new RateBook();
  tellRows(book, new Map([place - coarsePoints, place + 1, place + 1000].map((at) => [at, row])), {
    ...{ nowMs: wallMs, wallMs },
  });
  expect([valuesOf(book.loading, wallMs), book.job('j')]).toEqual([[], undefined]);
  tellRows(book, new Map([[place - 1, row]]), { nowMs: wallMs, wallMs });
  expect([valuesOf(book.loading, wallMs), valuesOf(book.serving, wallMs)]).toEqual([[[1]], []]);
});

test('a row has no more jobs than it may, and a book no more than it can', () => {
  const book = new RateBook();
  const jobs = Array.from({ length: mostJobsOfRow + 5 }, (_, n) => job(`j${n}`, 1));
  book.sample(1e12, jobs, 0);
  const rows = rowsOf(book, 1, { nowMs: 1e12, wallMs: 1e12 });
  expect([...rows.values()].map((row) => Object.keys(row.jobs).length)).toEqual([mostJobsOfRow]);
  const small = new RateBook(3);
  tellRows(small, rows, { nowMs: 1e12, wallMs: 1e12 });
  expect([...small.jobs()].length).toBe(3);
});

test('of very many short jobs those that were heard last are told, each with what was known of it', () => {
  const perRow = 20;
  const last = 1e12 / coarseStepMs;
  const rows = new Map(
    Array.from({ length: coarsePoints - 1 }, (_, at) => {
      const jobs = Object.fromEntries(Array.from({ length: perRow }, (_, n) => [`${at}-${n}`, at + 1]));
      return [last - coarsePoints + 2 + at, { loading: null, serving: null, jobs }] as const;
    }),
  );
  const book = new RateBook();
  tellRows(book, rows, { nowMs: 1e12, wallMs: 1e12 });
  const ids = [...book.jobs()].map(([id]) => id);
  const rowsKept = mostJobHistories / perRow;
  const first = coarsePoints - 1 - rowsKept;
  const wanted = Array.from({ length: mostJobHistories }, (_, k) => `${first + Math.floor(k / perRow)}-${k % perRow}`);
  expect(ids).toEqual(wanted);
  expect(valuesOf(book.job(wanted[0]!), 1e12)).toEqual([[first + 1]]);
});

test('whatever was sampled, on whatever clocks: the same values in the same order, as old as they were', () => {
  const said = fc.array(fc.record({ afterMs: fc.nat(60_000), value: fc.nat(1e9), heard: fc.boolean() }), {
    ...{ minLength: 1, maxLength: 60 },
  });
  const ms = fc.integer({ min: 1e9, max: 1e12 });
  fc.assert(
    fc.property(said, ms, ms, ms, fc.nat(hour), (list, startMs, wallMs, thereMs, downMs) => {
      const book = new RateBook();
      let nowMs = startMs;
      for (const { afterMs, value, heard } of list) {
        nowMs += afterMs;
        book.sample(nowMs, [job('a', value)], heard ? value : undefined);
      }
      const next = new RateBook();
      tellRows(next, kept(rowsOf(book, coarsePoints, { nowMs, wallMs })), { nowMs: thereMs, wallMs: wallMs + downMs });
      const pairs = [
        [book.loading, next.loading],
        [book.serving, next.serving],
        [book.job('a')!, next.job('a')],
      ] as const;
      for (const [was, is] of pairs) {
        const [before, after] = [was.stretches(nowMs, 7 * hour), is?.stretches(thereMs, 7 * hour) ?? []];
        const inside = before.map((points) =>
          points.filter(({ agoMs }) => agoMs + downMs < 6 * hour - 3 * coarseStepMs),
        );
        const told = after.map((points) => points.filter(({ agoMs }) => agoMs < 6 * hour - 2 * coarseStepMs));
        const values = (stretches: typeof before) =>
          stretches
            .filter((points) => points.length > 0)
            .map((points) => points.map(({ value }) => Math.round(value)).join(' '))
            .join('|');
        expect(values(told).endsWith(values(inside))).toBe(true);
        const [last, first] = [before.at(-1)?.at(-1), after.at(-1)?.at(-1)];
        if (first !== undefined)
          expect(Math.abs(first.agoMs - (last!.agoMs + downMs))).toBeLessThanOrEqual(2 * coarseStepMs);
      }
    }),
  );
});
