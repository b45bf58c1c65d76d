import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { hastyMs, isLost, noSilence, type OriginSilence, setsAside, silenceAfter } from '../../src/core/silence.ts';

const unanswered = ['connect', 'connect-timeout', 'first-byte-timeout', 'reset'] as const;
const answered = ['missing', 'denied', 'server', 'throttled', 'changed', 'range', 'short', 'stall', undefined] as const;
const request = fc.record({
  cause: fc.constantFrom<string | undefined>(...unanswered, ...answered, 'cancelled'),
  givenUp: fc.boolean(),
});
type Request = { cause: string | undefined; givenUp: boolean };

const stateAfter = (requests: readonly Request[]): OriginSilence =>
  requests.reduce(
    (silence, { cause, givenUp }) => silenceAfter(silence, { ...(cause === undefined ? {} : { cause }), givenUp }),
    noSilence,
  );
const isAnswer = ({ cause }: Request): boolean => (answered as readonly (string | undefined)[]).includes(cause);

describe('an origin is lost', () => {
  it('only by parts that were given up in a row, with no answer of any kind between', () => {
    fc.assert(
      fc.property(fc.array(request, { maxLength: 200 }), (requests) => {
        const lastAnswer = requests.findLastIndex(isAnswer);
        const since = requests.slice(lastAnswer + 1).filter(({ cause }) => cause !== 'cancelled');
        const silence = stateAfter(requests);
        expect(silence.unanswered).toBe(since.length);
        expect(isLost(silence)).toBe(since.filter(({ givenUp }) => givenUp).length >= 16);
      }),
    );
  });

  it('after 16 parts at the latest, however many there are', () => {
    fc.assert(
      fc.property(fc.array(request), fc.constantFrom(...unanswered), (before, cause) => {
        const given = Array.from({ length: 16 }, () => ({ cause, givenUp: true }));
        expect(isLost(stateAfter([...before, ...given]))).toBe(true);
        expect(isLost(stateAfter([...before, ...given, { cause: undefined, givenUp: false }]))).toBe(false);
      }),
    );
  });
});

describe('a file is set aside', () => {
  it('for silence about it, and not for anything else, nor while the origin says nothing at all', () => {
    fc.assert(
      fc.property(
        fc.array(request, { maxLength: 600 }),
        fc.constantFrom(...unanswered, ...answered),
        (before, cause) => {
          const silence = stateAfter(before);
          const set = setsAside(cause ?? 'none', silence);
          if (set) expect(['first-byte-timeout', 'stall']).toContain(cause);
          if (silence.unanswered >= 256) expect(set).toBe(false);
        },
      ),
    );
    expect(setsAside('stall', noSilence)).toBe(true);
    expect(setsAside('stall', { unanswered: 256, givenUp: 0 })).toBe(false);
  });

  it('after a part of the timeout, never so soon that a busy machine is to blame', () => {
    fc.assert(
      fc.property(fc.integer({ min: 10, max: 600_000 }), (timeoutMs) => {
        const ms = hastyMs(timeoutMs);
        expect(ms).toBeLessThanOrEqual(timeoutMs);
        expect(ms).toBeGreaterThanOrEqual(Math.min(timeoutMs, 1000));
        if (timeoutMs >= 8000) expect(ms).toBe(timeoutMs / 8);
      }),
    );
  });
});
