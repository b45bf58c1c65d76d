import { Worker } from 'node:worker_threads';
import { expect, expectTypeOf, test } from 'vitest';
import type { FailureCause } from '../../../src/origin/types.ts';
import { publishEventLoop } from '../../../src/telemetry/event-loop.ts';
import {
  failureCauses,
  type LaneFailureCause,
  laneColumns,
  laneFailureColumns,
  laneHistograms,
  laneLayout,
} from '../../../src/telemetry/lane-columns.ts';
import { attachSharedCounters, makeSharedCounters, sharedLayout } from '../../../src/telemetry/shared-counters.ts';

const layout = sharedLayout(['bytes', 'parts'], { waitMs: [1, 10, 100] });

test('rows are added up, and one row does not touch another', () => {
  const block = makeSharedCounters(layout, 3);
  const [first, second] = [block.row(0), attachSharedCounters(block.buffer, layout, 1)];
  first.add(layout.columns.bytes, 10);
  first.add(layout.columns.bytes, 5);
  second.add(layout.columns.bytes, 7);
  second.set(layout.columns.parts, 4);
  expect(block.total(layout.columns.bytes)).toBe(22);
  expect(block.at(0, layout.columns.bytes)).toBe(15);
  expect(block.at(1, layout.columns.parts)).toBe(4);
  expect(block.at(2, layout.columns.parts)).toBe(0);
  expect(second.get(layout.columns.bytes)).toBe(7);
});

test('a value at a bound belongs to the bucket of that bound, one above the last to +Inf', () => {
  const block = makeSharedCounters(layout, 2);
  for (const value of [0, 1, 1.5, 100, 101]) block.row(0).observe(layout.histograms.waitMs, value);
  block.row(1).observe(layout.histograms.waitMs, 10);
  expect(block.folded(layout.histograms.waitMs)).toEqual({ bounds: [1, 10, 100], counts: [2, 2, 1, 1], sum: 213.5 });
});

test('what another thread writes is seen here', async () => {
  const block = makeSharedCounters(layout, 2);
  const writer = new Worker(
    `const { workerData } = require('node:worker_threads');
     const cells = new Float64Array(workerData.buffer, workerData.at, 1);
     for (let i = 0; i < 1000; i++) cells[0] += 3;`,
    { eval: true, workerData: { buffer: block.buffer, at: layout.rowCells * 8 + layout.columns.parts * 8 } },
  );
  await new Promise((resolve, reject) => writer.once('exit', resolve).once('error', reject));
  expect(block.total(layout.columns.parts)).toBe(3000);
});

test('rows lie on cache lines of their own', () => {
  expect((layout.rowCells * 8) % 128).toBe(0);
  expect((laneLayout.rowCells * 8) % 128).toBe(0);
});

test('a row that is not there, another layout, and falling bounds are mistakes', () => {
  const block = makeSharedCounters(layout, 2);
  expect(() => attachSharedCounters(block.buffer, layout, 2)).toThrow(/no row 2/);
  expect(() => attachSharedCounters(block.buffer, laneLayout, 0)).toThrow(/another layout|no row/);
  expect(() => makeSharedCounters(layout, 0)).toThrow(/rows/);
  expect(() => sharedLayout(['a', 'a'], {})).toThrow(/twice/);
  expect(() => sharedLayout([], { wait: [2, 1] })).toThrow(/rise/);
});

test('lanes count every failure cause that a range client can answer', () => {
  expectTypeOf<LaneFailureCause>().toEqualTypeOf<FailureCause>();
  expect(Object.keys(laneFailureColumns)).toEqual([...failureCauses]);
  expect(new Set(Object.values(laneColumns)).size).toBe(Object.keys(laneColumns).length);
  expect(Object.keys(laneHistograms)).toEqual(['partQueuedMs', 'partFirstByteMs', 'partBodyMs', 'diskWriteMs']);
});

test('a thread publishes the delay of its event loop', async () => {
  const row = makeSharedCounters(laneLayout, 1).row(0);
  const stop = publishEventLoop(row, 10);
  const until = performance.now() + 60;
  await new Promise(setImmediate);
  while (performance.now() < until);
  const deadline = performance.now() + 10_000;
  while (row.get(laneColumns.loopUtilization) === 0 && performance.now() < deadline) await new Promise(setImmediate);
  stop();
  expect(row.get(laneColumns.loopUtilization)).toBeGreaterThan(0);
});
