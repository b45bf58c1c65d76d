/** One run of one session, at the worker: what is under way for it, and what was reserved. */
import type { Segment } from '../../core/segments.ts';
import type { Log, RunId } from '../../core/types.ts';
import type { RunProgress, RunSpec } from '../../ingest/types.ts';
import type { SegmentHow, SegmentOutcome, WorkerLink } from '../worker-link.ts';

export class HeldRun {
  readonly #link: WorkerLink;
  readonly #run: RunId;
  readonly term: number;
  readonly #loads = new Map<string, Promise<SegmentOutcome>>();
  #reservedBytes = 0;
  /** One at a time: each says what is reserved in all, and making room takes a while. */
  #reserving: Promise<unknown> = Promise.resolve();
  #said = '';
  /** While it begins; rejects when it could not. */
  ready: Promise<void> | undefined;
  /** Set when the end begins: it is ended once. */
  #ended: Promise<RunProgress> | undefined;

  constructor(link: WorkerLink, { run, term }: Pick<RunSpec, 'run' | 'term'>) {
    this.#link = link;
    this.#run = run;
    this.term = term;
  }

  start(spec: RunSpec): Promise<void> {
    return this.#link.startRun(spec);
  }

  /**
   * Brings it to where the coordinator thinks that it is. What was reserved may not be had any more: then each load that
   * lacks room says so, and the coordinator asks for more.
   */
  async restore(reservedBytes: number, stopped: boolean, log: Log): Promise<void> {
    this.#reservedBytes = reservedBytes;
    if (stopped) await this.#link.stopRun(this.#run);
    else if (reservedBytes > 0)
      await this.#link.reserveMore(this.#run, reservedBytes).catch((error: unknown) => {
        log.info({ run: this.#run, reservedBytes, error: String(error) }, 'room that a run had is not there any more');
      });
  }

  /** `totalBytes`: over all calls; may be less than before. */
  reserve(totalBytes: number): Promise<void> {
    const done = this.#reserving.then(async () => {
      if (totalBytes === this.#reservedBytes) return;
      await this.#link.reserveMore(this.#run, totalBytes - this.#reservedBytes);
      this.#reservedBytes = totalBytes;
    });
    this.#reserving = done.catch(() => undefined);
    return done;
  }

  /** Joins a load of the same segment that is under way. */
  load(segment: Segment, how: SegmentHow): Promise<SegmentOutcome> {
    const { path, etag, versionId = '' } = segment.file;
    const key = `${segment.index} ${etag} ${versionId} ${path}`;
    const known = this.#loads.get(key);
    if (known !== undefined) return known;
    const outcome = this.#link.load(this.#run, segment, how);
    this.#loads.set(key, outcome);
    const over = (): void => void this.#loads.delete(key);
    outcome.then(over, over);
    return outcome;
  }

  /** Undefined: as it was when last asked. */
  progress(): RunProgress | undefined {
    const progress = this.#link.progress(this.#run);
    const said = JSON.stringify(progress);
    if (said === this.#said) return undefined;
    this.#said = said;
    return progress;
  }

  /** A new listener has heard nothing. */
  forgetProgress(): void {
    this.#said = '';
  }

  get ending(): boolean {
    return this.#ended !== undefined;
  }

  /** It is ending from now on, also where it has yet to begin: who begins it again does not mean this one. */
  end(): Promise<RunProgress> {
    this.#ended ??= (async () => {
      await this.ready?.catch(() => undefined);
      return this.#link.endRun(this.#run);
    })();
    return this.#ended;
  }

  /** Its coordinator is gone: what is in flight is dropped, what is durable stays, the room is given back. */
  giveUp(): Promise<RunProgress> {
    this.#ended ??= (async () => {
      await this.ready?.catch(() => undefined);
      await this.#link.stopRun(this.#run);
      return this.#link.endRun(this.#run);
    })();
    return this.#ended;
  }
}
