/** The parts of a file that is copied as it arrives elsewhere: of what is missing here, what has arrived there. */
import { Deque } from '../core/deque.ts';
import { partsOf } from '../core/part-plan.ts';
import { rangesInBoth, rangesWithout } from '../core/ranges.ts';
import type { ByteRange } from '../core/types.ts';

/** As an iterator it is done whenever nothing has arrived that was not taken: it goes on when more has. */
export class Feed implements Iterator<ByteRange> {
  readonly #partBytes: number;
  readonly #ready = new Deque<ByteRange>();
  #missing: readonly ByteRange[];

  constructor(missing: readonly ByteRange[], partBytes: number) {
    this.#missing = missing;
    this.#partBytes = partBytes;
  }

  /** Whether all that was missing has arrived at the source. */
  get complete(): boolean {
    return this.#missing.length === 0;
  }

  /** `ranges`: sorted. Returns whether there is anything new to take. */
  arrived(ranges: readonly ByteRange[]): boolean {
    const wanted = rangesInBoth(this.#missing, ranges);
    this.#missing = rangesWithout(this.#missing, wanted);
    for (const part of partsOf(wanted, this.#partBytes)) this.#ready.push(part);
    return wanted.length > 0;
  }

  next(): IteratorResult<ByteRange> {
    const value = this.#ready.shift();
    return value === undefined ? { done: true, value } : { done: false, value };
  }
}
