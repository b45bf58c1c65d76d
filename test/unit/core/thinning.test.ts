import fc from 'fast-check';
import { expect, it } from 'vitest';
import { Thinning } from '../../../src/core/thinning.ts';

/** Positions, from 0, of those that are told of. */
function told(base: number, things: number): number[] {
  const thinning = new Thinning(base);
  return Array.from({ length: things }, (_, at) => at).filter(() => thinning.next());
}

it('of few things each is told of, of ten million some thousand', () => {
  expect(told(256, 256)).toHaveLength(256);
  const thinning = new Thinning(256);
  let many = 0;
  for (let count = 0; count < 10_000_000; count += 1) if (thinning.next()) many += 1;
  expect([many > 2_000, many < 5_000]).toEqual([true, true]);
  expect(told(Number.POSITIVE_INFINITY, 5_000)).toHaveLength(5_000);
  expect(told(0, 5_000)).toEqual([]);
});

it('is bounded by the logarithm, begins with the first, and leaves no gap longer than what was told before', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 1, max: 20_000 }), (base, things) => {
      const at = told(base, things);
      expect(at[0]).toBe(0);
      expect(at.length).toBeLessThanOrEqual(base * (1 + Math.log2(1 + things / base)));
      for (let index = 1; index < at.length; index += 1)
        expect(at[index]! - at[index - 1]!).toBeLessThanOrEqual(1 + at[index]! / base);
    }),
  );
});
