/**
 * A worker of a world: what the real one promises to its coordinator, over a store that is a model. It fetches pages by
 * parts (file-loads, part-sources); bytes that left the origin are either landed or booked as discarded, as soon as what
 * becomes of them is known.
 */
import assert from 'node:assert/strict';
import { setMaxListeners } from 'node:events';
import { PrimedError, reportOf } from '../../src/core/errors.ts';
import type { OriginDemand } from '../../src/core/origin-limits.ts';
import { covers } from '../../src/core/path-scope.ts';
import { noSilence } from '../../src/core/silence.ts';
import {
  type ByteRange,
  type DiscardReason,
  type ManifestEntry,
  type RunId,
  sameVersion,
} from '../../src/core/types.ts';
import { pageBytes } from '../../src/core/units.ts';
import type {
  CachedBytes,
  FileOutcome,
  LoadHow,
  MissingParts,
  RunProgress,
  RunSpec,
  VerifyOutcome,
  Worker,
  WorkerFree,
  WorkerRoom,
} from '../../src/ingest/types.ts';
import type { Freed, RunOfLoad } from '../../src/store/types.ts';
import type { ModelLoading } from '../support/store-model.ts';
import { FileLoads, partPages } from './file-loads.ts';
import type { Bucket, SimOrigins } from './origin.ts';
import { roomOf, type SimStore } from './store.ts';
import { outcomeOf, type Run, Waits } from './worker-run.ts';
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

export class SimWorker implements Worker {
  readonly #options: SimWorkerOptions;
  readonly #world: World = here();
  readonly runs = new Map<RunId, Run>();
  readonly #turns = new Map<string, Promise<unknown>>();
  readonly #waits: Waits;
  readonly #files: FileLoads;
  #closing = false;

  constructor(options: SimWorkerOptions) {
    this.#options = options;
    this.#waits = new Waits(options.process);
    this.#files = new FileLoads({
      ...options,
      ...{ waits: this.#waits, runs: this.runs, reserve: (run, bytes) => this.reserve(run, bytes) },
    });
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
    await this.#waits.commit();
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
      if (how.range !== undefined) return await this.#files.load(run, entry, how);
      const earlier = this.#turns.get(entry.path);
      const outcome = (earlier ?? Promise.resolve()).then(() => this.#files.load(run, entry, how));
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
    await this.#waits.commit();
    for (const entry of entries) this.store.model.putMetadata(entry, load);
  }

  async verify(runId: RunId, entry: ManifestEntry, ranges?: readonly ByteRange[]): Promise<VerifyOutcome> {
    const run = this.#run(runId);
    await this.#waits.wait(this.#world.between(1, 30));
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
    await this.#waits.commit();
    const file = this.store.model.loading.get(path);
    if (file !== undefined && sameVersion(file.entry, version)) this.store.model.show(path);
  }

  async abandon(version: ManifestEntry, reason: DiscardReason): Promise<void> {
    this.#options.onCall('abandon', undefined);
    await this.#waits.commit();
    const file = this.store.model.loading.get(version.path);
    if (file !== undefined && sameVersion(file.entry, version)) this.#files.giveUp(file, reason);
  }

  async stateChecksums(): Promise<void> {
    // What readers are told beside the bytes is no part of the model.
    this.#options.onCall('stateChecksums', undefined);
  }

  async discard({ path, ...version }: ManifestEntry): Promise<void> {
    this.#options.onCall('discard', undefined);
    await this.#waits.commit();
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
    await this.#waits.commit();
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
    await this.#waits.wait(this.#world.between(1, 150));
    for (const file of [...run.files]) {
      const { loadedBytes, skippedBytes } = file;
      this.#files.finish(run, file, { ...outcomeOf(file.entry, 'stopped'), loadedBytes, skippedBytes });
    }
    await this.#waits.commit();
  }

  async endRun(runId: RunId): Promise<void> {
    this.#options.onCall('endRun', runId);
    const run = this.runs.get(runId);
    if (run === undefined) return;
    if (run.files.size > 0) await this.stopRun(runId);
    while (run.partsInFlight > 0) await this.#waits.wait(1);
    if (!run.stopping && run.lost === undefined) {
      for (const [path, file] of this.store.model.loading) {
        const isIts = run.used.get(path) === file || file.load === run.spec.load;
        if (isIts && !this.#inUse(file, run)) this.#files.giveUp(file, 'failed');
      }
    }
    this.runs.delete(runId);
    await this.#waits.commit();
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

  isLoading({ path }: ManifestEntry, range: ByteRange | undefined): boolean {
    const offset = range?.offset ?? 0;
    for (const { files } of this.runs.values())
      for (const file of files) if (file.entry.path === path && (file.range?.offset ?? 0) === offset) return true;
    return false;
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
}
