import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  answeredAt,
  type Breaker,
  closedBreaker,
  failedAt,
  firstBackoffMs,
  longestBackoffMs,
  probeLimitMs,
  steadyMs,
  wantedAt,
} from '../../src/core/breaker.ts';

const chance = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
const step = fc.record({
  act: fc.constantFrom('fails', 'answers', 'is wanted'),
  afterMs: fc.integer({ min: 0, max: 2 * steadyMs }),
  random: chance,
});
const steps = fc.array(step, { maxLength: 60 });

interface Seen {
  readonly breaker: Breaker;
  readonly nowMs: number;
  readonly probes: readonly number[];
}

function seenAfter(taken: readonly { act: string; afterMs: number; random: number }[], from?: Seen): Seen {
  let { breaker, nowMs } = from ?? { breaker: closedBreaker, nowMs: 0 };
  const probes = [...(from?.probes ?? [])];
  for (const { act, afterMs, random } of taken) {
    nowMs += afterMs;
    if (act === 'fails') breaker = failedAt(breaker, nowMs, () => random);
    else if (act === 'answers') breaker = answeredAt(breaker, nowMs);
    else {
      const wanted = wantedAt(breaker, nowMs);
      breaker = wanted.breaker;
      if (wanted.probe) probes.push(nowMs);
    }
  }
  return { breaker, nowMs, probes };
}

describe('somebody who may be unreachable', () => {
  it('is avoided from his first failure until he answers, whatever comes between', () => {
    fc.assert(
      fc.property(steps, steps, chance, (before, between, random) => {
        const failed = seenAfter([...before, { act: 'fails', afterMs: 0, random }]);
        const later = seenAfter(
          between.filter(({ act }) => act !== 'answers'),
          failed,
        );
        expect(wantedAt(later.breaker, later.nowMs).avoid).toBe(true);
        const well = seenAfter([{ act: 'answers', afterMs: 0, random }], later);
        expect(wantedAt(well.breaker, well.nowMs)).toEqual({ breaker: well.breaker, avoid: false, probe: false });
      }),
    );
  });

  it('is probed by one at a time, not before his time is over, and always again some day', () => {
    fc.assert(
      fc.property(steps, chance, (before, random) => {
        const { breaker, nowMs } = seenAfter([...before, { act: 'fails', afterMs: 0, random }]);
        expect(breaker.state).toBe('open');
        expect(wantedAt(breaker, breaker.atMs - 1).probe).toBe(false);
        expect(breaker.atMs - nowMs).toBeLessThanOrEqual(longestBackoffMs * 1.25);
        const begun = wantedAt(breaker, breaker.atMs);
        expect(begun.probe).toBe(true);
        for (const laterMs of [0, probeLimitMs - 1]) {
          const meanwhile = wantedAt(begun.breaker, breaker.atMs + laterMs);
          expect(meanwhile).toEqual({ breaker: begun.breaker, avoid: true, probe: false });
        }
        expect(wantedAt(begun.breaker, breaker.atMs + probeLimitMs).probe).toBe(true);
      }),
    );
  });

  it('is left alone for longer each time that he fails again, and for a short time after a long one of health', () => {
    fc.assert(
      fc.property(steps, steps, chance, (before, between, random) => {
        const first = seenAfter([...before, { act: 'fails', afterMs: 0, random }]);
        const probed = seenAfter([{ act: 'is wanted', afterMs: 2 * longestBackoffMs, random }], first);
        const again = seenAfter([{ act: 'fails', afterMs: 0, random }], probed);
        expect(again.breaker.backoffMs).toBe(Math.min(longestBackoffMs, first.breaker.backoffMs * 2));
        const well = seenAfter([{ act: 'answers', afterMs: 0, random }], again);
        const soon = seenAfter([{ act: 'fails', afterMs: steadyMs - 1, random }], well);
        expect(soon.breaker.backoffMs).toBe(Math.min(longestBackoffMs, again.breaker.backoffMs * 2));
        const steady = seenAfter([...between.filter(({ act }) => act !== 'fails')], well);
        const late = seenAfter([{ act: 'fails', afterMs: steadyMs, random }], steady);
        expect(late.breaker.backoffMs).toBe(firstBackoffMs);
      }),
    );
  });

  it('is not left alone for longer by failures of what had begun before', () => {
    fc.assert(
      fc.property(steps, chance, fc.array(chance), (before, random, others) => {
        const { breaker, nowMs } = seenAfter([...before, { act: 'fails', afterMs: 0, random }]);
        const more = others.map((one) => ({ act: 'fails', afterMs: 0, random: one }));
        expect(seenAfter(more, { breaker, nowMs, probes: [] }).breaker).toEqual(breaker);
      }),
    );
  });
});
