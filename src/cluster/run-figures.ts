/** The figures of a job that its workers keep: the ledger, retries, and the rate that follows from them. */
import { addSample, type RateWindow, rateOf } from '../core/rate.ts';
import { addLedgers, type Clock, type Ledger } from '../core/types.ts';
import type { Fleet } from './fleet.ts';
import type { JobDefinition } from './job-store.ts';

export interface Figures {
  readonly ledger: Ledger;
  readonly retries: number;
  readonly evictedBytes: number;
  readonly bytesPerSecond?: number;
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

  constructor(options: {
    definition: JobDefinition;
    fleet: Fleet;
    clock: Clock;
    retriesBefore: number;
    evictedBefore: number;
    ledgerBefore: Ledger;
  }) {
    this.#definition = options.definition;
    this.#fleet = options.fleet;
    this.#clock = options.clock;
    this.#retriesBefore = options.retriesBefore;
    this.#evictedBefore = options.evictedBefore;
    this.#ledgerBefore = options.ledgerBefore;
  }

  /** Before the run was started. */
  get atRest(): Figures {
    return { retries: this.#retriesBefore, evictedBytes: this.#evictedBefore, ledger: this.#ledgerBefore };
  }

  /** Of the run that was started, and of the repair run where there is one. A look is also a sample of the rate. */
  now({ repairs }: { repairs: boolean }): Figures {
    let { retries, evictedBytes, ledger } = this.#fleet.progress(this.#definition.runId);
    if (repairs) {
      const repair = this.#fleet.progress(this.#definition.repairRunId);
      retries += repair.retries;
      evictedBytes += repair.evictedBytes;
      ledger = addLedgers(ledger, repair.ledger);
    }
    // The worker forgets them when the run ends.
    this.#retriesSeen = Math.max(this.#retriesSeen, retries);
    this.#evictedSeen = Math.max(this.#evictedSeen, evictedBytes);
    // The rate is that of the origin: parts become durable in bursts, many seconds apart on a limited load.
    const atMs = this.#clock.monotonicMs();
    this.#rate = addSample(this.#rate, { atMs, total: ledger.originBytes });
    const bytesPerSecond = rateOf(this.#rate, atMs);
    const figures = {
      retries: this.#retriesBefore + this.#retriesSeen,
      evictedBytes: this.#evictedBefore + this.#evictedSeen,
      ledger,
    };
    return bytesPerSecond === undefined ? figures : { ...figures, bytesPerSecond };
  }
}
