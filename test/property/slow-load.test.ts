/** What loads from slow origins say of the time left, where requests share what there is and where each has a pace of its own. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { seededRandom } from '../../src/core/random.ts';
import { KiB, MiB } from '../../src/core/units.ts';
import { looksAtSlowLoad, type SlowLoad } from '../support/slow-load.ts';

const partBytes = 8 * MiB;
const worlds = ['shared', 'each', 'held'] as const;
const kinds = [
  'few waves of parts',
  'parts of any size',
  'files of any size',
  'small files',
  'small files in step',
] as const;

/** Of those from a third of the way on, how many are within 15% of the truth, or less than the second in which it is shown. */
function rightOf(load: SlowLoad): { readonly looks: number; readonly right: number } {
  const looks = looksAtSlowLoad(load);
  const judged = looks.filter(({ atMs, leftMs }) => atMs >= (atMs + leftMs) / 3);
  const right = judged.filter(({ leftMs, etaMs }) => {
    const wrongMs = Math.abs((etaMs ?? Number.POSITIVE_INFINITY) - leftMs);
    return wrongMs < 1000 || wrongMs <= 0.15 * leftMs;
  });
  return { looks: judged.length, right: right.length };
}

function loadOf(kind: (typeof kinds)[number], world: SlowLoad['world'], seed: number): SlowLoad {
  const random = seededRandom(seed);
  const between = (least: number, most: number): number => least + (most - least) * random();
  const slots = Math.round(between(4, 40));
  const inStep = kind === 'small files in step';
  const isSmall = inStep || kind === 'small files';
  const several = (times: number, bytes: () => number): number[] =>
    Array.from({ length: Math.ceil(slots * times) }, () => Math.ceil(bytes()));
  const fileBytes = {
    'few waves of parts': () => several(between(0.25, 1), () => 4 * partBytes),
    'parts of any size': () => several(between(1.5, 6), () => between(MiB, partBytes)),
    'files of any size': () => several(between(3, 6), () => between(MiB, 5 * partBytes)),
    'small files': () => several(between(8, 30), () => between(4 * KiB, 64 * KiB)),
    'small files in step': () => several(between(8, 30), () => between(4 * KiB, 64 * KiB)),
  }[kind]();
  return {
    ...{ fileBytes, partBytes, slots, world, random },
    latencyMs: inStep ? between(1000, 3000) : isSmall ? between(200, 1500) : between(10, 400),
    ...(inStep && { spread: 0.02, countedMs: between(100, 500) }),
    bytesPerSecond: isSmall ? 256 * KiB : partBytes / between(4, 30),
    noise: between(0.1, 0.6),
  };
}

describe('of all that is said from a third of the way on, 99% is within 15% of the truth', () => {
  for (const kind of kinds)
    for (const world of worlds)
      it(`${kind}, ${world}`, () => {
        let [looks, right] = [0, 0];
        for (let seed = 1; seed <= 10; seed += 1) {
          const one = rightOf(loadOf(kind, world, seed * 7919));
          looks += one.looks;
          right += one.right;
        }
        expect(right / looks).toBeGreaterThanOrEqual(0.99);
      });
});

it('is finite and positive, whatever the load', () => {
  fc.assert(
    fc.property(fc.constantFrom(...kinds), fc.constantFrom(...worlds), fc.integer(), (kind, world, seed) => {
      for (const { etaMs = 0 } of looksAtSlowLoad(loadOf(kind, world, seed)))
        expect(Number.isFinite(etaMs) && etaMs >= 0).toBe(true);
    }),
    { numRuns: 12 },
  );
});
