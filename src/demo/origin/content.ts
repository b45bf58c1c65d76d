/**
 * What the bytes of an object are: a pure function of (key, version, offset), so that a dataset of any size needs no
 * disk and every byte that a cache gives back can be judged.
 *
 *   object   | unit 0: 1 MiB               | unit 1: 1 MiB               | ... | rest |
 *   unit     | head: 32 B | run of the noise block, from a start of its own             |
 *
 * The head is SHA-256(key, version, unit number), so no two units anywhere are equal; the start of the run comes from
 * the same digest. The noise does not repeat, so bytes that were shifted, swapped, mixed between two versions or
 * left out inside a unit differ as well. A run is a view of the one noise block: sending it copies nothing in user space.
 */
import { createCipheriv, createHash, type Hash } from 'node:crypto';
import { MiB } from '../../core/units.ts';

/** The grain in which content is laid out; every unit has its own head and its own run of noise. */
export const unitBytes = MiB;
const headBytes = 32;
const noiseBytes = 16 * MiB;

// A run starts anywhere in the first 16 MiB and never wraps: one more unit follows.
let noiseBlock: Buffer | undefined;
function noise(): Buffer {
  noiseBlock ??= createCipheriv('aes-128-ctr', Buffer.from('primed demo data'), Buffer.alloc(16)).update(
    Buffer.alloc(noiseBytes + unitBytes),
  );
  return noiseBlock;
}

function headOf(key: string, version: number, unit: number): Buffer {
  return createHash('sha256').update(`${key}\0${version}\0${unit}`).digest();
}

/**
 * The bytes `[offset, offset + length)` of version `version` of `key`, as consecutive views, none longer than a unit.
 * The views belong to the noise block: never write into them.
 */
export function* contentPieces(key: string, version: number, offset: number, length: number): Generator<Buffer> {
  const block = noise();
  const end = offset + length;
  let position = offset;
  while (position < end) {
    const unit = Math.floor(position / unitBytes);
    const head = headOf(key, version, unit);
    const from = position - unit * unitBytes;
    const to = Math.min(unitBytes, end - unit * unitBytes);
    if (from < headBytes) yield head.subarray(from, Math.min(headBytes, to));
    const start = head.readUInt32LE(0) % noiseBytes;
    if (to > headBytes) yield block.subarray(start + Math.max(from, headBytes), start + to);
    position = unit * unitBytes + to;
  }
}

/** The same bytes as one buffer of its own. */
export function contentAt(key: string, version: number, offset: number, length: number): Buffer {
  const whole = Buffer.allocUnsafe(length);
  let at = 0;
  for (const piece of contentPieces(key, version, offset, length)) at += piece.copy(whole, at);
  return whole;
}

/** Feeds the whole content of an object of `sizeBytes` to `hash`, which is returned. */
export function hashContent(hash: Hash, key: string, version: number, sizeBytes: number): Hash {
  for (const piece of contentPieces(key, version, 0, sizeBytes)) hash.update(piece);
  return hash;
}

/** Hex SHA-256 of a whole object. */
export function contentSha256(key: string, version: number, sizeBytes: number): string {
  return hashContent(createHash('sha256'), key, version, sizeBytes).digest('hex');
}

/**
 * Where `bytes`, served as the content of `key` from `offset` on, first differ from what they should be;
 * undefined: nowhere.
 */
export function firstDifference(key: string, version: number, offset: number, bytes: Uint8Array): number | undefined {
  let at = 0;
  for (const piece of contentPieces(key, version, offset, bytes.length)) {
    const served = bytes.subarray(at, at + piece.length);
    if (!piece.equals(served)) {
      return offset + at + piece.findIndex((byte, index) => byte !== served[index]);
    }
    at += piece.length;
  }
  return undefined;
}
