/**
 * The checksums of a lane, and how long they took. Of the many small pieces that arrive one in some is timed, and stands for
 * the others: a clock that is read twice costs as much as the checksum of 1 KiB.
 */
import { crc32c } from '../platform/checksum.ts';

const timedOneIn = 16;

export class LaneChecksums {
  #ms = 0;
  #calls = 0;

  /** Since the beginning. */
  get ms(): number {
    return this.#ms;
  }

  /** See platform/checksum. */
  crc32c(bytes: Uint8Array, offset: number, length: number, before: number): number {
    this.#calls += 1;
    if (this.#calls % timedOneIn !== 0) return crc32c(bytes, offset, length, before);
    const startedMs = performance.now();
    const crc = crc32c(bytes, offset, length, before);
    this.#ms += (performance.now() - startedMs) * timedOneIn;
    return crc;
  }

  /** Of something large. */
  timed<T>(work: () => T): T {
    const startedMs = performance.now();
    try {
      return work();
    } finally {
      this.#ms += performance.now() - startedMs;
    }
  }
}
