/**
 * The worker: decides what lanes do. See types.ts for who waits for whom.
 *
 * Invariants: (1) a part is in exactly one of: unplanned, queued, waiting for another attempt, in a unit, landing, settled;
 * (2) extents of a unit belong to the worker until each part of it is landed or given back; (3) bytes received are booked
 * as origin bytes, and end as cached (by the store, with the commit) or as discarded with a reason.
 */
import assert from 'node:assert/strict';
import { PrimedError, reportOf } from '../core/errors.ts';
import { packSize, sliceExtents } from '../core/part-plan.ts';
import { decideRetry, type RetrySettings } from '../core/retry.ts';
import { allowed, makeThrottle, succeeded, type Throttle, throttled } from '../core/throttle.ts';
import { makeBucket, refill } from '../core/token-bucket.ts';
import type { DiscardReason, Extent, FileId, LoadId, Log, ManifestEntry, Random, RunId } from '../core/types.ts';
import { alignUp, KiB, MiB, pageBytes } from '../core/units.ts';
import type { OriginFailure, Origins } from '../origin/types.ts';
import type { LandedPart, Store } from '../store/types.ts';
import { partError } from './failures.ts';
import type { LanePool } from './lanes.ts';
import { type ObjectAddress, OriginLinks } from './origin-links.ts';
import type { CheckDone, WriteDone, WriteUnit } from './protocol.ts';
import { type FileTask, type PartTask, Run, rangesToParts } from './run.ts';
import { clearRow, type RunBoard, receivedBytes, runRows } from './run-board.ts';
import type { FileOutcome, RunProgress, RunSpec, VerifyOutcome, Worker } from './types.ts';
import { Verifier } from './verifier.ts';

export interface WorkerOptions {
  readonly store: Store;
  readonly origins: Origins;
  readonly lanes: LanePool;
  readonly board: RunBoard;
  readonly log: Log;
  readonly random: Random;
  readonly partBytes: number;
  readonly socketsPerLane: number;
  readonly retry: RetrySettings;
  readonly maxRestarts: number;
  /** Told about retries and limits, for the metrics. */
  readonly observe: WorkerObserver;
}

export interface WorkerObserver {
  retried(cause: string): void;
  concurrencyLimit(requests: number): void;
  landed(milliseconds: number): void;
}

/** Parts up to this size share a slot; above, a part is large enough to be a good write by itself. */
const smallBytes = MiB;
/** A packed slot is written when this much has arrived: long enough to be sequential, short enough not to wait. */
const packBytes = 4 * MiB;
const packParts = 256;
/** Fewest parts of a pack while lanes are idle: below, the write costs more than the waiting saves. */
const smallestPack = 16;
const foldMs = 100;
const refillMs = 5;
const throttleCooldownMs = 1_000;
/** While a run is limited, no more than this many seconds of its rate are in flight, so that stopping is quick. */
const limitedWindowSeconds = 2;
/** Longest single read of a limited run, in seconds of its rate over all sockets; and never below a page of memory. */
const limitedReadSeconds = 0.01;
const smallestReadBytes = 4 * KiB;

interface UnitInFlight {
  readonly run: Run;
  readonly parts: readonly PartTask[];
  readonly extents: readonly Extent[];
  readonly slotOffsets: readonly number[];
}

export class IngestWorker implements Worker {
  readonly #store: Store;
  readonly #origins: Origins;
  readonly #lanes: LanePool;
  readonly #board: RunBoard;
  readonly #log: Log;
  readonly #options: WorkerOptions;
  readonly #links: OriginLinks;
  readonly #verifier: Verifier;
  readonly #runs = new Map<RunId, Run>();
  readonly #turn: Run[] = [];
  readonly #rowsInUse = new Set<number>();
  readonly #foldTimer: NodeJS.Timeout;
  #refillTimer: NodeJS.Timeout | undefined;
  #holdTimer: NodeJS.Timeout | undefined;
  #throttle: Throttle;
  #pumpScheduled = false;
  #closing = false;

  constructor(options: WorkerOptions) {
    this.#options = options;
    this.#store = options.store;
    this.#origins = options.origins;
    this.#lanes = options.lanes;
    this.#board = options.board;
    this.#log = options.log;
    this.#links = new OriginLinks(options.origins, options.lanes, options.log);
    this.#verifier = new Verifier({
      store: options.store,
      origins: options.origins,
      lanes: options.lanes,
      onSlot: () => this.#schedulePump(),
    });
    this.#throttle = makeThrottle(options.socketsPerLane * options.lanes.count);
    this.#foldTimer = setInterval(() => this.#fold(), foldMs);
    this.#foldTimer.unref();
    options.observe.concurrencyLimit(allowed(this.#throttle));
  }

  startRun(spec: RunSpec): void {
    if (this.#runs.has(spec.run)) return;
    let row = 0;
    while (this.#rowsInUse.has(row)) row += 1;
    assert(row < runRows, `at most ${runRows} runs at a time`);
    this.#rowsInUse.add(row);
    clearRow(this.#board, row);
    const run = new Run(spec, row);
    this.#runs.set(spec.run, run);
    this.#turn.push(run);
    this.setBandwidth(spec.run, spec.bandwidthBytesPerSecond);
  }

  reserve(run: RunId, bytes: number): void {
    this.#store.reserve(run, bytes);
  }

  footprintBytes(sizeBytes: number): number {
    return alignUp(sizeBytes);
  }

  async load(runId: RunId, entry: ManifestEntry): Promise<FileOutcome> {
    const run = this.#run(runId);
    try {
      if (run.stopping || this.#closing) return stopped(entry);
      const address = this.#links.address(entry.path);
      const { originIndex, key } = address instanceof Promise ? await address : address;
      return await this.#begin(run, entry, { originIndex, key });
    } catch (error) {
      return { path: entry.path, result: 'failed', loadedBytes: 0, skippedBytes: 0, error: reportOf(error) };
    }
  }

  loadMetadata(run: RunId, entries: readonly ManifestEntry[]): Promise<void> {
    return this.#store.putMetadata(this.#run(run).spec.load, entries);
  }

  verify(runId: RunId, entry: ManifestEntry): Promise<VerifyOutcome> {
    const run = this.#run(runId);
    const outcome = this.#verifier.verify(run.row, entry);
    this.#schedulePump();
    return outcome;
  }

  cached(load: LoadId, entry: ManifestEntry): { complete: boolean; bytes: number; ours: boolean } {
    const record = this.#store.stat(entry.path);
    if (record === undefined || record.etag !== entry.etag || record.sizeBytes !== entry.sizeBytes) {
      return { complete: false, bytes: 0, ours: false };
    }
    return { complete: record.state === 'complete', bytes: record.cachedBytes, ours: record.loadId === load };
  }

  setBandwidth(runId: RunId, bytesPerSecond: number | undefined): void {
    const run = this.#run(runId);
    run.bucket = bytesPerSecond === undefined ? undefined : makeBucket(bytesPerSecond, performance.now());
    const sockets = this.#options.socketsPerLane * this.#lanes.count;
    const viewBytes =
      bytesPerSecond === undefined
        ? 0
        : Math.max(smallestReadBytes, Math.floor((bytesPerSecond * limitedReadSeconds) / sockets));
    Atomics.store(this.#board.tokens, run.row, run.bucket === undefined ? 0 : Math.floor(run.bucket.tokens));
    Atomics.store(this.#board.viewBytes, run.row, viewBytes);
    this.#watchBuckets();
  }

  async stopRun(runId: RunId): Promise<void> {
    const run = this.#runs.get(runId);
    if (run === undefined) return;
    run.stopping = true;
    run.abort.abort();
    for (const timer of run.retryTimers) clearTimeout(timer);
    run.retryTimers.clear();
    run.planning.clear();
    run.parts.clear();
    this.#lanes.broadcast({ type: 'cancel', run: run.row });
    this.#verifier.cancel(run.row);
    await run.whenIdle();
    for (const file of [...run.files])
      this.#finish(run, file, {
        ...stopped(file.entry),
        loadedBytes: file.loadedBytes,
        skippedBytes: file.skippedBytes,
      });
    this.#foldRun(run);
    await this.#store.flush();
  }

  async endRun(runId: RunId): Promise<void> {
    const run = this.#runs.get(runId);
    if (run === undefined) return;
    if (run.files.size > 0) await this.stopRun(runId);
    await run.whenIdle();
    this.#foldRun(run);
    this.#store.unreserve(runId);
    this.#runs.delete(runId);
    this.#turn.splice(this.#turn.indexOf(run), 1);
    this.#rowsInUse.delete(run.row);
    this.#watchBuckets();
    await this.#store.flush();
  }

  progress(runId: RunId): RunProgress {
    const run = this.#runs.get(runId);
    if (run !== undefined) this.#foldRun(run);
    const ledger = this.#store.ledger(runId);
    return {
      receivedBytes: run?.foldedBytes ?? 0,
      durableBytes: ledger.cachedBytes,
      retries: run?.retries ?? 0,
      partsInFlight: run?.partsInFlight ?? 0,
      ledger,
    };
  }

  async close(): Promise<void> {
    this.#closing = true;
    await Promise.all([...this.#runs.keys()].map((run) => this.stopRun(run)));
    clearInterval(this.#foldTimer);
    clearInterval(this.#refillTimer);
    clearTimeout(this.#holdTimer);
    this.#links.close();
    await this.#lanes.close();
  }

  #run(id: RunId): Run {
    const run = this.#runs.get(id);
    assert(run !== undefined, `run ${id} was not started, or has ended`);
    return run;
  }

  // --- files

  async #begin(run: Run, entry: ManifestEntry, address: ObjectAddress): Promise<FileOutcome> {
    if (run.stopping) return stopped(entry);
    const { spec } = run;
    const begun = this.#store.beginFile({
      run: spec.run,
      load: spec.load,
      entry,
      reuse: spec.reuse,
      partBytes: this.#options.partBytes,
    });
    if (begun.state === 'complete') {
      return { path: entry.path, result: 'skipped', loadedBytes: 0, skippedBytes: entry.sizeBytes, version: entry };
    }
    if (entry.sizeBytes === 0) {
      await this.#store.completeEmpty(spec.run, begun.fileId);
      return { path: entry.path, result: 'loaded', loadedBytes: 0, skippedBytes: 0, version: entry };
    }
    const missingBytes = begun.missing.reduce((sum, range) => sum + range.length, 0);
    return new Promise((resolve) => {
      const file: FileTask = {
        entry,
        originIndex: address.originIndex,
        key: address.key,
        resolve,
        fileId: begun.fileId,
        generation: 0,
        unplanned: rangesToParts(begun.missing, this.#options.partBytes),
        outstanding: 0,
        exhausted: false,
        loadedBytes: 0,
        skippedBytes: entry.sizeBytes - missingBytes,
        restarts: 0,
        error: undefined,
        changed: false,
      };
      run.files.add(file);
      run.planning.push(file);
      this.#schedulePump();
    });
  }

  #finish(run: Run, file: FileTask, outcome: FileOutcome): void {
    if (run.files.delete(file)) file.resolve(outcome);
  }

  /** A file of which nothing is outstanding: it is done, or starts anew, or is given up. */
  #settleFile(run: Run, file: FileTask): void {
    if (file.outstanding > 0 || run.stopping || !run.files.has(file)) return;
    if (file.error !== undefined) {
      const { path } = file.entry;
      this.#finish(run, file, {
        path,
        result: 'failed',
        loadedBytes: file.loadedBytes,
        skippedBytes: file.skippedBytes,
        error: reportOf(file.error),
      });
    } else if (file.changed) {
      run.landsInFlight += 1;
      this.#startAnew(run, file)
        .catch((error: unknown) => {
          file.error = error instanceof PrimedError ? error : new PrimedError('INTERNAL', String(error));
        })
        .finally(() => {
          run.landsInFlight -= 1;
          this.#settleFile(run, file);
          run.wakeIfIdle();
        });
    }
  }

  /** The object has changed under the load: what was fetched of the old version goes, and the new one is loaded whole. */
  async #startAnew(run: Run, file: FileTask): Promise<void> {
    const { path } = file.entry;
    await this.#store.abandonFile(file.fileId, 'changed');
    file.skippedBytes = 0;
    file.loadedBytes = 0;
    if (run.spec.onChange === 'fail') {
      throw new PrimedError(
        'ORIGIN_CHANGED',
        `${path}: the object changed at the origin during the load (it was ${file.entry.etag}); the policy is to fail`,
        { path },
      );
    }
    if (file.restarts >= this.#options.maxRestarts) {
      throw new PrimedError(
        'ORIGIN_CHANGED',
        `${path}: the object changed at the origin ${file.restarts + 1} times during the load`,
        { path },
      );
    }
    file.restarts += 1;
    const found = await this.#origins.head(path, run.abort.signal);
    if (run.stopping) return;
    const grown = alignUp(found.sizeBytes);
    const reserved = this.#store.reservedFor(run.spec.run);
    if (reserved < grown) this.#store.reserve(run.spec.run, grown);
    const { etag, sizeBytes, lastModifiedMs, versionId } = found;
    file.entry = { path, etag, sizeBytes, lastModifiedMs, ...(versionId === undefined ? {} : { versionId }) };
    const begun = this.#store.beginFile({
      run: run.spec.run,
      load: run.spec.load,
      entry: file.entry,
      reuse: run.spec.reuse,
      partBytes: this.#options.partBytes,
    });
    file.changed = false;
    file.generation += 1;
    this.#log.info(
      { path, etag, sizeBytes, restarts: file.restarts },
      'the object changed at the origin: loading the new version',
    );
    if (begun.state === 'complete') {
      this.#finish(run, file, {
        path,
        result: 'skipped',
        loadedBytes: 0,
        skippedBytes: sizeBytes,
        version: file.entry,
      });
      return;
    }
    file.fileId = begun.fileId;
    if (sizeBytes === 0) {
      await this.#store.completeEmpty(run.spec.run, begun.fileId);
      this.#finish(run, file, { path, result: 'loaded', loadedBytes: 0, skippedBytes: 0, version: file.entry });
      return;
    }
    file.unplanned = rangesToParts(begun.missing, this.#options.partBytes);
    file.exhausted = false;
    run.planning.push(file);
    this.#schedulePump();
  }

  // --- planning

  /** Once per turn of the loop, so that files which arrive together are packed together. */
  #schedulePump(): void {
    if (this.#pumpScheduled) return;
    this.#pumpScheduled = true;
    setImmediate(() => {
      this.#pumpScheduled = false;
      this.#pump();
    });
  }

  #pump(): void {
    this.#verifier.pump();
    const now = performance.now();
    if (now < this.#throttle.holdUntilMs) {
      clearTimeout(this.#holdTimer);
      this.#holdTimer = setTimeout(() => this.#schedulePump(), this.#throttle.holdUntilMs - now);
      return;
    }
    for (;;) {
      const lane = this.#lanes.idlest(allowed(this.#throttle));
      if (lane === undefined) return;
      const run = this.#nextRun();
      if (run === undefined) return;
      this.#dispatch(run, lane);
    }
  }

  /** Runs take turns. */
  #nextRun(): Run | undefined {
    for (let i = 0; i < this.#turn.length; i += 1) {
      const run = this.#turn.shift() as Run;
      this.#turn.push(run);
      if (run.stopping || this.#overLimit(run)) continue;
      this.#dropStale(run);
      if (run.peek(0) !== undefined) return run;
    }
    return undefined;
  }

  #overLimit(run: Run): boolean {
    if (run.bucket === undefined || run.bytesInFlight === 0) return false;
    return run.bytesInFlight > run.bucket.bytesPerSecond * limitedWindowSeconds;
  }

  /** Parts of files that are given up or start anew are not fetched. */
  #dropStale(run: Run): void {
    for (let part = run.peek(0); part !== undefined; part = run.peek(0)) {
      if (!isStale(part)) return;
      run.parts.shift();
      this.#partSettled(run, part);
    }
  }

  #dispatch(run: Run, lane: number): void {
    const first = run.peek(0) as PartTask;
    const { originIndex } = first.file;
    // while several lanes are idle, what is queued is shared among them rather than given to one
    const share = Math.ceil((run.parts.length + run.planning.length) / (2 * this.#lanes.count));
    const count = packSize(
      (index) => {
        const part = run.peek(index);
        return part === undefined || part.file.originIndex !== originIndex || isStale(part)
          ? undefined
          : part.range.length;
      },
      {
        bytes: Math.min(packBytes, this.#lanes.slotBytes),
        parts: Math.min(packParts, Math.max(smallestPack, share)),
        smallBytes,
      },
    );
    const parts: PartTask[] = [];
    const slotOffsets: number[] = [];
    let used = 0;
    for (let i = 0; i < count; i += 1) {
      const part = run.parts.shift() as PartTask;
      parts.push(part);
      slotOffsets.push(used);
      used += alignUp(part.range.length);
    }
    let extents: readonly Extent[];
    try {
      extents = this.#store.allocate(run.spec.run, used);
    } catch (error) {
      for (const part of parts) {
        part.file.error ??= error instanceof PrimedError ? error : new PrimedError('INTERNAL', String(error));
        this.#partSettled(run, part);
      }
      return;
    }
    this.#send(run, lane, { run, parts, extents, slotOffsets });
  }

  #send(run: Run, lane: number, inFlight: UnitInFlight): void {
    const { parts, extents, slotOffsets } = inFlight;
    let slotOffset = 0;
    const writes = extents.map((extent) => {
      const write = { store: extent.store, fileOffset: extent.offset, slotOffset, length: extent.length };
      slotOffset += extent.length;
      return write;
    });
    const unit: WriteUnit = {
      kind: 'write',
      id: this.#lanes.nextUnitId(),
      run: run.row,
      originIndex: (parts[0] as PartTask).file.originIndex,
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
    run.unitsInFlight += 1;
    run.partsInFlight += parts.length;
    run.bytesInFlight += slotOffset;
    this.#lanes.send(lane, unit, (message) => this.#written(inFlight, message, slotOffset));
  }

  // --- answers of the lanes

  #written(unit: UnitInFlight, message: WriteDone | CheckDone, unitBytes: number): void {
    assert(message.type === 'written', 'a write unit is answered by what was written');
    const { run } = unit;
    this.#foldRun(run);
    if (message.surplusBytes > 0) this.#discard(run, 'failed', message.surplusBytes);
    let checksumAt = 0;
    for (const index of message.arrived) {
      const part = unit.parts[index] as PartTask;
      const pages = Math.ceil(part.range.length / pageBytes);
      const pageChecksums = message.checksums.subarray(checksumAt, checksumAt + pages);
      checksumAt += pages;
      this.#arrived(unit, index, part, pageChecksums, message.writeError);
    }
    for (const { part: index, failure, receivedBytes: bytes } of message.failed) {
      const part = unit.parts[index] as PartTask;
      this.#store.giveBack(run.spec.run, this.#extentsOf(unit, index));
      run.partsInFlight -= 1;
      this.#failed(run, part, failure, bytes);
    }
    if (message.final) {
      run.unitsInFlight -= 1;
      run.bytesInFlight -= unitBytes;
    }
    if (message.arrived.length > 0) this.#grow(message.arrived.length);
    run.wakeIfIdle();
    this.#schedulePump();
  }

  #extentsOf(unit: UnitInFlight, index: number): Extent[] {
    const { range } = unit.parts[index] as PartTask;
    return sliceExtents(unit.extents, unit.slotOffsets[index] as number, alignUp(range.length));
  }

  #arrived(
    unit: UnitInFlight,
    index: number,
    part: PartTask,
    pageChecksums: Uint32Array,
    writeError: number | undefined,
  ): void {
    const { run } = unit;
    const extents = this.#extentsOf(unit, index);
    run.partsInFlight -= 1;
    run.budget.succeeded += 1;
    if (writeError !== undefined) {
      this.#store.giveBack(run.spec.run, extents);
      this.#discard(run, 'failed', part.range.length);
      part.file.error ??= new PrimedError(
        'STORE_IO',
        `${part.file.entry.path}: writing to the store failed with errno ${writeError}; see the kernel log`,
        { errno: writeError },
      );
      this.#partSettled(run, part);
      return;
    }
    if (isStale(part)) {
      this.#store.giveBack(run.spec.run, extents);
      this.#discard(
        run,
        part.file.changed || part.generation !== part.file.generation ? 'changed' : 'failed',
        part.range.length,
      );
      this.#partSettled(run, part);
      return;
    }
    run.landing.push({ fileId: part.file.fileId, range: part.range, extents, pageChecksums } satisfies LandedPart);
    run.landingFor.push(part);
    if (run.landScheduled) return;
    run.landScheduled = true;
    setImmediate(() => this.#land(run));
  }

  /** Everything that arrived in one turn of the loop is landed by one call. */
  #land(run: Run): void {
    run.landScheduled = false;
    const parts = run.landing.splice(0);
    const tasks = run.landingFor.splice(0);
    run.landsInFlight += 1;
    const startedMs = performance.now();
    this.#store
      .land(run.spec.run, parts)
      .then(
        (completed) => {
          this.#options.observe.landed(performance.now() - startedMs);
          this.#landed(run, tasks, new Set(completed));
        },
        (error: unknown) => {
          const failure =
            error instanceof PrimedError
              ? error
              : new PrimedError('STORE_IO', `the store could not make data durable: ${String(error)}`);
          for (const task of tasks) {
            task.file.error ??= failure;
            this.#discard(run, 'failed', task.range.length);
            this.#partSettled(run, task);
          }
        },
      )
      .finally(() => {
        run.landsInFlight -= 1;
        run.wakeIfIdle();
      });
  }

  #landed(run: Run, tasks: readonly PartTask[], completed: ReadonlySet<FileId>): void {
    for (const task of tasks) {
      const { file } = task;
      file.outstanding -= 1;
      if (task.generation === file.generation) file.loadedBytes += task.range.length;
      if (completed.has(file.fileId)) {
        const { loadedBytes, skippedBytes, entry } = file;
        this.#finish(run, file, { path: entry.path, result: 'loaded', loadedBytes, skippedBytes, version: entry });
      } else this.#settleFile(run, file);
    }
  }

  #partSettled(run: Run, part: PartTask): void {
    part.file.outstanding -= 1;
    this.#settleFile(run, part.file);
  }

  #failed(run: Run, part: PartTask, failure: OriginFailure, bytes: number): void {
    const { file } = part;
    if (bytes > 0)
      this.#discard(
        run,
        failure.cause === 'cancelled' ? 'stopped' : failure.cause === 'changed' ? 'changed' : 'failed',
        bytes,
      );
    if (failure.cause === 'throttled') this.#slowDown(failure);
    if (failure.cause === 'expired') this.#links.expired(file.originIndex);
    if (run.stopping || isStale(part)) {
      this.#partSettled(run, part);
      return;
    }
    if (failure.cause === 'changed') {
      file.changed = true;
      this.#partSettled(run, part);
      return;
    }
    const { retryAfterMs } = failure;
    const decision = decideRetry(
      { cause: failure.cause, attempt: part.attempt, retryAfterMs },
      this.#options.retry,
      run.budget,
      this.#options.random,
    );
    if (!decision.retry) {
      file.error = partError(file.entry.path, part.range, failure, part.attempt, decision.why);
      this.#partSettled(run, part);
      return;
    }
    run.retries += 1;
    this.#options.observe.retried(failure.cause);
    this.#log.debug(
      {
        path: file.entry.path,
        offset: part.range.offset,
        attempt: part.attempt,
        cause: failure.cause,
        httpStatus: failure.httpStatus,
        requestId: failure.requestId,
        delayMs: decision.delayMs,
      },
      'a part failed and will be tried again',
    );
    const timer = setTimeout(() => {
      run.retryTimers.delete(timer);
      run.parts.pushFront({ ...part, attempt: part.attempt + 1 });
      this.#schedulePump();
    }, decision.delayMs);
    run.retryTimers.add(timer);
  }

  // --- limits

  #slowDown(failure: OriginFailure): void {
    const before = allowed(this.#throttle);
    this.#throttle = throttled(this.#throttle, performance.now(), {
      cooldownMs: throttleCooldownMs,
      retryAfterMs: failure.retryAfterMs,
    });
    if (allowed(this.#throttle) === before) return;
    this.#log.warn(
      {
        httpStatus: failure.httpStatus,
        s3Code: failure.s3Code,
        requestId: failure.requestId,
        requestsInFlight: allowed(this.#throttle),
      },
      'the origin asks to slow down',
    );
    this.#setConcurrency();
  }

  #grow(count: number): void {
    const before = allowed(this.#throttle);
    this.#throttle = succeeded(this.#throttle, count);
    if (allowed(this.#throttle) !== before) this.#setConcurrency();
  }

  #setConcurrency(): void {
    const requests = allowed(this.#throttle);
    this.#options.observe.concurrencyLimit(requests);
    this.#lanes.broadcast({ type: 'concurrency', limit: Math.max(1, Math.floor(requests / this.#lanes.count)) });
  }

  #watchBuckets(): void {
    const limited = [...this.#runs.values()].some((run) => run.bucket !== undefined);
    if (limited && this.#refillTimer === undefined) this.#refillTimer = setInterval(() => this.#refill(), refillMs);
    if (!limited && this.#refillTimer !== undefined) {
      clearInterval(this.#refillTimer);
      this.#refillTimer = undefined;
    }
  }

  #refill(): void {
    const now = performance.now();
    for (const run of this.#runs.values()) {
      if (run.bucket === undefined) continue;
      const tokens = Atomics.load(this.#board.tokens, run.row);
      // the fraction of a token that the board cannot hold stays in the bucket
      const fraction = run.bucket.tokens - Math.floor(run.bucket.tokens);
      run.bucket = refill({ ...run.bucket, tokens: tokens + fraction }, now);
      Atomics.add(this.#board.tokens, run.row, Math.floor(run.bucket.tokens) - tokens);
    }
  }

  // --- the books

  #fold(): void {
    for (const run of this.#runs.values()) this.#foldRun(run);
  }

  #foldRun(run: Run): void {
    const received = receivedBytes(this.#board, run.row);
    if (received === run.foldedBytes) return;
    this.#store.account(run.spec.run, { originBytes: received - run.foldedBytes });
    run.foldedBytes = received;
  }

  #discard(run: Run, reason: DiscardReason, bytes: number): void {
    this.#store.account(run.spec.run, { discarded: { reason, bytes } });
  }
}

function isStale(part: PartTask): boolean {
  return part.generation !== part.file.generation || part.file.changed || part.file.error !== undefined;
}

function stopped(entry: ManifestEntry): FileOutcome {
  return { path: entry.path, result: 'stopped', loadedBytes: 0, skippedBytes: 0 };
}
