/** A worker in memory whose calls are recorded, and whose loads end when the test says so. */
import { emptyProgress } from '../../../../src/cluster/fleet-run.ts';
import type {
  BegunLoad,
  CachedSegment,
  SegmentHow,
  SegmentOutcome,
  WorkerId,
  WorkerLink,
} from '../../../../src/cluster/worker-link.ts';
import type { Checksums } from '../../../../src/core/attributes.ts';
import type { OriginDemand, OriginLimit } from '../../../../src/core/origin-limits.ts';
import type { PeerList } from '../../../../src/core/peers.ts';
import type { PinList } from '../../../../src/core/retention.ts';
import type { Segment } from '../../../../src/core/segments.ts';
import type { DiscardReason, ManifestEntry, RunId } from '../../../../src/core/types.ts';
import type {
  MissingParts,
  PlannedLoad,
  RoomOrder,
  RunProgress,
  RunSpec,
  VerifyOutcome,
  WorkerRoom,
} from '../../../../src/ingest/types.ts';
import type { JoinedKind } from '../../../../src/ingest/whole-object.ts';
import type { Freed, FreeOrder, RunOfLoad } from '../../../../src/store/types.ts';

interface StartedLoad {
  readonly run: RunId;
  readonly segment: Segment;
  readonly how: SegmentHow;
  resolve(outcome?: Partial<SegmentOutcome>): void;
  reject(error: unknown): void;
}

export class ScriptedLink implements WorkerLink {
  demand: readonly OriginDemand[] = [];
  readonly demandListeners = new Set<() => void>();
  readonly id = 'worker-1' as WorkerId;
  /** `method arguments…` of all calls but loads and progress, in order. */
  readonly calls: unknown[][] = [];
  /** Every load that was begun, in order. */
  readonly loads: StartedLoad[] = [];
  readonly reserved = new Map<RunId, number>();
  readonly figures = new Map<RunId, RunProgress>();
  /** Loads end by themselves, in a later turn of the loop. */
  prompt = false;
  /** What the next call of a method does first. */
  readonly before = new Map<keyof WorkerLink, () => Promise<void>>();

  /** How often a method was called. */
  count(method: keyof WorkerLink): number {
    return this.calls.filter(([name]) => name === method).length;
  }

  startRun(spec: RunSpec): Promise<void> {
    return this.#call('startRun', spec);
  }

  async reserveMore(run: RunId, bytes: number): Promise<void> {
    await this.#call('reserveMore', run, bytes);
    this.reserved.set(run, (this.reserved.get(run) ?? 0) + bytes);
  }

  makeRoom(run: RunId, files: readonly ManifestEntry[]): Promise<void> {
    return this.#call('makeRoom', run, files);
  }

  async cached(whose: RunOfLoad, segments: readonly Segment[]): Promise<readonly CachedSegment[]> {
    await this.#call('cached', whose, segments);
    return segments.map((segment) => cachedOf(segment));
  }

  async missing(planned: PlannedLoad, segments: readonly Segment[]): Promise<readonly MissingParts[]> {
    await this.#call('missing', planned, segments);
    return segments.map(({ length, index }) => ({ bytes: length, parts: index + 1, heads: index % 2 }));
  }

  async room(order: RoomOrder): Promise<WorkerRoom> {
    await this.#call('room', order);
    const evicted = { files: 1, bytes: 2, paths: ['s3://b/k'], counted: true };
    return { partBytes: 8, capacityBytes: 100, freeBytes: 10, fits: true, evicted };
  }

  load(run: RunId, segment: Segment, how: SegmentHow): Promise<SegmentOutcome> {
    return new Promise((resolve, reject) => {
      const done = (outcome: Partial<SegmentOutcome> = {}): void =>
        resolve({ result: 'loaded', loadedBytes: segment.length, skippedBytes: 0, ...outcome });
      this.loads.push({ run, segment, how, resolve: done, reject });
      if (this.prompt) setImmediate(done);
    });
  }

  begin(run: RunId, load: BegunLoad): void {
    const ended: BegunLoad['ended'] = (end) => load.ended(end);
    void this.load(run, load.segment, load.how).then(ended, ended);
  }

  publish(run: RunId, file: ManifestEntry): Promise<void> {
    return this.#call('publish', run, file);
  }

  abandon(run: RunId, file: ManifestEntry, reason: DiscardReason): Promise<void> {
    return this.#call('abandon', run, file, reason);
  }

  discard(run: RunId, file: ManifestEntry): Promise<void> {
    return this.#call('discard', run, file);
  }

  stateChecksums(run: RunId, file: ManifestEntry, checksums: Checksums): Promise<void> {
    return this.#call('stateChecksums', run, file, checksums);
  }

  loadMetadata(run: RunId, entries: readonly ManifestEntry[]): Promise<void> {
    return this.#call('loadMetadata', run, entries);
  }

  async verify(
    run: RunId,
    file: ManifestEntry,
    segments: readonly Segment[],
    kind?: JoinedKind,
  ): Promise<VerifyOutcome> {
    await this.#call('verify', run, file, segments, kind);
    const checkedBytes = segments.reduce((sum, { length }) => sum + length, 0);
    const outcome = { path: file.path, ok: true, checkedBytes, badPages: 0, wholeObject: 'matched' } as const;
    return kind === undefined
      ? outcome
      : { ...outcome, sums: segments.map(({ offset, length }) => ({ offset, length, sum: `${kind} ${offset}` })) };
  }

  async free(order: FreeOrder): Promise<Freed> {
    await this.#call('free', order);
    return { files: 3, bytes: 300, ...(order.after === undefined ? { next: order.path } : {}) };
  }

  setBandwidth(run: RunId, bytesPerSecond: number | undefined): Promise<void> {
    return this.#call('setBandwidth', run, bytesPerSecond);
  }

  async stopRun(run: RunId): Promise<void> {
    await this.#call('stopRun', run);
    for (const load of this.loads) if (load.run === run) load.resolve({ result: 'stopped', loadedBytes: 0 });
  }

  async endRun(run: RunId): Promise<RunProgress> {
    await this.#call('endRun', run);
    this.reserved.delete(run);
    return this.progress(run);
  }

  setOriginLimits(limits: readonly OriginLimit[]): Promise<void> {
    return this.#call('setOriginLimits', limits);
  }

  originDemand(): readonly OriginDemand[] {
    return this.demand;
  }

  onOriginDemand(listener: () => void): () => void {
    this.demandListeners.add(listener);
    return () => this.demandListeners.delete(listener);
  }

  setPins(list: PinList): Promise<void> {
    return this.#call('setPins', list);
  }

  setPeers(list: PeerList): Promise<void> {
    return this.#call('setPeers', list);
  }

  progress(run: RunId): RunProgress {
    return this.figures.get(run) ?? emptyProgress();
  }

  async #call(method: keyof WorkerLink, ...args: unknown[]): Promise<void> {
    this.calls.push([method, ...args]);
    const first = this.before.get(method);
    this.before.delete(method);
    await first?.();
  }
}

/** What the script says of each segment. */
export function cachedOf({ index, length }: Pick<Segment, 'index' | 'length'>): CachedSegment {
  const own = index % 5 === 0;
  return { complete: index % 2 === 0, bytes: length, ours: index % 3 === 0, own, ownBytes: own ? length : 0 };
}
