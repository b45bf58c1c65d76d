/**
 * Checksums of whole objects that are joined from those of their pieces: of a file that lies on several workers in segments, too.
 * Those of CRCs can be, an MD5 or a SHA cannot: it needs all bytes in one place, in their order.
 */
import type { ByteRange } from '../core/types.ts';
import { crc32Combine, crc32cCombine, crc64nvmeCombine } from '../platform/checksum.ts';

export type JoinedKind = 'crc64nvme' | 'crc32c' | 'crc32';

/** Those that lanes make while they read; a CRC-32C is joined from the checksums of pages, which are proved by then. */
export type ReadKind = Exclude<JoinedKind, 'crc32c'>;

/** The checksum of a range, in hexadecimal digits, as many as its kind has. */
export interface RangeSum extends ByteRange {
  readonly sum: string;
}

/** Of all ranges together, as S3 writes it: base64. They follow each other without a gap, once they are in order. */
export function joinedSum(kind: JoinedKind, sums: Iterable<RangeSum>): string {
  return Buffer.from(joinedHex(kind, sums), 'hex').toString('base64');
}

export function joinedHex(kind: JoinedKind, sums: Iterable<RangeSum>): string {
  const inOrder = [...sums].sort((a, b) => a.offset - b.offset);
  if (kind === 'crc64nvme') {
    const joined = inOrder.reduce((crc, { sum, length }) => crc64nvmeCombine(crc, BigInt(`0x${sum}`), length), 0n);
    return joined.toString(16).padStart(16, '0');
  }
  const combine = kind === 'crc32' ? crc32Combine : crc32cCombine;
  return crc32Hex(inOrder.reduce((crc, { sum, length }) => combine(crc, Number.parseInt(sum, 16), length), 0));
}

/** Of a CRC of 32 bits, whichever. */
export function crc32Hex(crc: number): string {
  return crc.toString(16).padStart(8, '0');
}
