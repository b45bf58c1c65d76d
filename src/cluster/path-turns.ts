/** A path has one loader at a time, over all runs: who comes second waits, and then finds the file complete, or loads it anew. */
import type { UfsPath } from '../core/types.ts';

export class PathTurns {
  /** Paths that somebody loads, with who waits for each in order; nearly always nobody. */
  readonly #taken = new Map<UfsPath, (() => void)[] | undefined>();

  /** False: somebody has the turn. Who gets it calls `leave`, once. */
  enter(path: UfsPath): boolean {
    if (this.#taken.has(path)) return false;
    this.#taken.set(path, undefined);
    return true;
  }

  leave(path: UfsPath): void {
    const next = this.#taken.get(path)?.shift();
    if (next === undefined) this.#taken.delete(path);
    else next();
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
    const waiting = this.#taken.get(path) ?? [];
    this.#taken.set(path, waiting);
    return new Promise((resolve) => {
      const comes = (): void => {
        signal.removeEventListener('abort', giveUp);
        resolve(true);
      };
      const giveUp = (): void => {
        waiting.splice(waiting.indexOf(comes), 1);
        resolve(false);
      };
      waiting.push(comes);
      signal.addEventListener('abort', giveUp, { once: true });
    });
  }
}
