/**
 * RUNNING of a FREE: every worker removes what it has of a path, page by page; of a dry run it only counts.
 *
 * Each worker is first asked for all that it has, then for the removal, then again whether anything is left: it is done
 * when nothing is. Before each answer it stops what is still at work below the path: runs of a coordinator that has died, or
 * that did not reach it to stop them. Who joins or comes back meanwhile is asked too, on its new link; who is lost, or known and not there at
 * the end, keeps what it has, and the job says so. Nothing loads below the path in the meantime (see job-overlaps).
 *
 * What survives a crash: what was found and freed, by worker. A worker that is asked again says what is left, and what is
 * missing of what it had is gone by this job (see core/free-job).
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { UfsPath } from '../core/types.ts';
import type { Member } from './members.ts';
import { type RunContext, RunInterrupted } from './run-context.ts';
import { isWorkerLost, type WorkerLink } from './worker-link.ts';

/** How often what a worker has left is removed before the job gives up: something adds to it all the time. */
const roundsAtMost = 100;
/** After a stop, longest wait for the page that a worker is at: it is rarely longer than a commit. */
const pageLimitMs = 1500;

export class FreePhase {
  readonly #context: RunContext;
  readonly #path: UfsPath;
  readonly #dryRun: boolean;
  /** Links whose worker is done, or lost. */
  readonly #asked = new Set<WorkerLink>();

  constructor(context: RunContext) {
    this.#context = context;
    const { definition, deps } = context;
    this.#path = deps.origins.resolve(definition.source.path).path;
    this.#dryRun = context.progress().free?.dryRun === true;
  }

  /** Resolves with the workers that did not answer, or, of no meaning, when the signal has fired. Rejects with STORE_IO and its like. */
  async run(): Promise<readonly string[]> {
    const { members } = this.#context.deps.fleet;
    for (;;) {
      const left = members.live().filter(({ link }) => !this.#asked.has(link));
      if (left.length === 0 || this.#context.signal.aborted) return members.absent();
      // Each worker is asked to the end, also when another fails.
      const asked = await Promise.allSettled(left.map((member) => this.#ask(member)));
      for (const one of asked) if (one.status === 'rejected') throw one.reason;
    }
  }

  async #ask({ id, link }: Member): Promise<void> {
    const { apply, signal, deps } = this.#context;
    try {
      for (let round = 0; !signal.aborted; round += 1) {
        const { files, bytes } = await this.#pages(link, true);
        if (signal.aborted) return;
        if (round === 0 || files > 0) apply({ type: 'found', worker: id, files, bytes });
        await deps.store.putJob(this.#context.record());
        if (this.#dryRun || files === 0) {
          apply({ type: 'workerFreed', worker: id });
          break;
        }
        if (round >= roundsAtMost) throw new Error(`worker ${id} has files of ${this.#path} again and again`);
        await this.#tell();
        await this.#pages(link, false, (freed) => apply({ type: 'freed', worker: id, ...freed }));
      }
    } catch (error) {
      if (!isWorkerLost(error)) throw error;
    }
    this.#asked.add(link);
  }

  /** Whoever takes the job over knows what was found, before any of it is gone. */
  async #tell(): Promise<void> {
    const { deps, definition, signal } = this.#context;
    try {
      await deps.tell?.(definition.jobId);
    } catch (error) {
      if (signal.aborted) return;
      deps.log.warn({ jobId: definition.jobId, error: String(error) }, 'nothing is freed that others do not know of');
      throw new RunInterrupted();
    }
  }

  /** Sums over all pages; ends early when the signal fires. */
  async #pages(
    link: WorkerLink,
    dryRun: boolean,
    onPage: (page: { files: number; bytes: number }) => void = () => undefined,
  ): Promise<{ files: number; bytes: number }> {
    const { signal, definition, claim } = this.#context;
    const under = { run: definition.runId, term: claim?.term ?? 0 };
    const sum = { files: 0, bytes: 0 };
    let after: UfsPath | undefined;
    do {
      const order = { path: this.#path, dryRun, stopLoads: !this.#dryRun, ...(after === undefined ? {} : { after }) };
      const page = await inTime(link.free(order, under), signal);
      if (page === undefined) break;
      const { files, bytes, next } = page;
      sum.files += files;
      sum.bytes += bytes;
      onPage({ files, bytes });
      after = next;
    } while (after !== undefined && !signal.aborted);
    return sum;
  }
}

/** A stop waits for the page under way, but not for a worker that is away. Undefined: it was not waited for. */
async function inTime<T>(page: Promise<T>, signal: AbortSignal): Promise<T | undefined> {
  const over = new AbortController();
  const late = new Promise<undefined>((resolve) => {
    const onAbort = (): void => {
      sleep(pageLimitMs, undefined, { signal: over.signal }).then(resolve, () => resolve(undefined));
    };
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true, signal: over.signal });
  });
  page.catch(() => undefined);
  try {
    return await Promise.race([page, late]);
  } finally {
    over.abort();
  }
}
