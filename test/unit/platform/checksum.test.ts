import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { KiB, pageBytes } from '../../../src/core/units.ts';
import {
  checksumKernels,
  crc32Combine,
  crc32c,
  crc32cCombine,
  crc64nvme,
  crc64nvmeCombine,
  crc64nvmeToBase64,
  makeAligned,
  pageChecksums,
} from '../../../src/platform/index.ts';

const ascii = (text: string): Uint8Array => new TextEncoder().encode(text);

/** Bit by bit, as the standards describe it; shares nothing with native/. */
function slowCrc(bytes: Uint8Array, polynomialReflected: bigint, width: bigint): bigint {
  const ones = (1n << width) - 1n;
  let state = ones;
  for (const byte of bytes) {
    state ^= BigInt(byte);
    for (let bit = 0; bit < 8; bit++) state = (state & 1n) === 1n ? (state >> 1n) ^ polynomialReflected : state >> 1n;
  }
  return state ^ ones;
}
const slowCrc32c = (bytes: Uint8Array): number => Number(slowCrc(bytes, 0x82f63b78n, 32n));
const slowCrc64 = (bytes: Uint8Array): bigint => slowCrc(bytes, 0x9a6c9329ac4bc9b5n, 64n);

/** Shared memory at an odd address, with the bytes in it. */
function shared(bytes: Uint8Array): Uint8Array {
  const view = new Uint8Array(new SharedArrayBuffer(bytes.length + 3), 3, bytes.length);
  view.set(bytes);
  return view;
}

describe('crc32c', () => {
  it.each([
    ['the check value', ascii('123456789'), 0xe3069283],
    // RFC 3720, B.4
    ['32 zeros', new Uint8Array(32), 0x8a9136aa],
    ['32 ones', new Uint8Array(32).fill(0xff), 0x62a8ab43],
    ['32 ascending', Uint8Array.from({ length: 32 }, (_, i) => i), 0x46dd794e],
    ['32 descending', Uint8Array.from({ length: 32 }, (_, i) => 31 - i), 0x113fdb5c],
    ['nothing', new Uint8Array(0), 0],
  ])('knows the vector of %s', (_, bytes, crc) => {
    expect(crc32c(bytes)).toBe(crc);
    expect(crc32c(shared(bytes))).toBe(crc);
  });
});

describe('crc64nvme', () => {
  it.each([
    ['the check value', ascii('123456789'), 0xae8b14860a799888n],
    // NVM Express Command Set 1.0c, figure 121, over a 4 KiB block
    ['4 KiB of zeros', new Uint8Array(4 * KiB), 0x6482d367eb22b64en],
    ['4 KiB of ones', new Uint8Array(4 * KiB).fill(0xff), 0xc0ddba7302eca3acn],
    ['nothing', new Uint8Array(0), 0n],
  ])('knows the vector of %s', (_, bytes, crc) => {
    expect(crc64nvme(bytes)).toBe(crc);
    expect(crc64nvme(shared(bytes))).toBe(crc);
  });

  it('is written as S3 writes it', () => {
    expect(crc64nvmeToBase64(crc64nvme(ascii('123456789')))).toBe('rosUhgp5mIg=');
  });
});

describe('both checksums', () => {
  const range = fc
    .uint8Array({ minLength: 0, maxLength: 3000 })
    .chain((bytes) => fc.record({ bytes: fc.constant(bytes), cut: fc.nat({ max: bytes.length }) }));

  it('agree with a slow reference, however the bytes are split, seeded and combined', () => {
    fc.assert(
      fc.property(range, ({ bytes, cut }) => {
        const view = shared(bytes);
        const rest = bytes.length - cut;
        const narrow = slowCrc32c(bytes);
        const first = crc32c(view, 0, cut);
        expect(crc32c(view)).toBe(narrow);
        expect(crc32c(view, cut, rest, first)).toBe(narrow);
        expect(crc32cCombine(first, crc32c(view, cut, rest), rest)).toBe(narrow);
        const plain = (from: number, to: number): number => crc32(bytes.subarray(from, to));
        expect(crc32Combine(plain(0, cut), plain(cut, bytes.length), rest)).toBe(plain(0, bytes.length));
        const wide = slowCrc64(bytes);
        const firstWide = crc64nvme(view, 0, cut);
        expect(crc64nvme(view)).toBe(wide);
        expect(crc64nvme(view, cut, rest, firstWide)).toBe(wide);
        expect(crc64nvmeCombine(firstWide, crc64nvme(view, cut, rest), rest)).toBe(wide);
      }),
      { numRuns: 60 },
    );
  });

  it('combine over lengths beyond 32 bits', () => {
    // Adding n zeros and then m is adding n + m.
    const [n, m] = [3 * 2 ** 33 + 17, 2 ** 40 + 5];
    const zeros = (crc: number, length: number): number => crc32cCombine(crc, 0, length);
    expect(zeros(zeros(0xdeadbeef, n), m)).toBe(zeros(0xdeadbeef, n + m));
    const wideZeros = (crc: bigint, length: number): bigint => crc64nvmeCombine(crc, 0n, length);
    expect(wideZeros(wideZeros(0xdeadbeefcafen, n), m)).toBe(wideZeros(0xdeadbeefcafen, n + m));
  });

  it('refuse a range outside the view', () => {
    const view = new Uint8Array(new SharedArrayBuffer(16));
    expect(() => crc32c(view, 8, 9)).toThrow(/outside/);
    expect(() => crc64nvme(view, -1, 4)).toThrow(/outside/);
    expect(() => pageChecksums(view, 0, 17, new Uint32Array(1))).toThrow(/outside/);
  });

  it('say which code computes them', () => {
    expect(checksumKernels().crc32c).toMatch(/^(vpclmulqdq-(512|256)|pclmulqdq-128|crc32-instruction|table)$/);
    expect(checksumKernels().crc64nvme).toMatch(/^(vpclmulqdq-(512|256)|pclmulqdq-128|table)$/);
  });
});

describe('pageChecksums', () => {
  it('gives one checksum a page, the last page short, at the place asked for', () => {
    const bytes = makeAligned(3 * pageBytes);
    for (let i = 0; i < bytes.length; i += 97) bytes[i] = i * 31;
    const out = new Uint32Array(6).fill(7);
    const length = 2 * pageBytes + 5000;
    expect(pageChecksums(bytes, 4096, length, out, 2)).toBe(3);
    expect([...out]).toEqual([
      7,
      7,
      crc32c(bytes, 4096, pageBytes),
      crc32c(bytes, 4096 + pageBytes, pageBytes),
      crc32c(bytes, 4096 + 2 * pageBytes, 5000),
      7,
    ]);
  });

  it('refuses an output that is too small', () => {
    expect(() => pageChecksums(makeAligned(2 * pageBytes), 0, 2 * pageBytes, new Uint32Array(2), 1)).toThrow(/fit/);
  });

  it('writes into shared memory and does nothing for nothing', () => {
    const bytes = makeAligned(4096).fill(9);
    const out = new Uint32Array(new SharedArrayBuffer(8));
    expect(pageChecksums(bytes, 0, 0, out)).toBe(0);
    expect(pageChecksums(bytes, 0, 100, out, 1)).toBe(1);
    expect([...out]).toEqual([0, crc32c(bytes, 0, 100)]);
  });
});
