/** Estimates of when a load ends, over loads of which the truth is known: on a virtual clock, as a coordinator looks at them. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { addDone, type Pace, timeLeftMs } from '../../src/core/eta.ts';
import { inTurn } from '../../src/core/in-turn.ts';
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
    pace = addDone(pace, nowMs, { files, bytes: Math.round(bytes) }, 1);
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
      bytes += costs[file] === 0 ? 0 : (sizes[file]! * part) / costs[file]!;
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

it('of files that come in waves, from a third of the way on within 15%, or a second', () => {
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
          pace = addDone(pace, nowMs, { files: done, bytes: done * size }, files);
          const left = files * waves - done;
          if (nowMs < (waves * waveMs) / 3) continue;
          const etaMs = timeLeftMs(
            pace,
            { files: left, bytes: left * size, turn: { bytes: size, ofBytes: size, waiting: 0 } },
            nowMs,
          );
          expect(Math.abs(etaMs! - (waves * waveMs - nowMs))).toBeLessThan(
            Math.max(1000, 0.15 * (waves * waveMs - nowMs)),
          );
        }
      },
    ),
    runs,
  );
});

it('of waves the last one takes as long as any, however few files are in it: 99% is within 15%, or a second', () => {
  let [looks, right] = [0, 0];
  for (const files of [8, 64, 200])
    for (const share of [0.1, 0.4, 0.8])
      for (const waves of [12, 16, 30])
        for (const waveMs of [1000, 1700, 3300]) {
          const total = files * (waves - 1) + Math.ceil(files * share);
          let pace: Pace | undefined;
          for (let nowMs = 0; nowMs < waves * waveMs; nowMs += 100) {
            const wave = Math.floor(nowMs / waveMs);
            const left = total - wave * files;
            pace = addDone(pace, nowMs, { files: wave * files, bytes: wave * files * KiB }, Math.min(files, left));
            const leftMs = waves * waveMs - nowMs;
            if (nowMs < leftMs / 2) continue;
            const wrongMs = Math.abs(timeLeftMs(pace, { files: left, bytes: left * KiB }, nowMs)! - leftMs);
            looks += 1;
            right += Number(wrongMs < Math.max(1000, 0.15 * leftMs));
          }
        }
  expect(right / looks).toBeGreaterThan(0.99);
});

/** Parts of a load over connections, each as fast as it is, or all of them together. */
interface Schedule {
  readonly partBytes: readonly number[];
  readonly connections: number;
  readonly fast: { readonly each: number } | { readonly together: number };
}

interface Look {
  readonly atMs: number;
  readonly leftMs: number;
  readonly etaMs: number | undefined;
  readonly requests: number;
}

/** Part after part, a file each, where a connection is free. */
function looksAt({ partBytes, connections, fast }: Schedule, stepMs = 500): Look[] {
  const totalBytes = partBytes.reduce((sum, bytes) => sum + bytes, 0);
  const waiting = [...partBytes].reverse();
  const under: number[] = [];
  let [pace, nowMs, files, bytes]: [Pace | undefined, number, number, number] = [undefined, 0, 0, 0];
  const looks: { atMs: number; etaMs: number | undefined; requests: number }[] = [];
  const fill = (): void => {
    while (under.length < connections && waiting.length > 0) under.push(waiting.pop()!);
  };
  fill();
  for (let nextMs = 0; under.length > 0; ) {
    const perMs = ('each' in fast ? fast.each : fast.together / under.length) / 1000;
    const least = Math.min(...under);
    const ms = Math.min(nextMs - nowMs, least / perMs);
    for (let at = 0; at < under.length; at += 1) under[at]! -= perMs * ms;
    bytes += perMs * ms * under.length;
    nowMs += ms;
    for (let at = under.length - 1; at >= 0; at -= 1)
      if (under[at]! < 1) {
        under.splice(at, 1);
        files += 1;
      }
    fill();
    if (nowMs < nextMs - 1e-6) continue;
    pace = addDone(pace, nowMs, { files, bytes: Math.floor(bytes) }, under.length);
    const left = {
      files: partBytes.length - files,
      bytes: totalBytes - Math.floor(bytes),
      turn: inTurn(under, []),
    };
    looks.push({ atMs: nowMs, etaMs: timeLeftMs(pace, left, nowMs), requests: under.length });
    nextMs += stepMs;
  }
  return looks.map((look) => ({ ...look, leftMs: nowMs - look.atMs }));
}

/** As a share of the truth; what is off by less than the second in which it is shown is right. */
function offBy({ leftMs, etaMs }: Look): number {
  if (etaMs === undefined) return Number.POSITIVE_INFINITY;
  return Math.abs(etaMs - leftMs) < 1000 ? 0 : Math.abs(etaMs - leftMs) / Math.max(leftMs, 1000);
}

describe('over connections', () => {
  const some = fc.array(fc.integer({ min: MiB, max: 8 * MiB }), { minLength: 40, maxLength: 200 });

  it('that are fast together: from a third of the way on within 15%, however few are left', () => {
    fc.assert(
      fc.property(
        some,
        fc.integer({ min: 2, max: 30 }),
        fc.integer({ min: 15, max: 120 }),
        (partBytes, connections, s) => {
          const together = partBytes.reduce((sum, bytes) => sum + bytes, 0) / s;
          const looks = looksAt({ partBytes, connections, fast: { together } });
          for (const look of looks) if (look.atMs >= (s * 1000) / 3) expect(offBy(look)).toBeLessThan(0.15);
        },
      ),
      runs,
    );
  });

  it('that are as fast as they are: within 15% when there are fewer of them for three seconds', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 2, max: 40 }),
        fc.double({ min: 0.1, max: 0.8, noNaN: true }),
        fc.integer({ min: 12, max: 60 }),
        (connections, share, waveSeconds) => {
          const fewer = Math.max(1, Math.floor(connections * share));
          const partBytes = Array.from({ length: connections + fewer }, () => 8 * MiB);
          const looks = looksAt({ partBytes, connections, fast: { each: (8 * MiB) / waveSeconds } });
          // Of the last bytes of a file it is not known whether its cost is paid.
          const judged = looks.filter(
            ({ atMs, leftMs }) => atMs >= waveSeconds * 1000 + 3000 && leftMs > waveSeconds * 100,
          );
          for (const look of judged) expect(offBy(look)).toBeLessThan(0.15);
        },
      ),
      runs,
    );
  });

  it('that are as fast as they are, over parts of any size: within 15% when a quarter of them have ended for two seconds', () => {
    fc.assert(
      fc.property(
        some,
        fc.integer({ min: 4, max: 20 }),
        fc.integer({ min: 2, max: 30 }),
        (partBytes, connections, partSeconds) => {
          const looks = looksAt({ partBytes, connections, fast: { each: (8 * MiB) / partSeconds } });
          const fewAt = looks.find(({ requests }) => requests <= connections * 0.75)?.atMs ?? Number.POSITIVE_INFINITY;
          for (const look of looks) if (look.atMs >= fewAt + 2000) expect(offBy(look)).toBeLessThan(0.15);
        },
      ),
      runs,
    );
  });
});

it('of small files that are done by the hundred, before large ones: goes by what a file usually costs', () => {
  const [usualFileCost, largeBytes] = [512 * KiB, 1024 * MiB];
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 64 }),
      fc.integer({ min: 500, max: 4000 }),
      fc.integer({ min: 32, max: 256 }),
      fc.integer({ min: 500, max: 20_000 }),
      (kib, perSecond, lump, forMs) => {
        fc.pre(perSecond * forMs >= 4000 * lump);
        let pace: Pace | undefined;
        let [nowMs, files] = [0, 0];
        const arrived = (): number => (perSecond * nowMs) / 1000;
        for (; nowMs < forMs; nowMs += 50) {
          files = lump * Math.floor(arrived() / lump);
          pace = addDone(pace, nowMs, { files, bytes: Math.floor(arrived() * kib * KiB) }, 64);
        }
        const left = {
          files: 1000,
          bytes: 1000 * kib * KiB + largeBytes,
          turn: { bytes: kib * KiB, ofBytes: kib * KiB, waiting: 0 },
        };
        const workEach = usualFileCost + kib * KiB;
        const expectedMs = ((left.files * usualFileCost + left.bytes) / workEach / perSecond) * 1000;
        const etaMs = timeLeftMs(pace!, left, nowMs)!;
        expect(etaMs / expectedMs).toBeGreaterThan(0.4);
        expect(etaMs / expectedMs).toBeLessThan(2.5);
      },
    ),
    runs,
  );
});

it('while nothing is done, passes no faster than time does, until it cannot be said', () => {
  fc.assert(
    fc.property(
      fc.array(fc.nat(5), { minLength: 20, maxLength: 60 }),
      fc.integer({ min: 1, max: 20 }),
      fc.integer({ min: 1, max: 1000 }),
      fc.integer({ min: 1, max: 16 * MiB }),
      (steps, requests, files, size) => {
        let pace: Pace | undefined;
        let [nowMs, done] = [0, 0];
        const bytes = files * size;
        for (const more of steps) {
          nowMs += 100;
          done += more;
          pace = addDone(pace, nowMs, { files: done, bytes: done * size }, requests);
        }
        let before = timeLeftMs(pace!, { files, bytes, turn: { bytes: size, ofBytes: size, waiting: 0 } }, nowMs);
        for (; before !== undefined; nowMs += 100) {
          const after = timeLeftMs(
            pace!,
            { files, bytes, turn: { bytes: size, ofBytes: size, waiting: 0 } },
            nowMs + 100,
          );
          if (after !== undefined) expect(after).toBeGreaterThanOrEqual(before - 100 - 1e-6);
          before = after;
        }
      },
    ),
    runs,
  );
});

it('nothing is said of a load of which nothing is done, nor of one that stands still; of one that is done, nothing is left', () => {
  const done = { files: 0, bytes: 0 };
  const begun = addDone(undefined, 0, done, 0);
  expect(timeLeftMs(begun, { files: 1, bytes: 1 }, 5000)).toBeUndefined();
  const some = addDone(addDone(begun, 100, { files: 1, bytes: 1000 }, 1), 1100, { files: 2, bytes: 2000 }, 1);
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
    requests: fc.nat(1000),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 300 }), fc.nat(1e6), fc.nat(2 ** 40), (steps, files, bytes) => {
      let pace: Pace | undefined;
      let [nowMs, done] = [0, { files: 0, bytes: 0 }];
      for (const { ms, requests, ...more } of steps) {
        nowMs += ms;
        done = { files: Math.max(0, done.files + more.files), bytes: Math.max(0, done.bytes + more.bytes) };
        pace = addDone(pace, nowMs, done, requests);
        expect(pace.blocks.length).toBeLessThanOrEqual(64);
        const etaMs = timeLeftMs(pace, { files, bytes, turn: { bytes: bytes, ofBytes: bytes, waiting: 0 } }, nowMs);
        if (etaMs !== undefined) expect(Number.isFinite(etaMs) && etaMs >= 0).toBe(true);
      }
    }),
  );
});

it('a load of days has one too', () => {
  const stepMs = 10_000;
  const steps = (4 * 24 * 3600 * 1000) / stepMs;
  let pace: Pace | undefined;
  for (let step = 0; step <= steps; step += 1)
    pace = addDone(pace, step * stepMs, { files: step, bytes: step * 64 * MiB }, 8);
  const left = { files: 360, bytes: 360 * 64 * MiB };
  expect(timeLeftMs(pace!, left, steps * stepMs)! / (360 * stepMs)).toBeCloseTo(1, 1);
});
