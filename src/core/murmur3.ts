/**
 * MurmurHash3, x86 variant, 32 bits, as a signed integer: the hash of Alluxio's ring.
 * Source: Austin Appleby's public-domain description of the algorithm.
 */
const c1 = 0xcc9e2d51;
const c2 = 0x1b873593;

/** @param length of `bytes` that are hashed, from its first on. */
export function murmur3(bytes: Uint8Array, length = bytes.length, seed = 0): number {
  let hash = seed | 0;
  const blocksEnd = length & ~3;
  for (let at = 0; at < blocksEnd; at += 4) {
    const word = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
    hash ^= scramble(word);
    hash = (hash << 13) | (hash >>> 19);
    hash = (Math.imul(hash, 5) + 0xe6546b64) | 0;
  }
  let tail = 0;
  for (let at = length - 1; at >= blocksEnd; at -= 1) tail = (tail << 8) | bytes[at]!;
  if (blocksEnd < length) hash ^= scramble(tail);
  hash ^= length;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return hash ^ (hash >>> 16);
}

function scramble(word: number): number {
  const mixed = Math.imul(word, c1);
  return Math.imul((mixed << 15) | (mixed >>> 17), c2);
}
