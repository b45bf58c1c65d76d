/** A target names exactly the key whose bytes it is, decoded once: whatever the bytes, never another one. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { parseAddress } from '../../../src/server/s3/address.ts';
import { S3Error } from '../../../src/server/s3/errors.ts';

const key = fc
  .string({
    unit: fc.oneof(fc.constantFrom(...'/.%+?#&= \\'), fc.string({ unit: 'binary', minLength: 1, maxLength: 1 })),
    minLength: 1,
    maxLength: 40,
  })
  .filter((text) => Buffer.from(text).toString() === text);
const how = fc.constantFrom('always', 'upper', 'lower', 'never');

/** One of the many ways in which clients send a byte. */
function sent(byte: number, way: string): string {
  const plain = String.fromCharCode(byte);
  const hex = byte.toString(16).padStart(2, '0');
  // What ends a path, or begins an encoding, is always encoded.
  if (way === 'always' || plain === '%' || plain === '?') return `%${hex.toUpperCase()}`;
  if (/[A-Za-z0-9/._~+-]/.test(plain) || way === 'never') return plain;
  return `%${way === 'upper' ? hex.toUpperCase() : hex}`;
}

it('any way to encode a key is that key', () => {
  fc.assert(
    fc.property(key, fc.array(how, { minLength: 1, maxLength: 8 }), (wanted, ways) => {
      const bytes = [...Buffer.from(wanted)];
      const path = bytes.map((byte, at) => sent(byte, ways[at % ways.length]!)).join('');
      expect(parseAddress(`/bucket/${path}?x=${path}`)).toMatchObject({ bucket: 'bucket', key: wanted });
    }),
    { numRuns: 2000 },
  );
});

const target = fc.string({
  unit: fc.oneof(
    fc.constantFrom(
      '/',
      '.',
      '..',
      '%',
      '%2',
      '%2F',
      '%2e',
      '%25',
      '%00',
      '%0a',
      '%c3',
      '%28',
      '+',
      '?',
      '#',
      '\\',
      ';',
    ),
    fc.integer({ min: 1, max: 255 }).map((code) => String.fromCharCode(code)),
  ),
  maxLength: 30,
});

it('what is no key of UTF-8 is refused, and everything else is its bytes, decoded once and not otherwise changed', () => {
  fc.assert(
    fc.property(target, (text) => {
      const raw = `/b/${text}`;
      const path = raw.split('?', 1)[0]!.slice(3);
      const decoded = Buffer.from(
        path.replace(/%([0-9a-fA-F]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16))),
        'latin1',
      );
      try {
        expect(Buffer.from(parseAddress(raw).key).equals(decoded)).toBe(true);
      } catch (error) {
        if (!(error instanceof S3Error)) throw error;
        const inQuery = raw.includes('?');
        expect(error.code).toBe('InvalidURI');
        if (!inQuery) expect(Buffer.from(decoded.toString()).equals(decoded)).toBe(false);
      }
    }),
    { numRuns: 3000 },
  );
});
