/** Ranges, versions, plans and merged listings against their plain definitions. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { type HeldFile, nextPiece, uncovered, versionsOf } from '../../src/core/holdings.ts';
import { type ListingPage, listPage, mergePages } from '../../src/core/listing.ts';
import { bytesByCount, bytesOf, flat, joined, missingOf, runFrom, unflat } from '../../src/core/ranges.ts';
import type { ByteRange, LoadId, UfsPath } from '../../src/core/types.ts';

const size = 24;
const range: fc.Arbitrary<ByteRange> = fc
  .tuple(fc.nat(size), fc.nat(size))
  .map(([a, b]) => ({ offset: Math.min(a, b), length: Math.abs(a - b) }));
const ranges = fc.array(range, { maxLength: 5 });

/** Byte by byte. */
const bytesIn = (some: readonly ByteRange[]): boolean[] =>
  Array.from({ length: size }, (_, at) => some.some(({ offset, length }) => offset <= at && at < offset + length));

it('sets of ranges have the bytes of their ranges, in order and apart', () => {
  fc.assert(
    fc.property(ranges, range, fc.nat(size - 1), (some, of, at) => {
      const set = joined(some);
      expect(bytesIn(set)).toEqual(bytesIn(some));
      for (let i = 1; i < set.length; i += 1)
        expect(set[i]!.offset).toBeGreaterThan(set[i - 1]!.offset + set[i - 1]!.length);
      expect(bytesOf(set)).toBe(bytesIn(some).filter(Boolean).length);
      const has = bytesIn(some);
      expect(bytesIn(missingOf(of, set))).toEqual(bytesIn([of]).map((wanted, byte) => wanted && !has[byte]));
      let run = 0;
      while (has[at + run]) run += 1;
      expect(runFrom(set, at)).toBe(run);
      expect(unflat(flat(set))).toEqual(set);
    }),
  );
});

it('bytes are counted by how many have them', () => {
  fc.assert(
    fc.property(fc.array(ranges, { maxLength: 4 }), (all) => {
      const sets = all.map(joined);
      const counts = Array.from({ length: size }, (_, at) => sets.filter((set) => bytesIn(set)[at]).length);
      const wanted = Array.from({ length: sets.length + 1 }, (_, n) => counts.filter((count) => count === n).length);
      expect(bytesByCount(size, sets)).toEqual(wanted);
    }),
  );
});

it('a plan gives every byte once, in order, from the first holder that has it', () => {
  fc.assert(
    fc.property(fc.array(ranges, { minLength: 1, maxLength: 4 }), range, (all, wanted) => {
      const holdings = all.map((some, place) => ({ holder: String(place), ranges: joined(some) }));
      const end = wanted.offset + wanted.length;
      const missing = uncovered(wanted, holdings);
      let at = wanted.offset;
      while (at < end) {
        const piece = nextPiece(at, end, holdings);
        if (piece === undefined) {
          expect(missing).toContainEqual(expect.objectContaining({ offset: at }));
          return;
        }
        expect(piece.offset).toBe(at);
        expect(piece.length).toBeGreaterThan(0);
        for (let byte = at; byte < at + piece.length; byte += 1) {
          const first = holdings.find((one) => bytesIn(one.ranges)[byte]);
          expect(piece.holder).toBe(first?.holder);
        }
        at += piece.length;
      }
      expect(at).toBe(Math.max(end, wanted.offset));
      expect(missing).toEqual([]);
    }),
  );
});

const held = fc.record({
  etag: fc.constantFrom('v1', 'v2', 'v3'),
  state: fc.constantFrom('partial' as const, 'loading' as const, 'metadata' as const, 'complete' as const),
  ranges,
  cachedAtMs: fc.nat(3),
});

it('the version that is read is whole and shown where one is, and the newest of those', () => {
  fc.assert(
    fc.property(fc.array(held, { maxLength: 6 }), (some) => {
      const said = some.map((one, place) => {
        const lastModifiedMs = Number(one.etag.slice(1));
        const whole = one.state === 'complete' ? [{ offset: 0, length: size }] : joined(one.ranges);
        const file: HeldFile = {
          ...one,
          path: 's3://b/k' as UfsPath,
          sizeBytes: size,
          lastModifiedMs,
          loadId: 'l' as LoadId,
          segmentBytes: 8,
          attributes: '',
          ranges: one.state === 'metadata' ? [] : whole,
        };
        return { holder: String(place), file };
      });
      const [chosen] = versionsOf(said);
      const of = (etag: string) => said.filter(({ file }) => file.etag === etag);
      const isShown = (etag: string) => of(etag).some(({ file }) => file.state !== 'loading');
      const isWhole = (etag: string) =>
        isShown(etag) && bytesIn(of(etag).flatMap(({ file }) => file.ranges)).every(Boolean);
      const etags = [...new Set(said.map(({ file }) => file.etag))].sort().reverse();
      const wanted = etags.find(isWhole) ?? etags.find(isShown) ?? etags[0];
      expect(chosen?.file.etag).toBe(wanted);
    }),
  );
});

it('what the origin says of a version is taken from who knows most of it, in whatever order they answer', () => {
  const texts = ['', 'ttext/x', 'ttext/x\n6AAAAAAAAAAA='];
  fc.assert(
    fc.property(fc.array(fc.constantFrom(...texts), { minLength: 1, maxLength: 5 }), (attributes) => {
      const said = attributes.map((text, place) => {
        const version = { path: 's3://b/k' as UfsPath, etag: 'e', sizeBytes: size, lastModifiedMs: 1 };
        const held = { loadId: 'l' as LoadId, segmentBytes: 8, ranges: [], state: 'partial' } as const;
        return { holder: String(place), file: { ...version, ...held, cachedAtMs: place % 2, attributes: text } };
      });
      expect(versionsOf(said)[0]!.file.attributes).toBe(texts.findLast((text) => attributes.includes(text)));
    }),
  );
});

const name = fc.string({ unit: fc.constantFrom('a', 'b', '/', '\u{ffff}', '\u{1f600}'), minLength: 1, maxLength: 5 });
const byBytes = (a: string, b: string) => Buffer.compare(Buffer.from(a), Buffer.from(b));

it('pages of several workers, put together page by page, are the list of all of them', () => {
  fc.assert(
    fc.property(
      fc.array(fc.uniqueArray(name, { maxLength: 15 }), { maxLength: 4 }),
      fc.constantFrom('', '/', 'b'),
      fc.integer({ min: 1, max: 5 }),
      // A worker may say less than it was asked for.
      fc.integer({ min: 1, max: 5 }),
      (workers, delimiter, maxKeys, fewest) => {
        const root = 's3://bucket/';
        const pageOf = (keys: readonly string[], after: string, limit: number): ListingPage<string> => {
          const sorted = keys.map((key) => root + key).sort(byBytes);
          const source = {
            list: (of: { prefix: string; after?: string }) =>
              sorted
                .filter((path) => path.startsWith(of.prefix) && (of.after === undefined || byBytes(path, of.after) > 0))
                .map((path) => ({ path })),
          };
          const page = listPage(source, { root, prefix: '', delimiter, after, maxKeys: limit });
          return { ...page, files: page.files.map(({ key }) => ({ key, record: key })) };
        };
        const seen: string[] = [];
        for (let after: string | undefined = '', rounds = 0; after !== undefined; rounds += 1) {
          expect(rounds).toBeLessThan(200);
          const from: string = after;
          const pages = workers.map((keys, place) =>
            pageOf(keys, from, place === 0 ? Math.min(fewest, maxKeys) : maxKeys),
          );
          const { items, next } = mergePages(pages, maxKeys);
          expect(items.length).toBeLessThanOrEqual(maxKeys);
          seen.push(...items.map((item) => ('prefix' in item ? item.prefix : item.key)));
          for (const item of items)
            if ('key' in item)
              expect(item.records).toHaveLength(workers.filter((keys) => keys.includes(item.key)).length);
          after = next;
        }
        const folded = workers.flat().map((key) => {
          const at = delimiter === '' ? -1 : key.indexOf(delimiter);
          return at < 0 ? key : key.slice(0, at + delimiter.length);
        });
        expect(seen).toEqual([...new Set(folded)].sort(byBytes));
      },
    ),
    { numRuns: 300 },
  );
});
