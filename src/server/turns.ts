/** At most so many at once, the others in order of arrival, none for longer than the limit. */
import { PrimedError } from '../core/errors.ts';

export class Turns {
  readonly #limit: number;
  readonly #waitLimitMs: number;
  #taken = 0;
  /** Bounded by the number of connections: each has one request at a time that waits. */
  readonly #waiting = new Set<() => void>();

  constructor({ limit, waitLimitMs }: { limit: number; waitLimitMs: number }) {
    this.#limit = limit;
    this.#waitLimitMs = waitLimitMs;
  }

  /** Resolves with the verb that gives the turn back. Throws TOO_BUSY when none came in time. */
  async take(): Promise<() => void> {
    if (this.#taken < this.#limit) this.#taken += 1;
    else await this.#queue();
    let held = true;
    return () => {
      if (held) this.#giveBack();
      held = false;
    };
  }

  #queue(): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(enter);
        const seconds = this.#waitLimitMs / 1000;
        const message = `Please reduce your request rate: ${this.#limit} reads are under way, and none ended in ${seconds} s.`;
        reject(new PrimedError('TOO_BUSY', message, { limit: this.#limit }));
      }, this.#waitLimitMs);
      const enter = () => {
        clearTimeout(timer);
        resolve();
      };
      this.#waiting.add(enter);
    });
  }

  /** A turn that somebody waits for changes hands without being free in between. */
  #giveBack(): void {
    const [next] = this.#waiting;
    if (next === undefined) this.#taken -= 1;
    else {
      this.#waiting.delete(next);
      next();
    }
  }
}
