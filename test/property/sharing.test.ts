/** Slots and places of several claimants, by weight: simulated with slots that are held for times of all kinds. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FairQueue } from '../../src/core/fair-queue.ts';
import { FairShare } from '../../src/core/fair-share.ts';

interface Claimant {
  readonly weight: number;
  /** Longest time that it holds a slot, in ms; each is between half of it and it. */
  readonly longestMs: number;
  /** When it has work: from, to. */
  readonly from: number;
  readonly to: number;
}

/** Slot time by claimant between two moments, of a pool that is given out by FairShare. */
function simulate(claimants: readonly Claimant[], slots: number, between: [number, number], random: () => number) {
  const share = new FairShare<number>(slots);
  const held: { key: number; since: number; until: number }[] = [];
  const slotMs = claimants.map(() => 0);
  const joined = new Set<number>();
  let now = 0;
  while (now < between[1]) {
    claimants.forEach(({ from, weight }, key) => {
      if (from <= now && !joined.has(key)) {
        joined.add(key);
        share.join(key, weight);
      }
    });
    while (held.length < slots) {
      const key = share.next((one) => claimants[one]!.from <= now && now < claimants[one]!.to, now);
      if (key === undefined) break;
      share.took(key, now);
      held.push({ key, since: now, until: now + claimants[key]!.longestMs * (0.5 + random() / 2) });
    }
    const coming = claimants.filter(({ from }) => from > now).map(({ from }) => from);
    const next = Math.min(between[1], ...held.map(({ until }) => until), ...coming);
    for (const { key } of held) slotMs[key]! += Math.max(0, next - Math.max(now, between[0]));
    now = next;
    for (let at = held.length - 1; at >= 0; at -= 1) {
      if (held[at]!.until > now) continue;
      const [{ key, since }] = held.splice(at, 1) as [(typeof held)[number]];
      share.gaveBack(key, since, now);
    }
  }
  return slotMs;
}

/** mulberry32 */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const weight = fc.integer({ min: 1, max: 100 });
const longestMs = fc.integer({ min: 1, max: 1000 });
const always = { from: 0, to: Number.POSITIVE_INFINITY };
const slots = fc.integer({ min: 1, max: 32 });

describe('slots', () => {
  it('are held in proportion to the weights, however few there are and however long each is held', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(weight, longestMs), { minLength: 2, maxLength: 5 }),
        slots,
        fc.nat(),
        (all, n, seed) => {
          const claimants = all.map(([w, ms]) => ({ weight: w, longestMs: ms, ...always }));
          const sum = all.reduce((total, [w]) => total + w, 0);
          const lightest = Math.min(...all.map(([w]) => w));
          // Long enough for some 30 slots of the one with the least weight.
          const untilMs = (30 * 1000 * sum) / lightest / n;
          const had = simulate(claimants, n, [0, untilMs], seeded(seed));
          all.forEach(([w], key) => {
            const share = had[key]! / (untilMs * n);
            expect(share / (w / sum)).toBeGreaterThan(0.9);
            expect(share / (w / sum)).toBeLessThan(1.1);
          });
        },
      ),
      { numRuns: 25 },
    );
  });

  it('are all of the only one that wants them, and shared from the moment that another comes', () => {
    fc.assert(
      fc.property(weight, weight, longestMs, longestMs, fc.nat(), (first, second, oneMs, otherMs, seed) => {
        const comes = 50_000;
        const claimants = [
          { weight: first, longestMs: oneMs, ...always },
          { weight: second, longestMs: otherMs, from: comes, to: Number.POSITIVE_INFINITY },
        ];
        const alone = simulate(claimants, 8, [0, comes], seeded(seed));
        expect(alone).toEqual([comes * 8, 0]);
        const longMs = (30 * 1000 * (first + second)) / Math.min(first, second) / 8;
        const both = simulate(claimants, 8, [comes, comes + longMs], seeded(seed));
        const share = both[1]! / (both[0]! + both[1]!);
        expect(share / (second / (first + second))).toBeGreaterThan(0.85);
        expect(share / (second / (first + second))).toBeLessThan(1.15);
      }),
      { numRuns: 15 },
    );
  });

  it('of one that is stuck are no more than its part, rounded up, while another one has work', () => {
    fc.assert(
      fc.property(weight, weight, slots, longestMs, fc.nat(), (stuck, other, n, ms, seed) => {
        const share = new FairShare<string>(n);
        share.join('stuck', stuck);
        share.join('other', other);
        const random = seeded(seed);
        const held = { stuck: 0, other: [] as { since: number; until: number }[] };
        for (let now = 0; now < 20 * ms; now = Math.min(now + ms, ...held.other.map(({ until }) => until))) {
          for (const { since } of held.other.filter(({ until }) => until <= now)) share.gaveBack('other', since, now);
          held.other = held.other.filter(({ until }) => until > now);
          while (held.stuck + held.other.length < n) {
            const key = share.next(() => true, now)!;
            share.took(key, now);
            if (key === 'stuck') held.stuck += 1;
            else held.other.push({ since: now, until: now + Math.max(0.5, ms * random()) });
          }
        }
        expect(held.stuck).toBe(Math.min(n, Math.ceil((n * stuck) / (stuck + other))));
      }),
    );
  });

  it('one that comes back has no credit for the time that it wanted nothing', () => {
    const share = new FairShare<string>(1);
    share.join('busy', 10);
    share.join('back', 10);
    const busyOnly = (key: string) => key === 'busy';
    for (let now = 0; now < 10_000; now += 10) {
      expect(share.next(busyOnly, now)).toBe('busy');
      share.took('busy', now);
      share.gaveBack('busy', now, now + 10);
    }
    const turns: string[] = [];
    for (let now = 10_000; now < 10_400; now += 10) {
      const key = share.next(() => true, now)!;
      share.took(key, now);
      share.gaveBack(key, now, now + 10);
      turns.push(key);
    }
    expect(turns.filter((key) => key === 'back').length).toBe(20);
  });
});

describe('places in a window', () => {
  it('go by weight, and nobody waits behind what another one has queued', () => {
    fc.assert(
      fc.property(weight, weight, fc.integer({ min: 100, max: 400 }), (first, second, places) => {
        const queue = new FairQueue<string, string>();
        for (let n = 0; n < 2000; n += 1) queue.push('a', 'a', first);
        const held = { a: 0, b: 0 };
        const take = (): void => {
          held[queue.take() as 'a' | 'b'] += 1;
        };
        for (let n = 0; n < places; n += 1) take();
        for (let n = 0; n < 2000; n += 1) queue.push('b', 'b', second);
        queue.giveBack('a');
        held.a -= 1;
        take();
        expect(held.b).toBe(1);
        for (let n = 0; n < 1200; n += 1) {
          const from = held.a / first > held.b / second ? 'a' : 'b';
          queue.giveBack(from);
          held[from] -= 1;
          take();
        }
        expect(Math.abs(held.a - (places * first) / (first + second))).toBeLessThanOrEqual(2);
      }),
    );
  });

  it('keep the order of each, and give back what is removed', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.integer({ min: 0, max: 4 }), fc.nat())), (items) => {
        const queue = new FairQueue<number, readonly [number, number]>();
        for (const item of items) queue.push(item[0], item, 1 + item[0]);
        const removed = queue.remove(([, n]) => n % 3 === 0);
        expect(removed.length + queue.length).toBe(items.length);
        const taken: (readonly [number, number])[] = [];
        for (let one = queue.take(); one !== undefined; one = queue.take()) taken.push(one);
        for (const key of [0, 1, 2, 3, 4]) {
          expect(taken.filter(([of]) => of === key)).toEqual(items.filter(([of, n]) => of === key && n % 3 !== 0));
        }
      }),
    );
  });
});
