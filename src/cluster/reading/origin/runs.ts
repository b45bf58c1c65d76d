/**
 * Runs under which this worker loads what readers ask for. A run has room, a ledger, and files that stay in memory for it: so one
 * takes the place of another every few seconds, and ends when the last of its loads has.
 */
import { randomUUID } from 'node:crypto';
import { defaultPriority } from '../../../core/priority.ts';
import type { JobId, LoadId, Log, ManifestEntry, RunId } from '../../../core/types.ts';
import type { Worker } from '../../../ingest/types.ts';
import type { Store } from '../../../store/types.ts';

/** What is in no job has one name for all. */
export const readLoad = 'read-through' as LoadId;
const readJob = 'read-through' as JobId;

/** Readers wait: what they want goes before loads of the usual priority, and does not push them aside. */
const weight = 2 * defaultPriority;
/** So long a run takes new loads. */
const runMs = 10_000;
/** Parts of files that become visible in one commit, or few. */
const shownAtOnce = 256;

interface Lent {
  readonly run: RunId;
  readonly bornMs: number;
  uses: number;
  /** It takes no more loads, and ends with the last of those that it has. */
  retired: boolean;
  /** Versions of which it has loaded something that nobody sees yet. */
  readonly unseen: Map<string, ManifestEntry>;
}

export interface RunsOptions {
  readonly worker: Pick<Worker, 'startRun' | 'stopRun' | 'endRun' | 'publish'>;
  readonly store: Pick<Store, 'stat'>;
  readonly segmentBytes: number;
  readonly log: Log;
  readonly now: () => number;
}

export class ReadRuns {
  readonly #options: RunsOptions;
  #current: Lent | undefined;
  readonly #ending = new Set<Promise<void>>();
  #timer: NodeJS.Timeout | undefined;
  #closing = false;

  constructor(options: RunsOptions) {
    this.#options = options;
  }

  /** Loads something of a version under a run, which is there until `act` has ended. */
  async use<T>(entry: ManifestEntry, act: (run: RunId) => Promise<T>): Promise<T> {
    const lent = this.#take();
    lent.uses += 1;
    lent.unseen.set(entry.path, entry);
    try {
      return await act(lent.run);
    } finally {
      lent.uses -= 1;
      if (lent.retired && lent.uses === 0) this.#end(lent);
    }
  }

  /** The run was stopped by somebody, or its origin is lost: it is of no use for other loads. */
  giveUp(run: RunId): void {
    if (this.#current?.run === run) this.#retire(this.#current);
  }

  async close(): Promise<void> {
    this.#closing = true;
    if (this.#current !== undefined) this.#retire(this.#current);
    await Promise.allSettled(this.#ending);
  }

  #take(): Lent {
    const { worker, segmentBytes, now } = this.#options;
    if (this.#current !== undefined) return this.#current;
    const run = randomUUID() as RunId;
    worker.startRun({
      ...{
        run,
        job: readJob,
        load: readLoad,
        term: 0,
        reuse: 'any',
        weight,
        onChange: 'fail',
        segmentBytes,
        keeps: false,
      },
    });
    const lent: Lent = { run, bornMs: now(), uses: 0, retired: false, unseen: new Map() };
    this.#current = lent;
    this.#timer = setTimeout(() => this.#retire(lent), runMs);
    this.#timer.unref();
    return lent;
  }

  #retire(lent: Lent): void {
    if (lent.retired) return;
    lent.retired = true;
    if (this.#current === lent) {
      this.#current = undefined;
      clearTimeout(this.#timer);
    }
    if (lent.uses === 0) this.#end(lent);
  }

  #end(lent: Lent): void {
    const ended = this.#ended(lent).finally(() => this.#ending.delete(ended));
    this.#ending.add(ended);
  }

  /** What has landed becomes visible first: what nobody sees is neither listed nor evicted. */
  async #ended({ run, unseen }: Lent): Promise<void> {
    const { worker, store, log } = this.#options;
    try {
      const parts = [...unseen.values()].filter(({ path }) => store.stat(path)?.state !== 'complete');
      for (let at = 0; at < parts.length; at += shownAtOnce)
        await Promise.all(parts.slice(at, at + shownAtOnce).map((entry) => worker.publish(entry)));
      // Stopped, so that the end gives nothing up.
      await worker.stopRun(run);
      await worker.endRun(run);
    } catch (error) {
      if (!this.#closing) log.error({ run, error: String(error) }, 'what was read through could not be ended properly');
    }
  }
}
