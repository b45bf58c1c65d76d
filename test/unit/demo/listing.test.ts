import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type ListPage, listPage } from '../../../src/demo/origin/listing.ts';
import { compareUtf8 } from '../../../src/demo/origin/objects.ts';

const keys = fc.uniqueArray(
  fc.string({ unit: fc.constantFrom('a', 'b', '/', '+', 'ü', '\ue000', '🚀'), minLength: 1, maxLength: 6 }),
  { maxLength: 40 },
);
const prefix = fc.string({ unit: fc.constantFrom('a', 'b', '/'), maxLength: 2 });

describe('listing', () => {
  test('keys are in the order of their UTF-8 bytes', () => {
    fc.assert(
      fc.property(keys, (names) => {
        const byBytes = [...names].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
        expect([...names].sort(compareUtf8)).toEqual(byBytes);
      }),
    );
  });

  test('pages of any size together are the naive listing, with and without delimiter', () => {
    fc.assert(
      fc.property(keys, prefix, fc.boolean(), fc.integer({ min: 1, max: 5 }), (names, start, grouped, maxKeys) => {
        const sorted = [...names].sort(compareUtf8);
        const delimiter = grouped ? '/' : '';
        const listed: string[] = [];
        let after = '';
        for (;;) {
          const page: ListPage = listPage(sorted, { prefix: start, delimiter, after, maxKeys });
          listed.push(...page.keys, ...page.commonPrefixes);
          expect(page.keys.length + page.commonPrefixes.length).toBeLessThanOrEqual(maxKeys);
          if (page.next === undefined) break;
          expect(page.keys.length + page.commonPrefixes.length).toBe(maxKeys);
          after = page.next;
        }
        const naive = new Set(
          sorted
            .filter((key) => key.startsWith(start))
            .map((key) => {
              const cut = grouped ? key.indexOf('/', start.length) : -1;
              return cut < 0 ? key : key.slice(0, cut + 1);
            }),
        );
        expect(listed).toHaveLength(naive.size);
        expect(new Set(listed)).toEqual(naive);
      }),
      { numRuns: 300 },
    );
  });
});
