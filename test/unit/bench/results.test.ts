import { describe, expect, test } from 'vitest';
import { figure, median, objectsRow, ratioOfRuns, transferRow, verdict } from '../../../bench/support/results.ts';
import { GiB } from '../../../src/core/units.ts';

describe('figures', () => {
  test('a median is not moved by one outlier, and is the mean of the middle two', () => {
    expect(median([5, 1, 100])).toBe(5);
    expect(median([4, 1, 100, 2])).toBe(3);
    expect(() => median([])).toThrow('nothing');
  });

  test('a ratio is the median of the ratios of the runs, not the ratio of the medians', () => {
    const ours = figure('GiB/s', [1, 2, 4]);
    const ceiling = figure('GiB/s', [2, 1, 5]);
    expect(ratioOfRuns(ours, ceiling)).toBe(0.8);
  });

  test('a transfer is told by its rate and its CPU for each GiB', () => {
    const row = transferRow('it', [{ bytes: 2 * GiB, seconds: 4, cpuSeconds: 1 }])!;
    expect(row.figures.throughput).toEqual({ unit: 'GiB/s', value: 0.5, samples: [0.5] });
    expect(row.figures['CPU per GiB']?.value).toBe(0.5);
  });

  test('small objects are told by objects a second, of time and of CPU', () => {
    const row = objectsRow('it', 1000, [{ bytes: 1, seconds: 2, cpuSeconds: 0.25 }])!;
    expect(row.figures.rate?.value).toBe(500);
    expect(row.figures['per busy core']?.value).toBe(4000);
  });

  test('what is not installed has no row', () => {
    expect(transferRow('it', [undefined, undefined])).toBeUndefined();
  });

  test.each([
    ['at least', 0.8, true],
    ['at least', 0.79, false],
    ['at most', 0.8, true],
    ['at most', 0.81, false],
  ] as const)('%s 0.8 is decided for %d', (bound, value, met) => {
    expect(verdict('it', value, 'x', bound, 0.8).met).toBe(met);
  });
});
