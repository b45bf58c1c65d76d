/** What each run of this worker was waiting for: looks at them in turns, and charges the time between (core/limit-account). */
import { type EventLoopUtilization, performance } from 'node:perf_hooks';
import { charge, emptyAccount, grownBy, type LimitAccount, type RunLook, weightsOf } from '../core/limit-account.ts';
import { type LimitCause, type LimitState, type LimitSums, limitStates } from '../core/limit-causes.ts';
import type { Store } from '../store/types.ts';
import type { LanePool } from './lanes.ts';
import type { Limits } from './limits.ts';
import type { Parts } from './parts.ts';
import type { Run } from './run.ts';
import { type RunBoard, waitsOfRun } from './run-board.ts';

export interface LimitBookOptions {
  readonly board: RunBoard;
  readonly lanes: LanePool;
  readonly limits: Limits;
  readonly parts: Parts;
  readonly store: Pick<Store, 'isFlushing'>;
  /** Lanes give way to readers. */
  readonly yields: () => boolean;
  readonly observe: (cause: LimitCause, milliseconds: number) => void;
}

interface Entry {
  account: LimitAccount;
  /** What lanes have said so far. */
  lanes: LimitSums;
  lookedMs: number;
}

export class LimitBook {
  readonly #options: LimitBookOptions;
  readonly #entries = new Map<Run, Entry>();
  #loopBefore: EventLoopUtilization = performance.eventLoopUtilization();

  constructor(options: LimitBookOptions) {
    this.#options = options;
  }

  add(run: Run, nowMs: number): void {
    this.#entries.set(run, { account: emptyAccount, lanes: {}, lookedMs: nowMs });
  }

  remove(run: Run): void {
    this.#entries.delete(run);
  }

  /** Milliseconds by state since the run began here; rounded, for the wire. */
  sumsOf(run: Run): LimitSums {
    const { sums } = this.#entries.get(run)?.account ?? emptyAccount;
    return Object.fromEntries(Object.entries(sums).map(([state, ms]) => [state, Math.round(ms)]));
  }

  look(nowMs: number): void {
    const loopNow = performance.eventLoopUtilization();
    const { utilization } = performance.eventLoopUtilization(loopNow, this.#loopBefore);
    this.#loopBefore = loopNow;
    for (const [run, entry] of this.#entries) {
      const lanes = waitsOfRun(this.#options.board, run.row);
      const weights = weightsOf(this.#lookAt(run, grownBy(lanes, entry.lanes), utilization));
      const before = entry.account.sums;
      entry.account = charge(entry.account, nowMs - entry.lookedMs, weights);
      entry.lanes = lanes;
      entry.lookedMs = nowMs;
      const grown = grownBy(entry.account.sums, before);
      for (const state of Object.keys(grown) as LimitState[])
        this.#options.observe(limitStates[state].cause, grown[state] ?? 0);
    }
  }

  #lookAt(run: Run, waited: LimitSums, utilization: number): RunLook {
    const { lanes, limits, parts, store, yields } = this.#options;
    return {
      lanes: waited,
      partsInLanes: run.partsInFlight + run.checksInFlight,
      queued: run.fetches.peek(0) !== undefined || run.copies.peek(0) !== undefined,
      lacksSlot: parts.lacksSlot(run),
      slotsInUse: Math.max(1, run.unitsInFlight + run.checksInFlight),
      freeSlots: lanes.freeSlots,
      heldBy: parts.heldBy(run),
      throttledBy: limits.throttledBy,
      retrying: run.retrying,
      heads: run.headsInFlight,
      landingParts: run.landing.length + run.partsLanding,
      landing: store.isFlushing() ? 'disk-flush' : 'commit',
      files: run.isAdding && ![...run.files].some(({ unfollow }) => unfollow !== undefined),
      utilization,
      yielding: yields(),
    };
  }
}
