/**
 * Page-aligned shared memory. A SharedArrayBuffer begins 16 bytes into a page, so each is made larger than asked
 * for, and the views begin at the next boundary:
 *
 *   | 16 | unused up to the boundary | slot 0 | slot 1 | ... | rest |
 */
import assert from 'node:assert/strict';
import { alignBytes, MiB } from '../core/units.ts';
import { addon } from './addon.ts';
import { addressOf } from './address.ts';
import type { Slots } from './types.ts';

const hugePageBytes = 2 * MiB;
// From here on the boundary is that of a huge page: a slot is then made of few large pieces, which pins and maps
// faster for direct I/O. Below, 2 MiB of address space would be more than the memory itself.
const hugeFromBytes = 16 * MiB;

interface AlignedMemory {
  readonly buffer: SharedArrayBuffer;
  readonly byteOffset: number;
}

function alignedMemory(bytes: number, prefault: boolean): AlignedMemory {
  const grain = bytes >= hugeFromBytes ? hugePageBytes : alignBytes;
  const buffer = new SharedArrayBuffer(bytes + grain);
  const base = addressOf(new Uint8Array(buffer));
  const byteOffset = (grain - (base % grain)) % grain;
  if (prefault) addon().prefault(base + byteOffset, bytes);
  return { buffer, byteOffset };
}

/**
 * `slotCount` slots of `slotBytes` (a multiple of 4096) in one SharedArrayBuffer. `prefault` (default true) asks for
 * huge pages and makes all memory present now: the first touch of a page costs far more than writing to it.
 */
export function makeSlots(options: { slotBytes: number; slotCount: number; prefault?: boolean }): Slots {
  const { slotBytes, slotCount } = options;
  assert(
    slotBytes > 0 && slotBytes % alignBytes === 0,
    `slots of ${slotBytes} bytes are not whole pages of ${alignBytes}`,
  );
  assert(Number.isInteger(slotCount) && slotCount > 0, `${slotCount} is not a number of slots`);
  const { buffer, byteOffset } = alignedMemory(slotBytes * slotCount, options.prefault ?? true);
  const views = Array.from(
    { length: slotCount },
    (_, index) => new Uint8Array(buffer, byteOffset + index * slotBytes, slotBytes),
  );
  return {
    buffer,
    slotBytes,
    slotCount,
    view(index) {
      const view = views[index];
      assert(view !== undefined, `slot ${index} of ${slotCount} does not exist`);
      return view;
    },
  };
}

/** Zeroed shared memory whose address is a multiple of 4096, for O_DIRECT outside the slots. Not prefaulted. */
export function makeAligned(bytes: number): Uint8Array {
  assert(Number.isSafeInteger(bytes) && bytes >= 0, `${bytes} is not a size`);
  const { buffer, byteOffset } = alignedMemory(bytes, false);
  return new Uint8Array(buffer, byteOffset, bytes);
}
