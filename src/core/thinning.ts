/**
 * Which of very many like things are told of, so that few are told of wholly and many by some of them: the first `base` each,
 * of those that follow every second until `base` more were told, then every fourth, and so on. Of N things there are about
 * `base * log2(N / base)`: of ten million, with a base of 256, some 4,000.
 */
export class Thinning {
  readonly #base: number;
  #stride = 1;
  #told = 0;
  /** Since the last one that was told of. */
  #passed = 0;

  /** @param base infinite: each is told of; 0: none */
  constructor(base: number) {
    this.#base = base;
  }

  /** Whether the next one is told of. */
  next(): boolean {
    if (this.#base === 0) return false;
    this.#passed += 1;
    if (this.#passed < this.#stride) return false;
    this.#passed = 0;
    if (this.#told >= this.#base) {
      this.#told = 0;
      this.#stride *= 2;
    }
    this.#told += 1;
    return true;
  }

  /** What one that is told of stands for. */
  get stride(): number {
    return this.#stride;
  }
}
