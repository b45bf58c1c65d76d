/** Asks for the past of rates: of the cluster when the page is told everything, of jobs when they are shown. */
import type { RateRecord } from '../../core/rate-history.ts';
import type { ConsoleState, Past } from '../state.ts';
import { ask } from './api.ts';

/** Never goes back, and counts from long before the page was opened. */
export const steadyMs = (): number => performance.timeOrigin + performance.now();

const path = '/api/v1/console/rates';
/** As many as one answer has. */
const mostSketches = 50;
const retryMs = 10_000;

interface Answer {
  readonly loading?: RateRecord;
  readonly serving?: RateRecord;
  readonly jobs: Readonly<Record<string, RateRecord>>;
}

export class PastAsker {
  readonly #state: ConsoleState;
  readonly #closed = new AbortController();
  #cluster = false;
  #asking = false;
  #notBeforeMs = 0;

  constructor(state: ConsoleState) {
    this.#state = state;
  }

  /** Everything was told anew: there may have been a time in which nothing was. */
  renew(): void {
    this.#cluster = true;
    this.#state.pastIsOld();
  }

  /** Asks for what is due, one after the other. Curves begin now where there is no answer: nobody has to be told. */
  turn(): void {
    if (this.#asking || this.#closed.signal.aborted || steadyMs() < this.#notBeforeMs) return;
    const next = this.#next();
    if (next === undefined) return;
    this.#asking = true;
    next().then(
      () => {
        this.#asking = false;
        this.turn();
      },
      () => {
        this.#asking = false;
        this.#notBeforeMs = steadyMs() + retryMs;
      },
    );
  }

  close(): void {
    this.#closed.abort();
  }

  #next(): (() => Promise<void>) | undefined {
    if (this.#cluster) return () => this.#askCluster();
    const { wanted } = this.#state;
    const whole = [...wanted].find(([, past]) => past === 'all')?.[0];
    if (whole !== undefined) return () => this.#askJobs([whole], 'all');
    if (wanted.size > 0) return () => this.#askJobs([...wanted.keys()].slice(0, mostSketches), 'sketch');
    return undefined;
  }

  async #askCluster(): Promise<void> {
    this.#cluster = false;
    try {
      const { loading, serving } = await ask<Answer>({ path, signal: this.#closed.signal });
      if (loading !== undefined && serving !== undefined) this.#state.tookCluster(loading, serving, steadyMs());
    } catch (error) {
      this.#cluster = true;
      throw error;
    }
  }

  async #askJobs(ids: readonly string[], past: Past): Promise<void> {
    const query = new URLSearchParams(ids.map((id) => [past === 'all' ? 'job' : 'sketch', id]));
    const { jobs } = await ask<Answer>({ path: `${path}?${query}`, signal: this.#closed.signal });
    for (const id of ids) this.#state.tookPast(id, past, jobs[id], steadyMs());
  }
}
