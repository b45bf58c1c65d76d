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

interface Turned {
  readonly file: ManifestEntry;
  /** Of its path; a number: its place among those that need none. */
  turn: 'taken' | 'none' | number;
}

/**
 * Those under way. While one run is alone, nobody else can want a path of it, and its loads take no turns: to keep very many
 * paths apart is a tenth of what a file costs. Another run that begins has those that are under way take their turns first.
 */
export class PlainLoads {
  readonly files: FileLoads;
  readonly turns: PathTurns;
  /** Those without a turn; each knows its place. */
  readonly #alone: Turned[] = [];
  #shared = false;

  constructor(files: FileLoads, turns: PathTurns) {
    this.files = files;
    this.turns = turns;
  }

  /** A run begins. @param beside whether others have begun and have not ended */
  runBegins(beside: boolean): void {
    this.#shared = beside || this.#alone.length > 0 || this.turns.taken;
    for (const load of this.#alone.splice(0)) this.#takeTurn(load);
  }

  /** False: somebody else has the turn of the path. */
  enters(load: Turned): boolean {
    if (this.#shared) return this.#takeTurn(load);
    load.turn = this.#alone.push(load) - 1;
    return true;
  }

  leaves({ turn, file }: Turned): void {
    if (turn === 'taken') this.turns.leave(file.path);
    if (typeof turn !== 'number') return;
    const last = this.#alone.pop()!;
    if (turn === this.#alone.length) return;
    this.#alone[turn] = last;
    last.turn = turn;
  }

  #takeTurn(load: Turned): boolean {
    const taken = this.turns.enter(load.file.path);
    load.turn = taken ? 'taken' : 'none';
    return taken;
  }
}

/** It is its own segment: the whole of the file. */
export class PlainLoad<T extends FileOrder> implements BegunLoad, Segment, Turned {
  readonly #loads: PlainLoads;
  readonly #run: FleetRun;
  readonly #order: T;
  readonly #worker: Member;
  readonly #ended: (outcome: FileOutcome, order: T) => void;
  readonly file: ManifestEntry;
  readonly index = 0;
  readonly offset = 0;
  readonly length: number;
  turn: Turned['turn'] = 'none';

  /** @param worker knows the run. @param ended is called once, after `begin` has returned */
  constructor(
    loads: PlainLoads,
    run: FleetRun,
    order: T,
    worker: Member,
    ended: (outcome: FileOutcome, order: T) => void,
  ) {
    this.#loads = loads;
    this.#run = run;
    this.#order = order;
    this.#worker = worker;
    this.#ended = ended;
    this.file = order.entry;
    this.length = order.entry.sizeBytes;
  }

  /** False: somebody else loads the path. */
  begin(): boolean {
    if (!this.#loads.enters(this)) return false;
    this.#worker.link.begin(this.#run.spec.run, this);
    return true;
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
      const result = end.result === 'skipped' ? 'skipped' : 'loaded';
      this.#over({ path: file.path, result, loadedBytes, skippedBytes, version });
      return;
    }
    const { files } = this.#loads;
    void files
      .load(this.#run, file, this.#order.how, firstStep(this.#worker, end))
      .then((outcome) => this.#over(outcome));
  }

  #over(outcome: FileOutcome): void {
    this.#loads.leaves(this);
    this.#ended(outcome, this.#order);
  }
}

/** Undefined: it is to be tried again, elsewhere. */
function firstStep(worker: Member, end: SegmentOutcome | PrimedError): FirstStep | undefined {
  if (isWorkerLost(end)) return undefined;
  const outcome = end instanceof Error ? failedOutcome(reportOf(end)) : end;
  return { worker, owners: [worker], outcome };
}
