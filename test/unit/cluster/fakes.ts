/** In-memory doubles of the two rooms that jobs are made of: an origin, and a worker whose disk outlives it. */

import { PrimedError } from '../../../src/core/errors.ts';
import type { OriginDemand } from '../../../src/core/origin-limits.ts';
import { covers } from '../../../src/core/path-scope.ts';
import {
  emptyLedger,
  type Ledger,
  type LoadId,
  type Log,
  type ManifestEntry,
  type RunId,
  type UfsPath,
} from '../../../src/core/types.ts';
import { alignUp, defaultPartBytes } from '../../../src/core/units.ts';
import type {
  CachedBytes,
  FileOutcome,
  MissingParts,
  PlannedLoad,
  RoomOrder,
  RunProgress,
  RunSpec,
  VerifyOutcome,
  Worker,
  WorkerRoom,
} from '../../../src/ingest/types.ts';
import type { ListingPage, ObjectDetails, Origins } from '../../../src/origin/types.ts';
import type { Freed, FreeOrder, RunOfLoad } from '../../../src/store/types.ts';

export const silent: Log = { debug() {}, info() {}, warn() {}, error() {} };

export function entryOf(path: string, sizeBytes: number, etag = 'v1'): ManifestEntry {
  return { path: path as UfsPath, etag, sizeBytes, lastModifiedMs: 1_700_000_000_000 };
}

export class FakeOrigins implements Origins {
  readonly objects = new Map<string, ManifestEntry>();
  /** Texts of index files. */
  readonly texts = new Map<string, string>();
  /** Called before each request; may throw or wait. */
  before: (request: 'list' | 'head' | 'read', path: string) => void | Promise<void> = () => undefined;
  readonly asked = { list: 0, head: 0, read: 0 };

  put(path: string, sizeBytes: number, etag = 'v1'): void {
    this.objects.set(path, entryOf(path, sizeBytes, etag));
  }

  resolve(path: string): { path: UfsPath; originIndex: number; key: string } {
    const match = /^s3:\/\/([a-z0-9-]+)(?:\/(.*))?$/s.exec(path);
    if (match === null) throw new PrimedError('PATH_INVALID', `'${path}' is not a UFS path`);
    return { path: `s3://${match[1]}/${match[2] ?? ''}` as UfsPath, originIndex: 0, key: match[2] ?? '' };
  }

  async list(
    prefix: UfsPath,
    options: { after?: string; signal?: AbortSignal; maxKeys?: number },
  ): Promise<ListingPage> {
    await this.#ask('list', prefix, options.signal);
    const keys = [...this.objects.keys()].filter(
      (key) => key.startsWith(prefix) && `token:${key}` > (options.after ?? ''),
    );
    keys.sort();
    const page = keys.slice(0, options.maxKeys ?? 1000);
    const entries = page.filter((key) => !key.endsWith('/')).map((key) => this.objects.get(key)!);
    return { entries, scanned: page.length, ...(page.length < keys.length ? { next: `token:${page.at(-1)}` } : {}) };
  }

  async head(path: UfsPath, signal?: AbortSignal): Promise<ObjectDetails> {
    await this.#ask('head', path, signal);
    const entry = this.objects.get(path);
    if (entry === undefined) throw new PrimedError('ORIGIN_NOT_FOUND', `${path}: 404 NoSuchKey`);
    return { ...entry, checksums: {} };
  }

  async *read(path: UfsPath, signal?: AbortSignal): AsyncIterable<Uint8Array> {
    await this.#ask('read', path, signal);
    const text = this.texts.get(path);
    if (text === undefined) throw new PrimedError('ORIGIN_NOT_FOUND', `${path}: 404 NoSuchKey`);
    // Small pieces, so that lines are cut anywhere.
    const bytes = Buffer.from(text, 'latin1');
    for (let at = 0; at < bytes.length; at += 7) yield bytes.subarray(at, at + 7);
  }

  async #ask(request: keyof FakeOrigins['asked'], path: string, signal: AbortSignal | undefined): Promise<void> {
    this.asked[request] += 1;
    await this.before(request, path);
    signal?.throwIfAborted();
  }

  laneOrigin(): never {
    throw new Error('not part of this test');
  }
  credentials(): never {
    throw new Error('not part of this test');
  }
  async close(): Promise<void> {}
}

interface Cached {
  entry: ManifestEntry;
  load: LoadId;
  bytes: number;
  complete: boolean;
  bad: number;
  /** Bytes by the run that fetched them. */
  by: ReadonlyMap<RunId, number>;
}

const emptyHere: CachedBytes = { complete: false, bytes: 0, ours: false, own: false, ownBytes: 0 };

/** What survives a restart of the worker. */
export class FakeDisk {
  readonly files = new Map<string, Cached>();
  readonly metadata = new Map<string, ManifestEntry>();
  readonly ledgers = new Map<RunId, Ledger>();
  capacityBytes = Number.MAX_SAFE_INTEGER;
  /** Bytes fetched of each path, ever. */
  readonly fetched = new Map<string, number>();

  ledger(run: RunId): Ledger {
    const ledger = this.ledgers.get(run) ?? emptyLedger();
    this.ledgers.set(run, ledger);
    return ledger;
  }
}

interface Pending {
  readonly run: RunId;
  readonly entry: ManifestEntry;
  readonly resolve: (outcome: FileOutcome) => void;
}

export class FakeWorker implements Worker {
  readonly disk: FakeDisk;
  readonly specs = new Map<RunId, RunSpec>();
  readonly reservations: { run: RunId; bytes: number }[] = [];
  /** What is left of the reservation of a run: files draw from it. */
  readonly left = new Map<RunId, number>();
  readonly stopped = new Set<RunId>();
  readonly verified: string[] = [];
  /** While false, loads stay pending until `release`. */
  flowing = true;
  readonly pending: Pending[] = [];
  mostPending = 0;
  loads = 0;
  /** The reason that a load of this path fails for. */
  readonly failing = new Map<string, string>();
  /** Paths that change under the load: the version that is loaded in the end. */
  readonly changing = new Map<string, ManifestEntry>();
  /** Paths whose cached bytes are bad: so many loads leave them bad. */
  readonly badLoads = new Map<string, number>();
  retries = 0;
  onLoad: (entry: ManifestEntry) => void = () => undefined;
  /** Called before each page of a free. */
  onFree: (dryRun: boolean) => void | Promise<void> = () => undefined;

  constructor(disk = new FakeDisk()) {
    this.disk = disk;
  }

  /** As they were set while runs were under way. */
  readonly bandwidths: (number | undefined)[] = [];

  startRun(spec: RunSpec): void {
    if (!this.specs.has(spec.run)) this.specs.set(spec.run, spec);
  }

  reserve(run: RunId, bytes: number): void {
    this.#spec(run);
    const used = [...this.disk.files.values()].reduce((sum, file) => sum + alignUp(file.bytes), 0);
    const freeBytes = this.disk.capacityBytes - used;
    if (bytes > freeBytes) {
      throw new PrimedError('STORE_NO_ROOM', `The load needs ${bytes} bytes, and ${freeBytes} are free.`, {
        neededBytes: bytes,
        freeBytes,
      });
    }
    this.reservations.push({ run, bytes });
    this.left.set(run, bytes);
  }

  async reserveMore(run: RunId, bytes: number): Promise<void> {
    this.reserve(run, (this.left.get(run) ?? 0) + bytes);
  }

  async makeRoom(run: RunId, entries: readonly ManifestEntry[]): Promise<void> {
    const { load, reuse } = this.#spec(run);
    for (const entry of entries) {
      const there = this.disk.files.get(entry.path);
      if (there === undefined || there.complete) continue;
      if (!same(there.entry, entry) || (reuse === 'load' && there.load !== load)) this.disk.files.delete(entry.path);
    }
  }

  footprintBytes(sizeBytes: number): number {
    return alignUp(sizeBytes);
  }

  load(run: RunId, entry: ManifestEntry): Promise<FileOutcome> {
    this.loads += 1;
    this.onLoad(entry);
    const spec = this.#spec(run);
    if (this.stopped.has(run)) return Promise.resolve(nothing(entry, 'stopped'));
    const there = this.disk.files.get(entry.path);
    const reusable =
      there !== undefined && same(there.entry, entry) && (spec.reuse === 'any' || there.load === spec.load);
    if (reusable && there.complete) return Promise.resolve(durable(run, there));
    return new Promise((resolve) => {
      this.pending.push({ run, entry, resolve });
      this.mostPending = Math.max(this.mostPending, this.pending.length);
      if (this.flowing) setImmediate(() => this.release());
    });
  }

  /** Ends the oldest pending loads, as many as given. */
  release(count = 1): void {
    for (const pending of this.pending.splice(0, count)) pending.resolve(this.#fetch(pending));
  }

  /** Makes the first bytes of a pending load durable, as a crash would find it. */
  landPart(path: string, bytes: number): void {
    const pending = this.pending.find(({ entry }) => entry.path === path)!;
    const { load } = this.#spec(pending.run);
    this.disk.files.set(path, {
      entry: pending.entry,
      load,
      bytes,
      complete: false,
      bad: 0,
      by: new Map([[pending.run, bytes]]),
    });
    this.#book(pending.run, path, bytes);
  }

  #fetch({ run, entry }: Pending): FileOutcome {
    const why = this.failing.get(entry.path);
    if (why !== undefined) return { ...nothing(entry, 'failed'), error: { code: 'ORIGIN_SERVER_ERROR', message: why } };
    const spec = this.#spec(run);
    const version = this.changing.get(entry.path) ?? entry;
    const there = this.disk.files.get(entry.path);
    const reusable =
      there !== undefined && same(there.entry, version) && (spec.reuse === 'any' || there.load === spec.load);
    const partly = reusable ? there.bytes : 0;
    const by = new Map(reusable ? there.by : []);
    by.set(run, (by.get(run) ?? 0) + version.sizeBytes - partly);
    const badLoads = this.badLoads.get(entry.path) ?? 0;
    this.badLoads.set(entry.path, badLoads - 1);
    const cached = {
      entry: version,
      load: spec.load,
      bytes: version.sizeBytes,
      complete: true,
      bad: badLoads > 0 ? 1 : 0,
      by,
    };
    this.disk.files.set(entry.path, cached);
    this.#book(run, entry.path, version.sizeBytes - partly);
    return durable(run, cached);
  }

  #book(run: RunId, path: string, bytes: number): void {
    const ledger = this.disk.ledger(run);
    ledger.originBytes += bytes;
    ledger.cachedBytes += bytes;
    this.left.set(run, Math.max(0, (this.left.get(run) ?? 0) - alignUp(bytes)));
    this.disk.fetched.set(path, (this.disk.fetched.get(path) ?? 0) + bytes);
  }

  async loadMetadata(run: RunId, entries: readonly ManifestEntry[]): Promise<void> {
    this.#spec(run);
    for (const entry of entries) this.disk.metadata.set(entry.path, entry);
  }

  async verify(run: RunId, entry: ManifestEntry): Promise<VerifyOutcome> {
    this.#spec(run);
    this.verified.push(entry.path);
    const file = this.disk.files.get(entry.path);
    const ok = file?.complete === true && same(file.entry, entry) && file.bad === 0;
    const badPages = file?.bad ?? 0;
    return { path: entry.path, ok, checkedBytes: entry.sizeBytes, badPages, wholeObject: 'unavailable' };
  }

  cached({ run, load }: RunOfLoad, entry: ManifestEntry): CachedBytes {
    const file = this.disk.files.get(entry.path);
    if (file === undefined || !same(file.entry, entry)) return emptyHere;
    const { complete, bytes, by } = file;
    const ownBytes = by.get(run) ?? 0;
    return { complete, bytes, ours: file.load === load, own: by.has(run), ownBytes };
  }

  missing({ load, reuse }: PlannedLoad, entry: ManifestEntry): MissingParts {
    const file = this.disk.files.get(entry.path);
    const has = file !== undefined && same(file.entry, entry) && (reuse === 'any' || file.load === load);
    const bytes = entry.sizeBytes - (has ? file.bytes : 0);
    return { bytes, parts: bytes > 0 ? 1 : 0, heads: 0 };
  }

  async room({ bytes }: RoomOrder): Promise<WorkerRoom> {
    const used = [...this.disk.files.values()].reduce((sum, file) => sum + alignUp(file.bytes), 0);
    const { capacityBytes } = this.disk;
    const freeBytes = capacityBytes - used;
    const evicted = { files: 0, bytes: 0, paths: [], counted: true };
    return { partBytes: defaultPartBytes, capacityBytes, freeBytes, fits: bytes <= freeBytes, evicted };
  }

  async publish(): Promise<void> {
    throw new Error('this worker is given whole files only');
  }

  async abandon(): Promise<void> {
    throw new Error('this worker is given whole files only');
  }

  /** Two files a page. */
  async free({ path, after = '' as UfsPath, dryRun = false }: FreeOrder): Promise<Freed> {
    await this.onFree(dryRun);
    const all = [...this.disk.files.keys()].filter((name) => covers(path, name)).sort();
    const left = all.filter((name) => name > after);
    const page = left.slice(0, 2);
    let bytes = 0;
    for (const name of page) {
      bytes += this.disk.files.get(name)!.bytes;
      if (!dryRun) this.disk.files.delete(name);
    }
    return { files: page.length, bytes, ...(left.length > 2 ? { next: page.at(-1)! as UfsPath } : {}) };
  }

  async stateChecksums(): Promise<void> {
    throw new Error('this worker has whole files only');
  }

  async discard(): Promise<void> {
    throw new Error('nobody copies from this worker');
  }

  setOriginLimits(): void {}

  async setPins(): Promise<void> {}

  originDemand(): readonly OriginDemand[] {
    return [];
  }

  onOriginDemand(): () => void {
    return () => undefined;
  }

  setBandwidth(run: RunId, bytesPerSecond: number | undefined): void {
    this.#spec(run);
    this.bandwidths.push(bytesPerSecond);
  }

  async stopRun(run: RunId): Promise<void> {
    this.stopped.add(run);
    for (const one of this.pending.filter((pending) => pending.run === run)) {
      this.pending.splice(this.pending.indexOf(one), 1);
      one.resolve(nothing(one.entry, 'stopped'));
    }
  }

  async endRun(run: RunId): Promise<void> {
    if (this.pending.some((pending) => pending.run === run)) throw new Error('a run ended with loads under way');
    this.specs.delete(run);
    this.stopped.delete(run);
  }

  progress(run: RunId): RunProgress {
    const ledger = structuredClone(this.disk.ledger(run));
    const retries = this.specs.has(run) ? this.retries : 0;
    return {
      receivedBytes: ledger.originBytes,
      durableBytes: ledger.cachedBytes,
      retries,
      partsInFlight: this.pending.length,
      evictedBytes: 0,
      ledger,
    };
  }

  async close(): Promise<void> {
    for (const run of this.specs.keys()) await this.stopRun(run);
  }

  #spec(run: RunId): RunSpec {
    const spec = this.specs.get(run);
    if (spec === undefined) throw new Error(`run ${run} was not started, or has ended`);
    return spec;
  }
}

function durable(run: RunId, { entry, by }: Cached): FileOutcome {
  const loadedBytes = by.get(run) ?? 0;
  const result = by.has(run) ? 'loaded' : 'skipped';
  return { path: entry.path, result, loadedBytes, skippedBytes: entry.sizeBytes - loadedBytes, version: entry };
}

function nothing(entry: ManifestEntry, result: FileOutcome['result']): FileOutcome {
  return { path: entry.path, result, loadedBytes: 0, skippedBytes: 0 };
}

function same(a: ManifestEntry, b: ManifestEntry): boolean {
  return a.etag === b.etag && a.sizeBytes === b.sizeBytes;
}
