/** The figures of a job that its workers keep: the ledger, retries, rate and pace that follow from them, and what limits it. */
import { addDone, type Pace } from '../core/eta.ts';
import { addFlows, type FlowSums, noFlows } from '../core/flows.ts';
import { besides, type InTurn, nothingInTurn } from '../core/in-turn.ts';
import type { Limit, LimitSums } from '../core/limit-causes.ts';
import { addSample, type RateWindow, rateOf } from '../core/rate.ts';
import { addLedgers, type Clock, discardReasons, type Ledger, type RunId, type WorkerId } from '../core/types.ts';
import type { Fleet } from './fleet.ts';
import { requestsOf } from './fleet-run.ts';
import { JobLimits } from './job-limits.ts';
import type { JobDefinition } from './job-store.ts';

export interface Figures {
  readonly ledger: Ledger;
  readonly retries: number;
  readonly evictedBytes: number;
  readonly bytesPerSecond?: number;
  /** What it was waiting for in all, in milliseconds. */
  readonly limitedMs: LimitSums;
  /** What limits it of late; once it has ended, what did. */
  readonly limitedBy?: readonly Limit[];
  readonly pace?: Pace;
  /** What requests under way, and those behind them, receive in turn. */
  readonly turn?: InTurn;
  /** How the paces of requests have changed. */
  readonly flows?: FlowSums;
}

export class RunFigures {
  readonly #definition: JobDefinition;
  readonly #fleet: Fleet;
  readonly #clock: Clock;
  /** Of earlier processes; the worker only counts those of this one. */
  readonly #retriesBefore: number;
  readonly #evictedBefore: number;
  readonly #ledgerBefore: Ledger;
  #retriesSeen = 0;
  #evictedSeen = 0;
  #rate: RateWindow = [];
  readonly #limits: JobLimits;
  #pace: Pace | undefined;

  constructor(options: {
    definition: JobDefinition;
    fleet: Fleet;
    clock: Clock;
    retriesBefore: number;
    evictedBefore: number;
    ledgerBefore: Ledger;
    limitedBefore: LimitSums;
  }) {
    this.#definition = options.definition;
    this.#fleet = options.fleet;
    this.#clock = options.clock;
    this.#retriesBefore = options.retriesBefore;
    this.#evictedBefore = options.evictedBefore;
    this.#ledgerBefore = options.ledgerBefore;
    this.#limits = new JobLimits(options.limitedBefore);
  }

  /** Before the run was started. */
  get atRest(): Figures {
    return {
      retries: this.#retriesBefore,
      evictedBytes: this.#evictedBefore,
      ledger: this.#ledgerBefore,
      limitedMs: this.#limits.sums,
    };
  }

  /**
   * Of the run that was started, and of the repair run where there is one. A look is also a sample of rate and pace.
   * @param look.waits of its listings, since the look before
   * @param look.files that were loaded, or have failed
   */
  now(look: { repairs: boolean; listing: boolean; waits: LimitSums; files: number }): Figures {
    const { repairs, listing, waits, files } = look;
    const { runId, repairRunId } = this.#definition;
    const limits = namedBy(runId, this.#fleet.limits(runId));
    const load = this.#fleet.progress(runId);
    let { retries, evictedBytes, ledger } = load;
    let requests = requestsOf(load);
    let { turn = nothingInTurn, flows = noFlows } = load;
    if (repairs) {
      const repair = this.#fleet.progress(repairRunId);
      for (const [name, sums] of namedBy(repairRunId, this.#fleet.limits(repairRunId))) limits.set(name, sums);
      retries += repair.retries;
      evictedBytes += repair.evictedBytes;
      ledger = addLedgers(ledger, repair.ledger);
      requests += requestsOf(repair);
      turn = besides(turn, repair.turn ?? nothingInTurn);
      flows = addFlows(flows, repair.flows ?? noFlows);
    }
    // The worker forgets them when the run ends.
    this.#retriesSeen = Math.max(this.#retriesSeen, retries);
    this.#evictedSeen = Math.max(this.#evictedSeen, evictedBytes);
    // The rate is that of the origin: parts become durable in bursts, many seconds apart on a limited load.
    const atMs = this.#clock.monotonicMs();
    this.#rate = addSample(this.#rate, { atMs, total: ledger.originBytes });
    const bytesPerSecond = rateOf(this.#rate, atMs);
    this.#limits.look(atMs, limits, listing, waits);
    const { recent, sums } = this.#limits;
    const { cachedBytes } = ledger;
    this.#pace = addDone(this.#pace, atMs, { files, bytes: movedBytes(ledger), cachedBytes }, requests);
    const figures = {
      pace: this.#pace,
      turn,
      flows,
      retries: this.#retriesBefore + this.#retriesSeen,
      evictedBytes: this.#evictedBefore + this.#evictedSeen,
      ledger,
      limitedMs: sums,
      ...(recent === undefined ? {} : { limitedBy: recent }),
    };
    return bytesPerSecond === undefined ? figures : { ...figures, bytesPerSecond };
  }
}

function namedBy(run: RunId, limits: ReadonlyMap<WorkerId, LimitSums>): Map<string, LimitSums> {
  return new Map(Array.from(limits, ([worker, sums]) => [`${run} ${worker}`, sums]));
}

/** What came to workers, from the origin and from each other, and was of use, durable by now or about to be. */
export function movedBytes({ originBytes, peerBytes, discardedBytes }: Ledger): number {
  return discardReasons.reduce((sum, reason) => sum - discardedBytes[reason], originBytes + peerBytes);
}
