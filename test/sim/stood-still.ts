/** When somebody stood still: what he is asked takes so much longer. */
export class StoodStill {
  readonly #spans: { readonly fromMs: number; toMs: number }[] = [];

  /** Returns how it ends; whoever says so first is right. */
  begins(nowMs: number): (nowMs: number) => void {
    const span = { fromMs: nowMs, toMs: Number.POSITIVE_INFINITY };
    this.#spans.push(span);
    return (endMs) => {
      span.toMs = Math.min(span.toMs, endMs);
    };
  }

  /** How much of an interval it was. */
  withinMs({ fromMs, toMs }: { readonly fromMs: number; readonly toMs: number }): number {
    let sumMs = 0;
    for (const span of this.#spans) sumMs += Math.max(0, Math.min(span.toMs, toMs) - Math.max(span.fromMs, fromMs));
    return sumMs;
  }
}
