/** The worker as the coordinator sees it: runs begin, are fed with files, and end. See types.ts for who waits for whom. */

import assert from 'node:assert/strict';
import { abortable } from '../core/abortable.ts';
import type { Checksums } from '../core/attributes.ts';
import { reportOf } from '../core/errors.ts';
import { type FileTeller, type GoneReason, keptReason } from '../core/file-events.ts';
import { noFlows } from '../core/flows.ts';
import { nothingInTurn } from '../core/in-turn.ts';
import type { OriginDemand, OriginLimit } from '../core/origin-limits.ts';
import type { PinList } from '../core/retention.ts';
import type { RetrySettings } from '../core/retry.ts';
import {
  type ByteRange,
  type DiscardReason,
  type Log,
  type ManifestEntry,
  type Random,
  type RunId,
  sameVersion,
  type UfsPath,
} from '../core/types.ts';
import { alignUp } from '../core/units.ts';
import type { OriginCounts } from '../origin/origin-counts.ts';
import type { Origins, OriginTimeouts } from '../origin/types.ts';
import type { Freed, RunOfLoad, Store } from '../store/types.ts';
import { Books } from './books.ts';
import { notReached } from './failures.ts';
import { Files, stoppedOutcome } from './files.ts';
import { Follows } from './follows.ts';
import { Here } from './here.ts';
import { Landings } from './landings.ts';
import type { LanePool } from './lanes.ts';
import { LimitBook } from './limit-book.ts';
import { Limits } from './limits.ts';
import type { OriginLimiter } from './origin-limiter.ts';
import { OriginLinks } from './origin-links.ts';
import { Parts } from './parts.ts';
import { anyReach, type PeerAccess, PeerLinks, type PeerReach } from './peer-links.ts';
import { lookAtRequests, turnOf } from './requests.ts';
import { Run } from './run.ts';
import { clearRow, type RunBoard, runRows } from './run-board.ts';
import type {
  CachedBytes,
  FileOutcome,
  LoadHow,
  MissingParts,
  PlannedLoad,
  RoomOrder,
  RunProgress,
  RunSpec,
  VerifyOutcome,
  Worker,
  WorkerFree,
  WorkerObserver,
  WorkerQueues,
  WorkerRoom,
} from './types.ts';
import { Verifier } from './verifier.ts';
import type { JoinedKind } from './whole-object.ts';

export interface WorkerOptions {
  readonly store: Store;
  readonly origins: Origins;
  readonly lanes: LanePool;
  readonly board: RunBoard;
  readonly limiter: OriginLimiter;
  readonly counts: OriginCounts;
  readonly log: Log;
  readonly random: Random;
  readonly partBytes: number;
  /** Parts up to this size share a slot and a write. */
  readonly smallBytes: number;
  readonly socketsPerLane: number;
  readonly retry: RetrySettings;
  readonly maxRestarts: number;
  /** What other workers ask for, of those who copy from them. */
  readonly peerAccess?: PeerAccess;
  readonly peerReach?: PeerReach;
  /** Lanes give way to readers now. */
  readonly yields: () => boolean;
  readonly observe: WorkerObserver;
  readonly tell: FileTeller;
}

/** How long bytes may be on the shared board before the ledger sees them; so often it is looked at what runs wait for. */
const foldMs = 100;

/** Frees under way, of those that are told of. */
const mostFrees = 100;

export class IngestWorker implements Worker {
  readonly #store: Store;
  readonly #log: Log;
  readonly #lanes: LanePool;
  readonly #board: RunBoard;
  readonly #books: Books;
  readonly #limits: Limits;
  readonly #limiter: OriginLimiter;
  readonly #links: OriginLinks;
  readonly #peers: PeerLinks;
  readonly #reach: PeerReach;
  readonly #partBytes: number;
  readonly #follows: Follows;
  readonly #here: Here;
  readonly landings = new Landings();
  readonly #files: Files;
  readonly #parts: Parts;
  readonly #verifier: Verifier;
  readonly #waits: LimitBook;
  readonly #runs = new Map<RunId, Run>();
  readonly #rowsInUse = new Set<number>();
  readonly #foldTimer: NodeJS.Timeout;
  readonly #tell: FileTeller;
  /** What pages of a free have removed so far, by its run. */
  readonly #freed = new Map<RunId, { files: number; bytes: number }>();
  #pinsHeard = { from: '', version: 0 };
  #closing = false;

  constructor(options: WorkerOptions) {
    const { store, origins, lanes, board, log, observe, tell, partBytes, maxRestarts } = options;
    this.#tell = tell;
    this.#store = store;
    this.#log = log;
    this.#partBytes = partBytes;
    this.#lanes = lanes;
    this.#board = board;
    this.#limiter = options.limiter;
    this.#books = new Books(store, board, observe);
    this.#limits = new Limits({
      lanes,
      board,
      log,
      sockets: options.socketsPerLane * lanes.count,
      observe,
    });
    this.#links = new OriginLinks(origins, lanes, log);
    this.#peers = new PeerLinks(lanes, options.peerAccess);
    this.#reach = options.peerReach ?? anyReach;
    this.#follows = new Follows(options.peerAccess);
    this.#here = new Here({ store, partBytes, slotBytes: lanes.slotBytes, runs: this.#runs });
    const onPlanned = (): void => this.#parts.schedule();
    this.#files = new Files({ store, origins, log, partBytes, maxRestarts, onPlanned, follows: this.#follows, tell });
    this.#verifier = new Verifier({ store, origins, lanes, onSlot: onPlanned, observe });
    this.#parts = new Parts(
      {
        ...{
          store,
          lanes,
          log,
          observe,
          tell,
          landings: this.landings,
          limits: this.#limits,
          limiter: this.#limiter,
          counts: options.counts,
          books: this.#books,
          links: this.#links,
          reach: this.#reach,
        },
        random: options.random,
        retry: options.retry,
        smallBytes: options.smallBytes,
        pumpChecks: () => this.#verifier.pump(),
      },
      () => this.#files,
    );
    this.#waits = new LimitBook({
      ...{ board, lanes, store, limits: this.#limits, parts: this.#parts, yields: options.yields },
      observe: (cause, milliseconds) => observe.limitedBy(cause, milliseconds),
    });
    this.#limiter.onRoom(onPlanned);
    this.#foldTimer = setInterval(() => {
      for (const run of this.#runs.values()) {
        this.#books.fold(run);
        lookAtRequests(this.#board, run);
      }
      this.#waits.look(performance.now());
    }, foldMs);
    this.#foldTimer.unref();
  }

  /** How long origins may take, from now on, and which of them are reached in another way. */
  renewOrigins(change: { readonly timeouts: OriginTimeouts | undefined; readonly reopened: readonly number[] }): void {
    const { timeouts, reopened } = change;
    if (timeouts !== undefined) this.#lanes.broadcast({ type: 'timeouts', timeouts });
    this.#links.reopen(reopened);
  }

  /** What other workers ask for, or show, has changed in place. */
  renewPeers(): void {
    this.#peers.renew();
    this.#follows.renew();
  }

  startRun(spec: RunSpec): void {
    if (this.#runs.has(spec.run)) return;
    let row = 0;
    while (this.#rowsInUse.has(row)) row += 1;
    assert(row < runRows, `at most ${runRows} runs at a time`);
    this.#rowsInUse.add(row);
    clearRow(this.#board, row);
    Atomics.store(this.#board.weights, row, spec.weight);
    const run = new Run(spec, row);
    this.#runs.set(spec.run, run);
    if (spec.keeps !== false) this.#store.enter(spec.run, spec.load);
    this.#parts.add(run);
    this.#waits.add(run, performance.now());
    this.#limits.setBandwidth(run, spec.bandwidthBytesPerSecond);
  }

  reserve(run: RunId, bytes: number): void {
    this.#store.reserve(run, bytes);
  }

  async reserveMore(runId: RunId, bytes: number): Promise<void> {
    const run = this.#run(runId);
    const evicted = await this.#store.reserveMore(runId, bytes);
    run.evictedBytes += evicted.bytes;
    // Nobody would give it back.
    if (!this.#runs.has(runId)) this.#store.unreserve(runId);
    if (evicted.files > 0)
      this.#log.info({ run: runId, jobId: run.spec.job, ...evicted }, 'files were evicted to make room for a load');
  }

  makeRoom(runId: RunId, entries: readonly ManifestEntry[]): Promise<void> {
    const { load, reuse } = this.#run(runId).spec;
    return this.#store.dropUnusable({ load, reuse, entries });
  }

  footprintBytes(sizeBytes: number): number {
    return alignUp(sizeBytes);
  }

  async load(runId: RunId, entry: ManifestEntry, how: LoadHow = {}): Promise<FileOutcome> {
    const run = this.#run(runId);
    const { hasty = false, range, source, followed = false } = how;
    const part = range === undefined ? {} : { range };
    const offset = range?.offset ?? 0;
    this.landings.begun(entry.path, offset);
    const adding = run.adds([entry]);
    try {
      if (run.stopping || this.#closing) return stoppedOutcome(entry);
      if (source !== undefined) {
        // Somebody has waited for it: who names the source has others, and the origin.
        if (this.#reach.avoids(source.url)) throw notReached(entry.path, source.url);
        return await this.#peers.use(source.url, (originIndex) => {
          const address = { originIndex, key: entry.path };
          return this.#files.load(run, { entry, address, hasty: true, source, ...part });
        });
      }
      const address = this.#links.address(entry.path);
      const known = address instanceof Promise ? await abortable(address, run.abort.signal) : address;
      this.#limiter.enter(known.originIndex);
      try {
        return await this.#files.load(run, { entry, address: known, hasty, followed, ...part });
      } finally {
        this.#limiter.leave(known.originIndex);
      }
    } catch (error) {
      if (run.abort.signal.aborted) return stoppedOutcome(entry);
      const report = reportOf(error);
      const { code, message } = report;
      if (code !== 'ORIGIN_LOST')
        this.#tell.happened({
          ...{
            kind: 'given-up',
            path: entry.path,
            job: run.spec.job,
            etag: entry.etag,
            code,
            message: keptReason({ path: entry.path, message }),
            ...part,
          },
        });
      return { path: entry.path, result: 'failed', loadedBytes: 0, skippedBytes: 0, error: report };
    } finally {
      this.landings.ended(entry.path, offset);
      run.added(adding);
    }
  }

  async loadMetadata(runId: RunId, entries: readonly ManifestEntry[]): Promise<void> {
    const run = this.#run(runId);
    const adding = run.adds(entries);
    try {
      await this.#store.putMetadata(run.spec.load, entries);
    } finally {
      run.added(adding);
    }
  }

  verify(runId: RunId, entry: ManifestEntry, ranges?: readonly ByteRange[], sums?: JoinedKind): Promise<VerifyOutcome> {
    return this.#verifier.verify(this.#run(runId), entry, ranges, sums);
  }

  publish(version: ManifestEntry): Promise<void> {
    return this.#store.show(version);
  }

  async abandon(version: ManifestEntry, reason: DiscardReason): Promise<void> {
    const loading = this.#store.statLoading(version.path);
    if (loading !== undefined && sameVersion(loading, version)) await this.#store.abandonFile(loading.fileId, reason);
  }

  async stateChecksums(version: ManifestEntry, checksums: Checksums): Promise<void> {
    const visible = this.#store.stat(version.path);
    if (visible !== undefined && visible.state !== 'loading' && sameVersion(visible, version))
      await this.#store.stateChecksums(visible, checksums);
  }

  async discard(version: ManifestEntry, reason: GoneReason = 'corrupt'): Promise<void> {
    await this.abandon(version, 'failed');
    const visible = this.#store.stat(version.path);
    if (visible !== undefined && visible.state !== 'loading' && sameVersion(visible, version))
      await this.#store.removeVersion(version.path, visible.fileId, reason);
  }

  cached(whose: RunOfLoad, entry: ManifestEntry, range?: ByteRange): CachedBytes {
    return this.#here.cached(whose, entry, range);
  }

  missing(planned: PlannedLoad, entry: ManifestEntry, range?: ByteRange): MissingParts {
    return this.#here.missing(planned, entry, range);
  }

  room(order: RoomOrder): Promise<WorkerRoom> {
    return this.#here.room(order);
  }

  setBandwidth(run: RunId, bytesPerSecond: number | undefined): void {
    this.#limits.setBandwidth(this.#run(run), bytesPerSecond);
  }

  async free({ stopLoads, ...order }: WorkerFree, run: RunId): Promise<Freed> {
    if (stopLoads) await Promise.all([...this.#runs.values()].map((one) => this.#stopAddingTo(order.path, one)));
    const freed = await this.#store.free(order);
    if (order.dryRun !== true) this.#tellFreed(order.path, run, freed);
    return freed;
  }

  /** Of a directory its first page, then all of it: what is told of it is told of each file below. */
  #tellFreed(path: UfsPath, run: RunId, { files, bytes, next }: Freed): void {
    const before = this.#freed.get(run);
    const sum = { files: files + (before?.files ?? 0), bytes: bytes + (before?.bytes ?? 0) };
    if (next === undefined) this.#freed.delete(run);
    else {
      this.#freed.set(run, sum);
      // One that was stopped on its way does not end here.
      if (this.#freed.size > mostFrees) this.#freed.delete(this.#freed.keys().next().value!);
    }
    const isNews = before === undefined || next === undefined;
    if (isNews && sum.files > 0) this.#tell.happened({ kind: 'gone', reason: 'freed', path, run, ...sum });
  }

  /** The job of a run that is under way. */
  jobOf(run: RunId): string | undefined {
    return this.#runs.get(run)?.spec.job;
  }

  async #stopAddingTo(path: UfsPath, run: Run): Promise<void> {
    const adding = run.addingTo(path);
    if (adding.length === 0) return;
    const { run: runId, job: jobId } = run.spec;
    this.#log.warn({ run: runId, jobId, path }, 'a run is stopped, because what it was at work on is freed');
    await this.stopRun(runId);
    await Promise.allSettled(adding);
  }

  async setPins({ from, version, paths }: PinList): Promise<void> {
    const { from: teller, version: known } = this.#pinsHeard;
    if (from === teller && version < known) return;
    this.#pinsHeard = { from, version };
    await this.#store.setPins(paths);
  }

  setOriginLimits(limits: readonly OriginLimit[]): void {
    this.#limiter.setLimits(limits);
  }

  originDemand(): readonly OriginDemand[] {
    return this.#limiter.demand();
  }

  onOriginDemand(listener: () => void): () => void {
    return this.#limiter.onDemand(listener);
  }

  async stopRun(runId: RunId): Promise<void> {
    const run = this.#runs.get(runId);
    if (run === undefined) return;
    run.stopping = true;
    run.abort.abort();
    for (const timer of run.retryTimers) clearTimeout(timer);
    run.retryTimers.clear();
    run.fetches.clear();
    run.copies.clear();
    this.#lanes.broadcast({ type: 'cancel', run: run.row });
    this.#verifier.drop(run);
    this.#parts.schedule();
    await run.whenIdle();
    this.#files.stopAll(run);
    this.#books.fold(run);
    await this.#store.flush();
  }

  async endRun(runId: RunId): Promise<void> {
    const run = this.#runs.get(runId);
    if (run === undefined) return;
    if (run.files.size > 0) await this.stopRun(runId);
    await run.whenIdle();
    run.trace?.end(run);
    this.#books.fold(run);
    if (!run.stopping && run.lost === undefined) await this.#store.abandonLeft(runId, run.spec.load);
    this.#store.unreserve(runId);
    this.#limits.forget(run);
    this.#parts.remove(run);
    this.#waits.remove(run);
    this.#runs.delete(runId);
    this.#rowsInUse.delete(run.row);
    await this.#store.flush();
  }

  progress(runId: RunId): RunProgress {
    const run = this.#runs.get(runId);
    if (run !== undefined) this.#books.fold(run);
    const ledger = this.#store.ledger(runId);
    const partsInFlight = run?.partsInFlight ?? 0;
    return {
      receivedBytes: run?.foldedBytes ?? 0,
      durableBytes: ledger.cachedBytes,
      retries: run?.retries ?? 0,
      partsInFlight,
      requestsInFlight: Math.min(partsInFlight, this.#limits.requests),
      turn: run === undefined || partsInFlight === 0 ? nothingInTurn : turnOf(this.#board, run, this.#partBytes),
      flows: run?.flows?.sums ?? noFlows,
      evictedBytes: run?.evictedBytes ?? 0,
      ...(run === undefined ? {} : { limitedMs: this.#waits.sumsOf(run) }),
      ledger,
    };
  }

  queues(): WorkerQueues {
    let queuedParts = 0;
    let unitsInFlight = 0;
    let landingParts = 0;
    for (const run of this.#runs.values()) {
      queuedParts += run.fetches.parts.length + run.copies.parts.length;
      unitsInFlight += run.unitsInFlight;
      landingParts += run.landing.length + run.partsLanding;
    }
    return { queuedParts, unitsInFlight, landingParts };
  }

  async close(): Promise<void> {
    this.#closing = true;
    await Promise.all([...this.#runs.keys()].map((run) => this.stopRun(run)));
    clearInterval(this.#foldTimer);
    this.#limits.close();
    this.#limiter.close();
    this.#parts.close();
    this.#links.close();
    await this.#follows.close();
    await this.#lanes.close();
  }

  #run(id: RunId): Run {
    const run = this.#runs.get(id);
    assert(run !== undefined, `run ${id} was not started, or has ended`);
    return run;
  }
}
