/** What belongs to an object travels and is stored as one short text. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import {
  attributeNames,
  attributesMax,
  attributesOf,
  bounded,
  compositesIn,
  hasChecksums,
  plainType,
  putAttributes,
  versionIn,
  withChecksums,
} from '../../../src/core/attributes.ts';

function headersIn(text: string): Record<string, string> {
  const headers: Record<string, string> = {};
  putAttributes(headers, text, 'checksums');
  return headers;
}

const isChecksum = (name: string): boolean => name.startsWith('x-amz-checksum-');
const value = fc.string({
  unit: fc
    .integer({ min: 0x20, max: 0xff })
    .filter((code) => code !== 0x7f)
    .map((code) => String.fromCharCode(code)),
  minLength: 1,
  maxLength: 40,
});
const meta = fc.string({ unit: fc.constantFrom(...'abcxyz019-_.'), minLength: 1, maxLength: 12 });
const headers = fc
  .tuple(
    fc.dictionary(fc.constantFrom(...attributeNames.filter((name) => !isChecksum(name))), value),
    fc.dictionary(fc.constantFrom(...attributeNames.filter(isChecksum)), fc.base64String({ minLength: 4 })),
    fc.dictionary(
      meta.map((name) => `x-amz-meta-${name}`),
      fc.oneof(value, fc.constant('')),
    ),
  )
  .map(([own, sums, user]) => ({ ...own, ...sums, ...user }) as Record<string, string>);

it('comes out as it went in, whatever the headers', () => {
  fc.assert(
    fc.property(headers, (some) => {
      const type = Object.keys(some).some(isChecksum) ? { 'x-amz-checksum-type': 'FULL_OBJECT' } : {};
      expect(headersIn(attributesOf(some))).toEqual({ 'content-type': plainType, ...type, ...some });
      expect(versionIn(attributesOf(some))).toBe(some['x-amz-version-id']);
    }),
  );
});

it('has checksums of the whole object only, and for who sends it whole', () => {
  const text = attributesOf({ 'x-amz-checksum-crc32': 'AAAAAA==-3', 'x-amz-checksum-sha1': 'abc=' });
  // An answer has one type.
  expect(headersIn(text)).toMatchObject({ 'x-amz-checksum-sha1': 'abc=', 'x-amz-checksum-type': 'FULL_OBJECT' });
  expect(headersIn(text)).not.toHaveProperty('x-amz-checksum-crc32');
  const ofPart: Record<string, string> = {};
  putAttributes(ofPart, text);
  expect(ofPart).toEqual({ 'content-type': plainType });
});

it('has checksums of checksums under their own type, for who sends it whole, and takes nothing else for one', () => {
  const composite = {
    'x-amz-checksum-crc32': 'AAAAAA==-3',
    'x-amz-checksum-crc32c': 'AAAAAQ==-3',
    'x-amz-checksum-sha1': 'abc=-10000',
    'x-amz-checksum-sha256': 'abcd-1',
  };
  const text = attributesOf({ ...composite, 'x-amz-checksum-type': 'COMPOSITE' });
  expect(headersIn(text)).toEqual({ 'content-type': plainType, ...composite, 'x-amz-checksum-type': 'COMPOSITE' });
  expect(hasChecksums(text)).toBe(false);
  const ofPart: Record<string, string> = {};
  putAttributes(ofPart, text);
  expect(ofPart).toEqual({ 'content-type': plainType });
  expect(compositesIn(text)).toEqual({
    crc32: 'AAAAAA==-3',
    crc32c: 'AAAAAQ==-3',
    sha1: 'abc=-10000',
    sha256: 'abcd-1',
  });
  expect(withChecksums('', compositesIn(text))).toBe(text);
  for (const odd of ['AAAAAA==-', '-3', 'AAAAAA==-0', 'AAAAAA==-3-3', 'AAAAAA==-123456'])
    expect(attributesOf({ 'x-amz-checksum-crc32': odd })).toBe('');
  // There is none of that kind.
  expect(attributesOf({ 'x-amz-checksum-crc64nvme': 'AAAAAAAAAAA=-3' })).toBe('');
});

it('takes checksums in place of those that it had, and is as it was with the same ones', () => {
  const text = attributesOf({ 'content-type': 'text/x', 'x-amz-checksum-crc32': 'AAAAAA==', 'x-amz-meta-a': 'b' });
  const more = withChecksums(text, { crc32: 'BBBBBA==', sha1: 'abc=' });
  expect(headersIn(more)).toEqual({
    'content-type': 'text/x',
    'x-amz-checksum-crc32': 'BBBBBA==',
    'x-amz-checksum-sha1': 'abc=',
    'x-amz-checksum-type': 'FULL_OBJECT',
    'x-amz-meta-a': 'b',
  });
  expect(withChecksums(more, { crc32: 'BBBBBA==', sha1: 'abc=' })).toBe(more);
  expect([hasChecksums(''), hasChecksums('ttext/x\nua:6'), hasChecksums(text)]).toEqual([false, false, true]);
  const full = attributesOf({ 'x-amz-meta-a': 'x'.repeat(attributesMax - 10) });
  expect(headersIn(withChecksums(full, { crc32: 'AAAAAA==' }))).toMatchObject({
    'x-amz-checksum-crc32': 'AAAAAA==',
    'x-amz-missing-meta': '1',
  });
});

it('costs nothing, or one character, for what nearly every object has', () => {
  expect(attributesOf({ 'content-type': 'application/octet-stream', etag: '"e"', 'content-length': '5' })).toBe('');
  expect(attributesOf({ 'content-type': 'binary/octet-stream' })).toBe('b');
  expect(headersIn('b')).toEqual({ 'content-type': 'binary/octet-stream' });
  expect(headersIn('')).toEqual({ 'content-type': 'application/octet-stream' });
});

it('is bounded, and says how much was left out', () => {
  const many = Object.fromEntries(
    Array.from({ length: 100 }, (_, n) => [`x-amz-meta-${String(n).padStart(3, '0')}`, 'x'.repeat(200)]),
  );
  const text = attributesOf({ ...many, 'x-amz-missing-meta': '3', 'content-type': 'text/plain' });
  expect(text.length).toBeLessThanOrEqual(attributesMax);
  const kept = headersIn(text);
  const missing = Number(kept['x-amz-missing-meta']);
  expect(missing).toBeGreaterThan(0);
  expect(Object.keys(kept).filter((name) => name.startsWith('x-amz-meta-'))).toHaveLength(100 + 3 - missing);
  expect(kept['content-type']).toBe('text/plain');
  expect(bounded(text)).toBe(text);
});
