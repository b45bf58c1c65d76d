import { expect, it } from 'vitest';
import { placeEveryMs, restMs, scrubRate } from '../../../src/core/scrub.ts';
import { GiB, KiB, MiB } from '../../../src/core/units.ts';

const day = 86_400_000;

it('everything is read in one period, with some haste, and never faster than it may', () => {
  const pace = { periodMs: 14 * day, mostBytesPerSecond: 32 * MiB };
  expect(scrubRate(pace, 10 * 1024 * GiB) / MiB).toBeCloseTo(9.54, 1);
  expect(scrubRate(pace, 100 * 1024 * GiB)).toBe(32 * MiB);
  expect(scrubRate(pace, 0)).toBe(64 * KiB);
});

it('a round that ends early is followed by a rest, one that ends late by the next', () => {
  const pace = { periodMs: 100, mostBytesPerSecond: 1 };
  expect([restMs(pace, 1000, 1030), restMs(pace, 1000, 1200)]).toEqual([70, 0]);
  // A clock that was set back is no reason to rest for longer than a period.
  expect(restMs(pace, 1000, 500)).toBe(100);
});

it('the place is written down twice a minute, and in a short period a hundred times', () => {
  expect(placeEveryMs({ periodMs: 14 * day, mostBytesPerSecond: 1 })).toBe(30_000);
  expect(placeEveryMs({ periodMs: 60_000, mostBytesPerSecond: 1 })).toBe(600);
});
