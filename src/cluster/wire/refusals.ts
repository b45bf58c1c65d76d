/** What was said of whom: who is refused asks again and again, and the log is for people. */

/** Those that are remembered; the oldest are forgotten. */
const mostRemembered = 1000;

export class Refusals {
  readonly #said = new Map<string, { readonly whys: Set<string>; lastMs: number }>();
  readonly #quietMs: number;

  /**
   * @param quietMs an acceptance counts when nothing was refused for so long: behind one address may be several nodes, of which
   * one is accepted and another is not
   */
  constructor(quietMs = 0) {
    this.#quietMs = quietMs;
  }

  /** Whether it is to be logged: once for each `who` and `why`, until `who` is accepted. */
  isNews(who: string, why: string): boolean {
    const nowMs = performance.now();
    const known = this.#said.get(who);
    if (known !== undefined) {
      known.lastMs = nowMs;
      const isNew = !known.whys.has(why);
      known.whys.add(why);
      return isNew;
    }
    this.#said.set(who, { whys: new Set([why]), lastMs: nowMs });
    if (this.#said.size > mostRemembered) this.#said.delete(this.#said.keys().next().value!);
    return true;
  }

  accepted(who: string): void {
    const known = this.#said.get(who);
    if (known !== undefined && performance.now() - known.lastMs >= this.#quietMs) this.#said.delete(who);
  }
}
