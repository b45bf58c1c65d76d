/**
 * Parts of all runs: packed into units, given to lanes, landed, retried.
 *
 * Invariants: a part is in exactly one of: unplanned, queued, waiting for another attempt, in a unit, landing, ended. The
 * extents of a unit belong to this class until each part of it is landed or given back.
 */

import assert from 'node:assert/strict';
import { PrimedError } from '../core/errors.ts';
import { FairShare } from '../core/fair-share.ts';
import type { FileTeller } from '../core/file-events.ts';
import { packSize, sliceExtents } from '../core/part-plan.ts';
import { decideRetry, type RetrySettings } from '../core/retry.ts';
import { isLost, isSilent, noSilence, setsAside, silenceAfter } from '../core/silence.ts';
import type { Extent, Log, Random } from '../core/types.ts';
import { alignUp, MiB, pageBytes } from '../core/units.ts';
import type { OriginCounts } from '../origin/origin-counts.ts';
import type { FailureCause } from '../origin/types.ts';
import type { LandedPart, Store } from '../store/types.ts';
import { attemptAt } from './attempts.ts';
import type { Books } from './books.ts';
import { lostError, partError, peerError } from './failures.ts';
import type { Files } from './files.ts';
import type { Landings } from './landings.ts';
import type { LanePool } from './lanes.ts';
import type { Limits } from './limits.ts';
import type { LimitKind, OriginLimiter } from './origin-limiter.ts';
import type { OriginLinks } from './origin-links.ts';
import type { PartQueue } from './part-queue.ts';
import type { PeerReach } from './peer-links.ts';
import type { CheckDone, FailedPart, PartAnswer, WriteDone, WriteUnit } from './protocol.ts';
import { type FileTask, isStale, isUnwanted, type PartTask, type Run } from './run.ts';
import type { WorkerObserver } from './types.ts';

/** A packed slot is written when this much has arrived: long enough to be sequential, short enough not to wait. */
const packBytes = 4 * MiB;
const packParts = 256;
/** Fewest parts of a pack while lanes are idle: below, the write costs more than the waiting saves. */
const smallestPack = 16;
/** One slot in so many is kept from units that wait for the origin with all of their patience. */
const reservedShare = 8;

/**
 * Of a part that is copied from another worker. There are other workers, and the origin: a busy one is waited for, a few
 * seconds altogether, one that fails is tried once more. What others of the same file have spent counts.
 */
const peerRetry: RetrySettings = {
  maxAttempts: 2,
  maxThrottledAttempts: 6,
  baseMs: 100,
  maxMs: 1_000,
  budgetRatio: 0.5,
  budgetFloor: 4,
};

/** Nobody answers there at all. */
const unreached: ReadonlySet<FailureCause> = new Set(['connect', 'connect-timeout']);

interface UnitInFlight {
  readonly run: Run;
  readonly queue: PartQueue;
  readonly parts: readonly PartTask[];
  readonly extents: readonly Extent[];
  readonly slotOffsets: readonly number[];
  readonly bytes: number;
  readonly sinceMs: number;
}

export interface PartsOptions {
  readonly store: Store;
  readonly lanes: LanePool;
  readonly links: OriginLinks;
  readonly limits: Limits;
  readonly limiter: OriginLimiter;
  readonly counts: OriginCounts;
  readonly books: Books;
  readonly landings: Landings;
  readonly log: Log;
  readonly random: Random;
  readonly retry: RetrySettings;
  readonly reach: PeerReach;
  /** Parts up to this size share a slot; a larger one is a good write by itself. */
  readonly smallBytes: number;
  readonly observe: WorkerObserver;
  readonly tell: FileTeller;
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
      return first.file.hasty || this.#lanes.freeSlots > this.#slotsForOthers;
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
      for (const part of parts) this.#giveUp(run, part, error);
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
      this.#failed(run, part, failed);
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
      this.#giveUp(run, part, new PrimedError('STORE_IO', message, { path, errno: writeError }));
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
            this.#giveUp(run, task, failure);
          }
        },
      )
      .finally(() => {
        run.landsInFlight -= 1;
        run.partsLanding -= landing.length;
        run.wakeIfIdle();
      });
  }

  #giveUp(run: Run, part: PartTask, error: PrimedError): void {
    part.file.error ??= error;
    this.#files().partEnded(run, part);
  }

  /** Of a part that was tried before. */
  #tellArrival(run: Run, part: PartTask, answer: PartAnswer): void {
    if (part.attempt > 1) this.#options.tell.happened(attemptAt(run, part, { ...answer, result: 'arrived' }));
  }

  #tellFailure(
    run: Run,
    part: PartTask,
    { failure, durationMs }: Pick<FailedPart, 'failure' | 'durationMs'>,
    then: { next: 'again' | 'given-up' | 'set-aside' | 'loaded-anew'; delayMs?: number },
  ): void {
    part.file.troubled = true;
    const { cause: result, message, httpStatus, s3Code, requestId } = failure;
    const said = { result, message, httpStatus, s3Code, requestId, durationMs, ...then };
    this.#options.tell.happened(attemptAt(run, part, said));
  }

  /** The rest of the file is asked for when nothing else is left (see core/silence). */
  #setAside(run: Run, part: PartTask, failed: FailedPart): void {
    const { file } = part;
    const { failure } = failed;
    this.#tellFailure(run, part, failed, { next: 'set-aside' });
    if (!file.setAside) {
      file.setAside = true;
      run.retries += 1;
      this.#options.observe.retried(failure.cause);
      const facts = { jobId: run.spec.job, path: file.entry.path, offset: part.range.offset, ...failure };
      this.#options.log.debug(facts, 'a file is silent, and set aside');
    }
    this.#files().partEnded(run, part);
  }

  #failed(run: Run, part: PartTask, failed: FailedPart): void {
    const { failure, receivedBytes } = failed;
    const { file } = part;
    const { cause } = failure;
    if (receivedBytes > 0) {
      const reason = cause === 'cancelled' ? 'stopped' : cause === 'changed' ? 'changed' : 'failed';
      this.#books.discard(run, reason, receivedBytes);
    }
    if (file.peer === undefined) {
      if (cause === 'throttled') this.#limits.slowDown(failure);
      if (cause === 'expired') this.#options.links.expired(file.originIndex);
    }
    if (run.stopping || isStale(part)) {
      this.#files().partEnded(run, part);
      return;
    }
    if (file.peer !== undefined) {
      this.#notCopied(run, part, file.peer, failed);
      return;
    }
    if (cause === 'changed') {
      this.#tellFailure(run, part, failed, { next: 'loaded-anew' });
      file.changed = true;
      this.#files().partEnded(run, part);
      return;
    }
    const silence = run.silence.get(file.originIndex) ?? noSilence;
    if (file.setAside || (file.hasty && setsAside(cause, silence))) {
      run.silence.set(file.originIndex, silenceAfter(silence, { cause }));
      this.#setAside(run, part, failed);
      return;
    }
    const { retry, random, observe } = this.#options;
    const asked = { cause, attempt: part.attempt, retryAfterMs: failure.retryAfterMs };
    const decision = decideRetry(asked, retry, run.budget, random);
    const heard = silenceAfter(silence, { cause, givenUp: !decision.retry });
    run.silence.set(file.originIndex, heard);
    if (!decision.retry) {
      this.#tellFailure(run, part, failed, { next: 'given-up' });
      const error = partError(file.entry.path, part.range, failure, part.attempt, decision.why);
      if (isLost(heard) && run.lost === undefined) {
        run.lost = lostError(this.#options.links.nameOf(file.originIndex), heard.givenUp, error);
        this.#files().giveUpAll(run, run.lost);
      }
      this.#giveUp(run, part, error);
      return;
    }
    // setting files aside has not helped: there is nothing to make way for
    if (isSilent(cause)) file.hasty = false;
    observe.retried(cause);
    this.#tryAgain(run, part, failed, decision.delayMs);
  }

  /**
   * What another worker does not give says nothing of the origin: neither of its silence, nor whether the object changed. So
   * it ends the file soon, whatever it is, and somebody else is asked.
   */
  #notCopied(run: Run, part: PartTask, peer: NonNullable<FileTask['peer']>, failed: FailedPart): void {
    const { failure } = failed;
    const { attempt: attempts, range, file } = part;
    const { cause, retryAfterMs, s3Code } = failure;
    if (s3Code === 'STORE_CORRUPT') {
      this.#tellFailure(run, part, failed, { next: 'given-up' });
      this.#giveUp(run, part, peerError(file.entry.path, { url: peer.url, range, failure, attempts }));
      return;
    }
    const decision = decideRetry(
      { cause, attempt: attempts, retryAfterMs },
      peerRetry,
      peer.budget,
      this.#options.random,
    );
    if (decision.retry) {
      this.#tryAgain(run, part, failed, decision.delayMs);
      return;
    }
    this.#tellFailure(run, part, failed, { next: 'given-up' });
    const error = peerError(file.entry.path, { url: peer.url, range, failure, attempts });
    if (unreached.has(cause)) {
      const { reach } = this.#options;
      reach.failed(peer.url, failure.message);
      if (reach.avoids(peer.url)) this.#files().giveUpFrom(run, peer.url, file);
    }
    this.#giveUp(run, part, error);
  }

  #tryAgain(run: Run, part: PartTask, failed: FailedPart, delayMs: number): void {
    const { file, range, attempt } = part;
    const { failure } = failed;
    this.#tellFailure(run, part, failed, { next: 'again', delayMs: Math.round(delayMs) });
    run.retries += 1;
    const facts = { jobId: run.spec.job, path: file.entry.path, offset: range.offset, attempt, delayMs, ...failure };
    this.#options.log.debug(facts, 'a part failed and will be tried again');
    const kind = file.peer !== undefined ? 'copying' : failure.cause === 'throttled' ? 'throttled' : 'failed';
    run.retrying[kind] += 1;
    const timer = setTimeout(() => {
      run.retryTimers.delete(timer);
      run.retrying[kind] -= 1;
      run.queueOf(file).parts.pushFront({ ...part, attempt: attempt + 1 });
      this.schedule();
    }, delayMs);
    run.retryTimers.add(timer);
  }
}

function extentsOf(unit: UnitInFlight, index: number): Extent[] {
  const { range } = unit.parts[index] as PartTask;
  return sliceExtents(unit.extents, unit.slotOffsets[index] as number, alignUp(range.length));
}
