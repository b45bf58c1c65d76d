/** What the listing of a job waits for, by the time that its calls to the origin take: a page, a look at an object. */
import type { LimitState, LimitSums } from '../core/limit-causes.ts';
import { type CallWait, type WatchedCall, watchedCall } from '../origin/request-watch.ts';

const stateOf: Readonly<Record<CallWait, LimitState>> = {
  answer: 'listing',
  'throttled-503': 'throttled-503',
  'throttled-429': 'throttled-429',
  requests: 'requests',
};

export class ListingWaits {
  readonly #now: () => number;
  readonly #calls = new Set<WatchedCall>();
  #sums: Partial<Record<LimitState | 'none', number>> = {};
  #sinceMs: number;

  constructor(now: () => number) {
    this.#now = now;
    this.#sinceMs = now();
  }

  /** Runs a call, whose requests are watched from its beginning to its end, whatever attempts and pauses that takes. */
  async call<T>(act: () => Promise<T>): Promise<T> {
    const charge = (): void => this.#charge();
    let waitsFor: CallWait = 'answer';
    const call: WatchedCall = {
      get waitsFor() {
        return waitsFor;
      },
      become(wait) {
        charge();
        waitsFor = wait;
      },
    };
    this.#charge();
    this.#calls.add(call);
    try {
      return await watchedCall(call, act);
    } finally {
      this.#charge();
      this.#calls.delete(call);
    }
  }

  /** Milliseconds since this was asked before. @param otherwise what the time without a call is called */
  take(otherwise: LimitState): LimitSums {
    this.#charge();
    const { none = 0, ...sums } = this.#sums;
    this.#sums = {};
    return none > 0 ? { ...sums, [otherwise]: none } : sums;
  }

  /** The time that has passed, in equal shares for the calls under way. */
  #charge(): void {
    const nowMs = this.#now();
    const passedMs = Math.max(0, nowMs - this.#sinceMs);
    this.#sinceMs = nowMs;
    if (this.#calls.size === 0) this.#add('none', passedMs);
    for (const { waitsFor } of this.#calls) this.#add(stateOf[waitsFor], passedMs / this.#calls.size);
  }

  #add(state: LimitState | 'none', ms: number): void {
    if (ms > 0) this.#sums[state] = (this.#sums[state] ?? 0) + ms;
  }
}
