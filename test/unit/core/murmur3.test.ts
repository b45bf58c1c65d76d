/** Vectors: the hash tests of Bitcoin Core (`hash_tests.cpp`, those with seed 0), and common ones of other libraries. */
import { describe, expect, it, test } from 'vitest';
import { hashPrefix, hashPrefixOfText, hashWithInt32, murmur3 } from '../../../src/core/murmur3.ts';

const vectors: readonly [bytes: string, hash: number][] = [
  ['', 0],
  ['00', 0x514e28b7],
  ['ff', 0xfd6cf10d],
  ['0011', 0x16c6b7ab],
  ['001122', 0x8eb51c3d],
  ['00112233', 0xb4471bf8],
  ['0011223344', 0xe2301fa8],
  ['001122334455', 0xfc2e4a15],
  ['00112233445566', 0xb074502c],
  ['0011223344556677', 0x8034d2a0],
  ['001122334455667788', 0xb4698def],
  ['ffffffff', 0x76293b50],
  ['21436587', 0xf55b516b],
  ['214365', 0x7e4a8634],
  ['2143', 0xa0f7b07a],
  ['21', 0x72661cf4],
  ['00000000', 0x2362f9de],
];
const texts: readonly [text: string, hash: number][] = [
  ['test', 0xba6bd213],
  ['Hello, world!', 0xc0363e43],
  ['The quick brown fox jumps over the lazy dog', 0x2e4ff723],
];
const bytesOf = (hex: string) => new Uint8Array(Buffer.from(hex, 'hex'));
const utf8 = (text: string) => new TextEncoder().encode(text);

describe('murmur3 of whole bytes', () => {
  it.each(vectors)('of %j is the published one', (hex, hash) => {
    expect(murmur3(bytesOf(hex))).toBe(hash | 0);
  });

  it.each(texts)('of %j is the published one', (text, hash) => {
    expect(murmur3(utf8(text))).toBe(hash | 0);
  });

  it('is a signed number', () => {
    expect(murmur3(bytesOf('ff'))).toBe(-0x0293_0ef3);
  });
});

describe('a prefix with a number after it', () => {
  const numbers = [0, 1, -1, 100, 0x01020304, -0x7fffffff, 0x7fffffff, -0x80000000];
  const bytes = Uint8Array.from({ length: 21 }, (_, i) => (i * 37 + 200) & 0xff);

  it('has the hash of the prefix and the four bytes of the number, for every length of the tail', () => {
    for (let length = 0; length <= bytes.length; length += 1) {
      for (const number of numbers) {
        const whole = Buffer.alloc(length + 4);
        whole.set(bytes.subarray(0, length));
        whole.writeInt32LE(number, length);
        expect(hashWithInt32(hashPrefix(bytes, length), number), `${length} bytes, then ${number}`).toBe(
          murmur3(whole),
        );
      }
    }
  });

  test.each([
    ['ASCII', 's3://bucket/dataset/shard-000.tar0'],
    ['two to four bytes a character', 's3://bucket/Größe/日本/🚀'],
    ['longer than any key', 'ü'.repeat(5000)],
    ['nothing', ''],
  ])('takes a text as UTF-8: %s', (_what, text) => {
    expect(hashPrefixOfText(text)).toEqual(hashPrefix(utf8(text)));
  });

  it('does not remember the text before', () => {
    hashPrefixOfText('a longer text that fills the buffer');
    expect(hashPrefixOfText('abc')).toEqual(hashPrefix(utf8('abc')));
  });
});
