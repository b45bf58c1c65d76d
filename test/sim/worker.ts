/**
 * A worker of a world: what the real one promises to its coordinator, over a store that is a model. It fetches pages by
 * parts, with the real decisions about retries and silence; bytes that left the origin are either landed or booked as
 * discarded, as soon as what becomes of them is known.
 */

import assert from 'node:assert/strict';
import { setMaxListeners } from 'node:events';
import { PrimedError, reportOf } from '../../src/core/errors.ts';
import type { OriginDemand } from '../../src/core/origin-limits.ts';
import { covers } from '../../src/core/path-scope.ts';
import { decideRetry, defaultRetry, type RetryBudget, type RetrySettings } from '../../src/core/retry.ts';
import { isLost, isSilent, noSilence, type OriginSilence, setsAside, silenceAfter } from '../../src/core/silence.ts';
import {
  type ByteRange,
  type DiscardReason,
  type ManifestEntry,
  type RunId,
  sameVersion,
} from '../../src/core/types.ts';
import { pageBytes } from '../../src/core/units.ts';
import { lostError, partError, peerError } from '../../src/ingest/failures.ts';
import type {
  CachedBytes,
  FileOutcome,
  LoadHow,
  MissingParts,
  RunProgress,
  RunSpec,
  SourceWorker,
  VerifyOutcome,
  Worker,
  WorkerFree,
  WorkerRoom,
} from '../../src/ingest/types.ts';
import type { FailureCause } from '../../src/origin/types.ts';
import type { Freed, RunOfLoad } from '../../src/store/types.ts';
import { bytesOfPages, fetchedBy, type ModelLoading } from '../support/store-model.ts';
import type { Bucket, SimOrigins } from './origin.ts';
import { roomOf, type SimStore } from './store.ts';
import { here, type Process, type World } from './world.ts';

export interface SimWorkerOptions {
  readonly name: string;
  readonly process: Process;
  readonly store: SimStore;
  readonly bucket: Bucket;
  readonly origins: SimOrigins;
  /** Asks another worker, by the URL that it was named by. */
  readonly askPeer: (url: string, serve: (worker: SimWorker) => boolean) => Promise<boolean>;
  /** Every call that changes something. */
  readonly onCall: (method: string, run: RunId | undefined) => void;
  readonly onStart: (spec: RunSpec) => void;
  /** Told of all that was reserved for a run since it began here. */
  readonly onReserved: (run: RunId, totalBytes: number) => void;
  /** Before each request to the origin. */
  readonly onFetch: (spec: RunSpec, entry: ManifestEntry, range: ByteRange) => void;
}

interface Run {
  readonly spec: RunSpec;
  stopping: boolean;
  readonly abort: AbortController;
  /** What it waits for, and does not when it is stopped. */
  readonly pauses: Set<() => void>;
  reservedBytes: number;
  /** All that was reserved by calls, whatever became of it. */
  askedBytes: number;
  lost: PrimedError | undefined;
  retries: number;
  readonly budget: RetryBudget;
  silence: OriginSilence;
  readonly files: Set<FileTask>;
  /** Paths that it has begun and that it may leave half loaded. */
  readonly used: Map<string, ModelLoading>;
  partsInFlight: number;
}

interface FileTask {
  entry: ManifestEntry;
  readonly range: ByteRange | undefined;
  readonly hasty: boolean;
  readonly source: SourceWorker | undefined;
  readonly resolve: (outcome: FileOutcome) => void;
  loadedBytes: number;
  skippedBytes: number;
  restarts: number;
  done: boolean;
}

type PartEnd = 'landed' | 'changed' | 'later' | 'dropped' | { readonly error: PrimedError };

const partPages = 2;
/** Parts that a worker fetches at once, of all runs. */
const slots = 3;
const maxRestarts = 2;
const retry: RetrySettings = { ...defaultRetry, maxAttempts: 5, baseMs: 50, maxMs: 1000 };
/** A request that nobody answers. */
const silentMs = 4000;
const hastySilentMs = 600;

export class SimWorker implements Worker {
  readonly #options: SimWorkerOptions;
  readonly #world: World = here();
  readonly runs = new Map<RunId, Run>();
  readonly #turns = new Map<string, Promise<unknown>>();
  #closing = false;
  #freeSlots = slots;
  readonly #waiting: (() => void)[] = [];

  constructor(options: SimWorkerOptions) {
    this.#options = options;
  }

  get store(): SimStore {
    return this.#options.store;
  }

  get partsInFlight(): number {
    let sum = 0;
    for (const { partsInFlight } of this.runs.values()) sum += partsInFlight;
    return sum;
  }

  /** Of parts that have been begun and have not landed. */
  inFlightBytesOf(run: RunId): number {
    return (this.runs.get(run)?.partsInFlight ?? 0) * partPages * pageBytes;
  }

  get reservedBytes(): number {
    let sum = 0;
    for (const { reservedBytes } of this.runs.values()) sum += reservedBytes;
    return sum;
  }

  setOriginLimits(): void {}

  async setPins(): Promise<void> {}

  originDemand(): readonly OriginDemand[] {
    return [];
  }

  onOriginDemand(): () => void {
    return () => undefined;
  }

  startRun(spec: RunSpec): void {
    this.#options.onCall('startRun', spec.run);
    this.#options.onStart(spec);
    if (this.runs.has(spec.run)) return;
    const abort = new AbortController();
    setMaxListeners(0, abort.signal);
    this.runs.set(spec.run, {
      spec,
      stopping: false,
      abort,
      pauses: new Set(),
      reservedBytes: 0,
      askedBytes: 0,
      lost: undefined,
      retries: 0,
      budget: { succeeded: 0, spent: 0 },
      silence: noSilence,
      files: new Set(),
      used: new Map(),
      partsInFlight: 0,
    });
  }

  reserve(runId: RunId, bytes: number): void {
    this.#options.onCall('reserve', runId);
    const run = this.#run(runId);
    const freeBytes = this.store.capacityBytes - this.store.usedBytes - (this.reservedBytes - run.reservedBytes);
    if (bytes > freeBytes && bytes > run.reservedBytes) {
      const message = `worker ${this.#options.name}: the load needs ${bytes} bytes, and ${freeBytes} are free`;
      throw new PrimedError('STORE_NO_ROOM', message, { neededBytes: bytes, freeBytes });
    }
    run.reservedBytes = Math.max(0, bytes);
  }

  async reserveMore(runId: RunId, bytes: number): Promise<void> {
    const run = this.#run(runId);
    this.reserve(runId, run.reservedBytes + bytes);
    run.askedBytes += bytes;
    this.#options.onReserved(runId, run.askedBytes);
  }

  async makeRoom(runId: RunId, entries: readonly ManifestEntry[]): Promise<void> {
    this.#options.onCall('makeRoom', runId);
    const { load, reuse } = this.#run(runId).spec;
    for (const entry of entries) {
      const file = this.store.model.loading.get(entry.path);
      if (file === undefined || this.#inUse(file)) continue;
      const same = sameVersion(file.entry, entry);
      if (same && (reuse === 'any' || file.load === load)) continue;
      this.store.model.drop(entry.path, same ? 'replaced' : 'changed');
    }
    await this.#commit();
  }

  footprintBytes(sizeBytes: number): number {
    return roomOf(sizeBytes);
  }

  async load(runId: RunId, entry: ManifestEntry, how: LoadHow = {}): Promise<FileOutcome> {
    this.#options.onCall('load', runId);
    if (this.#world.logging) {
      const { range, hasty, source } = how;
      this.#world.log(
        `${this.#options.process.name} load ${runId.slice(0, 8)} ${entry.path} ${entry.etag} ${range?.offset ?? 'whole'}${hasty === true ? ' hasty' : ''}${source === undefined ? '' : ` from ${source.url}`}`,
      );
    }
    const run = this.#run(runId);
    try {
      if (run.stopping || this.#closing) return outcomeOf(entry, 'stopped');
      if (how.range !== undefined) return await this.#load(run, entry, how);
      const earlier = this.#turns.get(entry.path);
      const outcome = (earlier ?? Promise.resolve()).then(() => this.#load(run, entry, how));
      const turn = outcome
        .catch(() => undefined)
        .then(() => {
          if (this.#turns.get(entry.path) === turn) this.#turns.delete(entry.path);
        });
      this.#turns.set(entry.path, turn);
      return await outcome;
    } catch (error) {
      if (run.stopping) return outcomeOf(entry, 'stopped');
      return { ...outcomeOf(entry, 'failed'), error: reportOf(error) };
    }
  }

  async loadMetadata(runId: RunId, entries: readonly ManifestEntry[]): Promise<void> {
    this.#options.onCall('loadMetadata', runId);
    const { load } = this.#run(runId).spec;
    await this.#commit();
    for (const entry of entries) this.store.model.putMetadata(entry, load);
  }

  async verify(runId: RunId, entry: ManifestEntry, ranges?: readonly ByteRange[]): Promise<VerifyOutcome> {
    const run = this.#run(runId);
    await this.#wait(this.#world.between(1, 30));
    const { path, sizeBytes } = entry;
    const checked = { path, checkedBytes: sizeBytes, wholeObject: 'unavailable' as const };
    if (run.stopping) return { ...checked, ok: false, badPages: 0 };
    const all = ranges ?? [{ offset: 0, length: sizeBytes }];
    const ok = all.every((range) => this.store.shows(entry, range)) && !this.store.isBad(path);
    return { ...checked, ok, badPages: ok ? 0 : 1 };
  }

  cached(whose: RunOfLoad, entry: ManifestEntry, range?: ByteRange): CachedBytes {
    if (range === undefined) return this.store.cachedWhole(whose, entry);
    const { visible, ...cached } = this.store.cachedRange(whose, entry, range);
    return { complete: visible && cached.bytes === range.length, ...cached };
  }

  missing(): MissingParts {
    throw new Error('nobody plans here');
  }

  async room(): Promise<WorkerRoom> {
    throw new Error('nobody plans here');
  }

  async publish({ path, ...version }: ManifestEntry): Promise<void> {
    this.#options.onCall('publish', undefined);
    await this.#commit();
    const file = this.store.model.loading.get(path);
    if (file !== undefined && sameVersion(file.entry, version)) this.store.model.show(path);
  }

  async abandon(version: ManifestEntry, reason: DiscardReason): Promise<void> {
    this.#options.onCall('abandon', undefined);
    await this.#commit();
    const file = this.store.model.loading.get(version.path);
    if (file !== undefined && sameVersion(file.entry, version)) this.#giveUp(file, reason);
  }

  async stateChecksums(): Promise<void> {
    // What readers are told beside the bytes is no part of the model.
    this.#options.onCall('stateChecksums', undefined);
  }

  async discard({ path, ...version }: ManifestEntry): Promise<void> {
    this.#options.onCall('discard', undefined);
    await this.#commit();
    const visible = this.store.model.visible.get(path);
    const loading = this.store.model.loading.get(path);
    for (const one of [visible, loading])
      if (one !== undefined && sameVersion(one.entry, version)) this.store.free(path, false);
  }

  async free({ path, dryRun = false, stopLoads }: WorkerFree): Promise<Freed> {
    this.#options.onCall('free', undefined);
    const touching = [...this.runs.values()].filter(({ files }) =>
      [...files].some(({ entry }) => covers(path, entry.path)),
    );
    if (stopLoads) for (const { spec } of touching) await this.stopRun(spec.run);
    await this.#commit();
    return this.store.free(path, dryRun);
  }

  setBandwidth(run: RunId): void {
    this.#options.onCall('setBandwidth', run);
  }

  async stopRun(runId: RunId): Promise<void> {
    this.#options.onCall('stopRun', runId);
    const run = this.runs.get(runId);
    if (run === undefined) return;
    run.stopping = true;
    run.abort.abort();
    for (const over of run.pauses) over();
    await this.#wait(this.#world.between(1, 150));
    for (const file of [...run.files]) {
      const { loadedBytes, skippedBytes } = file;
      this.#finish(run, file, { ...outcomeOf(file.entry, 'stopped'), loadedBytes, skippedBytes });
    }
    await this.#commit();
  }

  async endRun(runId: RunId): Promise<void> {
    this.#options.onCall('endRun', runId);
    const run = this.runs.get(runId);
    if (run === undefined) return;
    if (run.files.size > 0) await this.stopRun(runId);
    while (run.partsInFlight > 0) await this.#wait(1);
    if (!run.stopping && run.lost === undefined) {
      for (const [path, file] of this.store.model.loading) {
        const isIts = run.used.get(path) === file || file.load === run.spec.load;
        if (isIts && !this.#inUse(file, run)) this.#giveUp(file, 'failed');
      }
    }
    this.runs.delete(runId);
    await this.#commit();
  }

  progress(runId: RunId): RunProgress {
    const ledger = structuredClone(this.store.model.ledger(runId));
    const run = this.runs.get(runId);
    return {
      receivedBytes: ledger.originBytes + ledger.peerBytes,
      durableBytes: ledger.cachedBytes,
      retries: run?.retries ?? 0,
      partsInFlight: run?.partsInFlight ?? 0,
      evictedBytes: 0,
      ledger,
    };
  }

  async close(): Promise<void> {
    this.#closing = true;
    await Promise.all([...this.runs.keys()].map((run) => this.stopRun(run)));
  }

  // --- files

  #load(run: Run, entry: ManifestEntry, { range, hasty = false, source }: LoadHow): Promise<FileOutcome> {
    return new Promise((resolve) => {
      const file: FileTask = {
        ...{ entry, range, hasty: hasty || source !== undefined, source, resolve },
        ...{ loadedBytes: 0, skippedBytes: 0, restarts: 0, done: false },
      };
      run.files.add(file);
      this.#fetchFile(run, file).catch((error: unknown) => {
        const { loadedBytes, skippedBytes } = file;
        const ended = { ...outcomeOf(file.entry, 'failed'), loadedBytes, skippedBytes, error: reportOf(error) };
        this.#finish(run, file, ended);
      });
    });
  }

  #finish(run: Run, file: FileTask, outcome: FileOutcome): void {
    if (file.done) return;
    file.done = true;
    if (this.#world.logging)
      this.#world.log(
        `${this.#options.process.name} ${outcome.result} ${file.entry.path} ${file.range?.offset ?? 'whole'} ${outcome.error?.message ?? ''}`,
      );
    run.files.delete(file);
    file.resolve(outcome);
  }

  async #fetchFile(run: Run, file: FileTask): Promise<void> {
    for (;;) {
      if (run.stopping) {
        this.#finish(run, file, outcomeOf(file.entry, 'stopped'));
        return;
      }
      if (run.lost !== undefined && file.source === undefined) throw run.lost;
      const { entry, range } = file;
      const wantedBytes = range?.length ?? entry.sizeBytes;
      const { load, reuse } = run.spec;
      const begun = this.store.begin(entry, load, reuse);
      const there = begun === 'complete' ? this.store.model.visible.get(entry.path)! : begun;
      const { own, ownBytes } = fetchedBy(run.spec.run, there, this.store.pagesOf(entry, range));
      const durable = {
        ...outcomeOf(entry, own ? 'loaded' : 'skipped'),
        ...{ loadedBytes: ownBytes, skippedBytes: wantedBytes - ownBytes, version: entry },
      };
      if (begun === 'complete') {
        this.#finish(run, file, durable);
        return;
      }
      run.used.set(entry.path, begun);
      if (entry.sizeBytes === 0) {
        await this.#commit();
        if (this.store.model.loading.get(entry.path) === begun) this.store.model.complete(entry.path, run.spec.run);
        this.#finish(run, file, { ...outcomeOf(entry, 'loaded'), version: entry });
        return;
      }
      const missing = this.store.pagesOf(entry, range).filter((page) => !begun.pages.has(page));
      file.loadedBytes = ownBytes;
      file.skippedBytes = wantedBytes - bytesOfPages(entry, missing) - ownBytes;
      if (missing.length === 0) {
        this.#finish(run, file, durable);
        return;
      }
      const ends = await Promise.all(partsOf(missing).map((pages) => this.#fetchPart(run, file, begun, pages)));
      // Then it ends with the others.
      if (file.done || run.stopping) return;
      const { loadedBytes, skippedBytes } = file;
      const failure = ends.find((end): end is { error: PrimedError } => typeof end === 'object');
      if (failure !== undefined) throw failure.error;
      if (ends.includes('changed')) {
        if (range !== undefined) {
          this.#finish(run, file, { ...outcomeOf(entry, 'changed'), loadedBytes, skippedBytes });
          return;
        }
        await this.#startAnew(run, file, begun);
        continue;
      }
      if (ends.includes('later')) {
        this.#finish(run, file, { ...outcomeOf(entry, 'later'), loadedBytes, skippedBytes });
        return;
      }
      if (ends.includes('dropped'))
        throw new PrimedError(
          'FILE_NOT_CACHED',
          `${entry.path}: the file was removed from the cache while it was loaded`,
        );
      assert.equal(loadedBytes + skippedBytes, wantedBytes, 'a file is loaded when every byte of it has landed');
      this.#finish(run, file, { ...outcomeOf(entry, 'loaded'), loadedBytes, skippedBytes, version: entry });
      return;
    }
  }

  async #startAnew(run: Run, file: FileTask, begun: ModelLoading): Promise<void> {
    const { path, etag, sizeBytes } = file.entry;
    if (this.store.model.loading.get(path) === begun) this.#giveUp(begun, 'changed');
    await this.#commit();
    file.loadedBytes = 0;
    file.skippedBytes = 0;
    if (run.spec.onChange === 'fail' || file.restarts >= maxRestarts) {
      const message = `${path}: the object changed at the origin during the load (it was ${etag})`;
      throw new PrimedError('ORIGIN_CHANGED', message, { path });
    }
    file.restarts += 1;
    const found = await this.#options.origins.head(path, run.abort.signal);
    const othersBytes = Math.max(0, run.reservedBytes - roomOf(sizeBytes));
    this.reserve(run.spec.run, othersBytes + roomOf(found.sizeBytes));
    const { etag: is, sizeBytes: size, lastModifiedMs } = found;
    file.entry = { path, etag: is, sizeBytes: size, lastModifiedMs };
  }

  // --- parts

  async #fetchPart(run: Run, file: FileTask, begun: ModelLoading, pages: readonly number[]): Promise<PartEnd> {
    const bytes = bytesOfPages(file.entry, pages);
    // Who follows holds nothing that others wait for.
    const failure = file.source?.follow === true ? await this.#followed(run, file, file.source.url, pages) : undefined;
    if (failure !== undefined) return failure;
    const room = roomOf(bytes);
    if (room > run.reservedBytes) {
      const message = `worker ${this.#options.name}: ${room} bytes are wanted, and ${run.reservedBytes} are reserved`;
      return { error: new PrimedError('STORE_NO_ROOM', message) };
    }
    run.reservedBytes -= room;
    await this.#takeSlot();
    run.partsInFlight += 1;
    try {
      const end =
        file.source === undefined
          ? await this.#fromOrigin(run, file, pages, bytes)
          : await this.#fromPeer(run, file, file.source.url, pages, bytes);
      if (end !== 'landed') {
        run.reservedBytes += room;
        return end;
      }
      return await this.#land(run, file, begun, pages, bytes, room);
    } finally {
      run.partsInFlight -= 1;
      const next = this.#waiting.shift();
      if (next === undefined) this.#freeSlots += 1;
      else next();
    }
  }

  #takeSlot(): Promise<void> | undefined {
    if (this.#freeSlots === 0) return new Promise((resolve) => this.#waiting.push(resolve));
    this.#freeSlots -= 1;
    return undefined;
  }

  async #land(
    run: Run,
    file: FileTask,
    begun: ModelLoading,
    pages: readonly number[],
    bytes: number,
    room: number,
  ): Promise<PartEnd> {
    const ledger = this.store.model.ledger(run.spec.run);
    ledger[file.source === undefined ? 'originBytes' : 'peerBytes'] += bytes;
    const dropped = this.store.model.loading.get(file.entry.path) !== begun;
    if (run.stopping || dropped) {
      ledger.discardedBytes[run.stopping ? 'stopped' : 'replaced'] += bytes;
      run.reservedBytes += room;
      return 'dropped';
    }
    await this.#commit();
    const stillThere = this.store.model.loading.get(file.entry.path) === begun;
    this.store.land(run.spec.run, begun, pages[0]!, pages.length);
    if (!stillThere) {
      run.reservedBytes += room;
      return 'dropped';
    }
    file.loadedBytes += bytes;
    return 'landed';
  }

  async #fromOrigin(run: Run, file: FileTask, pages: readonly number[], bytes: number): Promise<PartEnd> {
    const { bucket } = this.#options;
    const { entry } = file;
    const range = { offset: pages[0]! * pageBytes, length: bytes };
    for (let attempt = 1; ; attempt += 1) {
      if (run.stopping) return 'dropped';
      if (run.lost !== undefined) return { error: run.lost };
      await this.#pause(run, bucket.latencyMs());
      // Stopped while it was asked for: the request was cancelled.
      if (run.stopping) return 'dropped';
      this.#options.onFetch(run.spec, entry, range);
      const answer = bucket.get(run.spec.run, entry, range.offset, range.length);
      if (answer.result === 'bytes') {
        run.silence = noSilence;
        run.budget.succeeded += 1;
        return 'landed';
      }
      const { cause } = answer;
      if (isSilent(cause)) await this.#pause(run, file.hasty ? hastySilentMs : silentMs);
      if (cause === 'changed') return 'changed';
      if (file.hasty && setsAside(cause, run.silence)) {
        run.silence = silenceAfter(run.silence, { cause });
        return 'later';
      }
      const decision = decideRetry({ cause, attempt }, retry, run.budget, this.#world.random);
      run.silence = silenceAfter(run.silence, { cause, givenUp: !decision.retry });
      if (!decision.retry) {
        const failure = { cause, message: `the origin answered ${cause}` };
        const error = partError(entry.path, range, failure, attempt, decision.why);
        if (isLost(run.silence)) {
          run.lost ??= lostError('s3://b', 16, error);
          return { error: run.lost };
        }
        return { error };
      }
      run.retries += 1;
      await this.#pause(run, decision.delayMs);
    }
  }

  async #fromPeer(run: Run, file: FileTask, url: string, pages: readonly number[], bytes: number): Promise<PartEnd> {
    const range = { offset: pages[0]! * pageBytes, length: bytes };
    for (let attempt = 1; ; attempt += 1) {
      if (run.stopping) return 'dropped';
      const given = await this.#peerGives(run, url, file.entry, range);
      if (run.stopping) return 'dropped';
      if (given === 'bytes') return 'landed';
      if (attempt === 2) {
        const failure = { cause: given, message: `${given} of ${url}` };
        return { error: peerError(file.entry.path, { url, range, failure, attempts: attempt }) };
      }
      await this.#pause(run, this.#world.between(50, 200));
    }
  }

  /** Undefined: the other worker has these pages durable. */
  async #followed(run: Run, file: FileTask, url: string, pages: readonly number[]): Promise<PartEnd | undefined> {
    const { entry, range: segment } = file;
    const range = { offset: pages[0]! * pageBytes, length: bytesOfPages(entry, pages) };
    for (let looks = 0; ; looks += 1) {
      if (run.stopping) return 'dropped';
      const given = await this.#peerGives(run, url, entry, range);
      if (run.stopping) return 'dropped';
      if (given === 'bytes') return undefined;
      const loads =
        given === 'missing' &&
        (await Promise.race([
          this.#options.askPeer(url, (worker) => worker.isLoading(entry, segment)).catch(() => false),
          this.#pause(run, 1500).then(() => false),
        ]));
      if (!loads && (given !== 'missing' || looks > 10)) {
        const failure = { cause: given, message: `${given} of ${url}` };
        return { error: peerError(entry.path, { url, range, failure, attempts: looks }) };
      }
      await this.#pause(run, this.#world.between(20, 100) * Math.min(looks + 1, 10));
    }
  }

  isLoading({ path }: ManifestEntry, range: ByteRange | undefined): boolean {
    const offset = range?.offset ?? 0;
    for (const { files } of this.runs.values())
      for (const file of files) if (file.entry.path === path && (file.range?.offset ?? 0) === offset) return true;
    return false;
  }

  async #peerGives(run: Run, url: string, entry: ManifestEntry, range: ByteRange): Promise<'bytes' | FailureCause> {
    const late = this.#pause(run, 1500).then((): FailureCause => 'first-byte-timeout');
    const given = this.#options
      .askPeer(url, ({ store }) => store.has(entry, range))
      .then(
        (has): 'bytes' | FailureCause => (has ? 'bytes' : 'missing'),
        (): FailureCause => 'connect',
      );
    return Promise.race([given, late]);
  }

  // --- the rest

  /** What of it is not visible is freed, and may be used again by the run that was at work on it. */
  #giveUp(file: ModelLoading, reason: DiscardReason): void {
    const { path } = file.entry;
    const usedBytes = this.store.usedBytes;
    this.store.abandon(path, reason);
    const freedBytes = usedBytes - this.store.usedBytes;
    for (const run of this.runs.values()) {
      if (run.used.get(path) !== file) continue;
      run.reservedBytes += freedBytes;
      return;
    }
  }

  #inUse(file: ModelLoading, but?: Run): boolean {
    for (const run of this.runs.values()) {
      if (run === but) continue;
      if (run.used.get(file.entry.path) === file) return true;
    }
    return false;
  }

  #run(id: RunId): Run {
    const run = this.runs.get(id);
    assert(run !== undefined, `run ${id} was not started, or has ended`);
    return run;
  }

  #commit(): Promise<void> {
    return this.#wait(this.#world.between(0.5, 5));
  }

  /** Ends early when the run is stopped: what is in flight is dropped. */
  #pause({ stopping, pauses }: Run, delayMs: number): Promise<void> {
    if (stopping) return Promise.resolve();
    return new Promise((resolve) => {
      const over = (): void => {
        pauses.delete(over);
        this.#world.cancel(event);
        resolve();
      };
      const event = this.#world.after(delayMs, this.#options.process, over, 'timer');
      pauses.add(over);
    });
  }

  #wait(delayMs: number): Promise<void> {
    return new Promise((resolve) => this.#world.after(delayMs, this.#options.process, resolve, 'timer'));
  }
}

function outcomeOf({ path }: ManifestEntry, result: FileOutcome['result']): FileOutcome {
  return { path, result, loadedBytes: 0, skippedBytes: 0 };
}

/** Neighbours together, so many at a time. */
function partsOf(pages: readonly number[]): number[][] {
  const parts: number[][] = [];
  for (const page of pages) {
    const last = parts.at(-1);
    if (last !== undefined && last.length < partPages && last.at(-1) === page - 1) last.push(page);
    else parts.push([page]);
  }
  return parts;
}
