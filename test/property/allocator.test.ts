/** The allocator against a plain array of grains, and what it does to the length of writes over 2,000 fillings. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { GrainAllocator, goodRunGrains, type Runs, regionGrains } from '../../src/core/allocator.ts';
import { seededRandom } from '../../src/core/random.ts';
import { MiB } from '../../src/core/units.ts';

type Command =
  | { readonly kind: 'allocate'; readonly grains: number }
  | { readonly kind: 'free'; readonly which: number; readonly from: number; readonly part: number };

const size = fc.oneof(
  { arbitrary: fc.integer({ min: 1, max: 64 }), weight: 4 },
  { arbitrary: fc.integer({ min: 200, max: 2047 }), weight: 3 },
  { arbitrary: fc.integer({ min: 2048, max: 3 * regionGrains + 5 }), weight: 2 },
);
const command: fc.Arbitrary<Command> = fc.oneof(
  { arbitrary: fc.record({ kind: fc.constant('allocate' as const), grains: size }), weight: 3 },
  {
    arbitrary: fc.record({
      kind: fc.constant('free' as const),
      which: fc.nat(),
      from: fc.double({ min: 0, max: 1, noNaN: true }),
      part: fc.double({ min: 0, max: 1, noNaN: true }),
    }),
    weight: 2,
  },
);

function sum(runs: Runs): number {
  let total = 0;
  for (let i = 1; i < runs.length; i += 2) total += runs[i]!;
  return total;
}

/** Applies the commands to both; the model is one byte a grain, and the list of what is given out. */
function drive(grains: number, commands: readonly Command[]): void {
  const allocator = new GrainAllocator(grains);
  allocator.seal();
  const taken = new Uint8Array(grains);
  const held: [number, number][] = [];
  let free = grains;
  for (const step of commands) {
    if (step.kind === 'allocate') {
      const runs = allocator.allocate(step.grains);
      expect(runs === undefined, 'a refusal means that there is no room').toBe(step.grains > free);
      if (!runs) continue;
      expect(sum(runs)).toBe(step.grains);
      for (let i = 0; i < runs.length; i += 2) {
        const [start, length] = [runs[i]!, runs[i + 1]!];
        expect(length).toBeGreaterThan(0);
        expect(start + length).toBeLessThanOrEqual(grains);
        expect(taken.subarray(start, start + length).includes(1), 'given out twice').toBe(false);
        taken.fill(1, start, start + length);
        held.push([start, length]);
      }
      free -= step.grains;
    } else if (held.length > 0) {
      const [[start, length]] = held.splice(step.which % held.length, 1) as [[number, number]];
      const from = start + Math.floor(step.from * (length - 1));
      const count = Math.max(1, Math.floor(step.part * (start + length - from)));
      allocator.free(from, count);
      taken.fill(0, from, from + count);
      if (from > start) held.push([start, from - start]);
      if (from + count < start + length) held.push([from + count, start + length - from - count]);
      free += count;
    }
    expect(allocator.freeGrains).toBe(free);
  }
  const wrong = taken.findIndex((bit, grain) => allocator.isTaken(grain) !== (bit === 1));
  expect(wrong, 'the first grain of which the two think differently').toBe(-1);
  // Everything that is left can be had, and nothing more.
  if (free > 0) expect(sum(allocator.allocate(free)!)).toBe(free);
  expect(allocator.allocate(1)).toBeUndefined();
  // Taken back grain by grain in any order, it becomes whole again.
  allocator.free(0, grains);
  expect(allocator.freeGrains).toBe(grains);
  expect(allocator.allocate(grains)).toEqual([0, grains]);
}

describe('grain allocator', () => {
  test('never gives a grain twice, loses none, and refuses only when there is no room', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 6 * regionGrains }), fc.array(command, { maxLength: 120 }), drive),
      { numRuns: 150 },
    );
  });

  test('what an index is replayed into is what was given out', () => {
    fc.assert(
      fc.property(fc.array(size, { minLength: 1, maxLength: 60 }), fc.nat(), (sizes, seed) => {
        const grains = 5 * regionGrains + 77;
        const first = new GrainAllocator(grains);
        first.seal();
        const held: Runs = [];
        for (const wanted of sizes) held.push(...(first.allocate(wanted) ?? []));
        const second = new GrainAllocator(grains);
        const order = Array.from({ length: held.length / 2 }, (_, i) => i).sort(
          (a, b) => ((a * 7919 + seed) % 101) - ((b * 7919 + seed) % 101),
        );
        for (const i of order) expect(second.take(held[i * 2]!, held[i * 2 + 1]!)).toBe(true);
        if (held.length > 0) expect(second.take(held[0]!, 1), 'an overlap is told').toBe(false);
        expect(second.take(grains - 1, 2), 'so is what lies outside').toBe(false);
        second.seal();
        expect(second.freeGrains).toBe(first.freeGrains);
        for (let grain = 0; grain < grains; grain += 13) expect(second.isTaken(grain)).toBe(first.isTaken(grain));
        if (first.freeGrains > 0) expect(sum(second.allocate(first.freeGrains)!)).toBe(first.freeGrains);
        expect(second.allocate(1)).toBeUndefined();
      }),
      { numRuns: 60 },
    );
  });

  test('a second free of the same grains is a defect', () => {
    const allocator = new GrainAllocator(2 * regionGrains);
    allocator.seal();
    allocator.allocate(10);
    allocator.free(0, 4);
    expect(() => allocator.free(2, 4)).toThrow('freed twice');
    expect(() => allocator.free(regionGrains, 1)).toThrow('freed twice');
    expect(allocator.freeGrains).toBe(2 * regionGrains - 6);
  });

  test('an allocation of a region takes a free one, smaller ones share one, and an emptied one is free again', () => {
    const allocator = new GrainAllocator(8 * regionGrains);
    allocator.seal();
    expect(allocator.allocate(3)).toEqual([0, 3]);
    expect(allocator.allocate(regionGrains)).toEqual([regionGrains, regionGrains]);
    expect(allocator.allocate(5)).toEqual([3, 5]);
    expect(allocator.freeRegions).toBe(6);
    allocator.free(0, 8);
    expect(allocator.freeRegions).toBe(7);
    expect(allocator.largestRun()).toBe(6 * regionGrains);
  });

  test('a packed run of 1 MiB is used before a free region is opened, a shorter one is not', () => {
    const allocator = new GrainAllocator(4 * regionGrains);
    allocator.seal();
    allocator.allocate(regionGrains - goodRunGrains);
    expect(allocator.allocate(2 * goodRunGrains)).toEqual([regionGrains - goodRunGrains, 2 * goodRunGrains]);
    const other = new GrainAllocator(4 * regionGrains);
    other.seal();
    other.allocate(regionGrains - goodRunGrains + 1);
    expect(other.allocate(2 * goodRunGrains)).toEqual([regionGrains, 2 * goodRunGrains]);
  });
});

/** Takes files in and out of an allocator as the worker does, and counts the writes that this takes. */
class Cache {
  readonly allocator: GrainAllocator;
  files: Runs[] = [];
  #grains = 0;
  #extents = 0;

  constructor(options: { regions: number }) {
    this.allocator = new GrainAllocator(options.regions * regionGrains);
    this.allocator.seal();
  }

  /** Parts of 8 MiB one by one, files up to 1 MiB in packs of up to 4 MiB, each file at its place in the pack. */
  load(sizes: readonly number[]): Runs[] {
    const before = this.files.length;
    let pack: number[] = [];
    for (const size of sizes) {
      if (size > 256) {
        const file: Runs = [];
        for (let left = size; left > 0; left -= regionGrains) file.push(...this.#write(Math.min(left, regionGrains)));
        this.files.push(file);
        continue;
      }
      if (pack.reduce((a, b) => a + b, size) > 1024) {
        this.#writePack(pack);
        pack = [];
      }
      pack.push(size);
    }
    if (pack.length > 0) this.#writePack(pack);
    return this.files.slice(before);
  }

  free(file: Runs): void {
    for (let i = 0; i < file.length; i += 2) this.allocator.free(file[i]!, file[i + 1]!);
  }

  /** Mean length of a write since the last call, in grains. */
  meanWrite(): number {
    const mean = this.#grains / this.#extents;
    this.#grains = 0;
    this.#extents = 0;
    return mean;
  }

  #write(grains: number): Runs {
    const runs = this.allocator.allocate(grains)!;
    this.#grains += grains;
    this.#extents += runs.length / 2;
    return runs;
  }

  #writePack(sizes: readonly number[]): void {
    const runs = this.#write(sizes.reduce((a, b) => a + b, 0));
    let run = 0;
    let used = 0;
    for (const size of sizes) {
      const file: Runs = [];
      for (let left = size; left > 0; ) {
        const count = Math.min(left, runs[run + 1]! - used);
        file.push(runs[run]! + used, count);
        left -= count;
        used += count;
        if (used < runs[run + 1]!) continue;
        run += 2;
        used = 0;
      }
      this.files.push(file);
    }
  }
}

/** Sizes of about 16 MiB in all, from 4 KiB to 32 MiB, uniform in the logarithm. */
function someSizes(random: () => number): number[] {
  const sizes: number[] = [];
  for (let left = 4096; left > 0; left -= sizes.at(-1)!) sizes.push(Math.ceil(8192 ** random()));
  return sizes;
}

const cycleCount = 2000;

describe('2,000 fill-and-free cycles at mixed sizes', () => {
  test('files that leave at random, four fifths full: writes stay as long', () => {
    const random = seededRandom(1);
    const cache = new Cache({ regions: 128 });
    const grains = cache.allocator.grains;
    while (cache.allocator.freeGrains > 5 * 4096) cache.load(someSizes(random));
    const means: number[] = [];
    for (let cycle = 0; cycle < cycleCount; cycle++) {
      const sizes = someSizes(random);
      const wanted = grains * 0.2 + sizes.reduce((a, b) => a + b, 0);
      while (cache.allocator.freeGrains < wanted) {
        const at = Math.floor(random() * cache.files.length);
        cache.free(cache.files[at]!);
        cache.files[at] = cache.files.at(-1)!;
        cache.files.pop();
      }
      if (cycle % 100 === 0) cache.meanWrite();
      cache.load(sizes);
      if (cycle % 100 === 99) means.push(cache.meanWrite());
    }
    expect(means.at(-1)).toBeGreaterThan(0.9 * means[0]!);
    expect(means.at(-1)! * 4096, 'bytes of a write').toBeGreaterThan(2 * MiB);
  });

  test('datasets that leave as a whole, 97% full: writes stay as long', () => {
    const random = seededRandom(7);
    const cache = new Cache({ regions: 128 });
    const grains = cache.allocator.grains;
    let datasets: Runs[][] = [];
    const means: number[] = [];
    for (let cycle = 0; cycle < cycleCount; cycle++) {
      if (cycle % 100 === 0) cache.meanWrite();
      // Two datasets are loaded at a time, a batch of the one and a batch of the other in turns.
      while (cache.allocator.freeGrains > grains * 0.03 + 2 * 4 * 4096 * 3) {
        const pair: Runs[][] = [[], []];
        for (let batch = 0; batch < 4; batch++) pair[batch % 2]!.push(...cache.load(someSizes(random)));
        datasets.push(...pair);
      }
      if (cycle % 100 === 99) means.push(cache.meanWrite());
      datasets = datasets.filter((files) => {
        if (random() < 0.6) return true;
        for (const file of files) cache.free(file);
        return false;
      });
    }
    expect(means.at(-1)).toBeGreaterThan(0.9 * means[0]!);
    expect(means.at(-1)! * 4096, 'bytes of a write').toBeGreaterThan(2 * MiB);
  });
});
