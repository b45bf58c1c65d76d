/** A counter of what is under way, that callers wait at. One waiter: the loop that hands out work. */
export class Gate {
  #underWay = 0;
  #wake: (() => void) | undefined;

  get underWay(): number {
    return this.#underWay;
  }

  enter(count = 1): void {
    this.#underWay += count;
  }

  leave(count = 1): void {
    this.#underWay -= count;
    this.nudge();
  }

  /** Makes the waiter look again. */
  nudge(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }

  /** Resolves when less than `limit` is under way, or `until` says so (looked at after each change and nudge). */
  async below(limit: number, until: () => boolean = () => false): Promise<void> {
    while (this.#underWay >= limit && !until()) await this.changed();
  }

  /** Resolves at the next `leave` or `nudge`. */
  changed(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }
}
