/** What belongs to an object travels and is stored as one short text. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import {
  attributeNames,
  attributesMax,
  attributesOf,
  bounded,
  plainType,
  putAttributes,
  versionIn,
} from '../../../src/core/attributes.ts';

function headersIn(text: string): Record<string, string> {
  const headers: Record<string, string> = {};
  putAttributes(headers, text);
  return headers;
}

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
    fc.dictionary(fc.constantFrom(...attributeNames), value),
    fc.dictionary(
      meta.map((name) => `x-amz-meta-${name}`),
      fc.oneof(value, fc.constant('')),
    ),
  )
  .map(([own, user]) => ({ ...own, ...user }) as Record<string, string>);

it('comes out as it went in, whatever the headers', () => {
  fc.assert(
    fc.property(headers, (some) => {
      expect(headersIn(attributesOf(some))).toEqual({ 'content-type': plainType, ...some });
      expect(versionIn(attributesOf(some))).toBe(some['x-amz-version-id']);
    }),
  );
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
  const text = attributesOf({ 'content-type': 'text/plain', ...many });
  expect(text.length).toBeLessThanOrEqual(attributesMax);
  const kept = headersIn(text);
  const missing = Number(kept['x-amz-missing-meta']);
  expect(missing).toBeGreaterThan(0);
  expect(Object.keys(kept).filter((name) => name.startsWith('x-amz-meta-'))).toHaveLength(100 - missing);
  expect(kept['content-type']).toBe('text/plain');
  expect(bounded(text)).toBe(text);
});
