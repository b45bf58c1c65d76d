/** When requests that take each other's place will have ended, over schedules of which the truth is known. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { seededRandom } from '../../src/core/random.ts';
import { lastEndsInMs, type Stretch } from '../../src/core/request-turns.ts';

interface Schedule {
  readonly slots: number;
  readonly count: number;
  readonly durationMs: number;
  /** Of a duration, by how much of it each differs. */
  readonly spread: number;
  readonly seed: number;
}

const lookMs = 100;

/** When each ended, as many at a time as there are slots. */
function endsOf({ slots, count, durationMs, spread, seed }: Schedule): number[] {
  const random = seededRandom(seed);
  const under = Array.from({ length: slots }, () => 0);
  return Array.from({ length: count }, () => {
    const at = under.indexOf(Math.min(...under));
    under[at]! += durationMs * (1 + spread * (2 * random() - 1));
    return under[at]!;
  }).sort((a, b) => a - b);
}

/** What is said again and again, from the end of the first request on. */
function looksAt(
  schedule: Schedule,
): { readonly leftMs: number; readonly saidMs: number | undefined; readonly share: number }[] {
  const ends = endsOf(schedule);
  const lastMs = ends.at(-1)!;
  const looks = [];
  const stretches: Stretch[] = [];
  let ended = ends.filter((atMs) => atMs <= ends[0]!).length;
  for (let nowMs = ends[0]! + lookMs; nowMs < lastMs; nowMs += lookMs) {
    const until = ends.filter((atMs) => atMs <= nowMs).length;
    const requests = Math.min(schedule.slots, schedule.count - until);
    stretches.push({ ms: lookMs, ended: until - ended, requests });
    ended = until;
    const saidMs = lastEndsInMs(stretches, schedule.count - ended, 60_000);
    looks.push({ leftMs: lastMs - nowMs, saidMs, share: nowMs / lastMs });
  }
  return looks;
}

const schedules = fc.record({
  slots: fc.integer({ min: 8, max: 64 }),
  rounds: fc.double({ min: 6, max: 20, noNaN: true }),
  durationMs: fc.integer({ min: 1000, max: 5000 }),
  spread: fc.constantFrom(0, 0.02, 0.1),
  seed: fc.integer(),
});

it('is known from a third of the way on, wherever in a wave one looks, and three durations: within 15%, or half of one', () => {
  fc.assert(
    fc.property(schedules, ({ rounds, ...rest }) => {
      const schedule = { ...rest, count: Math.ceil(rounds * rest.slots) };
      for (const { leftMs, saidMs, share } of looksAt(schedule)) {
        if (share < 3.5 / rounds || share < 1 / 3) continue;
        expect(saidMs).toBeDefined();
        expect(Math.abs(saidMs! - leftMs)).toBeLessThan(Math.max(0.15 * leftMs, rest.durationMs / 2, 500));
      }
    }),
  );
});

it('while nothing ends, passes as time does until something is late, and then stands', () => {
  fc.assert(
    fc.property(schedules, fc.integer({ min: 1, max: 400 }), ({ slots, durationMs }, left) => {
      const wave = [
        { ms: durationMs - 250, ended: 0, requests: slots },
        { ms: 250, ended: slots, requests: slots },
      ];
      const seen: Stretch[] = [...wave, ...wave, ...wave];
      let before = lastEndsInMs(seen, left, 60_000)!;
      for (let at = 0; at < 40; at += 1) {
        const after = lastEndsInMs([...seen, { ms: (at + 1) * 250, ended: 0, requests: slots }], left, 60_000)!;
        const passed = before - after;
        expect(passed).toBeGreaterThan(-1e-6);
        expect(passed).toBeLessThan(250 + 1e-6);
        before = after;
      }
    }),
  );
});

it('nothing is known before one has ended that began while anybody looked', () => {
  expect(lastEndsInMs([{ ms: 1000, ended: 0, requests: 8 }], 100, 1000)).toBeUndefined();
  expect(lastEndsInMs([{ ms: 1000, ended: 8, requests: 8 }], 100, 1000)).toBeUndefined();
  expect(lastEndsInMs([], 100, 1000)).toBeUndefined();
});
