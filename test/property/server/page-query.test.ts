/** Whatever a client makes of a path on its way into a query, the one that has the id is found, and the other values too. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { pathId } from '../../../src/core/path-id.ts';
import { pageQuery, pathQuery } from '../../../src/server/pages/query.ts';

/** Keys with all that queries are made of. */
const key = fc
  .array(
    fc.oneof(
      fc.constantFrom('+', '%', '&', '=', '%41', '%2B', '?', '#', '/', 'offset=7', ' '),
      fc.string({ unit: 'grapheme' }),
    ),
    {
      maxLength: 8,
    },
  )
  .map((parts) => `s3://b/${parts.join('')}`)
  .filter((path) => path.split('&').length < 60);

const latin1 = (text: string): string => Buffer.from(text).toString('latin1');
const encoders: Readonly<Record<string, (path: string) => string>> = {
  component: encodeURIComponent,
  form: (path) => new URLSearchParams({ path }).toString().slice('path='.length),
  asItIs: latin1,
  beyondAscii: (path) => path.replace(/[\u0080-\u{10ffff}]+/gu, encodeURIComponent),
};
const encoder = fc.constantFrom(...Object.keys(encoders));

it('a path with its id', () => {
  fc.assert(
    fc.property(key, encoder, fc.nat(), fc.nat(), fc.boolean(), (path, name, offset, length, last) => {
      const values = `offset=${offset}&length=${length}`;
      const told = `ufsFullPath=${encoders[name]!(path)}`;
      const query = pageQuery(`/v1/range/x?${last ? `${values}&${told}` : `${told}&${values}`}`, pathId(path));
      expect(query.path).toBe(path);
      expect([...query.values]).toEqual([
        ['offset', String(offset)],
        ['length', String(length)],
      ]);
    }),
    { numRuns: 1000 },
  );
});

it('a path is never one of another id', () => {
  fc.assert(
    fc.property(key, encoder, key, (path, name, other) => {
      const { path: found } = pageQuery(`/v1/chunk/x?ufsFullPath=${encoders[name]!(path)}`, pathId(other));
      // Where one is what the other looks like once it was decoded, the id decides.
      expect([undefined, other]).toContain(found);
    }),
  );
});

it('a path without an id is among its readings', () => {
  fc.assert(
    fc.property(key, encoder, (path, name) => {
      expect(pathQuery(`/v1/node?path=${encoders[name]!(path)}`)).toContain(path);
    }),
    { numRuns: 1000, examples: [['s3://b/%A0\u00a0', 'beyondAscii']] },
  );
});
