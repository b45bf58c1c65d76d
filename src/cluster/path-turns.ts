/** A path has one loader at a time, over all runs: who comes second waits, and then finds the file complete, or loads it anew. */
import type { UfsPath } from '../core/types.ts';

export class PathTurns {
  readonly #taken = new Set<UfsPath>();
  /** Who waits for each, in order; nearly always nobody. */
  readonly #waiting = new Map<UfsPath, (() => void)[]>();

  /** Of any path. */
  get taken(): boolean {
    return this.#taken.size > 0;
  }

  /** False: somebody has the turn. Who gets it calls `leave`, once. */
  enter(path: UfsPath): boolean {
    const before = this.#taken.size;
    return this.#taken.add(path).size > before;
  }

  leave(path: UfsPath): void {
    const waiting = this.#waiting.size > 0 ? this.#waiting.get(path) : undefined;
    if (waiting === undefined) {
      this.#taken.delete(path);
      return;
    }
    const next = waiting.shift()!;
    if (waiting.length === 0) this.#waiting.delete(path);
    next();
  }

  /** Calls `act` when its turn comes, or at once when `signal` fires before. */
  async take<T>(path: UfsPath, signal: AbortSignal, act: () => Promise<T>): Promise<T> {
    if (!this.enter(path) && !(await this.#turn(path, signal))) return act();
    try {
      return await act();
    } finally {
      this.leave(path);
    }
  }

  /** False: the signal has fired first. */
  #turn(path: UfsPath, signal: AbortSignal): Promise<boolean> {
    if (signal.aborted) return Promise.resolve(false);
    const waiting = this.#waiting.get(path) ?? [];
    this.#waiting.set(path, waiting);
    return new Promise((resolve) => {
      const comes = (): void => {
        signal.removeEventListener('abort', giveUp);
        resolve(true);
      };
      const giveUp = (): void => {
        waiting.splice(waiting.indexOf(comes), 1);
        if (waiting.length === 0) this.#waiting.delete(path);
        resolve(false);
      };
      waiting.push(comes);
      signal.addEventListener('abort', giveUp, { once: true });
    });
  }
}
