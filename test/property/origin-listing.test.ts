/** The scanner of listings against what was written, and against answers that were cut. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { scanListing } from '../../src/origin/list-scan.ts';
import type { ListedObject } from '../../src/origin/listed.ts';

const xmlEscape = (text: string): string => text.replace(/[&<>"']/g, (c) => `&#x${c.charCodeAt(0).toString(16)};`);
const formEncode = (key: string): string => encodeURIComponent(key).replaceAll('%20', '+').replaceAll('%2F', '/');

const listed: fc.Arbitrary<ListedObject> = fc.record({
  key: fc.oneof(
    fc.string({ unit: 'grapheme', minLength: 1, maxLength: 30 }),
    fc.constantFrom('<Key>', '</Contents>', '&amp;', '+ %2B', ']]>', 'a<!--'),
  ),
  sizeBytes: fc.nat(2 ** 40),
  etag: fc.string({ unit: fc.constantFrom(...'0123456789abcdef-&<>'), minLength: 1, maxLength: 36 }),
  lastModifiedMs: fc.integer({ min: 0, max: 4e9 }).map((s) => s * 1000),
});
const page = fc.record({
  objects: fc.array(listed, { maxLength: 12 }),
  nextToken: fc.option(
    fc.string({ minLength: 1, maxLength: 20 }).filter((t) => t.trim() === t),
    { nil: undefined },
  ),
  encoded: fc.boolean(),
  frameFirst: fc.boolean(),
  owner: fc.boolean(),
});
type Page = typeof page extends fc.Arbitrary<infer T> ? T : never;

function write({ objects, nextToken, encoded, frameFirst, owner }: Page): string {
  const frame =
    `<Name>bucket</Name><Prefix></Prefix><MaxKeys>1000</MaxKeys><IsTruncated>${nextToken !== undefined}</IsTruncated>` +
    `<KeyCount>${objects.length}</KeyCount>${encoded ? '<EncodingType>url</EncodingType>' : ''}` +
    (nextToken === undefined ? '' : `<NextContinuationToken>${xmlEscape(nextToken)}</NextContinuationToken>`);
  const contents = objects
    .map(
      (o) =>
        `<Contents><Key>${xmlEscape(encoded ? formEncode(o.key) : o.key)}</Key><LastModified>${new Date(o.lastModifiedMs).toISOString()}</LastModified>` +
        `<ETag>&quot;${xmlEscape(o.etag)}&quot;</ETag><Size>${o.sizeBytes}</Size>` +
        `${owner ? '<Owner><ID>x</ID></Owner>' : ''}<StorageClass>STANDARD</StorageClass></Contents>`,
    )
    .join('');
  return `<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="x">${frameFirst ? frame + contents : contents + frame}</ListBucketResult>`;
}

test('what was written is read', () => {
  fc.assert(
    fc.property(page, (given) => {
      const found = scanListing(write(given));
      expect(found?.objects).toEqual(given.objects);
      expect(found?.truncated).toBe(given.nextToken !== undefined);
      expect(found?.nextToken).toBe(given.nextToken);
    }),
    { numRuns: 500 },
  );
});

test('a cut answer, even one that was closed properly, is never a shorter listing', () => {
  fc.assert(
    fc.property(page, fc.nat(), (given, at) => {
      const xml = write(given);
      const cut = xml.slice(0, at % xml.length);
      expect(scanListing(cut)).toBeUndefined();
      const closed = scanListing(`${cut}</ListBucketResult>`);
      if (closed !== undefined) expect(closed.objects.length).toBe(given.objects.length);
    }),
    { numRuns: 1000 },
  );
});
