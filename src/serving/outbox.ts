/** What one thread says to another in one turn of its event loop, as one message: a hop costs more than what is in it. */
export class Outbox<T> {
  readonly #post: (items: readonly T[]) => void;
  #items: T[] = [];

  constructor(post: (items: readonly T[]) => void) {
    this.#post = post;
  }

  add(item: T): void {
    this.#items.push(item);
    if (this.#items.length === 1) setImmediate(() => this.#send());
  }

  #send(): void {
    const items = this.#items;
    this.#items = [];
    this.#post(items);
  }
}
