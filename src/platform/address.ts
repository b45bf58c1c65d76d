/** Where a view lies in memory. An address is a plain number: user space ends far below 2^53. */
import { addon } from './addon.ts';

const baseOf = new WeakMap<SharedArrayBuffer, number>();

// A lane sums chunk after chunk of one slot: the last answer is nearly always the next one, and a look into a WeakMap
// costs as much as the checksum of 4 KiB. What is held here keeps one buffer of slots alive, until the next question.
let lastView: ArrayBufferView | undefined;
let lastAddress = 0;

/**
 * The address of the first byte of `view`. Looked up once for each shared buffer, whose memory never moves; for an
 * ArrayBuffer every time, because a transfer takes the memory away.
 */
export function addressOf(view: ArrayBufferView): number {
  if (view === lastView) return lastAddress;
  const buffer = view.buffer;
  if (!(buffer instanceof SharedArrayBuffer)) return addon().addressOf(view);
  let base = baseOf.get(buffer);
  if (base === undefined) {
    base = addon().addressOf(view) - view.byteOffset;
    baseOf.set(buffer, base);
  }
  lastView = view;
  lastAddress = base + view.byteOffset;
  return lastAddress;
}
