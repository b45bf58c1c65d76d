/** What requests receive in turn, each at a pace of its own, until the last one has ended. Pure. */
import { Heap } from './heap.ts';

export interface InTurn {
  /** Of the request that ends last, and of those before it in its place. */
  readonly bytes: number;
  /** Of all requests that this is about: what is left of a load beyond them has to wait longer. */
  readonly ofBytes: number;
  /** Of them, those that wait. */
  readonly waiting: number;
}

export const nothingInTurn: InTurn = { bytes: 0, ofBytes: 0, waiting: 0 };

/** So many are looked at: with more before it, how they lie decides little. */
export const mostInTurn = 512;

/**
 * @param underWay what each request that is under way still has to receive
 * @param queued bytes of those that wait, in order: each begins where the first one ends
 */
export function inTurn(underWay: readonly number[], queued: Iterable<number>): InTurn {
  const ends = new Heap<number>((a, b) => a < b);
  let [last, ofBytes, waiting] = [0, 0, 0];
  const end = (bytes: number): void => {
    ends.push(bytes);
    last = Math.max(last, bytes);
  };
  for (const bytes of underWay) {
    end(bytes);
    ofBytes += bytes;
  }
  if (underWay.length === 0) return nothingInTurn;
  for (const bytes of queued) {
    if (waiting === mostInTurn) break;
    end((ends.pop() ?? 0) + bytes);
    ofBytes += bytes;
    waiting += 1;
  }
  return { bytes: last, ofBytes, waiting };
}

/** Of two workers, which do not wait for each other. */
export function besides(a: InTurn, b: InTurn): InTurn {
  return { bytes: Math.max(a.bytes, b.bytes), ofBytes: a.ofBytes + b.ofBytes, waiting: a.waiting + b.waiting };
}
