/**
 * Calls of one link, from when they are asked until they are answered. A call waits until fewer of its kind are in flight than
 * may be; then it gets a number, is said, and is pending until its result is here, over as many connections as that takes.
 */
import type { PrimedError } from '../../core/errors.ts';
import { FairQueue } from '../../core/fair-queue.ts';
import type { RunId } from '../../core/types.ts';
import type { BegunLoad, SegmentOutcome } from '../worker-link.ts';
import { inFlight, type Kind, type Method } from './protocol.ts';

interface Asked {
  readonly kind: Kind;
  /** Whose place in the window it takes. */
  readonly run: RunId | undefined;
  /** Entries that it takes of a frame. */
  readonly weight: number;
  /** Given when it leaves the queue. */
  number: number;
}

/** Shares a message with others of its run. */
export interface LoadCall extends Asked {
  readonly kind: 'load';
  readonly run: RunId;
  readonly load: BegunLoad;
}

export interface OtherCall extends Asked {
  readonly kind: Exclude<Kind, 'load'>;
  readonly method: Method;
  readonly args: readonly unknown[];
  /** Hears the result, or the PrimedError in its place. */
  readonly ended: (end: unknown) => void;
}

export type Call = LoadCall | OtherCall;

export class Calls {
  /** In the order in which they were said first. */
  readonly #pending = new Map<number, Call>();
  /** Runs share the windows by weight; what concerns none of them counts as one more. */
  readonly #queues: Record<Kind, FairQueue<RunId | undefined, Call>> = {
    load: new FairQueue(),
    verify: new FairQueue(),
    query: new FairQueue(),
    control: new FairQueue(),
  };
  readonly #inFlight: Record<Kind, number> = { load: 0, verify: 0, query: 0, control: 0 };
  readonly #onUnsaid: () => void;
  readonly #weightOf: (run: RunId | undefined) => number;
  #unsaid: Call[] = [];
  #lastNumber = 0;

  /**
   * @param onUnsaid called whenever the first call comes that is to be said
   * @param weightOf of a run beside others
   */
  constructor(onUnsaid: () => void, weightOf: (run: RunId | undefined) => number) {
    this.#onUnsaid = onUnsaid;
    this.#weightOf = weightOf;
  }

  ask(call: Call): void {
    const { kind, run } = call;
    const queue = this.#queues[kind];
    if (queue.length === 0 && this.#inFlight[kind] < inFlight[kind]) {
      queue.enter(run);
      this.#say(call);
    } else queue.push(run, call, this.#weightOf(run));
  }

  /** Numbers of all that were said and are not answered. */
  get pending(): number[] {
    return [...this.#pending.keys()];
  }

  /** What is to be said now; each call is given once. */
  takeUnsaid(): Call[] {
    const calls = this.#unsaid;
    this.#unsaid = [];
    return calls;
  }

  /** Over another connection, all that is pending. */
  sayAgain(): void {
    this.#unsaid = [...this.#pending.values()];
  }

  settle(number: number, end: unknown): void {
    const call = this.#pending.get(number);
    if (call === undefined) return;
    this.#leave(call);
    this.#admit(call.kind);
    tell(call, end);
  }

  /**
   * The same for loads that end together; those that take their places are said together.
   * @param outcomes of loads by these numbers, undefined where nobody waits for one
   */
  settleLoads(
    numbers: readonly number[],
    outcomes: (loads: readonly (LoadCall | undefined)[]) => readonly SegmentOutcome[],
  ): void {
    const calls = numbers.map((number) => {
      const call = this.#pending.get(number);
      return call?.kind === 'load' ? call : undefined;
    });
    const ends = outcomes(calls);
    for (let at = 0; at < calls.length; at += 1) {
      const call = calls[at];
      if (call !== undefined && this.#leave(call)) call.load.ended(ends[at]!);
    }
    this.#admit('load');
  }

  /** All that wait or are pending. */
  rejectAll(error: PrimedError): void {
    const calls = [...this.#pending.values()];
    for (const { kind, run } of calls) this.#queues[kind].giveBack(run);
    for (const queue of Object.values(this.#queues)) calls.push(...queue.remove(() => true));
    this.#pending.clear();
    this.#unsaid = [];
    for (const kind of Object.keys(this.#inFlight) as Kind[]) this.#inFlight[kind] = 0;
    for (const call of calls) tell(call, error);
  }

  /** What has a place in the window now. */
  #admit(kind: Kind): void {
    const queue = this.#queues[kind];
    while (queue.length > 0 && this.#inFlight[kind] < inFlight[kind]) this.#say(queue.take()!);
  }

  #say(call: Call): void {
    this.#inFlight[call.kind] += 1;
    call.number = this.#lastNumber += 1;
    this.#pending.set(call.number, call);
    this.#unsaid.push(call);
    if (this.#unsaid.length === 1) this.#onUnsaid();
  }

  /** False: it was settled before. */
  #leave(call: Call): boolean {
    if (!this.#pending.delete(call.number)) return false;
    this.#inFlight[call.kind] -= 1;
    this.#queues[call.kind].giveBack(call.run);
    return true;
  }
}

export function tell(call: Call, end: unknown): void {
  if (call.kind === 'load') call.load.ended(end as SegmentOutcome | PrimedError);
  else call.ended(end);
}
