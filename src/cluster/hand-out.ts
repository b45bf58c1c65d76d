/**
 * Hands the files of a job to the fleet, as many as each worker's window takes. Who is slow has its own files wait, up to a
 * limit of them over all workers, and the others go on.
 */
import type { ManifestEntry, RunId, WorkerId } from '../core/types.ts';
import { type Claim, Windows } from '../core/windows.ts';
import type { FileOutcome } from '../ingest/types.ts';
import type { Fleet } from './fleet.ts';
import type { FileHow } from './fleet-file.ts';
import type { Gate } from './gate.ts';

/** Files that wait for a worker whose window is full; about 500 B each. */
const parkedLimit = 4096;
/** Segments of files that are cut, under way at once: with 64 MiB each, half a TiB. About 1 KiB each. */
const segmentsLimit = 8192;

export interface HandOutOptions {
  readonly fleet: Pick<Fleet, 'begin' | 'claimOf'>;
  readonly run: RunId;
  /** Files of one worker at once. */
  readonly filesEach: number;
  /** Entered by each file that is handed out, those that wait included. */
  readonly gate: Gate;
  readonly halted: () => boolean;
}

interface Order {
  readonly entry: ManifestEntry;
  readonly how: FileHow;
  readonly claim: Claim<WorkerId>;
  readonly settled: (outcome: FileOutcome) => void;
}

export class HandOut {
  readonly #options: HandOutOptions;
  readonly #windows: Windows<WorkerId, Order>;

  constructor(options: HandOutOptions) {
    this.#options = options;
    const { filesEach } = options;
    this.#windows = new Windows({ filesEach, segments: segmentsLimit, parked: parkedLimit });
  }

  /**
   * The file is on its way, or waits for its worker, or the job is halted; where what is returned has resolved. `settled` hears
   * how it ended.
   */
  hand(entry: ManifestEntry, how: FileHow, settled: (outcome: FileOutcome) => void): Promise<void> | undefined {
    const { fleet, run } = this.#options;
    const order = { entry, how, claim: fleet.claimOf(run, entry), settled };
    return this.#enter(order) ? undefined : this.#enterLater(order);
  }

  async #enterLater(order: Order): Promise<void> {
    do await this.#options.gate.changed();
    while (!this.#enter(order));
  }

  /** False: there is no room for it now. */
  #enter(order: Order): boolean {
    const { gate, halted } = this.#options;
    if (halted()) return true;
    const answer = this.#windows.offer(order, order.claim);
    if (answer === 'full') return false;
    gate.enter();
    if (answer === 'go') this.#load(order);
    return true;
  }

  #load({ entry, how, claim, settled }: Order): void {
    const { fleet, run, gate, halted } = this.#options;
    fleet.begin(run, entry, how, (outcome) => {
      settled(outcome);
      const next = this.#windows.leave(claim);
      if (!halted()) for (const order of next) this.#load(order);
      gate.leave();
    });
  }
}
