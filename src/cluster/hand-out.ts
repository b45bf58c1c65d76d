/**
 * Hands the files of a job to the fleet, as many as each worker's window takes. Who is slow has its own files wait, up to a
 * limit of them over all workers, and the others go on.
 */
import type { RunId, WorkerId } from '../core/types.ts';
import { Windows } from '../core/windows.ts';
import type { FileOutcome } from '../ingest/types.ts';
import type { Fleet } from './fleet.ts';
import type { FileOrder } from './fleet-file.ts';
import type { Gate } from './gate.ts';

/** Files that wait for a worker whose window is full; about 500 B each. */
const parkedLimit = 4096;
/** Segments of files that are cut, under way at once: with 64 MiB each, half a TiB. About 1 KiB each. */
const segmentsLimit = 8192;

export interface HandOutOptions {
  readonly fleet: Pick<Fleet, 'begin'>;
  readonly run: RunId;
  /** Files of one worker at once. */
  readonly filesEach: number;
  /** Entered by each file that is handed out, those that wait included. */
  readonly gate: Gate;
  readonly halted: () => boolean;
}

/** One object for all that a file is while it is handed out: of small ones there are very many. */
export interface HandedFile extends FileOrder {
  /** Hears how it ended. */
  settled(outcome: FileOutcome, file: this): void;
}

export class HandOut {
  readonly #options: HandOutOptions;
  readonly #windows: Windows<WorkerId, HandedFile>;

  constructor(options: HandOutOptions) {
    this.#options = options;
    const { filesEach } = options;
    this.#windows = new Windows({ filesEach, segments: segmentsLimit, parked: parkedLimit });
  }

  /** The file is on its way, or waits for its worker, or the job is halted; where what is returned has resolved. */
  hand(file: HandedFile): Promise<void> | undefined {
    return this.#enter(file) ? undefined : this.#enterLater(file);
  }

  async #enterLater(file: HandedFile): Promise<void> {
    do await this.#options.gate.changed();
    while (!this.#enter(file));
  }

  /** False: there is no room for it now. */
  #enter(file: HandedFile): boolean {
    const { gate, halted } = this.#options;
    if (halted()) return true;
    const answer = this.#windows.offer(file);
    if (answer === 'full') return false;
    gate.enter();
    if (answer === 'go') this.#load(file);
    return true;
  }

  readonly #load = (file: HandedFile): void => {
    const { fleet, run, halted } = this.#options;
    if (!halted()) fleet.begin(run, file, this.#ended);
  };

  readonly #ended = (outcome: FileOutcome, file: HandedFile): void => {
    file.settled(outcome, file);
    this.#windows.leave(file.claim, this.#load);
    this.#options.gate.leave();
  };
}
