/** Where a view lies in memory. An address is a plain number: user space ends far below 2^53. */
import { addon } from './addon.ts';

const baseOf = new WeakMap<SharedArrayBuffer, number>();

/**
 * The address of the first byte of `view`. Looked up once for each shared buffer, whose memory never moves; for an
 * ArrayBuffer every time, because a transfer takes the memory away.
 */
export function addressOf(view: ArrayBufferView): number {
  const buffer = view.buffer;
  if (!(buffer instanceof SharedArrayBuffer)) return addon().addressOf(view);
  let base = baseOf.get(buffer);
  if (base === undefined) {
    base = addon().addressOf(view) - view.byteOffset;
    baseOf.set(buffer, base);
  }
  return base + view.byteOffset;
}
