/** What limits a job: the account of the coordinator, made of what its workers say of themselves (core/limit-account). */
import { addSums, charge, emptyAccount, grownBy, type LimitAccount, weightsOfJob } from '../core/limit-account.ts';
import { type Limit, type LimitSums, limitsOf } from '../core/limit-causes.ts';
import { addLimitSample, type LimitWindow, recentSums } from '../core/limit-window.ts';

export class JobLimits {
  /** Of earlier processes. */
  readonly #before: LimitSums;
  #account: LimitAccount = emptyAccount;
  #lookedMs: number | undefined;
  #window: LimitWindow = [];
  /** What each part of a worker has said last, by a name of it. */
  #said = new Map<string, LimitSums>();

  constructor(before: LimitSums) {
    this.#before = before;
  }

  /**
   * @param said by a name of each worker's part: milliseconds that only grow
   * @param listing the listing is not done
   */
  look(nowMs: number, said: ReadonlyMap<string, LimitSums>, listing: boolean): void {
    const grown = Array.from(said, ([name, sums]) => grownBy(sums, this.#said.get(name) ?? {}));
    this.#said = new Map(said);
    this.#account = charge(this.#account, nowMs - (this.#lookedMs ?? nowMs), weightsOfJob(grown, { listing }));
    this.#lookedMs = nowMs;
    this.#window = addLimitSample(this.#window, { atMs: nowMs, sums: this.#account.sums });
  }

  /** Of late; undefined: not known. */
  get recent(): Limit[] | undefined {
    return limitsOf(recentSums(this.#window));
  }

  /** Milliseconds of the whole job, by state. */
  get sums(): LimitSums {
    return addSums(this.#before, this.#account.sums);
  }
}
