/** What limits a job: the account of the coordinator, made of what its workers say of themselves (core/limit-account). */
import {
  addSums,
  charge,
  emptyAccount,
  grownBy,
  type LimitAccount,
  totalOf,
  weightsOfJob,
} from '../core/limit-account.ts';
import { type Limit, type LimitSums, limitsOf } from '../core/limit-causes.ts';
import { type LimitWindow, recentSums } from '../core/limit-window.ts';
import { withSample } from '../core/rate.ts';

/** Workers speak twice a second; what one has said last holds for so long. */
const wordHoldsMs = 2_000;

interface Word {
  readonly sums: LimitSums;
  /** What came with it. */
  readonly grown: LimitSums;
  readonly atMs: number;
}

export class JobLimits {
  /** Of earlier processes. */
  readonly #before: LimitSums;
  #account: LimitAccount = emptyAccount;
  #lookedMs: number | undefined;
  #window: LimitWindow = [];
  #words = new Map<string, Word>();
  /** Not charged yet. */
  #waits: LimitSums = {};

  constructor(before: LimitSums) {
    this.#before = before;
  }

  /**
   * @param said by a name of each worker's part: milliseconds that only grow
   * @param listing the listing is not done
   * @param waits what listings were waiting for since the look before, which nobody has to hear from a worker
   */
  look(nowMs: number, said: ReadonlyMap<string, LimitSums>, listing: boolean, waits: LimitSums = {}): void {
    const words = new Map<string, Word>();
    let heard = false;
    for (const [name, sums] of said) {
      const last = this.#words.get(name);
      const grown = grownBy(sums, last?.sums ?? {});
      const speaks = totalOf(grown) > 0;
      heard ||= speaks;
      words.set(name, speaks || last === undefined ? { sums, grown, atMs: nowMs } : last);
    }
    this.#words = words;
    // They do not speak all at once: one that is silent between two words waits for what it waited for before.
    const hold = [...words.values()].filter(({ atMs }) => nowMs - atMs < wordHoldsMs);
    this.#waits = addSums(this.#waits, waits);
    const weights = heard
      ? weightsOfJob(
          hold.map(({ grown }) => grown),
          { listing, waits: this.#waits },
        )
      : // Where no worker has ever had anything to say, the job is what the coordinator knows of it.
        listing && [...words.values()].every(({ sums }) => totalOf(sums) === 0)
        ? this.#waits
        : undefined;
    if (weights !== undefined) this.#waits = {};
    this.#account = charge(this.#account, nowMs - (this.#lookedMs ?? nowMs), weights);
    this.#lookedMs = nowMs;
    this.#window = withSample(this.#window, { atMs: nowMs, sums: this.#account.sums });
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
