/** Estimates of when a load ends, over loads of which the truth is known: on a virtual clock, as a coordinator looks at them. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { addDone, type Pace, timeLeftMs } from '../../src/core/eta.ts';
import { KiB, MiB } from '../../src/core/units.ts';

interface Trace {
  readonly sizes: readonly number[];
  readonly bytesPerSecond: number;
  /** What a file takes besides its bytes, ms. */
  readonly fileMs: number;
  /** By how much the pace differs at a time, of the way (0 to 1). */
  readonly speedAt?: (share: number) => number;
}

/** When each file is done, and how the estimates were, by how much of the time had gone. */
function estimates({ sizes, bytesPerSecond, fileMs, speedAt = () => 1 }: Trace, stepMs: number) {
  const costs = sizes.map((size) => fileMs + (size / bytesPerSecond) * 1000);
  const totalCost = costs.reduce((sum, cost) => sum + cost, 0);
  const totalBytes = sizes.reduce((sum, size) => sum + size, 0);
  const found: { share: number; leftMs: number; etaMs: number | undefined }[] = [];
  let pace: Pace | undefined;
  let [spent, nowMs, file, intoFile] = [0, 0, 0, 0];
  let [files, bytes] = [0, 0];
  const looks: { atMs: number; etaMs: number | undefined }[] = [];
  while (file < sizes.length) {
    pace = addDone(pace, nowMs, { files, bytes: Math.round(bytes) });
    looks.push({
      atMs: nowMs,
      etaMs: timeLeftMs(pace, { files: sizes.length - files, bytes: totalBytes - bytes }, nowMs),
    });
    let budget = stepMs * speedAt(spent / totalCost);
    spent += budget;
    nowMs += stepMs;
    while (budget > 0 && file < sizes.length) {
      const cost = costs[file]! - intoFile;
      const part = Math.min(cost, budget);
      bytes += (sizes[file]! * part) / costs[file]!;
      budget -= part;
      intoFile += part;
      if (part < cost) break;
      [file, intoFile, files] = [file + 1, 0, files + 1];
    }
    if (file === sizes.length) nowMs -= budget / speedAt(1);
  }
  for (const { atMs, etaMs } of looks) found.push({ share: atMs / nowMs, leftMs: nowMs - atMs, etaMs });
  return found;
}

/** Of those from `from` on: how far the worst is off, as a share of the truth, or of two steps where less is left. */
function worst(trace: Trace, { from = 1 / 3, stepMs = 1000 } = {}): number {
  const looked = estimates(trace, stepMs).filter(({ share }) => share >= from);
  return looked.reduce((most, { leftMs, etaMs }) => {
    const off =
      etaMs === undefined ? Number.POSITIVE_INFINITY : Math.abs(etaMs - leftMs) / Math.max(leftMs, 4 * stepMs);
    return Math.max(most, off);
  }, 0);
}

/** Each has thousands of looks. */
const runs = { numRuns: 40 };

const rate = fc.integer({ min: 2, max: 2000 }).map((mib) => mib * MiB);
const fileMs = fc.double({ min: 0, max: 20, noNaN: true });
const secondsOf = ({ sizes, bytesPerSecond, fileMs: each }: Trace): number =>
  sizes.reduce((sum, size) => sum + each / 1000 + size / bytesPerSecond, 0);
/** Some 40 s of it. */
const longEnough = ({ sizes, bytesPerSecond, fileMs: each }: Trace, seconds = 40): Trace => {
  const once = sizes.reduce((sum, size) => sum + each + (size / bytesPerSecond) * 1000, 0);
  const times = Math.max(1, Math.ceil((seconds * 1000) / Math.max(1, once)));
  return {
    sizes: Array.from({ length: Math.min(times, Math.ceil(60_000 / sizes.length)) }, () => sizes).flat(),
    bytesPerSecond,
    fileMs: each,
  };
};

describe('from a third of the way on within 15%', () => {
  it('of files of one size, whatever it is', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 64 * MiB }), rate, fileMs, (size, bytesPerSecond, each) => {
        const trace = longEnough({ sizes: [size], bytesPerSecond, fileMs: each });
        fc.pre(trace.sizes.length >= 10 && secondsOf(trace) >= 20);
        expect(worst(trace)).toBeLessThan(0.15);
      }),
      runs,
    );
  });

  it('of small and large files mixed', () => {
    const sizes = fc.array(fc.oneof(fc.integer({ min: 0, max: 64 * KiB }), fc.integer({ min: MiB, max: 16 * MiB })), {
      minLength: 5,
      maxLength: 40,
    });
    fc.assert(
      fc.property(sizes, rate, fileMs, (some, bytesPerSecond, each) => {
        const trace = longEnough({ sizes: some, bytesPerSecond, fileMs: each });
        fc.pre(trace.sizes.length >= 10 * some.length && secondsOf(trace) >= 20);
        expect(worst(trace)).toBeLessThan(0.15);
      }),
      runs,
    );
  });

  it('of a load that begins slowly', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: KiB, max: 8 * MiB }),
        rate,
        fc.double({ min: 0.1, max: 1, noNaN: true }),
        (size, bytesPerSecond, slow) => {
          const trace = longEnough({ sizes: [size], bytesPerSecond, fileMs: 1 });
          fc.pre(trace.sizes.length >= 20 && secondsOf(trace) >= 20);
          const speedAt = (share: number): number => (share < 0.02 ? slow : 1);
          expect(worst({ ...trace, speedAt })).toBeLessThan(0.15);
        },
      ),
      runs,
    );
  });

  it('of many small files, then large ones, as soon as some of the large ones are done', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 64 }),
        fc.double({ min: 0.5, max: 10, noNaN: true }),
        fc.integer({ min: 20, max: 500 }),
        (kib, each, mibPerSecond) => {
          const bytesPerSecond = mibPerSecond * MiB;
          const small = longEnough({ sizes: [kib * KiB], bytesPerSecond, fileMs: each }, 20);
          const large = longEnough({ sizes: [32 * MiB], bytesPerSecond, fileMs: each }, 60);
          const smallMs = small.sizes.length * (each + ((kib * KiB) / bytesPerSecond) * 1000);
          const largeMs = large.sizes.length * (each + ((32 * MiB) / bytesPerSecond) * 1000);
          const from = Math.max(1 / 3, (smallMs + 0.15 * largeMs) / (smallMs + largeMs));
          const trace = { ...small, sizes: [...small.sizes, ...large.sizes] };
          expect(worst(trace, { from })).toBeLessThan(0.15);
        },
      ),
      runs,
    );
  });
});

it('of files that come in waves, from a third on, with less than two waves in error, or 15%', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 256 }),
      fc.integer({ min: 15, max: 60 }),
      fc.integer({ min: 500, max: 4000 }),
      fc.integer({ min: 1, max: 65_536 }),
      (files, waves, waveMs, size) => {
        let pace: Pace | undefined;
        for (let nowMs = 0; nowMs < waves * waveMs; nowMs += 100) {
          const done = files * Math.floor(nowMs / waveMs);
          pace = addDone(pace, nowMs, { files: done, bytes: done * size });
          const left = files * waves - done;
          if (nowMs < (waves * waveMs) / 3) continue;
          const etaMs = timeLeftMs(pace, { files: left, bytes: left * size }, nowMs);
          expect(Math.abs(etaMs! - (waves * waveMs - nowMs))).toBeLessThan(
            Math.max(2 * waveMs + 500, 0.15 * (waves * waveMs - nowMs)),
          );
        }
      },
    ),
    runs,
  );
});

it('nothing is said of a load of which nothing is done, nor of one that stands still; of one that is done, nothing is left', () => {
  const done = { files: 0, bytes: 0 };
  const begun = addDone(undefined, 0, done);
  expect(timeLeftMs(begun, { files: 1, bytes: 1 }, 5000)).toBeUndefined();
  const some = addDone(addDone(begun, 100, { files: 1, bytes: 1000 }), 1100, { files: 2, bytes: 2000 });
  expect(timeLeftMs(some, { files: 1, bytes: 1000 }, 1100)).toBeGreaterThan(0);
  expect(timeLeftMs(some, { files: 1, bytes: 1000 }, 1100 + 60_000)).toBeUndefined();
  expect(timeLeftMs(some, { files: 0, bytes: 0 }, 1100)).toBe(0);
  expect(timeLeftMs(some, { files: 0, bytes: -5 }, 1100)).toBe(0);
});

it('is bounded, finite and positive, whatever it is told', () => {
  const step = fc.record({
    ms: fc.nat(5000),
    files: fc.integer({ min: -5, max: 500 }),
    bytes: fc.integer({ min: -MiB, max: 2 ** 33 }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 300 }), fc.nat(1e6), fc.nat(2 ** 40), (steps, files, bytes) => {
      let pace: Pace | undefined;
      let [nowMs, done] = [0, { files: 0, bytes: 0 }];
      for (const { ms, ...more } of steps) {
        nowMs += ms;
        done = { files: Math.max(0, done.files + more.files), bytes: Math.max(0, done.bytes + more.bytes) };
        pace = addDone(pace, nowMs, done);
        expect(pace.blocks.length).toBeLessThanOrEqual(64);
        const etaMs = timeLeftMs(pace, { files, bytes }, nowMs);
        if (etaMs !== undefined) expect(Number.isFinite(etaMs) && etaMs >= 0).toBe(true);
      }
    }),
  );
});
