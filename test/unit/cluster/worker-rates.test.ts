/** How fast a worker loads, of what it says of its runs. */
import { expect, test } from 'vitest';
import { WorkerRates } from '../../../src/cluster/worker-rates.ts';
import type { WorkerId } from '../../../src/core/types.ts';

const id = 'w' as WorkerId;
let nowMs = 5_000;

test('is what came in the last seconds; after silence it falls to nothing, and begins anew', () => {
  const rates = new WorkerRates(() => nowMs);
  expect(rates.of(id)).toBeUndefined();
  const load = (steps: number, bytes: number): void => {
    for (let step = 0; step < steps; step += 1) {
      rates.received(id, bytes);
      nowMs += 500;
    }
  };
  load(20, 1_000);
  expect(rates.of(id)).toBeGreaterThan(1_800);
  expect(rates.of(id)).toBeLessThanOrEqual(2_100);
  expect(rates.of('other' as WorkerId)).toBeUndefined();
  nowMs += 15_000;
  expect(rates.of(id)).toBe(0);
  load(10, 5_000);
  expect(rates.of(id), 'the silence is no slow stretch').toBeGreaterThan(9_000);
  nowMs += 61_000;
  expect(rates.of(id)).toBeUndefined();
});
