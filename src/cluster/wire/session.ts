/**
 * One link of one coordinator, as the worker holds it, over all its connections.
 *
 * A call is known by its number from its arrival until the coordinator has its result: `undefined` while it is under way,
 * then the result. So a repeated call is never done twice, and a result that was lost with a connection is sent again.
 */
import type { Checksums } from '../../core/attributes.ts';
import { Deque } from '../../core/deque.ts';
import { type ErrorReport, PrimedError, reportOf } from '../../core/errors.ts';
import type { OriginLimit } from '../../core/origin-limits.ts';
import type { PeerList } from '../../core/peers.ts';
import type { PinList } from '../../core/retention.ts';
import type { Segment } from '../../core/segments.ts';
import type { DiscardReason, LoadId, Log, ManifestEntry, RunId, UfsPath, WorkerId } from '../../core/types.ts';
import type { PlannedLoad, RoomOrder, RunSpec } from '../../ingest/types.ts';
import type { JoinedKind } from '../../ingest/whole-object.ts';
import type { PeerSource, RunTerm, SegmentHow, SegmentOutcome, WorkerLink } from '../worker-link.ts';
import {
  type Cuts,
  type EntryColumns,
  packCached,
  packMissing,
  packOutcomes,
  unpackCuts,
  unpackEntries,
  unpackPackedEntries,
} from './columns.ts';
import { HeldRun } from './held-run.ts';
import {
  type Call,
  down,
  entriesPerFrame,
  type Hello,
  type Loads,
  maxCallsHeld,
  numbersOf,
  packUp,
  shortened,
  type UpMessage,
  unknownRun,
  unpackDown,
  up,
} from './protocol.ts';

export interface SessionOptions {
  readonly coordinator: string;
  readonly link: WorkerLink;
  /**
   * Makes the run this session's; resolves when no other session has anything of it under way. Throws RUN_SUPERSEDED when the
   * run was heard of under a higher term; then nothing changed.
   */
  readonly claim: (spec: RunSpec, session: Session) => Promise<void>;
  /** Notes the term of a run. Throws as `claim` does. */
  readonly heed: (of: RunTerm) => void;
  readonly release: (run: RunId, session: Session) => void;
  /** What its coordinator lets the worker ask of origins. */
  readonly limit: (limits: readonly OriginLimit[]) => Promise<void>;
  readonly log: Log;
}

/** The connection of now. */
export interface Wire {
  /** The version that it speaks: what came later is not said over it (core/protocol). */
  readonly protocol: number;
  send(frame: Buffer): void;
}

type Result =
  | { readonly outcome: SegmentOutcome; readonly wanted: Segment }
  | { readonly value: unknown }
  | { readonly error: ErrorReport };

export class Session {
  readonly #options: SessionOptions;
  readonly #runs = new Map<RunId, HeldRun>();
  readonly #calls = new Map<number, Result | undefined>();
  /** Numbers of results that this connection has not carried yet. */
  #outbox: number[] = [];
  /** Numbers of results that it has carried, and of which nothing was heard. */
  #sent = new Deque<number>();
  #flushing = false;
  #wire: Wire | undefined;
  /** Whether this connection has said what is pending; nothing is sent before. */
  #greeted = false;
  /** What this connection has said of the demand. */
  #saidDemand = '[]';

  constructor(options: SessionOptions) {
    this.#options = options;
  }

  /** In place of the one before. */
  attach(wire: Wire): void {
    this.#wire = wire;
    this.#greeted = false;
    this.#saidDemand = '';
    this.#outbox = [];
    this.#sent = new Deque();
  }

  detach(): void {
    this.#wire = undefined;
    this.#greeted = false;
  }

  /** Throws for a frame that makes no sense; what it asked for up to there is done. */
  heard(frame: Buffer): void {
    const { arrived, messages } = unpackDown(frame);
    for (let count = 0; count < arrived; count += 1) {
      const number = this.#sent.shift();
      if (number === undefined) throw new TypeError('more results have arrived than were sent');
      this.#calls.delete(number);
    }
    for (const message of messages) {
      if (message[0] === down.hello) this.#hello(message);
      else if (!this.#greeted) throw new TypeError('the first message is not a hello');
      else if (message[0] === down.loads) this.#loads(message);
      else if (message[0] === down.call) this.#call(message);
      // Any other is of a newer coordinator, which does without an answer.
    }
  }

  /** Sends the progress of the runs in which something has changed. */
  tellProgress(): void {
    if (this.#wire === undefined || !this.#greeted) return;
    const changed: UpMessage[] = [];
    for (const [run, held] of this.#runs) {
      const figures = held.ready === undefined ? held.progress() : undefined;
      if (figures !== undefined) changed.push([up.progress, run, figures]);
    }
    if (changed.length > 0) this.#wire.send(packUp(changed));
  }

  /** Sends what the worker would ask of limited origins, where that has changed. */
  tellDemand(): void {
    if (this.#wire === undefined || !this.#greeted) return;
    const demand = this.#link.originDemand();
    const said = JSON.stringify(demand, (_, rate) => (rate === Number.POSITIVE_INFINITY ? 'more' : rate));
    if (said === this.#saidDemand) return;
    this.#saidDemand = said;
    this.#wire.send(packUp([[up.demand, demand]]));
  }

  /** Gives the run up, if it is this session's. Never rejects. */
  async giveUp(run: RunId): Promise<void> {
    const held = this.#runs.get(run);
    if (held === undefined) return;
    try {
      await held.giveUp();
    } catch (error) {
      this.#options.log.warn({ run, error: String(error) }, 'a run that was given up did not end well');
    }
    this.#forget(run, held);
  }

  /** Gives all runs up, and forgets all calls. Never rejects. */
  async expire(): Promise<void> {
    this.#calls.clear();
    await Promise.all([...this.#runs.keys()].map((run) => this.giveUp(run)));
  }

  get runs(): readonly RunId[] {
    return [...this.#runs.keys()];
  }

  // --- down

  #hello([, pending, runs]: Hello): void {
    const wanted = new Set(pending);
    for (const [number, result] of this.#calls) {
      if (!wanted.has(number)) this.#calls.delete(number);
      else if (result !== undefined) this.#outbox.push(number);
    }
    for (const held of this.#runs.values()) held.forgetProgress();
    for (const [spec, reservedBytes, stopped] of runs) {
      if (this.#runs.has(spec.run)) continue;
      this.#start(spec, (held) => held.restore(reservedBytes, stopped, this.#options.log)).catch((error: unknown) => {
        this.#options.log.warn(
          { run: spec.run, jobId: spec.job, error: String(error) },
          'a run could not be begun again',
        );
      });
    }
    this.#greeted = true;
    this.#scheduleFlush();
    this.tellDemand();
  }

  #loads([, run, numbered, entries, cuts, hasty, sources, followed]: Loads): void {
    const files = unpackEntries(entries);
    const numbers = numbersOf(numbered, files.length);
    if (files.length !== numbers.length) throw new TypeError('there are not as many entries as loads');
    const segments = unpackCuts(files.length, cuts, (at) => files[at]!);
    const hastyOnes = hasty === true ? undefined : new Set(hasty);
    const followedOnes = new Set(followed);
    const sourceOf = new Map(
      sources?.map(([number, worker, url, follow]): [number, PeerSource] => {
        const source = { worker: worker as WorkerId, url };
        return [number, follow ? { ...source, follow } : source];
      }),
    );
    for (let at = 0; at < numbers.length; at += 1) {
      const number = numbers[at]!;
      const segment = segments[at]!;
      const source = sourceOf.get(number);
      const how: SegmentHow = {
        hasty: hastyOnes === undefined || hastyOnes.has(number),
        ...(source === undefined ? {} : { source }),
        ...(followedOnes.has(number) && { followed: true }),
      };
      this.#do(
        number,
        () => this.#inRun(run, (held) => held.load(segment, how)),
        (outcome) => ({ outcome, wanted: segment }),
      );
    }
  }

  #call([, number, method, ...args]: Call): void {
    const answer = Object.hasOwn(this.#methods, method) ? this.#methods[method] : undefined;
    this.#do(
      number,
      () => {
        if (answer !== undefined) return answer(...(args as never[]));
        const message = `Worker '${this.#link.id}' does not know '${String(method).slice(0, 64)}': the coordinator is of a newer primed. Upgrade the worker.`;
        throw new PrimedError('WORKER_REFUSED', message, { worker: this.#link.id });
      },
      (value) => ({ value }),
    );
  }

  readonly #methods: Readonly<Record<Call[2], (...args: never[]) => Promise<unknown>>> = {
    startRun: (spec: RunSpec) => this.#start(spec),
    reserve: (run: RunId, totalBytes: number) => this.#inRun(run, (held) => held.reserve(totalBytes)),
    makeRoom: (run: RunId, files: Uint8Array) =>
      this.#inRun(run, () => this.#link.makeRoom(run, unpackPackedEntries(files))),
    cached: async (run: RunId, load: LoadId, columns: EntryColumns, cuts: Cuts | null) => {
      const files = unpackEntries(columns);
      const segments = unpackCuts(files.length, cuts, (at) => files[at]!);
      return packCached(await this.#link.cached({ run, load }, segments));
    },
    missing: async (planned: PlannedLoad, columns: EntryColumns, cuts: Cuts | null) => {
      const files = unpackEntries(columns);
      return packMissing(
        await this.#link.missing(
          planned,
          unpackCuts(files.length, cuts, (at) => files[at]!),
        ),
      );
    },
    room: (order: RoomOrder) => this.#link.room(order),
    publish: (run: RunId, file: EntryColumns) => this.#inRun(run, () => this.#link.publish(run, only(file))),
    abandon: (run: RunId, file: EntryColumns, reason: DiscardReason) =>
      this.#inRun(run, () => this.#link.abandon(run, only(file), reason)),
    discard: (run: RunId, file: EntryColumns) => this.#inRun(run, () => this.#link.discard(run, only(file))),
    stateChecksums: (run: RunId, file: EntryColumns, checksums: Checksums) =>
      this.#inRun(run, () => this.#link.stateChecksums(run, only(file), checksums)),
    loadMetadata: (run: RunId, entries: EntryColumns) =>
      this.#inRun(run, () => this.#link.loadMetadata(run, unpackEntries(entries))),
    verify: (run: RunId, columns: EntryColumns, count: number, cuts: Cuts | null, sums: JoinedKind | null) =>
      this.#inRun(run, () => {
        const file = only(columns);
        return this.#link.verify(
          run,
          file,
          unpackCuts(count, cuts, () => file),
          sums ?? undefined,
        );
      }),
    setPeers: (list: PeerList) => this.#link.setPeers(list),
    setPins: (list: PinList) => this.#link.setPins(list),
    free: (path: UfsPath, after: UfsPath | null, dryRun: boolean, stopLoads: boolean, run: RunId, term: number) => {
      this.#options.heed({ run, term });
      return this.#link.free({ path, dryRun, stopLoads, ...(after === null ? {} : { after }) }, { run, term });
    },
    setOriginLimits: (limits: readonly OriginLimit[]) => this.#options.limit(limits),
    setBandwidth: (run: RunId, bytesPerSecond: number | null) =>
      this.#inRun(run, () => this.#link.setBandwidth(run, bytesPerSecond ?? undefined)),
    // A repeated end finds the run ended; that is what was asked for.
    stopRun: async (run: RunId) => {
      if (this.#runs.has(run)) await this.#inRun(run, () => this.#link.stopRun(run));
    },
    endRun: async (run: RunId) => {
      const held = this.#runs.get(run);
      if (held === undefined) return this.#link.progress(run);
      const progress = await held.end();
      this.#forget(run, held);
      return progress;
    },
  };

  get #link(): WorkerLink {
    return this.#options.link;
  }

  /** A repeated call is under way, or its result is on its way already. */
  #do<T>(number: number, act: () => Promise<T>, resultOf: (value: T) => Result): void {
    if (this.#calls.has(number)) return;
    if (this.#calls.size >= maxCallsHeld) throw new TypeError(`more than ${maxCallsHeld} calls are pending`);
    this.#calls.set(number, undefined);
    let done: Promise<T>;
    try {
      done = act();
    } catch (error) {
      done = Promise.reject(error);
    }
    done.then(
      (value) => this.#settle(number, resultOf(value)),
      (error: unknown) => this.#settle(number, { error: shortened(reportOf(error)) }),
    );
  }

  /** A run that begins has everything wait that is asked of it. */
  #inRun<T>(run: RunId, act: (held: HeldRun) => Promise<T>): Promise<T> {
    const held = this.#runs.get(run);
    if (held === undefined) return Promise.reject(unknownRun(run, this.#link.id));
    return held.ready === undefined ? act(held) : held.ready.then(() => act(held));
  }

  #start(spec: RunSpec, then?: (held: HeldRun) => Promise<void>): Promise<void> {
    const known = this.#runs.get(spec.run);
    if (known !== undefined && !known.ending && known.term === spec.term) return known.ready ?? Promise.resolve();
    let claimed: Promise<void>;
    try {
      claimed = this.#options.claim(spec, this);
    } catch (error) {
      return Promise.reject(error);
    }
    const held = new HeldRun(this.#link, spec);
    this.#runs.set(spec.run, held);
    held.ready = (async () => {
      try {
        await Promise.all([known?.giveUp(), claimed]);
        await held.start(spec);
        await then?.(held);
        held.ready = undefined;
      } catch (error) {
        this.#forget(spec.run, held);
        throw error;
      }
    })();
    return held.ready;
  }

  #forget(run: RunId, held: HeldRun): void {
    if (this.#runs.get(run) !== held) return;
    this.#runs.delete(run);
    this.#options.release(run, this);
  }

  // --- up

  #settle(number: number, result: Result): void {
    if (!this.#calls.has(number)) return;
    this.#calls.set(number, result);
    if (!this.#greeted) return;
    this.#outbox.push(number);
    this.#scheduleFlush();
  }

  #scheduleFlush(): void {
    if (this.#flushing) return;
    this.#flushing = true;
    setImmediate(() => {
      this.#flushing = false;
      if (this.#wire !== undefined && this.#greeted) this.#flush(this.#wire);
    });
  }

  #flush(wire: Wire): void {
    const numbers = this.#outbox;
    this.#outbox = [];
    for (let from = 0; from < numbers.length; from += entriesPerFrame) {
      const messages = this.#messagesOf(numbers.slice(from, from + entriesPerFrame));
      if (messages.length > 0) wire.send(packUp(messages));
    }
  }

  #messagesOf(numbers: readonly number[]): UpMessage[] {
    const messages: UpMessage[] = [];
    const loads: number[] = [];
    const outcomes: SegmentOutcome[] = [];
    const wanted: Segment[] = [];
    for (const number of numbers) {
      const result = this.#calls.get(number);
      if (result === undefined) continue;
      if ('outcome' in result) {
        loads.push(number);
        outcomes.push(result.outcome);
        wanted.push(result.wanted);
      } else {
        if ('value' in result) messages.push([up.answer, number, result.value ?? null]);
        else messages.push([up.failure, number, result.error.code, result.error.message]);
        this.#sent.push(number);
      }
    }
    if (loads.length > 0) {
      messages.push([up.outcomes, loads, packOutcomes(outcomes, wanted)]);
      for (const number of loads) this.#sent.push(number);
    }
    return messages;
  }
}

function only(columns: EntryColumns): ManifestEntry {
  const [file, ...others] = unpackEntries(columns);
  if (file === undefined || others.length > 0) throw new TypeError('one entry is needed');
  return file;
}
