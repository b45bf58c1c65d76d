import fc from 'fast-check';
import { expect, it } from 'vitest';
import { bytesOf, joined, missingOf } from '../../src/core/ranges.ts';
import { piecesOf, Sequences } from '../../src/core/read-ahead.ts';
import { MiB, pageBytes } from '../../src/core/units.ts';

const sizes = fc.integer({ min: 1, max: 200 * MiB });
const parts = fc.integer({ min: 1, max: 16 }).map((pages) => pages * MiB);

it('pieces cover what is missing, from page to page, each within a part, and begin small', () => {
  fc.assert(
    fc.property(sizes, parts, fc.nat(), fc.nat(), (sizeBytes, partBytes, a, b) => {
      const offset = a % sizeBytes;
      const length = 1 + (b % (sizeBytes - offset));
      const pieces = piecesOf([{ offset, length }], { partBytes, sizeBytes });
      expect(missingOf({ offset, length }, joined(pieces))).toEqual([]);
      expect(bytesOf(joined(pieces))).toBe(pieces.reduce((sum, one) => sum + one.length, 0));
      expect(pieces[0]!.length).toBeLessThanOrEqual(MiB);
      expect(pieces[0]!.offset).toBeGreaterThan(offset - pageBytes);
      for (const piece of pieces) {
        const end = piece.offset + piece.length;
        expect(piece.offset % pageBytes).toBe(0);
        expect(end % pageBytes === 0 || end === sizeBytes).toBe(true);
        expect(Math.floor(piece.offset / partBytes)).toBe(Math.floor((end - 1) / partBytes));
      }
    }),
  );
});

it('who reads on is known among others, a first read and one elsewhere are not', () => {
  const sequences = new Sequences();
  expect(sequences.aheadOf({ offset: 0, length: 10 }, 99)).toBe(0);
  expect(sequences.aheadOf({ offset: 500, length: 10 }, 99)).toBe(0);
  expect(sequences.aheadOf({ offset: 10, length: 10 }, 99)).toBe(99);
  expect(sequences.aheadOf({ offset: 510, length: 10 }, 99)).toBe(99);
  expect(sequences.aheadOf({ offset: 30, length: 10 }, 99)).toBe(0);
});
