/** Workers in memory, by segment: their disks outlive them, and the test ends them, slows them and brings them back. */
import type { Member, Members } from '../../../src/cluster/members.ts';
import {
  type BegunLoad,
  type CachedSegment,
  type PeerSource,
  type SegmentHow,
  type SegmentOutcome,
  type WorkerId,
  type WorkerLink,
  workerLost,
} from '../../../src/cluster/worker-link.ts';
import type { Checksums } from '../../../src/core/attributes.ts';
import { type ErrorCode, PrimedError } from '../../../src/core/errors.ts';
import type { OriginDemand, OriginLimit } from '../../../src/core/origin-limits.ts';
import { covers } from '../../../src/core/path-scope.ts';
import type { PeerList } from '../../../src/core/peers.ts';
import type { PinList } from '../../../src/core/retention.ts';
import type { Segment } from '../../../src/core/segments.ts';
import {
  emptyLedger,
  type Ledger,
  type LoadId,
  type ManifestEntry,
  type RunId,
  type UfsPath,
} from '../../../src/core/types.ts';
import { alignUp, defaultPartBytes } from '../../../src/core/units.ts';
import type {
  MissingParts,
  PlannedLoad,
  RoomOrder,
  RunProgress,
  RunSpec,
  VerifyOutcome,
  WorkerRoom,
} from '../../../src/ingest/types.ts';
import type { Freed, FreeOrder, RunOfLoad } from '../../../src/store/types.ts';

/** What the origin has, and what it was asked for. */
export class FakeSource {
  readonly versions = new Map<string, string>();
  /** Bytes that left the origin, by `path offset`. */
  readonly sent = new Map<string, number>();

  etag(path: string): string {
    return this.versions.get(path) ?? 'v1';
  }

  fetch({ file, offset, length }: Segment): boolean {
    if (this.etag(file.path) !== file.etag) return false;
    const key = `${file.path} ${offset}`;
    this.sent.set(key, (this.sent.get(key) ?? 0) + length);
    return true;
  }

  get sentBytes(): number {
    return [...this.sent.values()].reduce((sum, bytes) => sum + bytes, 0);
  }
}

interface Held {
  readonly etag: string;
  readonly length: number;
  readonly load: LoadId;
  readonly run: RunId;
  visible: boolean;
}

export class FakeDisk {
  readonly segments = new Map<string, Held>();
  readonly ledgers = new Map<RunId, Ledger>();
  capacityBytes = Number.MAX_SAFE_INTEGER;

  usedBytes(): number {
    return [...this.segments.values()].reduce((sum, { length }) => sum + alignUp(length), 0);
  }
}

const keyOf = ({ file, offset }: Segment): string => `${file.path} ${offset}`;

export class FakeLink implements WorkerLink {
  /** What it was told of limits, and what it says that it wants. */
  limits: readonly OriginLimit[] = [];
  demand: readonly OriginDemand[] = [];
  readonly #listeners = new Set<() => void>();
  readonly id: WorkerId;
  readonly disk: FakeDisk;
  readonly #source: FakeSource;
  readonly #cluster: FakeCluster;
  readonly runs = new Map<RunId, RunSpec>();
  readonly reserved = new Map<RunId, number>();
  #lost = false;
  readonly #pending = new Set<(error: PrimedError) => void>();
  /** What a load waits for before it does anything. */
  delay: (segment: Segment) => Promise<void> = () => Promise.resolve();
  /** Code of the error that loads here end with. */
  failing: ErrorCode | undefined;
  /** What it says that it has kept of a copy that failed, or of what lacks room. */
  keptBytes = 0;
  /** Segments that it sets aside, when they are asked for in haste. */
  setsAside: (segment: Segment) => Promise<boolean> = async () => false;
  loads = 0;
  /** Of those, the ones without a promise. */
  begun = 0;
  /** Lists of workers that it was told. */
  readonly heard: PeerList[] = [];
  readonly pinned: PinList[] = [];
  /** Called before each page of a free. */
  onFree: (dryRun: boolean) => void | Promise<void> = () => undefined;
  /** Loads that were to copy, with where from. */
  /** Segments that it was to fetch while others follow. */
  readonly followed: Segment[] = [];
  readonly copies: { readonly segment: Segment; readonly source: PeerSource }[] = [];
  /** Segments under way, by key. */
  readonly underWay = new Set<string>();
  /** What its disk has of these paths is bad. */
  readonly bad = new Set<string>();
  discarded = 0;
  /** Whole-object checksums that it was told, by path. */
  readonly stated = new Map<string, Checksums>();

  constructor(id: WorkerId, disk: FakeDisk, source: FakeSource, cluster: FakeCluster) {
    this.id = id;
    this.disk = disk;
    this.#source = source;
    this.#cluster = cluster;
  }

  /** Calls that are pending, and all later ones, reject; what they had done is done. */
  lose(): void {
    this.#lost = true;
    for (const reject of this.#pending) reject(this.#gone());
    this.#pending.clear();
  }

  startRun(spec: RunSpec): Promise<void> {
    return this.#call(async () => void this.runs.set(spec.run, spec));
  }

  reserveMore(run: RunId, bytes: number): Promise<void> {
    return this.#call(async () => {
      const others = [...this.reserved.values()].reduce((sum, some) => sum + some, 0);
      const freeBytes = this.disk.capacityBytes - this.disk.usedBytes() - others;
      if (bytes > freeBytes) {
        throw new PrimedError('STORE_NO_ROOM', `worker ${this.id} needs ${bytes} bytes, and ${freeBytes} are free`);
      }
      this.reserved.set(run, (this.reserved.get(run) ?? 0) + bytes);
    });
  }

  missing(planned: PlannedLoad, segments: readonly Segment[]): Promise<MissingParts[]> {
    return this.#call(async () =>
      segments.map((segment) => {
        const held = this.disk.segments.get(keyOf(segment));
        const has =
          held?.etag === segment.file.etag &&
          held.length === segment.length &&
          (planned.reuse === 'any' || held.load === planned.load);
        return { bytes: has ? 0 : segment.length, parts: has || segment.length === 0 ? 0 : 1, heads: 0 };
      }),
    );
  }

  room({ bytes }: RoomOrder): Promise<WorkerRoom> {
    return this.#call(async () => {
      const { capacityBytes } = this.disk;
      const freeBytes = capacityBytes - this.disk.usedBytes();
      const evicted = { files: 0, bytes: 0, paths: [], counted: true };
      return { partBytes: defaultPartBytes, capacityBytes, freeBytes, fits: bytes <= freeBytes, evicted };
    });
  }

  makeRoom(): Promise<void> {
    return this.#call(async () => undefined);
  }

  cached({ run, load }: RunOfLoad, segments: readonly Segment[]): Promise<readonly CachedSegment[]> {
    return this.#call(async () =>
      segments.map((segment) => {
        const held = this.disk.segments.get(keyOf(segment));
        if (held === undefined || held.etag !== segment.file.etag || held.length !== segment.length)
          return { complete: false, bytes: 0, ours: false, own: false, ownBytes: 0 };
        const { length, run: by } = held;
        const own = by === run;
        return { complete: true, bytes: length, ours: held.load === load, own, ownBytes: own ? length : 0 };
      }),
    );
  }

  load(run: RunId, segment: Segment, { hasty, source, followed }: SegmentHow): Promise<SegmentOutcome> {
    return this.#call(async () => {
      this.loads += 1;
      if (followed) this.followed.push(segment);
      if (source !== undefined) this.copies.push({ segment, source });
      this.underWay.add(keyOf(segment));
      try {
        if (hasty && (await this.setsAside(segment))) return nothing('later');
        return await this.#load(run, segment, source);
      } finally {
        this.underWay.delete(keyOf(segment));
      }
    });
  }

  begin(run: RunId, load: BegunLoad): void {
    this.begun += 1;
    const ended = (end: SegmentOutcome | PrimedError): void => load.ended(end);
    void this.load(run, load.segment, load.how).then(ended, ended);
  }

  async #load(run: RunId, segment: Segment, source: PeerSource | undefined): Promise<SegmentOutcome> {
    await this.delay(segment);
    // A dead worker does no more.
    if (this.#lost) await new Promise(() => undefined);
    const spec = this.runs.get(run);
    if (spec === undefined) throw new Error(`run ${run} was not started at ${this.id}`);
    const ofOrigin = this.failing?.startsWith('ORIGIN_') === true;
    if (this.failing !== undefined && !(ofOrigin && source !== undefined))
      return { ...nothing('failed'), error: { code: this.failing, message: `${this.id} fails` } };
    const held = this.disk.segments.get(keyOf(segment));
    const { length, file } = segment;
    if (held?.etag === file.etag && held.length === length && (spec.reuse === 'any' || held.load === spec.load))
      return held.run === run
        ? { ...nothing('loaded'), loadedBytes: length }
        : { ...nothing('skipped'), skippedBytes: length };
    const left = (this.reserved.get(run) ?? 0) - alignUp(length);
    if (left < 0) {
      const error = { code: 'STORE_NO_ROOM', message: `${this.id} is full` } as const;
      return { ...nothing('failed'), loadedBytes: this.keptBytes, error };
    }
    const ledger = this.#ledger(run);
    if (source === undefined) {
      if (!this.#source.fetch(segment)) return nothing('changed');
      ledger.originBytes += length;
      ledger.cachedBytes += length;
    } else {
      if (source.follow === true) await this.#cluster.followed(source.worker, segment);
      if (!this.#cluster.has(source.worker, segment)) {
        const error = { code: 'PEER_FAILED', message: `${source.worker} does not have it` } as const;
        return { ...nothing('failed'), loadedBytes: this.keptBytes, error };
      }
      if (this.#cluster.link(source.worker).bad.has(file.path))
        return { ...nothing('failed'), error: { code: 'PEER_CORRUPT', message: `${source.worker} has a bad page` } };
      ledger.peerBytes += length;
      ledger.cachedBytes += length;
    }
    this.reserved.set(run, left);
    // The whole of a file is visible at once, segments of one when they are published.
    const visible = length === file.sizeBytes;
    this.disk.segments.set(keyOf(segment), { etag: file.etag, length, load: spec.load, run, visible });
    return { result: 'loaded', loadedBytes: length, skippedBytes: 0 };
  }

  discard(_run: RunId, file: ManifestEntry): Promise<void> {
    return this.#call(async () => {
      this.discarded += 1;
      this.bad.delete(file.path);
      for (const key of this.disk.segments.keys()) if (key.startsWith(`${file.path} `)) this.disk.segments.delete(key);
    });
  }

  stateChecksums(_run: RunId, file: ManifestEntry, checksums: Checksums): Promise<void> {
    return this.#call(async () => {
      this.stated.set(file.path, checksums);
    });
  }

  publish(_run: RunId, file: ManifestEntry): Promise<void> {
    return this.#call(async () => {
      for (const [key, held] of this.disk.segments) {
        if (!key.startsWith(`${file.path} `)) continue;
        if (held.etag === file.etag) held.visible = true;
        else this.disk.segments.delete(key);
      }
    });
  }

  abandon(run: RunId, file: ManifestEntry): Promise<void> {
    return this.#call(async () => {
      for (const [key, held] of this.disk.segments) {
        if (!key.startsWith(`${file.path} `) || held.etag !== file.etag || held.visible) continue;
        this.disk.segments.delete(key);
        this.#ledger(run).cachedBytes -= held.length;
        this.#ledger(run).discardedBytes.changed += held.length;
        this.reserved.set(run, (this.reserved.get(run) ?? 0) + alignUp(held.length));
      }
    });
  }

  loadMetadata(): Promise<void> {
    return this.#call(async () => undefined);
  }

  verify(_run: RunId, { path, etag }: ManifestEntry, segments: readonly Segment[]): Promise<VerifyOutcome> {
    return this.#call(async () => {
      const there = segments.every((segment) => this.disk.segments.get(keyOf(segment))?.etag === etag);
      const ok = there && !this.bad.has(path);
      const checkedBytes = segments.reduce((sum, { length }) => sum + length, 0);
      const outcome = { path, ok, checkedBytes, badPages: there && !ok ? 1 : 0, wholeObject: 'unavailable' } as const;
      return there ? outcome : { ...outcome, error: { code: 'FILE_NOT_CACHED', message: `${path}: not cached` } };
    });
  }

  /** One segment a page. */
  free({ path, after = '' as UfsPath, dryRun = false }: FreeOrder): Promise<Freed> {
    return this.#call(async () => {
      await this.onFree(dryRun);
      const all = [...this.disk.segments.keys()].filter((key) => covers(path, key.split(' ')[0]!)).sort();
      const [key, next] = all.filter((one) => one > after);
      if (key === undefined) return { files: 0, bytes: 0 };
      const bytes = this.disk.segments.get(key)!.length;
      if (!dryRun) this.disk.segments.delete(key);
      return { files: 1, bytes, ...(next === undefined ? {} : { next: key as UfsPath }) };
    });
  }

  setBandwidth(): Promise<void> {
    return this.#call(async () => undefined);
  }

  stopRun(): Promise<void> {
    return this.#call(async () => undefined);
  }

  endRun(run: RunId): Promise<RunProgress> {
    return this.#call(async () => {
      this.reserved.delete(run);
      return this.progress(run);
    });
  }

  setPins(list: PinList): Promise<void> {
    return this.#call(async () => void this.pinned.push(list));
  }

  setOriginLimits(limits: readonly OriginLimit[]): Promise<void> {
    return this.#call(async () => {
      this.limits = limits;
    });
  }

  originDemand(): readonly OriginDemand[] {
    return this.demand;
  }

  onOriginDemand(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  wants(demand: readonly OriginDemand[]): void {
    this.demand = demand;
    for (const listener of this.#listeners) listener();
  }

  setPeers(list: PeerList): Promise<void> {
    return this.#call(async () => void this.heard.push(list));
  }

  progress(run: RunId): RunProgress {
    const ledger = structuredClone(this.#ledger(run));
    return {
      receivedBytes: ledger.originBytes,
      durableBytes: ledger.cachedBytes,
      retries: 0,
      partsInFlight: 0,
      evictedBytes: 0,
      ledger,
    };
  }

  #ledger(run: RunId): Ledger {
    const ledger = this.disk.ledgers.get(run) ?? emptyLedger();
    this.disk.ledgers.set(run, ledger);
    return ledger;
  }

  #gone(): PrimedError {
    return workerLost(this.id);
  }

  /** A worker that is lost does no more: its process is dead, or cut off and stopped. */
  #call<T>(act: () => Promise<T>): Promise<T> {
    if (this.#lost) return Promise.reject(this.#gone());
    return new Promise<T>((resolve, reject) => {
      this.#pending.add(reject);
      act()
        .then(resolve, reject)
        .finally(() => this.#pending.delete(reject));
    });
  }
}

function nothing(result: SegmentOutcome['result']): SegmentOutcome {
  return { result, loadedBytes: 0, skippedBytes: 0 };
}

export class FakeCluster implements Members {
  readonly source = new FakeSource();
  readonly disks = new Map<WorkerId, FakeDisk>();
  readonly links = new Map<WorkerId, FakeLink>();
  readonly draining = new Set<WorkerId>();
  readonly zones = new Map<WorkerId, string>();
  readonly #listeners = new Set<() => void>();

  constructor(...ids: string[]) {
    for (const id of ids) this.join(id);
  }

  live(): readonly Member[] {
    return Array.from(this.links.values(), (link) => {
      const zone = this.zones.get(link.id);
      const member = { id: link.id, url: `http://${link.id}`, takes: !this.draining.has(link.id), link };
      return zone === undefined ? member : { ...member, zone };
    });
  }

  /** Those whose disks are known, and who are not there. */
  absent(): readonly WorkerId[] {
    return [...this.disks.keys()].filter((id) => !this.links.has(id));
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  link(id: string): FakeLink {
    return this.links.get(id as WorkerId)!;
  }

  disk(id: string): FakeDisk {
    return this.disks.get(id as WorkerId)!;
  }

  /** A new worker, or one that comes back to its disk. */
  join(name: string): FakeLink {
    const id = name as WorkerId;
    const disk = this.disks.get(id) ?? new FakeDisk();
    this.disks.set(id, disk);
    const link = new FakeLink(id, disk, this.source, this);
    this.links.set(id, link);
    this.changed();
    return link;
  }

  /** Its lease is over. */
  lose(name: string): void {
    const id = name as WorkerId;
    const link = this.links.get(id);
    this.links.delete(id);
    link?.lose();
    this.changed();
  }

  changed(): void {
    for (const listener of this.#listeners) listener();
  }

  has(id: WorkerId, segment: Segment): boolean {
    const held = this.links.get(id)?.disk.segments.get(keyOf(segment));
    return held !== undefined && held.etag === segment.file.etag && held.length === segment.length;
  }

  /** Resolves when a worker has the segment, or loads it no more. */
  async followed(id: WorkerId, segment: Segment): Promise<void> {
    for (let turn = 0; turn < 1000; turn += 1) {
      const link = this.links.get(id);
      if (this.has(id, segment) || link === undefined) return;
      if (turn > 2 && !link.underWay.has(keyOf(segment))) return;
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** Live workers that have the segment visible. */
  holders(segment: Segment): WorkerId[] {
    const live = [...this.links.values()].filter(({ disk }) => {
      const held = disk.segments.get(keyOf(segment));
      return held?.visible === true && held.etag === segment.file.etag && held.length === segment.length;
    });
    return live.map(({ id }) => id);
  }
}
