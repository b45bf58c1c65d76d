/**
 * CRC-32C, the at-rest checksum of a page, and CRC-64/NVME, which S3 sends as `x-amz-checksum-crc64nvme`; both over
 * memory in place. A CRC of consecutive pieces is made by passing the CRC so far as `seed`, or from the CRCs of the
 * pieces by combine.
 */
import assert from 'node:assert/strict';
import { pageBytes } from '../core/units.ts';
import { addon } from './addon.ts';
import { addressOf } from './address.ts';

// The message is made only when it is needed: it would cost more than the checksum of a chunk.
function assertInside(bytes: Uint8Array, offset: number, length: number): void {
  if (offset >= 0 && length >= 0 && offset + length <= bytes.byteLength) return;
  assert.fail(`a checksum of [${offset}, ${offset + length}) reaches outside a view of ${bytes.byteLength} bytes`);
}

/**
 * CRC-32C (Castagnoli, RFC 3720 B.4) of `length` bytes from `offset`, as an unsigned 32-bit number.
 * `seed`: the CRC of the bytes before, 0 at the start.
 */
export function crc32c(bytes: Uint8Array, offset = 0, length = bytes.byteLength - offset, seed = 0): number {
  assertInside(bytes, offset, length);
  return addon().crc32c(addressOf(bytes) + offset, length, seed);
}

/** The CRC-32C of A followed by B, from those of A and B and the length of B in bytes. */
export function crc32cCombine(a: number, b: number, lengthB: number): number {
  assert(Number.isSafeInteger(lengthB) && lengthB >= 0, `${lengthB} is not a length`);
  return addon().crc32cCombine(a, b, lengthB);
}

/** The same of CRC-32 (IEEE 802.3), which `zlib.crc32` computes. */
export function crc32Combine(a: number, b: number, lengthB: number): number {
  assert(Number.isSafeInteger(lengthB) && lengthB >= 0, `${lengthB} is not a length`);
  return addon().crc32Combine(a, b, lengthB);
}

/** CRC-64/NVME (NVM Express 1.0c, 5.2.1.3.4), as an unsigned 64-bit number; `seed` as with crc32c. */
export function crc64nvme(bytes: Uint8Array, offset = 0, length = bytes.byteLength - offset, seed = 0n): bigint {
  assertInside(bytes, offset, length);
  return addon().crc64Nvme(addressOf(bytes) + offset, length, seed);
}

/** The CRC-64/NVME of A followed by B, from those of A and B and the length of B in bytes. */
export function crc64nvmeCombine(a: bigint, b: bigint, lengthB: number): bigint {
  assert(Number.isSafeInteger(lengthB) && lengthB >= 0, `${lengthB} is not a length`);
  return addon().crc64NvmeCombine(a, b, lengthB);
}

/** As S3 writes a CRC-64/NVME in a header: base64 of the 8 bytes, most significant first. */
export function crc64nvmeToBase64(crc: bigint): string {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(crc);
  return bytes.toString('base64');
}

/**
 * The CRC-32C of each page of the range, in one call, into `out` from `outIndex` on. Pages are counted from
 * `offset`; the last may be short. Returns how many there are.
 */
export function pageChecksums(
  bytes: Uint8Array,
  offset: number,
  length: number,
  out: Uint32Array,
  outIndex = 0,
): number {
  assertInside(bytes, offset, length);
  const pages = Math.ceil(length / pageBytes);
  assert(
    outIndex >= 0 && outIndex + pages <= out.length,
    `${pages} checksums do not fit at ${outIndex} of ${out.length}`,
  );
  if (pages > 0) {
    addon().crc32cOfPages(addressOf(bytes) + offset, length, pageBytes, addressOf(out) + outIndex * 4);
  }
  return pages;
}

/** The code that computes them on this CPU, for the log line at the start. */
export function checksumKernels(): { readonly crc32c: string; readonly crc64nvme: string } {
  const [first, second] = addon().checksumKernels();
  return { crc32c: first, crc64nvme: second };
}
