import fc from 'fast-check';
import { expect, it } from 'vitest';
import { listPage } from '../../../src/core/listing.ts';
import { MemoryFiles } from '../../support/memory-files.ts';

// Few letters, so that prefixes and delimiters meet; the last ones sort differently in UTF-8 and in UTF-16.
const key = fc.string({
  unit: fc.constantFrom('a', 'b', '/', '0', '-', '\u{ffff}', '\u{1f600}', '\u{10ffff}'),
  minLength: 1,
  maxLength: 6,
});
const byBytes = (a: string, b: string) => Buffer.compare(Buffer.from(a), Buffer.from(b));

/** The definition: fold every key, take each result once, in byte order. */
function model(keys: readonly string[], prefix: string, delimiter: string): string[] {
  const folded = keys
    .filter((one) => one.startsWith(prefix))
    .map((one) => {
      const at = delimiter === '' ? -1 : one.indexOf(delimiter, prefix.length);
      return at < 0 ? one : one.slice(0, at + delimiter.length);
    });
  return [...new Set(folded)].sort(byBytes);
}

it('lists by pages what a naive listing lists at once', () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(key, { maxLength: 30 }),
      fc.string({ unit: fc.constantFrom('a', 'b', '/'), maxLength: 2 }),
      fc.constantFrom('', '/', 'b', '/a'),
      fc.integer({ min: 1, max: 7 }),
      (keys, prefix, delimiter, maxKeys) => {
        const files = new MemoryFiles();
        for (const one of keys) files.put(`s3://bucket/${one}`, 'x');
        files.put('s3://bucket0/other', 'x');
        files.put('s3://bucke/other', 'x');
        const seen: string[] = [];
        let after = '';
        for (let pages = 0; ; pages += 1) {
          expect(pages).toBeLessThanOrEqual(keys.length);
          const page = listPage(files, { root: 's3://bucket/', prefix, delimiter, after, maxKeys });
          const names = [...page.files.map((file) => file.key), ...page.commonPrefixes];
          expect(names.length).toBeLessThanOrEqual(maxKeys);
          seen.push(...names.sort(byBytes));
          if (page.next === undefined) break;
          expect(names).toHaveLength(maxKeys);
          after = page.next;
        }
        expect(seen).toEqual(model(keys, prefix, delimiter));
      },
    ),
    { numRuns: 300 },
  );
});
