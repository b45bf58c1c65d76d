/**
 * How often the log says the same: so many times at once, then once in a while, with how many were left out. What is counted by is
 * the text of a line without its facts: so a million files that fail for one reason are a few lines.
 */

export interface LineLimits {
  /** Lines of one text that are written however fast they come. */
  readonly burst: number;
  /** After those, one line in so many milliseconds; each of them that passes without a line gives one of the burst back. */
  readonly everyMs: number;
}

interface Text {
  left: number;
  atMs: number;
  leftOut: number;
}

/** Texts that are remembered; they are those of the program, and few more. */
const mostTexts = 1000;

export class LineLimit {
  readonly #limits: LineLimits;
  readonly #texts = new Map<string, Text>();

  constructor(limits: LineLimits) {
    this.#limits = limits;
  }

  /** How many were left out since the last one that was written; undefined: this one is left out too. */
  take(text: string, nowMs: number): number | undefined {
    const leftOut = this.due(text, nowMs);
    if (leftOut === undefined) this.#texts.get(text)!.leftOut += 1;
    return leftOut;
  }

  /** The same of a line that was left out and counted already, and waits to be written; undefined: it waits on. */
  due(text: string, nowMs: number): number | undefined {
    const { burst, everyMs } = this.#limits;
    let known = this.#texts.get(text);
    if (known === undefined) {
      known = { left: burst, atMs: nowMs, leftOut: 0 };
      this.#texts.set(text, known);
      if (this.#texts.size > mostTexts) this.#texts.delete(this.#texts.keys().next().value!);
    }
    const regained = Math.floor((nowMs - known.atMs) / everyMs);
    if (regained > 0) {
      known.left = Math.min(burst, known.left + regained);
      known.atMs += regained * everyMs;
    }
    if (known.left === 0) return undefined;
    known.left -= 1;
    // What has its whole burst gains nothing by waiting.
    if (known.left === burst - 1) known.atMs = nowMs;
    return this.leftOut(text);
  }

  /** How many were left out since the last one that was written: they are told now. */
  leftOut(text: string): number {
    const known = this.#texts.get(text);
    if (known === undefined) return 0;
    const { leftOut } = known;
    known.leftOut = 0;
    return leftOut;
  }
}
