/** A rate as a row of characters: as wide as it is to be, with what nobody knows left blank. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { sparkOf } from '../../../src/cli/spark.ts';

const draw = (values: (number | null)[], columns: number, points: number, agoMs = 0): string =>
  sparkOf({ agoMs, values }, { columns, points, stepMs: 10_000 });

test('each column is the mean of what it spans; nothing at all is not nearly nothing', () => {
  expect(draw([0, 1, 50, 100], 4, 4)).toBe('▁▂▅█');
  expect(draw([0, 0, 50, 50, 100, 100], 3, 6)).toBe('▁▅█');
  expect(draw([0, 0], 2, 2)).toBe('▁▁');
  expect(draw([7], 4, 4)).toBe('   █');
  expect(draw([5, null, null, 5], 4, 4)).toBe('█  █');
  // Nothing was said for two steps.
  expect(draw([5, 5], 4, 4, 25_000)).toBe('██  ');
  expect([draw([], 4, 4), draw([5], 4, 4, 1e9), draw([null], 4, 4)]).toEqual(['', '', '']);
});

test('whatever the rates: so many columns, blank where nothing is known', () => {
  const values = fc.array(fc.option(fc.double({ min: 0, max: 1e15, noNaN: true })), { maxLength: 100 });
  fc.assert(
    fc.property(values, fc.integer({ min: 1, max: 60 }), fc.nat(100_000), (list, columns, agoMs) => {
      const drawn = draw(list, columns, 60, agoMs);
      expect(drawn === '' || drawn.length === columns).toBe(true);
      expect(drawn).toMatch(/^[ ▁▂▃▄▅▆▇█]*$/);
    }),
  );
});
