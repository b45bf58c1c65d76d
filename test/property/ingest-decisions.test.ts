import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Deque } from '../../src/core/deque.ts';
import { packSize, partCount, partsOf, sliceExtents } from '../../src/core/part-plan.ts';
import { decideRetry, defaultRetry } from '../../src/core/retry.ts';
import { allowed, makeThrottle, succeeded, throttled } from '../../src/core/throttle.ts';
import { makeBucket, refill, spend } from '../../src/core/token-bucket.ts';
import type { Extent, StoreIndex } from '../../src/core/types.ts';
import { alignUp, MiB } from '../../src/core/units.ts';

const range = fc.record({ offset: fc.integer({ min: 0, max: 1e9 }), length: fc.integer({ min: 1, max: 1e8 }) });

describe('parts', () => {
  it('cover a range without gap or overlap, cut only at multiples of the part size', () => {
    fc.assert(
      fc.property(range, fc.integer({ min: 1, max: 16 }), (whole, parts) => {
        const partBytes = parts * MiB;
        let at = whole.offset;
        let count = 0;
        for (const part of partsOf([whole], partBytes)) {
          expect(part.offset).toBe(at);
          expect(part.length).toBeGreaterThan(0);
          expect(Math.floor(part.offset / partBytes)).toBe(Math.floor((part.offset + part.length - 1) / partBytes));
          at += part.length;
          count += 1;
        }
        expect(at).toBe(whole.offset + whole.length);
        expect(count).toBe(partCount(whole, partBytes));
      }),
    );
  });

  it('share a slot only while they are small and fit', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 3 * MiB }), { maxLength: 600 }), (lengths) => {
        const limits = { bytes: 4 * MiB, parts: 256, smallBytes: MiB };
        const count = packSize((index) => lengths[index], limits);
        expect(count).toBe(lengths.length === 0 ? 0 : Math.max(1, count));
        if (count > 1) {
          const packed = lengths.slice(0, count);
          expect(packed.reduce((sum, length) => sum + alignUp(length), 0)).toBeLessThanOrEqual(limits.bytes);
          expect(Math.max(...packed)).toBeLessThanOrEqual(limits.smallBytes);
          expect(count).toBeLessThanOrEqual(limits.parts);
        }
      }),
    );
  });

  it('find their extents in those of their unit', () => {
    const extents = fc
      .array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 10 })
      .map((lengths) =>
        lengths.map(
          (grains, index): Extent => ({ store: 0 as StoreIndex, offset: index * 1e6 * 4096, length: grains * 4096 }),
        ),
      );
    fc.assert(
      fc.property(extents, fc.nat(), fc.nat(), (run, a, b) => {
        const total = run.reduce((sum, extent) => sum + extent.length, 0);
        const from = (a % (total / 4096)) * 4096;
        const length = ((b % ((total - from) / 4096)) + 1) * 4096;
        const pieces = sliceExtents(run, from, length);
        expect(pieces.reduce((sum, piece) => sum + piece.length, 0)).toBe(length);
        // byte i of the slice is byte from + i of the run
        const placeOf = (list: readonly Extent[], at: number): number => {
          let rest = at;
          for (const extent of list) {
            if (rest < extent.length) return extent.offset + rest;
            rest -= extent.length;
          }
          return -1;
        };
        for (let at = 0; at < length; at += 4096) expect(placeOf(pieces, at)).toBe(placeOf(run, from + at));
      }),
    );
  });
});

describe('retries', () => {
  const causes = [
    'connect',
    'reset',
    'stall',
    'server',
    'throttled',
    'changed',
    'missing',
    'denied',
    'client',
    'range',
  ];

  it('are bounded by attempts and by the budget of the run', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...causes), { maxLength: 2000 }), fc.nat(500), (failures, successes) => {
        const budget = { succeeded: successes, spent: 0 };
        let retries = 0;
        for (const cause of failures) {
          if (decideRetry({ cause, attempt: 1 }, defaultRetry, budget, () => 0.5).retry && cause !== 'throttled')
            retries += 1;
        }
        expect(retries).toBeLessThanOrEqual(Math.ceil(defaultRetry.budgetFloor + defaultRetry.budgetRatio * successes));
        expect(budget.spent).toBe(retries);
      }),
    );
  });

  it('are never made for what cannot get better', () => {
    for (const cause of ['changed', 'missing', 'denied', 'client', 'cancelled']) {
      expect(decideRetry({ cause, attempt: 1 }, defaultRetry, { succeeded: 0, spent: 0 }, Math.random)).toEqual({
        retry: false,
        why: 'hopeless',
      });
    }
  });

  it('wait longer each time, with jitter, and as long as the origin asks', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 7 }),
        fc.double({ min: 0, max: 0.999, noNaN: true }),
        fc.option(fc.nat(120_000)),
        (attempt, chance, asked) => {
          const decision = decideRetry(
            { cause: 'reset', attempt, retryAfterMs: asked ?? undefined },
            defaultRetry,
            { succeeded: 0, spent: 0 },
            () => chance,
          );
          if (!decision.retry) throw new Error('must retry');
          const ceiling = Math.min(defaultRetry.maxMs, defaultRetry.baseMs * 2 ** (attempt - 1));
          expect(decision.delayMs).toBeGreaterThanOrEqual(Math.max(ceiling / 2, Math.min(asked ?? 0, 60_000)));
          expect(decision.delayMs).toBeLessThanOrEqual(Math.max(ceiling, asked ?? 0));
        },
      ),
    );
  });
});

describe('the throttle', () => {
  it('halves once for a burst, never below one, and grows back to its maximum', () => {
    let state = makeThrottle(64);
    state = throttled(state, 0, { cooldownMs: 1000 });
    state = throttled(state, 500, { cooldownMs: 1000 });
    expect(allowed(state)).toBe(32);
    for (let second = 1; second < 20; second += 1) state = throttled(state, second * 1000, { cooldownMs: 1000 });
    expect(allowed(state)).toBe(1);
    state = succeeded(state, 1);
    expect(allowed(state)).toBe(2);
    for (let i = 0; i < 10_000; i += 1) state = succeeded(state, 1);
    expect(allowed(state)).toBe(64);
  });

  it('holds new requests for as long as Retry-After says, within its bound', () => {
    const state = throttled(makeThrottle(8), 100, { cooldownMs: 1000, retryAfterMs: 2000 });
    expect(state.holdUntilMs).toBe(2100);
    expect(throttled(state, 200, { cooldownMs: 1000, retryAfterMs: 1e9 }).holdUntilMs).toBe(10_200);
  });
});

describe('the token bucket', () => {
  it('never gives more than its rate and one burst over any time, whatever is spent when', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1000, max: 1e9 }),
        fc.array(fc.record({ waitMs: fc.nat(50), read: fc.nat(100_000) }), { maxLength: 300 }),
        (rate, steps) => {
          let bucket = makeBucket(rate, 0);
          const { burst } = bucket;
          let now = 0;
          let received = 0;
          let largest = 0;
          for (const { waitMs, read } of steps) {
            now += waitMs;
            bucket = refill(bucket, now);
            if (bucket.tokens <= 0) continue;
            bucket = spend(bucket, read);
            received += read;
            largest = Math.max(largest, read);
          }
          expect(received).toBeLessThanOrEqual(burst + (rate * now) / 1000 + largest + 1);
        },
      ),
    );
  });
});

describe('the deque', () => {
  it('behaves as an array does', () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('push' as const), value: fc.nat() }),
      fc.record({ kind: fc.constant('front' as const), value: fc.nat() }),
      fc.record({ kind: fc.constant('shift' as const) }),
      fc.record({ kind: fc.constant('peek' as const), index: fc.nat(5) }),
      fc.record({ kind: fc.constant('clear' as const) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 3000 }), (steps) => {
        const deque = new Deque<number>();
        let model: number[] = [];
        for (const s of steps) {
          if (s.kind === 'push') {
            deque.push(s.value);
            model.push(s.value);
          } else if (s.kind === 'front') {
            deque.pushFront(s.value);
            model.unshift(s.value);
          } else if (s.kind === 'shift') expect(deque.shift()).toBe(model.shift());
          else if (s.kind === 'peek') expect(deque.peek(s.index)).toBe(model[s.index]);
          else {
            expect(deque.clear()).toEqual(model);
            model = [];
          }
          expect(deque.length).toBe(model.length);
        }
      }),
      { numRuns: 50 },
    );
  });
});
