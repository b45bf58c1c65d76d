/** What is told to the other side of a link: only the newest is, and again over each new connection, as others may have told another meanwhile. */
export class Newest<T> {
  readonly #tell: (value: T) => Promise<unknown>;
  #value: T | undefined;
  #telling: Promise<void> | undefined;

  constructor(tell: (value: T) => Promise<unknown>) {
    this.#tell = tell;
  }

  /** Resolves when it was told, or a newer one in its place. */
  tell(value: T): Promise<void> {
    this.#value = value;
    this.#telling ??= this.#run().finally(() => {
      this.#telling = undefined;
    });
    return this.#telling;
  }

  again(): void {
    if (this.#value !== undefined) this.tell(this.#value).catch(() => undefined);
  }

  async #run(): Promise<void> {
    for (let told: T | undefined; told !== this.#value; ) {
      told = this.#value;
      await this.#tell(told as T);
    }
  }
}
