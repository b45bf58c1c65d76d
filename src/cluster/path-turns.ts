/** A path has one loader at a time, over all runs: who comes second waits, and then finds the file complete, or loads it anew. */
import { abortable } from '../core/abortable.ts';
import type { UfsPath } from '../core/types.ts';

export class PathTurns {
  /** Settles when nobody loads the path any more. */
  readonly #turns = new Map<UfsPath, Promise<unknown>>();

  /** Calls `act` when its turn comes, or at once when `signal` fires before. `act` must not reject. */
  take<T>(path: UfsPath, signal: AbortSignal, act: () => Promise<T>): Promise<T> {
    const earlier = this.#turns.get(path);
    const outcome = earlier === undefined ? act() : after(earlier, signal, act);
    // Who gives up waiting does not let the next one in before the first is done.
    const both: Promise<unknown> = earlier === undefined ? outcome : Promise.all([earlier, outcome]);
    const turn = both.then(() => {
      if (this.#turns.get(path) === turn) this.#turns.delete(path);
    });
    this.#turns.set(path, turn);
    return outcome;
  }
}

async function after<T>(earlier: Promise<unknown>, signal: AbortSignal, act: () => Promise<T>): Promise<T> {
  await abortable(earlier, signal).catch(() => undefined);
  return act();
}
