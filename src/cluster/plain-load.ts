/**
 * What nearly all files of a large dataset are: small, on one worker, at the origin, and with nothing in the way. Such a file
 * is one object on its way from the job to the link, which hears how it ended; with a million of them what each one costs the
 * coordinator counts. Whatever does not go that plainly goes on as every other file, with what came of the first step.
 */
import { type PrimedError, reportOf } from '../core/errors.ts';
import type { Segment } from '../core/segments.ts';
import type { ManifestEntry } from '../core/types.ts';
import type { FileOutcome } from '../ingest/types.ts';
import type { FileLoads, FileOrder } from './fleet-file.ts';
import type { FleetRun } from './fleet-run.ts';
import type { FirstStep } from './fleet-segment.ts';
import type { Member } from './members.ts';
import type { PathTurns } from './path-turns.ts';
import { failedOutcome, isBad } from './segment-failure.ts';
import { type BegunLoad, isWorkerLost, type SegmentHow, type SegmentOutcome } from './worker-link.ts';

export interface PlainLoadOptions {
  readonly files: FileLoads;
  /** It has the turn of its path, and leaves it. */
  readonly turns: PathTurns;
}

/** It is its own segment: the whole of the file. */
export class PlainLoad<T extends FileOrder> implements BegunLoad, Segment {
  readonly #options: PlainLoadOptions;
  readonly #run: FleetRun;
  readonly #order: T;
  readonly #worker: Member;
  readonly #ended: (outcome: FileOutcome, order: T) => void;
  readonly file: ManifestEntry;
  readonly index = 0;
  readonly offset = 0;
  readonly length: number;

  /** @param worker knows the run. @param ended is called once, after `begin` has returned */
  constructor(
    options: PlainLoadOptions,
    run: FleetRun,
    order: T,
    worker: Member,
    ended: (outcome: FileOutcome, order: T) => void,
  ) {
    this.#options = options;
    this.#run = run;
    this.#order = order;
    this.#worker = worker;
    this.#ended = ended;
    this.file = order.entry;
    this.length = order.entry.sizeBytes;
  }

  begin(): void {
    this.#worker.link.begin(this.#run.spec.run, this);
  }

  get segment(): Segment {
    return this;
  }

  get how(): SegmentHow {
    return this.#order.how;
  }

  ended(end: SegmentOutcome | PrimedError): void {
    const { file } = this;
    if (!(end instanceof Error) && !isBad(end)) {
      const { loadedBytes, skippedBytes, version = file } = end;
      const result = loadedBytes === 0 && skippedBytes > 0 ? 'skipped' : 'loaded';
      this.#over({ path: file.path, result, loadedBytes, skippedBytes, version });
      return;
    }
    const { files } = this.#options;
    void files
      .load(this.#run, file, this.#order.how, firstStep(this.#worker, end))
      .then((outcome) => this.#over(outcome));
  }

  #over(outcome: FileOutcome): void {
    this.#options.turns.leave(this.file.path);
    this.#ended(outcome, this.#order);
  }
}

/** Undefined: it is to be tried again, elsewhere, or with room for it. */
function firstStep(worker: Member, end: SegmentOutcome | PrimedError): FirstStep | undefined {
  if (isWorkerLost(end)) return undefined;
  const outcome = end instanceof Error ? failedOutcome(reportOf(end)) : end;
  return outcome.error?.code === 'STORE_NO_ROOM' ? undefined : { worker, owners: [worker], outcome };
}
