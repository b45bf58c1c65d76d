/**
 * Parts of all runs: packed into units, given to lanes, landed; part-failures.ts says what becomes of those that failed.
 *
 * Invariants: a part is in exactly one of: unplanned, queued, waiting for another attempt, in a unit, landing, ended. The
 * extents of a unit belong to this class until each part of it is landed or given back.
 */

import assert from 'node:assert/strict';
import { PrimedError } from '../core/errors.ts';
import { FairShare } from '../core/fair-share.ts';
import { packSize, sliceExtents } from '../core/part-plan.ts';
import type { Extent } from '../core/types.ts';
import { alignUp, MiB, pageBytes } from '../core/units.ts';
import type { OriginCounts } from '../origin/origin-counts.ts';
import type { LandedPart, Store } from '../store/types.ts';
import { attemptAt } from './attempts.ts';
import type { Books } from './books.ts';
import type { Files } from './files.ts';
import type { Landings } from './landings.ts';
import type { LanePool } from './lanes.ts';
import type { Limits } from './limits.ts';
import type { LimitKind, OriginLimiter } from './origin-limiter.ts';
import { PartFailures, type PartFailuresOptions } from './part-failures.ts';
import type { PartQueue } from './part-queue.ts';
import type { CheckDone, PartAnswer, WriteDone, WriteUnit } from './protocol.ts';
import { isStale, isUnwanted, type PartTask, type Run } from './run.ts';

/** A packed slot is written when this much has arrived: long enough to be sequential, short enough not to wait. */
const packBytes = 4 * MiB;
const packParts = 256;
/** Fewest parts of a pack while lanes are idle: below, the write costs more than the waiting saves. */
const smallestPack = 16;
/** One slot in so many is kept from units that wait for the origin with all of their patience. */
const reservedShare = 8;

interface UnitInFlight {
  readonly run: Run;
  readonly queue: PartQueue;
  readonly parts: readonly PartTask[];
  readonly extents: readonly Extent[];
  readonly slotOffsets: readonly number[];
  readonly bytes: number;
  readonly sinceMs: number;
}

export interface PartsOptions extends Omit<PartFailuresOptions, 'files' | 'schedule'> {
  readonly store: Store;
  readonly lanes: LanePool;
  readonly limiter: OriginLimiter;
  readonly counts: OriginCounts;
  readonly landings: Landings;
  /** Parts up to this size share a slot; a larger one is a good write by itself. */
  readonly smallBytes: number;
  /** Another user of the lanes' slots, served first. */
  readonly pumpChecks: () => void;
}

export class Parts {
  readonly #store: Store;
  readonly #lanes: LanePool;
  readonly #limits: Limits;
  readonly #books: Books;
  readonly #options: PartsOptions;
  readonly #files: () => Files;
  readonly #failures: PartFailures;
  readonly #share: FairShare<Run>;
  /** Slots that patient units may not have: what is silent for long must not hold them all, or others would wait for it. */
  readonly #slotsForOthers: number;
  #holdTimer: NodeJS.Timeout | undefined;
  #scheduled = false;

  constructor(options: PartsOptions, files: () => Files) {
    this.#store = options.store;
    this.#lanes = options.lanes;
    this.#limits = options.limits;
    this.#books = options.books;
    this.#options = options;
    this.#files = files;
    this.#failures = new PartFailures({ ...options, files, schedule: () => this.schedule() });
    const slots = options.lanes.count * options.lanes.slotsPerLane;
    this.#share = new FairShare(slots);
    this.#slotsForOthers = Math.floor(slots / reservedShare);
  }

  add(run: Run): void {
    this.#share.join(run, run.spec.weight);
  }

  remove(run: Run): void {
    this.#share.leave(run);
  }

  close(): void {
    clearTimeout(this.#holdTimer);
  }

  /** Why parts that wait are not given to lanes now; undefined: nothing keeps them. */
  heldBy(run: Run): 'throttled' | LimitKind | undefined {
    const first = run.fetches.peek(0);
    if (first === undefined) return undefined;
    if (this.#limits.holdMs > 0) return 'throttled';
    if (this.#limits.isOverWindow(run)) return 'bandwidth';
    return this.#options.limiter.fullWindow(first.file.originIndex);
  }

  /** Whether what waits would have a slot if others had fewer. */
  lacksSlot(run: Run): boolean {
    const first = run.fetches.peek(0) ?? run.copies.peek(0);
    return first !== undefined && !this.#hasSlotFor(first);
  }

  #hasSlotFor({ file }: PartTask): boolean {
    return this.#lanes.freeSlots > (file.hasty ? 0 : this.#slotsForOthers);
  }

  /** Once per turn of the loop, so that files which arrive together are packed together. */
  schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#pump();
    });
  }

  #pump(): void {
    this.#options.pumpChecks();
    const { holdMs } = this.#limits;
    if (holdMs > 0) {
      clearTimeout(this.#holdTimer);
      this.#holdTimer = setTimeout(() => this.schedule(), holdMs);
    }
    for (;;) {
      const lane = this.#lanes.idlest(this.#limits.requests);
      if (lane === undefined) return;
      const nowMs = performance.now();
      const run = this.#share.next((one) => this.#nextQueue(one, holdMs > 0) !== undefined, nowMs);
      if (run === undefined) return;
      this.#dispatch(this.#nextQueue(run, holdMs > 0) as PartQueue, lane, nowMs);
    }
  }

  /**
   * Of the two queues of a run the one with fewer units in flight, if it has something to fetch.
   * @param held whether the origin wants to be left alone
   */
  #nextQueue(run: Run, held: boolean): PartQueue | undefined {
    if (run.stopping) return undefined;
    const { fetches, copies } = run;
    const order = copies.unitsInFlight < fetches.unitsInFlight ? [copies, fetches] : [fetches, copies];
    return order.find((queue) => {
      if (queue === fetches && (held || this.#limits.isOverWindow(run))) return false;
      this.#dropStale(queue);
      const first = queue.peek(0);
      if (first === undefined) return false;
      if (queue === fetches && this.#options.limiter.isOverWindow(first.file.originIndex)) return false;
      return this.#hasSlotFor(first);
    });
  }

  /** Parts of files that are given up, set aside or start anew are not fetched. */
  #dropStale(queue: PartQueue): void {
    for (let part = queue.peek(0); part !== undefined && isUnwanted(part); part = queue.peek(0)) {
      queue.parts.shift();
      this.#files().partEnded(queue.run, part);
    }
  }

  #dispatch(queue: PartQueue, lane: number, sinceMs: number): void {
    const { run } = queue;
    const { originIndex, hasty } = (queue.peek(0) as PartTask).file;
    // what is queued is shared among the lanes rather than given to the first idle one
    const share = Math.ceil((queue.parts.length + queue.planning.length) / (2 * this.#lanes.count));
    const count = packSize(
      (index) => {
        const part = queue.peek(index);
        if (part === undefined || isUnwanted(part)) return undefined;
        return part.file.originIndex === originIndex && part.file.hasty === hasty ? part.range.length : undefined;
      },
      {
        bytes: Math.min(packBytes, this.#lanes.slotBytes),
        parts: Math.min(packParts, Math.max(smallestPack, share), this.#partsAtOnce(queue, originIndex)),
        smallBytes: this.#options.smallBytes,
      },
    );
    const parts: PartTask[] = [];
    const slotOffsets: number[] = [];
    let bytes = 0;
    for (let i = 0; i < count; i += 1) {
      const part = queue.parts.shift() as PartTask;
      parts.push(part);
      slotOffsets.push(bytes);
      bytes += alignUp(part.range.length);
    }
    try {
      const extents = this.#store.allocate(run.spec.run, bytes);
      this.#send(lane, { run, queue, parts, extents, slotOffsets, bytes, sinceMs });
    } catch (error) {
      if (!(error instanceof PrimedError)) throw error;
      for (const part of parts) this.#failures.giveUp(run, part, error);
    }
  }

  #partsAtOnce(queue: PartQueue, originIndex: number): number {
    return queue === queue.run.copies ? packParts : this.#options.limiter.partsAtOnce(originIndex);
  }

  #send(lane: number, inFlight: UnitInFlight): void {
    const { run, queue, parts, extents, slotOffsets, bytes } = inFlight;
    let slotOffset = 0;
    const writes = extents.map(({ store, offset, length }) => {
      const write = { store, fileOffset: offset, slotOffset, length };
      slotOffset += length;
      return write;
    });
    const unit: WriteUnit = {
      kind: 'write',
      id: this.#lanes.nextUnitId(),
      run: run.row,
      originIndex: (parts[0] as PartTask).file.originIndex,
      copied: queue === run.copies,
      hasty: (parts[0] as PartTask).file.hasty,
      retried: parts.some(({ attempt }) => attempt > 1),
      writes,
      keys: parts.map((part) => part.file.key),
      etags: parts.map((part) => part.file.entry.etag),
      versionIds: parts.map((part) => part.file.entry.versionId),
      objectBytes: parts.map((part) => part.file.entry.sizeBytes),
      lastModifiedMs: parts.map((part) => part.file.entry.lastModifiedMs),
      offsets: parts.map((part) => part.range.offset),
      lengths: parts.map((part) => part.range.length),
      slotOffsets,
    };
    queue.unitsInFlight += 1;
    this.#share.took(run, inFlight.sinceMs);
    run.partsInFlight += parts.length;
    if (queue === run.fetches) {
      run.bytesInFlight += bytes;
      this.#options.limiter.sent(unit.originIndex, parts.length, bytes);
    }
    this.#lanes.send(lane, unit, (message) => this.#written(inFlight, message));
  }

  #written(unit: UnitInFlight, message: WriteDone | CheckDone): void {
    assert(message.type === 'written', 'a write unit is answered by what was written');
    const { run, queue } = unit;
    this.#books.fold(run);
    if (message.surplusBytes > 0) this.#books.discard(run, 'failed', message.surplusBytes);
    const settledParts = message.arrived.length + message.failed.length;
    run.partsInFlight -= settledParts;
    if (queue === run.fetches) {
      const { originIndex } = (unit.parts[0] as PartTask).file;
      this.#options.limiter.settled(originIndex, settledParts, message.final ? unit.bytes : 0);
      this.#count(unit, message);
    }
    let checksumAt = 0;
    for (const [at, index] of message.arrived.entries()) {
      const pages = Math.ceil((unit.parts[index] as PartTask).range.length / pageBytes);
      const pageChecksums = message.checksums.subarray(checksumAt, checksumAt + pages);
      checksumAt += pages;
      const attributes = typeof message.attributes === 'string' ? message.attributes : message.attributes[at]!;
      if (message.answers !== undefined) this.#tellArrival(run, unit.parts[index] as PartTask, message.answers[at]!);
      this.#arrived(unit, index, { pageChecksums, attributes }, message.writeError);
    }
    for (const failed of message.failed) {
      this.#store.giveBack(run.spec.run, extentsOf(unit, failed.part));
      const part = unit.parts[failed.part] as PartTask;
      part.file.trace?.part(part, unit.sinceMs, failed.failure.message ?? failed.failure.cause);
      this.#failures.failed(run, part, failed);
    }
    if (message.final) {
      queue.unitsInFlight -= 1;
      this.#share.gaveBack(run, unit.sinceMs, performance.now());
      if (queue === run.fetches) run.bytesInFlight -= unit.bytes;
    }
    if (message.arrived.length > 0 && queue === run.fetches) {
      this.#limits.succeeded(message.arrived.length);
      run.silence.delete((unit.parts[0] as PartTask).file.originIndex);
    }
    run.wakeIfIdle();
    this.schedule();
  }

  #count({ parts }: UnitInFlight, { arrived, failed, firstByteMs }: WriteDone): void {
    const { counts, limiter } = this.#options;
    const origin = limiter.nameOf((parts[0] as PartTask).file.originIndex);
    if (origin === undefined) return;
    const bytes = arrived.reduce((sum, at) => sum + (parts[at] as PartTask).range.length, 0);
    counts.answered(origin, { parts: arrived.length, bytes, firstByteMs });
    for (const { failure } of failed) counts.failed(origin, failure);
    const again = [...arrived, ...failed.map(({ part }) => part)].filter((at) => (parts[at] as PartTask).attempt > 1);
    for (const _ of again) counts.retried(origin, 'GET');
  }

  #arrived(
    unit: UnitInFlight,
    index: number,
    answer: Pick<LandedPart, 'pageChecksums' | 'attributes'>,
    writeError: number | undefined,
  ): void {
    const { run } = unit;
    const part = unit.parts[index] as PartTask;
    const extents = extentsOf(unit, index);
    part.file.trace?.part(part, unit.sinceMs);
    (part.file.peer?.budget ?? run.budget).succeeded += 1;
    if (part.file.peer !== undefined) this.#options.reach.answered(part.file.peer.url);
    if (writeError !== undefined) {
      this.#store.giveBack(run.spec.run, extents);
      this.#books.discard(run, 'failed', part.range.length);
      const { path } = part.file.entry;
      const message = `${path}: writing to store ${extents[0]?.store} failed with errno ${writeError}; see the kernel log`;
      this.#failures.giveUp(run, part, new PrimedError('STORE_IO', message, { path, errno: writeError }));
      return;
    }
    if (isStale(part)) {
      this.#store.giveBack(run.spec.run, extents);
      this.#books.discard(run, part.file.error === undefined ? 'changed' : 'failed', part.range.length);
      this.#files().partEnded(run, part);
      return;
    }
    run.landing.push({ task: part, landed: { fileId: part.file.fileId, range: part.range, extents, ...answer } });
    if (run.landScheduled) return;
    run.landScheduled = true;
    setImmediate(() => this.#land(run));
  }

  /** Everything that arrived in one turn of the loop is landed by one call. */
  #land(run: Run): void {
    run.landScheduled = false;
    const landing = run.landing.splice(0);
    run.landsInFlight += 1;
    run.partsLanding += landing.length;
    const startedMs = performance.now();
    this.#store
      .land(
        run.spec.run,
        landing.map(({ landed }) => landed),
      )
      .then(
        () => {
          this.#options.observe.landed(performance.now() - startedMs);
          for (const { task } of landing) {
            task.file.trace?.landed(startedMs, landing.length);
            task.file.loadedBytes += task.range.length;
            task.file.dropped ||= this.#store.isAbandoned(task.file.fileId);
            this.#files().partEnded(run, task);
            this.#options.landings.landed(task.file.entry.path, task.file.range?.offset ?? 0);
          }
        },
        (error: unknown) => {
          const message = `the store could not make data durable: ${String(error)}`;
          const failure = error instanceof PrimedError ? error : new PrimedError('STORE_IO', message);
          for (const { task } of landing) {
            this.#books.discard(run, 'failed', task.range.length);
            this.#failures.giveUp(run, task, failure);
          }
        },
      )
      .finally(() => {
        run.landsInFlight -= 1;
        run.partsLanding -= landing.length;
        run.wakeIfIdle();
      });
  }

  /** Of a part that was tried before. */
  #tellArrival(run: Run, part: PartTask, answer: PartAnswer): void {
    if (part.attempt > 1) this.#options.tell.happened(attemptAt(run, part, { ...answer, result: 'arrived' }));
  }
}

function extentsOf(unit: UnitInFlight, index: number): Extent[] {
  const { range } = unit.parts[index] as PartTask;
  return sliceExtents(unit.extents, unit.slotOffsets[index] as number, alignUp(range.length));
}
