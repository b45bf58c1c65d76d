/**
 * MurmurHash3, the x86 variant of 32 bits with seed 0, as signed int32. By Austin Appleby, in the public domain;
 * described by its reference implementation, MurmurHash3.cpp of SMHasher. Not for secrets: it is easy to make collide.
 */

/** The hash of whole bytes: -2^31 to 2^31 - 1. */
export function murmur3(bytes: Uint8Array): number {
  const { state, tail, lengthBytes } = hashPrefix(bytes);
  return finish(state ^ scramble(tail), lengthBytes);
}

/**
 * What the first bytes leave behind, when the same bytes are hashed many times with another number after them: the
 * state after their whole blocks of 4, and the 0 to 3 bytes that wait for the rest of a block.
 */
export interface HashPrefix {
  readonly state: number;
  readonly tail: number;
  readonly lengthBytes: number;
}

/** Of the first `lengthBytes` of `bytes`. */
export function hashPrefix(bytes: Uint8Array, lengthBytes = bytes.length): HashPrefix {
  const wholeBytes = lengthBytes & ~3;
  let state = 0;
  for (let i = 0; i < wholeBytes; i += 4) {
    state = mixBlock(state, bytes[i]! | (bytes[i + 1]! << 8) | (bytes[i + 2]! << 16) | (bytes[i + 3]! << 24));
  }
  let tail = 0;
  for (let i = wholeBytes; i < lengthBytes; i += 1) tail |= bytes[i]! << (8 * (i - wholeBytes));
  return { state, tail, lengthBytes };
}

// Room for the UTF-8 of every S3 path (a key has at most 1024 bytes); longer texts get bytes of their own.
const textBytes = new Uint8Array(4096);
const encoder = new TextEncoder();

/** Of the UTF-8 bytes of a text. */
export function hashPrefixOfText(text: string): HashPrefix {
  const ofAscii = hashPrefixOfAscii(text);
  if (ofAscii !== undefined) return ofAscii;
  // A UTF-16 unit takes at most 3 bytes of UTF-8.
  if (text.length * 3 > textBytes.length) return hashPrefix(encoder.encode(text));
  return hashPrefix(textBytes, encoder.encodeInto(text, textBytes).written);
}

/** Undefined: it is not all ASCII. Nearly every path is, and each is hashed several times. */
function hashPrefixOfAscii(text: string): HashPrefix | undefined {
  const lengthBytes = text.length;
  const wholeBytes = lengthBytes & ~3;
  let state = 0;
  let all = 0;
  for (let i = 0; i < wholeBytes; i += 4) {
    const a = text.charCodeAt(i);
    const b = text.charCodeAt(i + 1);
    const c = text.charCodeAt(i + 2);
    const d = text.charCodeAt(i + 3);
    all |= a | b | c | d;
    state = mixBlock(state, a | (b << 8) | (c << 16) | (d << 24));
  }
  let tail = 0;
  for (let i = wholeBytes; i < lengthBytes; i += 1) {
    const unit = text.charCodeAt(i);
    all |= unit;
    tail |= unit << (8 * (i - wholeBytes));
  }
  return all > 0x7f ? undefined : { state, tail, lengthBytes };
}

/** The hash of a prefix followed by `value` as int32, little-endian. */
export function hashWithInt32({ state, tail, lengthBytes }: HashPrefix, value: number): number {
  const tailBits = (lengthBytes & 3) * 8;
  if (tailBits === 0) return finish(mixBlock(state, value), lengthBytes + 4);
  // The waiting bytes and the low ones of the value fill a block; the high ones are the new tail.
  const block = mixBlock(state, tail | (value << tailBits));
  return finish(block ^ scramble(value >>> (32 - tailBits)), lengthBytes + 4);
}

function mixBlock(state: number, block: number): number {
  const mixed = state ^ scramble(block);
  return (Math.imul((mixed << 13) | (mixed >>> 19), 5) + 0xe6546b64) | 0;
}

function scramble(block: number): number {
  const mixed = Math.imul(block, 0xcc9e2d51);
  return Math.imul((mixed << 15) | (mixed >>> 17), 0x1b873593);
}

function finish(state: number, lengthBytes: number): number {
  let mixed = state ^ lengthBytes;
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return mixed ^ (mixed >>> 16);
}
