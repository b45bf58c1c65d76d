/** How the limit of an origin is divided: sums, floors, and what becomes of a share that nobody uses. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { limitedOrigin, limitOf, makeLimit, strictest } from '../../src/core/origin-limits.ts';
import { divide } from '../../src/core/origin-shares.ts';

const limit = fc.double({ min: 0.5, max: 1e11, noNaN: true });
const demand = fc.oneof(fc.constant(Number.POSITIVE_INFINITY), fc.double({ min: 0, max: 1e11, noNaN: true }));
const demands = fc.array(demand, { minLength: 1, maxLength: 200 });
const sum = (numbers: readonly number[]): number => numbers.reduce((total, one) => total + one, 0);

describe('the shares of a limit', () => {
  it('never sum up to more than it, nor to noticeably less, and nobody who wants something gets nothing', () => {
    fc.assert(
      fc.property(limit, demands, (rate, wanted) => {
        const shares = divide(rate, wanted);
        expect(sum(shares)).toBeLessThanOrEqual(rate);
        expect(sum(shares)).toBeGreaterThan(rate * (1 - 1e-9));
        for (const share of shares) expect(share).toBeGreaterThan((rate * 0.099) / wanted.length);
      }),
    );
  });

  it('are the same for the same demands, in whatever order they are named', () => {
    fc.assert(
      fc.property(limit, demands, fc.nat(), (rate, wanted, by) => {
        const turn = by % wanted.length;
        const turned = [...wanted.slice(turn), ...wanted.slice(0, turn)];
        const shares = divide(rate, wanted);
        divide(rate, turned).forEach((share, at) => {
          expect(share).toBeCloseTo(shares[(at + turn) % wanted.length]!, Math.log10(1e6 / rate));
        });
      }),
    );
  });

  it('give who wants more no less than who wants less, and each what it wants while there is enough', () => {
    fc.assert(
      fc.property(limit, demands, (rate, wanted) => {
        const shares = divide(rate, wanted);
        const order = wanted.map((_, at) => at).sort((a, b) => wanted[a]! - wanted[b]!);
        for (let at = 1; at < order.length; at += 1)
          expect(shares[order[at]!]!).toBeGreaterThanOrEqual(shares[order[at - 1]!]! * (1 - 1e-9));
        if (sum(wanted) <= rate * 0.9)
          for (const [at, share] of shares.entries()) expect(share).toBeGreaterThanOrEqual(wanted[at]! * (1 - 1e-9));
      }),
    );
  });

  it('go to the others when one becomes idle, and are even again when all want more', () => {
    fc.assert(
      fc.property(limit, fc.integer({ min: 2, max: 50 }), (rate, count) => {
        let shares = divide(
          rate,
          Array.from({ length: count }, () => Number.POSITIVE_INFINITY),
        );
        for (const share of shares) expect(share / (rate / count)).toBeCloseTo(1, 6);
        // The first one uses less and less; the others take all that they can get.
        let used = shares[0]!;
        for (let turn = 0; turn < 30; turn += 1) {
          used /= 2;
          shares = divide(rate, [used * 1.25, ...Array.from({ length: count - 1 }, () => Number.POSITIVE_INFINITY)]);
        }
        expect(sum(shares.slice(1)) / rate).toBeGreaterThan(0.9);
        expect(
          sum(
            divide(
              rate,
              Array.from({ length: count - 1 }, () => Number.POSITIVE_INFINITY),
            ),
          ) / rate,
        ).toBeCloseTo(1, 6);
      }),
    );
  });
});

describe('limits', () => {
  it('of an origin is the longest that it lies below', () => {
    const limits = ['s3://', 's3://data/', 'file:///mnt/'].map((origin) => ({ origin }));
    expect(limitOf('s3://data/', limits)?.origin).toBe('s3://data/');
    expect(limitOf('s3://database/', limits)?.origin).toBe('s3://');
    expect(limitOf('file:///mnt/', limits)?.origin).toBe('file:///mnt/');
    expect(limitOf('file:///srv/', limits)).toBeUndefined();
  });

  it.each([
    ['s3://', 's3://'],
    ['s3://data', 's3://data/'],
    ['s3://data/', 's3://data/'],
    ['file:///mnt/nas', 'file:///mnt/nas/'],
    ['file:///', 'file:///'],
  ])('for %s', (path, origin) => expect(limitedOrigin(path)).toBe(origin));

  it.each(['s3://data/dir/', 's3:///', 'data', 'file://host/dir', ''])('are not for %j', (path) => {
    expect(() => limitedOrigin(path)).toThrow(/whole origin/);
  });

  it('of several coordinators: the least of each counts', () => {
    const one = [makeLimit('s3://a/', { bytesPerSecond: 5 }), makeLimit('s3://b/', { requestsPerSecond: 3 })];
    const other = [makeLimit('s3://a/', { bytesPerSecond: 7, requestsPerSecond: 1 }), makeLimit('s3://c/', {})];
    expect(strictest([one, other])).toEqual([
      { origin: 's3://a/', bytesPerSecond: 5, requestsPerSecond: 1 },
      { origin: 's3://b/', requestsPerSecond: 3 },
      { origin: 's3://c/' },
    ]);
  });
});
