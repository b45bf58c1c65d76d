/** What a simulated worker keeps of a run, and how it waits for it. */
import type { PrimedError } from '../../src/core/errors.ts';
import type { RetryBudget } from '../../src/core/retry.ts';
import type { OriginSilence } from '../../src/core/silence.ts';
import type { ByteRange, ManifestEntry } from '../../src/core/types.ts';
import type { FileOutcome, RunSpec, SourceWorker } from '../../src/ingest/types.ts';
import type { ModelLoading } from '../support/store-model.ts';
import { here, type Process, type World } from './world.ts';

export interface Run {
  readonly spec: RunSpec;
  stopping: boolean;
  readonly abort: AbortController;
  /** What it waits for, and does not when it is stopped. */
  readonly pauses: Set<() => void>;
  reservedBytes: number;
  /** All that was reserved by calls, whatever became of it. */
  askedBytes: number;
  lost: PrimedError | undefined;
  retries: number;
  readonly budget: RetryBudget;
  silence: OriginSilence;
  readonly files: Set<FileTask>;
  /** Paths that it has begun and that it may leave half loaded. */
  readonly used: Map<string, ModelLoading>;
  partsInFlight: number;
}

export interface FileTask {
  entry: ManifestEntry;
  readonly range: ByteRange | undefined;
  readonly hasty: boolean;
  readonly source: SourceWorker | undefined;
  readonly resolve: (outcome: FileOutcome) => void;
  loadedBytes: number;
  skippedBytes: number;
  restarts: number;
  done: boolean;
}

export function outcomeOf({ path }: ManifestEntry, result: FileOutcome['result']): FileOutcome {
  return { path, result, loadedBytes: 0, skippedBytes: 0 };
}

/** Time that passes for a process: nothing goes on after its end. */
export class Waits {
  readonly #process: Process;
  readonly #world: World = here();

  constructor(process: Process) {
    this.#process = process;
  }

  commit(): Promise<void> {
    return this.wait(this.#world.between(0.5, 5));
  }

  wait(delayMs: number): Promise<void> {
    return new Promise((resolve) => this.#world.after(delayMs, this.#process, resolve, 'timer'));
  }

  /** Ends early when the run is stopped: what is in flight is dropped. */
  pause({ stopping, pauses }: Run, delayMs: number): Promise<void> {
    if (stopping) return Promise.resolve();
    return new Promise((resolve) => {
      const over = (): void => {
        pauses.delete(over);
        this.#world.cancel(event);
        resolve();
      };
      const event = this.#world.after(delayMs, this.#process, over, 'timer');
      pauses.add(over);
    });
  }
}
