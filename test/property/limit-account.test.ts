/** Every moment of a load is charged once: on a worker, and on the coordinator. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  charge,
  emptyAccount,
  grownBy,
  type LimitAccount,
  laneStates,
  type RunLook,
  slotTimeOf,
  totalOf,
  weightsOf,
  weightsOfJob,
} from '../../src/core/limit-account.ts';
import { type LimitState, type LimitSums, limitStates, limitsOf } from '../../src/core/limit-causes.ts';

/** Milliseconds, to thousandths: so small that it vanishes beside others is no time. */
const amount = fc.oneof(
  fc.constant(0),
  fc.nat(10_000_000).map((thousandths) => thousandths / 1000),
);
const count = fc.oneof(fc.constant(0), fc.nat(300));
const sums = (states: readonly LimitState[]): fc.Arbitrary<LimitSums> =>
  fc.array(fc.tuple(fc.constantFrom(...states), amount), { maxLength: 6 }).map((pairs) => Object.fromEntries(pairs));
const share = fc.double({ min: 0, max: 1, noNaN: true });
const look: fc.Arbitrary<RunLook> = fc.record({
  lanes: sums(laneStates),
  partsInLanes: count,
  queued: fc.boolean(),
  lacksSlot: fc.boolean(),
  slotsInUse: fc.integer({ min: 1, max: 64 }),
  freeSlots: fc.nat(64),
  heldBy: fc.constantFrom(undefined, 'throttled', 'bandwidth', 'requests'),
  throttledBy: fc.constantFrom('throttled', 'throttled-503', 'throttled-429'),
  retrying: fc.record({ throttled: count, failed: count, copying: count }),
  heads: count,
  landingParts: count,
  landing: fc.constantFrom('disk-flush', 'commit'),
  files: fc.boolean(),
  utilization: share,
  yielding: fc.boolean(),
});
const close = (a: number, b: number): boolean => Math.abs(a - b) <= 1e-6 * Math.max(1, a, b);
const charged = ({ sums: all, pendingMs }: LimitAccount): number => totalOf(all) + pendingMs;

test('what a run was waiting for adds up to the time that has passed, whatever is found', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(amount, look), { maxLength: 30 }), (looks) => {
      let account = emptyAccount;
      let passedMs = 0;
      for (const [elapsedMs, one] of looks) {
        account = charge(account, elapsedMs, weightsOf(one));
        passedMs += elapsedMs;
        if (!close(charged(account), passedMs)) return false;
        if (Object.values(account.sums).some((ms) => !(ms >= 0))) return false;
      }
      return true;
    }),
  );
});

test('a run is always known to wait for something, except while lanes have not said what their parts wait for', () => {
  fc.assert(
    fc.property(look, (one) => {
      const weights = weightsOf(one);
      if (weights === undefined) return one.partsInLanes > 0 && totalOf(one.lanes) === 0;
      return totalOf(weights) > 0;
    }),
  );
});

test('the slots of a lane are charged as long as they were in use', () => {
  const requests = fc.array(count, { minLength: laneStates.length, maxLength: laneStates.length });
  const slots = fc.nat(64);
  fc.assert(
    fc.property(
      fc.record({ receiving: slots, writing: slots, reading: slots }),
      fc.tuple(requests, requests),
      fc.record({ utilization: share, checksums: fc.double({ min: 0, max: 3, noNaN: true }) }),
      fc.integer({ min: 1, max: 10_000 }),
      (use, [own, more], loop, elapsedMs) => {
        const into = new Float64Array(laneStates.length);
        const others = Float64Array.from(own, (waits, at) => waits + more[at]!);
        slotTimeOf({ ...use, requests: Float64Array.from(own), others }, loop, elapsedMs, into);
        const known = others.some((waits) => waits > 0) ? use.receiving : 0;
        const inUse = known + use.writing + use.reading;
        const total = into.reduce((sum, ms) => sum + ms, 0);
        return close(total, inUse * elapsedMs) && into.every((ms) => ms >= 0);
      },
    ),
  );
});

test('what a job was waiting for is a whole, and it waits for the scheduler no more than any of its workers', () => {
  // That there is a listing the coordinator knows, and nobody else.
  const states = (Object.keys(limitStates) as LimitState[]).filter((state) => state !== 'listing');
  fc.assert(
    fc.property(fc.array(sums(states), { maxLength: 6 }), fc.boolean(), (workers, listing) => {
      const weights = weightsOfJob(workers, { listing });
      const heard = workers.filter((one) => totalOf(one) > 0);
      if (heard.length === 0) return totalOf(weights) === 0;
      const idle = Math.min(...heard.map((one) => (one.work ?? 0) / totalOf(one)));
      return close(totalOf(weights), 1) && close(weights[listing ? 'listing' : 'work'] ?? 0, idle);
    }),
  );
});

test('shares are those of the sums, largest first', () => {
  fc.assert(
    fc.property(sums(Object.keys(limitStates) as LimitState[]), (all) => {
      const limits = limitsOf(all);
      if (totalOf(all) === 0) return limits === undefined;
      const shares = limits!.map((limit) => limit.share);
      expect(shares).toEqual([...shares].sort((a, b) => b - a));
      const total = shares.reduce((sum, one) => sum + one, 0);
      return total > 0.9 && total < 1.02 && new Set(limits!.map(({ cause }) => cause)).size === limits!.length;
    }),
  );
});

test('what grew is what came to it, and a worker that began anew is heard from its beginning', () => {
  fc.assert(
    fc.property(sums(laneStates), sums(laneStates), (before, more) => {
      const after = { ...before };
      for (const state of laneStates) after[state] = (before[state] ?? 0) + (more[state] ?? 0);
      return close(totalOf(grownBy(after, before)), totalOf(more)) || totalOf(more) < 1e-6;
    }),
  );
  expect(grownBy({ transfer: 5 }, { transfer: 100 })).toEqual({ transfer: 5 });
});
