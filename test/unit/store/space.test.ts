/** Reservation, and how allocations spread over stores. */
import { describe, expect, test } from 'vitest';
import { PrimedError } from '../../../src/core/errors.ts';
import type { Extent, RunId, StoreIndex } from '../../../src/core/types.ts';
import { KiB, MiB } from '../../../src/core/units.ts';
import { Space } from '../../../src/store/space.ts';

const [one, two] = ['one', 'two'] as [RunId, RunId];

function makeSpace(...sizes: number[]): Space {
  const space = new Space(sizes.map((bytes, i) => ({ index: i as StoreIndex, grains: bytes / 4096, firstGrain: 256 })));
  space.seal();
  return space;
}

function figures(space: Space): { reserved: number; free: number } {
  return { reserved: space.reservedBytes, free: space.unusedBytes - space.reservedBytes };
}

function failure(action: () => unknown): PrimedError {
  try {
    action();
  } catch (error) {
    expect(error).toBeInstanceOf(PrimedError);
    return error as PrimedError;
  }
  throw new Error('it did not fail');
}

describe('a reservation', () => {
  test('is what the run may still allocate; setting it again replaces it', () => {
    const space = makeSpace(16 * MiB);
    space.reserve(one, 10 * MiB);
    space.reserve(one, 5 * MiB + 1);
    expect(space.reservedFor(one)).toBe(5 * MiB + 4 * KiB);
    space.allocate(one, 2 * MiB);
    expect(space.reservedFor(one)).toBe(3 * MiB + 4 * KiB);
    expect(figures(space)).toEqual({ reserved: 3 * MiB + 4 * KiB, free: 16 * MiB - 5 * MiB - 4 * KiB });
    space.unreserve(one);
    expect(figures(space)).toEqual({ reserved: 0, free: 14 * MiB });
  });

  test('beyond the free bytes is refused with the numbers, and nothing changes', () => {
    const space = makeSpace(16 * MiB);
    space.reserve(one, 10 * MiB);
    const refused = failure(() => space.reserve(two, 6 * MiB + 1));
    expect(refused.code).toBe('STORE_NO_ROOM');
    expect(refused.facts).toEqual({
      neededBytes: 6 * MiB + 4 * KiB,
      freeBytes: 6 * MiB,
      reservedBytes: 10 * MiB,
      capacityBytes: 16 * MiB,
    });
    expect(refused.message).toContain(`${6 * MiB + 4 * KiB} bytes, ${6 * MiB} are free`);
    expect(space.reservedFor(two)).toBe(0);
    space.reserve(two, 6 * MiB);
    // A run's own reservation is not in its way.
    space.unreserve(two);
    space.reserve(one, 16 * MiB);
  });

  test('of others is never drawn from', () => {
    const space = makeSpace(16 * MiB);
    space.reserve(one, 10 * MiB);
    space.allocate(two, 6 * MiB);
    expect(failure(() => space.allocate(two, 1)).facts).toMatchObject({
      neededBytes: 4 * KiB,
      freeBytes: 0,
      reservedBytes: 10 * MiB,
    });
    expect(space.allocate(one, 10 * MiB).length).toBeGreaterThan(0);
    expect(figures(space)).toEqual({ reserved: 0, free: 0 });
  });

  test('grows by what its run gives back, and not by what comes back for runs without one', () => {
    const space = makeSpace(16 * MiB);
    space.reserve(one, 2 * MiB);
    const extents = space.allocate(one, 2 * MiB);
    expect(space.reservedFor(one)).toBe(0);
    space.free(extents, one);
    expect(space.reservedFor(one)).toBe(2 * MiB);
    space.free(space.allocate(two, MiB), two);
    expect(space.reservedFor(two)).toBe(0);
    space.unreserve(one);
    space.free(space.allocate(one, MiB), one);
    expect(figures(space)).toEqual({ reserved: 0, free: 16 * MiB });
  });
});

describe('several stores', () => {
  const share = (extents: readonly Extent[], store: number): number =>
    extents.reduce((sum, extent) => sum + (extent.store === store ? extent.length : 0), 0);

  test('are filled by their free space, each allocation in one of them', () => {
    const space = makeSpace(64 * MiB, 192 * MiB);
    const all: Extent[] = [];
    for (let i = 0; i < 64; i++) {
      const extents = space.allocate(one, 2 * MiB);
      expect(new Set(extents.map(({ store }) => store)).size).toBe(1);
      all.push(...extents);
    }
    expect(share(all, 0) / MiB).toBe(32);
    expect(share(all, 1) / MiB).toBe(96);
  });

  test('share an allocation that no single one can hold; all of it can be used', () => {
    const space = makeSpace(6 * MiB, 6 * MiB);
    const extents = space.allocate(one, 9 * MiB);
    expect(extents.reduce((sum, { length }) => sum + length, 0)).toBe(9 * MiB);
    expect(new Set(extents.map(({ store }) => store)).size).toBe(2);
    space.allocate(one, 3 * MiB);
    expect(failure(() => space.allocate(one, 1)).code).toBe('STORE_NO_ROOM');
    expect(extents.every(({ offset, length }) => offset % 4096 === 0 && length % 4096 === 0 && offset >= MiB)).toBe(
      true,
    );
  });
});
