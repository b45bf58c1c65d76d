/** Whether requests share what there is, told from how their paces change: over requests of which it is known. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { addFlows, type FlowSums, type FlowWatch, lookAtFlows, noFlows, oddsOfOwnPace } from '../../src/core/flows.ts';
import { inTurn, mostInTurn } from '../../src/core/in-turn.ts';
import { seededRandom } from '../../src/core/random.ts';
import { normalFrom } from '../support/slow-load.ts';

interface World {
  readonly requests: number;
  readonly seed: number;
  /** How much the pace of a request wavers at each look, and that of all of them. */
  readonly own: number;
  readonly joint: number;
  readonly shared: boolean;
}

/** After 15 s of it. */
function watched({ requests, seed, own, joint, shared }: World): FlowSums {
  const random = seededRandom(seed);
  const normal = normalFrom(random);
  const received = Array.from({ length: requests }, () => 1);
  let watch: FlowWatch | undefined;
  for (let nowMs = 0; nowMs <= 15_000; ) {
    const flows = received.map((receivedBytes, id) => ({ id, receivedBytes }));
    watch = lookAtFlows(
      watch,
      nowMs,
      () => flows,
      received.reduce((sum, bytes) => sum + bytes, 0),
    );
    const paces = received.map(() => Math.max(0.01, 1 + own * normal()));
    const sum = paces.reduce((all, pace) => all + pace, 0);
    const all = Math.max(0.01, 1 + joint * normal());
    const ms = 250 + Math.floor(50 * random());
    for (const [id, pace] of paces.entries())
      received[id]! += 1000 * ms * all * (shared ? (pace * requests) / sum : pace);
    nowMs += ms;
  }
  return watch!.sums;
}

const world = {
  requests: fc.integer({ min: 4, max: 40 }),
  seed: fc.integer(),
  own: fc.double({ min: 0.15, max: 0.5, noNaN: true }),
};

describe('requests', () => {
  it('that take from each other are known to share', () => {
    fc.assert(
      fc.property(fc.record(world), (one) => {
        expect(oddsOfOwnPace(watched({ ...one, joint: 0, shared: true }))).toBeLessThan(-4);
      }),
    );
  });

  it('that know nothing of each other are known to have a pace of their own, or it is not known', () => {
    let known = 0;
    fc.assert(
      fc.property(fc.record(world), (one) => {
        const odds = oddsOfOwnPace(watched({ ...one, joint: 0, shared: false }));
        expect(odds).toBeGreaterThan(-2);
        known += Number(odds > 2);
      }),
      { numRuns: 100 },
    );
    expect(known).toBeGreaterThan(50);
  });

  it('of which each is held to the clock have a pace of their own', () => {
    fc.assert(
      fc.property(fc.record(world), fc.double({ min: 0.05, max: 0.3, noNaN: true }), (one, joint) => {
        expect(oddsOfOwnPace(watched({ ...one, own: 0.01, joint, shared: false }))).toBeGreaterThan(4);
      }),
    );
  });

  it('that share what wavers itself are never taken for ones that do not, where they waver less', () => {
    fc.assert(
      fc.property(fc.record(world), fc.double({ min: 0.8, max: 1, noNaN: true }), (one, joint) => {
        expect(oddsOfOwnPace(watched({ ...one, requests: 20, joint, shared: true }))).toBeLessThanOrEqual(0);
      }),
    );
  });

  it('of several workers say less of a limit that all share', () => {
    fc.assert(
      fc.property(fc.record(world), fc.integer({ min: 2, max: 8 }), (one, workers) => {
        const sums = watched({ ...one, joint: 0, shared: false });
        const all = Array.from({ length: workers }, () => sums).reduce(addFlows, noFlows);
        expect(Math.abs(oddsOfOwnPace(all))).toBeLessThanOrEqual(8);
        expect(all.workers).toBe(workers);
      }),
    );
  });
});

it('what is received in turn is no less than the longest, nor than a fair share, and a part more than that at most', () => {
  const sizes = fc.array(fc.integer({ min: 1, max: 1000 }), { maxLength: 60 });
  fc.assert(
    fc.property(fc.array(fc.nat(1000), { minLength: 1, maxLength: 20 }), sizes, (underWay, queued) => {
      const { bytes, ofBytes, waiting } = inTurn(underWay, queued);
      expect(waiting).toBe(queued.length);
      expect(ofBytes).toBe([...underWay, ...queued].reduce((sum, size) => sum + size, 0));
      expect(bytes).toBeGreaterThanOrEqual(Math.max(...underWay, ...queued, ofBytes / underWay.length));
      expect(bytes).toBeLessThanOrEqual(ofBytes / underWay.length + Math.max(...underWay, ...queued));
    }),
  );
  expect(
    inTurn(
      [5],
      Array.from({ length: 2 * mostInTurn }, () => 1),
    ).waiting,
  ).toBe(mostInTurn);
  expect(inTurn([], [7])).toEqual({ bytes: 0, ofBytes: 0, waiting: 0 });
});
