import fc from 'fast-check';
import { expect, test } from 'vitest';
import { editDistance, nearestWord } from '../../../src/config/nearest.ts';

test('a typing slip finds the word that was meant', () => {
  const words = ['lanes', 'part_size', 'memory_budget', 'disk_engine'];
  expect(nearestWord('lnaes', words)).toBe('lanes');
  expect(nearestWord('partsize', words)).toBe('part_size');
  expect(nearestWord('memory', words)).toBe('memory_budget');
  expect(nearestWord('x', [])).toBeUndefined();
});

test('the distance is 0 only between equal words, the same both ways, and at most the longer length', () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 12 }), fc.string({ maxLength: 12 }), (a, b) => {
      const distance = editDistance(a, b);
      expect(distance === 0).toBe(a === b);
      expect(editDistance(b, a)).toBe(distance);
      expect(distance).toBeLessThanOrEqual(Math.max(a.length, b.length));
    }),
  );
});
