/** Whole numbers above 0, very many of them: 8 to 32 B each, where a Set takes more, and ends at 16 million. */
const leastSlots = 64;

export class NumberSet {
  #slots = new Float64Array(leastSlots);
  #size = 0;

  get size(): number {
    return this.#size;
  }

  has(number: number): boolean {
    return this.#slots[this.#find(this.#slots, number)] === number;
  }

  /** False: it was there. */
  add(number: number): boolean {
    const at = this.#find(this.#slots, number);
    if (this.#slots[at] === number) return false;
    this.#slots[at] = number;
    this.#size += 1;
    if (this.#size * 2 > this.#slots.length) this.#grow();
    return true;
  }

  /** Its slot, or the free one where it would be. */
  #find(slots: Float64Array, number: number): number {
    const mask = slots.length - 1;
    const mixed = Math.imul((number % 4294967296) | 0, 0x9e3779b1) ^ (number / 4294967296);
    let at = (mixed ^ (mixed >>> 15)) & mask;
    while (slots[at] !== 0 && slots[at] !== number) at = (at + 1) & mask;
    return at;
  }

  #grow(): void {
    const slots = new Float64Array(this.#slots.length * 2);
    for (const number of this.#slots) if (number !== 0) slots[this.#find(slots, number)] = number;
    this.#slots = slots;
  }
}
