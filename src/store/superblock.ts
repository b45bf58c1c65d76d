/**
 * The first 4 KiB of a store file, little-endian.
 *
 *   0  8 B  magic "PRIMEDST"
 *   8  u32  format version
 *  12  u32  offset of the data in the file, bytes
 *  16  16 B uuid
 *  32  f64  size of the file, bytes
 *  40  ..   zero
 *  4092 u32 CRC32C of the 4092 bytes before it
 */
import { MiB } from '../core/units.ts';
import { crc32c } from '../platform/index.ts';

export const storeFormat = 1;
export const superblockBytes = 4096;
/** Data begins here, so that pages of the file are aligned to more than any device asks for. */
export const dataOffset = MiB;
const magic = 'PRIMEDST';
const checksumAt = superblockBytes - 4;

export interface Superblock {
  readonly version: number;
  readonly uuid: string;
  readonly sizeBytes: number;
  readonly dataOffset: number;
}

export function encodeSuperblock(uuid: string, sizeBytes: number): Buffer {
  const out = Buffer.alloc(superblockBytes);
  out.write(magic, 0, 'latin1');
  out.writeUInt32LE(storeFormat, 8);
  out.writeUInt32LE(dataOffset, 12);
  out.write(uuid.replaceAll('-', ''), 16, 'hex');
  out.writeDoubleLE(sizeBytes, 32);
  out.writeUInt32LE(crc32c(out, 0, checksumAt, 0), checksumAt);
  return out;
}

/** What was read: `foreign` has another magic, `damaged` a wrong checksum. The version is told even when unknown. */
export function decodeSuperblock(bytes: Buffer): Superblock | 'foreign' | 'damaged' {
  if (bytes.length < superblockBytes || bytes.toString('latin1', 0, 8) !== magic) return 'foreign';
  if (bytes.readUInt32LE(checksumAt) !== crc32c(bytes, 0, checksumAt, 0)) return 'damaged';
  const hex = bytes.toString('hex', 16, 32);
  return {
    version: bytes.readUInt32LE(8),
    dataOffset: bytes.readUInt32LE(12),
    uuid: `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`,
    sizeBytes: bytes.readDoubleLE(32),
  };
}
