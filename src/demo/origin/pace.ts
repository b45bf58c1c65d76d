/** Rate limits of the embedded origin: a bucket that may go into debt, so that a sender books first and waits after. */

/** Bytes that may leave at once after a pause: a tenth of a second's worth. */
const burstSeconds = 0.1;

export class Pace {
  #bytesPerSecond: number;
  #balance = 0;
  #atMs: number;

  constructor(bytesPerSecond: number, nowMs: number) {
    this.#bytesPerSecond = bytesPerSecond;
    this.#atMs = nowMs;
  }

  /** From now on, also for those who book already. */
  setRate(bytesPerSecond: number, nowMs: number): void {
    this.book(0, nowMs);
    this.#bytesPerSecond = bytesPerSecond;
  }

  /** Pieces of this size keep the flow even: a twentieth of a second's worth, between 1 byte and 1 MiB. */
  get pieceBytes(): number {
    return Math.max(1, Math.min(2 ** 20, Math.floor(this.#bytesPerSecond / 20)));
  }

  /** Books `bytes` and says for how many milliseconds they must wait before they leave. */
  book(bytes: number, nowMs: number): number {
    const burst = this.#bytesPerSecond * burstSeconds;
    const earned = ((nowMs - this.#atMs) / 1000) * this.#bytesPerSecond;
    this.#balance = Math.min(burst, this.#balance + earned) - bytes;
    this.#atMs = nowMs;
    return this.#balance >= 0 ? 0 : (-this.#balance / this.#bytesPerSecond) * 1000;
  }
}
