/** Pieces of work of some milliseconds, each in a turn of the event loop of its own, so that whoever asks something waits for one. */
import { setImmediate as nextTurn } from 'node:timers/promises';

export class TurnTaking {
  #last: Promise<unknown> = Promise.resolve();

  /** Resolves in a turn in which no other call resolves. */
  take(): Promise<void> {
    const turn = this.#last.then(() => nextTurn());
    this.#last = turn;
    return turn;
  }
}
