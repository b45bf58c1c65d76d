/** What goes on of a job at the workers: its run, the one that repairs, and those that an earlier process has begun. */
import type { JobClaim, JobDefinition } from './job-store.ts';
import type { JobDeps, JobMarks } from './run-context.ts';
import { endEarlierRuns, loadSpec, repairSpec } from './run-specs.ts';

export interface JobAtWorkersOptions {
  readonly deps: Pick<JobDeps, 'fleet' | 'log' | 'settings'>;
  /** Its limit may change while it runs. */
  readonly definition: () => JobDefinition;
  readonly claim: JobClaim | undefined;
  readonly marks: Pick<JobMarks, 'repairs'>;
  /** An earlier process, or another coordinator, may have begun runs of it, which go on at the workers for up to a lease. */
  readonly mayHaveRun: boolean;
  readonly active: () => boolean;
}

export class JobAtWorkers {
  readonly #options: JobAtWorkersOptions;
  #started = false;
  /** Settles when runs of an earlier process have ended. */
  #earlier: Promise<void> | undefined;

  constructor(options: JobAtWorkersOptions) {
    this.#options = options;
  }

  /** The workers know of it, and keep its figures. */
  get started(): boolean {
    return this.#started;
  }

  start(): Promise<void> {
    const { deps, claim } = this.#options;
    const definition = this.#options.definition();
    this.#started = true;
    return deps.fleet.startRun(loadSpec(definition, claim, deps.settings), definition.options.replicas);
  }

  async setBandwidth(bytesPerSecond: number | undefined): Promise<void> {
    if (!this.#started) return;
    const { deps, definition, marks } = this.#options;
    await deps.fleet.setBandwidth(definition().runId, bytesPerSecond);
    if (marks.repairs) await deps.fleet.setBandwidth(definition().repairRunId, bytesPerSecond);
  }

  /** Resolves when nothing is in flight, or at the end of the time; see `inTime`. */
  stop(untilMs = this.stopDeadline()): Promise<void> {
    if (!this.#started) return Promise.resolve();
    const { fleet } = this.#options.deps;
    return this.inTime(Promise.all(this.#runs().map((run) => fleet.stopRun(run))), 'stopRun', untilMs);
  }

  end(): Promise<unknown> {
    return Promise.all(this.#runs().map((run) => this.#options.deps.fleet.endRun(run)));
  }

  /** At the first call; later ones wait for the same. */
  async endEarlier(untilMs: number): Promise<void> {
    if (this.#started || !this.#options.mayHaveRun) return;
    this.#earlier ??= this.#endEarlierRuns();
    await this.inTime(this.#earlier, 'runs of an earlier process', untilMs);
  }

  async #endEarlierRuns(): Promise<void> {
    const { deps, claim, marks, active } = this.#options;
    const definition = this.#options.definition();
    const specs = [loadSpec(definition, claim, deps.settings)];
    if (marks.repairs) specs.push(repairSpec(definition, claim));
    await endEarlierRuns(deps.fleet, specs, definition.options.replicas);
    // What it has come to is known to the workers, and said of the job if that has not ended by now.
    if (active()) this.#started = true;
    else for (const { run } of specs) deps.fleet.forget(run);
  }

  #runs(): JobDefinition['runId'][] {
    const { runId, repairRunId } = this.#options.definition();
    return this.#options.marks.repairs ? [runId, repairRunId] : [runId];
  }

  /** Of performance.now(). */
  stopDeadline(): number {
    return performance.now() + this.#options.deps.settings.stopDeadlineMs;
  }

  /** A worker that does not keep its promise does not keep the job from ending. `untilMs` is of performance.now(). */
  async inTime(work: Promise<unknown> | undefined, what: string, untilMs = this.stopDeadline()): Promise<void> {
    const { log } = this.#options.deps;
    const { jobId } = this.#options.definition();
    const limitMs = Math.max(0, Math.round(untilMs - performance.now()));
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(() => {
        log.error({ jobId, what, limitMs }, 'something did not end in time');
        resolve();
      }, limitMs);
    });
    work?.catch(() => undefined);
    try {
      await Promise.race([work, late]);
    } catch (error) {
      log.error({ jobId, what, error }, 'something failed that must not');
    } finally {
      clearTimeout(timer);
    }
  }
}
