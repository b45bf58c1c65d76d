import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { KiB, MiB } from '../../../src/core/units.ts';
import { contentAt, contentSha256, firstDifference } from '../../../src/demo/origin/content.ts';
import { crc64nvmeBase64 } from '../../../src/demo/origin/crc64.ts';

describe('content of generated objects', () => {
  test('any range equals the same bytes of the whole', () => {
    const size = 3 * MiB + 777;
    const whole = contentAt('some/key', 1, 0, size);
    fc.assert(
      fc.property(fc.nat(size), fc.nat(size), (a, b) => {
        const [from, to] = a < b ? [a, b] : [b, a];
        expect(contentAt('some/key', 1, from, to - from).equals(whole.subarray(from, to))).toBe(true);
      }),
      { numRuns: 60 },
    );
  });

  test('differs for other keys, versions and units', () => {
    const seen = new Set<string>();
    for (const key of ['a', 'b', 'a/b'])
      for (const version of [1, 2])
        for (const unit of [0, 1, 2]) {
          seen.add(
            createHash('sha256')
              .update(contentAt(key, version, unit * MiB, MiB))
              .digest('hex'),
          );
        }
    expect(seen.size).toBe(18);
  });

  test('a run of 4 KiB occurs nowhere else in the same object', () => {
    const whole = contentAt('key', 1, 0, 8 * MiB);
    const seen = new Set<string>();
    for (let at = 0; at < whole.length; at += 4 * KiB) seen.add(whole.toString('latin1', at, at + 4 * KiB));
    expect(seen.size).toBe(2048);
  });

  test('the first wrong byte is named, and right bytes have none', () => {
    fc.assert(
      fc.property(fc.nat(3 * MiB), fc.integer({ min: 1, max: 2 * MiB }), fc.nat(), (offset, length, pick) => {
        const bytes = contentAt('key', 3, offset, length);
        expect(firstDifference('key', 3, offset, bytes)).toBeUndefined();
        const wrong = pick % length;
        bytes[wrong]! ^= 0x10;
        expect(firstDifference('key', 3, offset, bytes)).toBe(offset + wrong);
      }),
      { numRuns: 40 },
    );
  });

  test('the hash is that of the bytes', () => {
    const size = 2 * MiB + 5;
    expect(contentSha256('k', 2, size)).toBe(
      createHash('sha256')
        .update(contentAt('k', 2, 0, size))
        .digest('hex'),
    );
  });
});

test('CRC64NVME gives its published check value', () => {
  // Check value of "123456789" in the catalogue of parametrised CRC algorithms: 0xae8b14860a799888.
  expect(crc64nvmeBase64([Buffer.from('1234'), Buffer.from('56789')])).toBe(
    Buffer.from('ae8b14860a799888', 'hex').toString('base64'),
  );
});
