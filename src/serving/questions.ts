/**
 * Asks the main thread what the origin has at a path, for reads of what is whole here and may be outdated: what else belongs to
 * the read happens on this thread.
 *
 * ```
 *  read ── ask ──┐                     main thread
 *  read ── ask ──┴─ one message a turn ──▶ one HEAD for all who asked before it ──▶ one message a turn ──▶ reads go on
 * ```
 *
 * An answer is never older than its question.
 */
import type { ObjectVersion, UfsPath } from '../core/types.ts';
import { Outbox } from './outbox.ts';
import type { Question, QuestionAnswer } from './protocol.ts';

/** Undefined: it is not known, or there is no such object; the main thread has the words for that. */
export type OnVersion = (version: ObjectVersion | undefined) => void;

export interface QuestionsOptions {
  readonly post: (questions: readonly Question[]) => void;
  /** Monotonic. */
  readonly now: () => number;
}

/** Reads that wait at once; more are passed on, for the main thread to say when it has too much. */
export const mostQuestions = 8192;
/** A little more than the main thread waits for an origin. */
export const answerLimitMs = 12_000;

interface Waiting {
  readonly askedAtMs: number;
  readonly onVersion: OnVersion;
}

export class Questions {
  readonly #now: () => number;
  readonly #outbox: Outbox<Question>;
  /** The oldest first. */
  readonly #waiting = new Map<number, Waiting>();
  #asked = 0;

  constructor({ post, now }: QuestionsOptions) {
    this.#now = now;
    this.#outbox = new Outbox(post);
  }

  /** `onVersion` is called once, later or, where too many wait, at once. */
  ask(path: UfsPath, onVersion: OnVersion): void {
    if (this.#waiting.size >= mostQuestions) {
      onVersion(undefined);
      return;
    }
    const id = this.#asked++;
    this.#waiting.set(id, { askedAtMs: this.#now(), onVersion });
    this.#outbox.add({ id, path });
  }

  answered(answers: readonly QuestionAnswer[]): void {
    for (const { id, version } of answers) {
      const waiting = this.#waiting.get(id);
      this.#waiting.delete(id);
      waiting?.onVersion(version);
    }
  }

  /** Gives up those that were not answered in time: to be called now and then. */
  giveUp(): void {
    const before = this.#now() - answerLimitMs;
    for (const [id, { askedAtMs, onVersion }] of this.#waiting) {
      if (askedAtMs > before) return;
      this.#waiting.delete(id);
      onVersion(undefined);
    }
  }
}
