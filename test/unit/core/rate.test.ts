import { describe, expect, it } from 'vitest';
import { addSample, etaMsOf, type RateWindow, rateOf, rateStepMs, rateWindowMs } from '../../../src/core/rate.ts';

function windowOf(samples: readonly [number, number][]): RateWindow {
  return samples.reduce<RateWindow>((window, [atMs, total]) => addSample(window, { atMs, total }), []);
}

describe('the recent rate', () => {
  it('is unknown before there is one', () => {
    expect(rateOf([], 1000)).toBeUndefined();
    expect(rateOf(windowOf([[0, 0]]), 100)).toBeUndefined();
  });

  it('is steady for a steady source', () => {
    const window = windowOf(Array.from({ length: 60 }, (_, second) => [second * 1000, second * 5000]));
    expect(rateOf(window, 59_000)).toBeCloseTo(5000, 5);
  });

  it('forgets what lies outside of the window', () => {
    const fast = Array.from({ length: 10 }, (_, i): [number, number] => [i * 1000, i * 1_000_000]);
    const slow = Array.from({ length: 20 }, (_, i): [number, number] => [10_000 + i * 1000, 9_000_000 + (i + 1) * 10]);
    expect(rateOf(windowOf([...fast, ...slow]), 29_000)).toBeCloseTo(10, 5);
  });

  it('of a silent source sinks, and is 0 after one window', () => {
    const window = windowOf([
      [0, 0],
      [1000, 1000],
    ]);
    expect(rateOf(window, 2000)).toBe(500);
    expect(rateOf(window, 1000 + rateWindowMs)).toBe(0);
  });

  it('starts anew when the total or the clock goes back', () => {
    expect(
      windowOf([
        [0, 100],
        [1000, 50],
      ]),
    ).toEqual([{ atMs: 1000, total: 50 }]);
    expect(
      windowOf([
        [5000, 100],
        [1000, 200],
      ]),
    ).toEqual([{ atMs: 1000, total: 200 }]);
  });

  it('holds a bounded number of samples, however often it is asked', () => {
    const window = windowOf(Array.from({ length: 100_000 }, (_, ms) => [ms, ms]));
    expect(window.length).toBeLessThanOrEqual(rateWindowMs / rateStepMs + 3);
    expect(rateOf(window, 99_999)).toBeCloseTo(1000, 0);
  });
});

describe('the ETA', () => {
  it('is what remains at this rate, and unknown without one', () => {
    expect(etaMsOf(1000, 500)).toBe(2000);
    expect(etaMsOf(0, undefined)).toBeUndefined();
    expect(etaMsOf(0, 0)).toBe(0);
    expect(etaMsOf(10, 0)).toBeUndefined();
    expect(etaMsOf(undefined, 10)).toBeUndefined();
  });
});
