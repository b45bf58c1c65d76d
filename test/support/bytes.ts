/** Bytes that tell where they are from: a wrong offset, a wrong file or a wrong length shows at once. */
import { createHash } from 'node:crypto';

/** xorshift32 over a seed: the same bytes every time, in any slice. Length in bytes. */
export function patterned(length: number, seed: number): Buffer {
  const words = new Uint32Array(Math.ceil(length / 4));
  let state = (seed * 2654435761 + 0x9e3779b9) >>> 0 || 1;
  for (let at = 0; at < words.length; at += 1) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    words[at] = state;
  }
  return Buffer.from(words.buffer, 0, length);
}

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
