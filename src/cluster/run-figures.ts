/** The figures of a job that its worker keeps: the ledger, retries, and the rate that follows from them. */
import { addSample, type RateWindow, rateOf } from '../core/rate.ts';
import { addLedgers, type Clock, emptyLedger, type Ledger } from '../core/types.ts';
import type { Worker } from '../ingest/types.ts';
import type { JobDefinition } from './job-store.ts';

export interface Figures {
  readonly ledger: Ledger;
  readonly retries: number;
  readonly bytesPerSecond?: number;
}

export class RunFigures {
  readonly #definition: JobDefinition;
  readonly #worker: Worker;
  readonly #clock: Clock;
  /** Of earlier processes; the worker only counts those of this one. */
  readonly #retriesBefore: number;
  #retriesSeen = 0;
  #rate: RateWindow = [];

  constructor(options: { definition: JobDefinition; worker: Worker; clock: Clock; retriesBefore: number }) {
    this.#definition = options.definition;
    this.#worker = options.worker;
    this.#clock = options.clock;
    this.#retriesBefore = options.retriesBefore;
  }

  /** Before the run was started. */
  get atRest(): Figures {
    return { retries: this.#retriesBefore, ledger: emptyLedger() };
  }

  /** Of the run that was started, and of the repair run where there is one. A look is also a sample of the rate. */
  now({ repairs }: { repairs: boolean }): Figures {
    let { retries, ledger } = this.#worker.progress(this.#definition.runId);
    if (repairs) {
      const repair = this.#worker.progress(this.#definition.repairRunId);
      retries += repair.retries;
      ledger = addLedgers(ledger, repair.ledger);
    }
    // The worker forgets them when the run ends.
    this.#retriesSeen = Math.max(this.#retriesSeen, retries);
    // The rate is that of the origin: parts become durable in bursts, many seconds apart on a limited load.
    const atMs = this.#clock.monotonicMs();
    this.#rate = addSample(this.#rate, { atMs, total: ledger.originBytes });
    const bytesPerSecond = rateOf(this.#rate, atMs);
    const figures = { retries: this.#retriesBefore + this.#retriesSeen, ledger };
    return bytesPerSecond === undefined ? figures : { ...figures, bytesPerSecond };
  }
}
