/** The worker of this process, as the coordinator speaks to it. */
import type { Checksums } from '../core/attributes.ts';
import type { PrimedError } from '../core/errors.ts';
import type { OriginDemand, OriginLimit } from '../core/origin-limits.ts';
import type { PeerList } from '../core/peers.ts';
import type { PinList } from '../core/retention.ts';
import { isWhole, type Segment } from '../core/segments.ts';
import type { DiscardReason, ManifestEntry, RunId } from '../core/types.ts';
import type {
  MissingParts,
  PlannedLoad,
  RoomOrder,
  RunProgress,
  RunSpec,
  VerifyOutcome,
  Worker,
  WorkerFree,
  WorkerRoom,
} from '../ingest/types.ts';
import type { JoinedKind } from '../ingest/whole-object.ts';
import type { Freed, RunOfLoad } from '../store/types.ts';
import type {
  BegunLoad,
  CachedSegment,
  RunTerm,
  SegmentHow,
  SegmentOutcome,
  WorkerId,
  WorkerLink,
} from './worker-link.ts';

export class LocalLink implements WorkerLink {
  readonly id: WorkerId;
  readonly #worker: Worker;
  readonly #onPeers: (list: PeerList) => void;

  /** @param onPeers hears who the live workers are */
  constructor(id: WorkerId, worker: Worker, onPeers: (list: PeerList) => void = () => undefined) {
    this.id = id;
    this.#worker = worker;
    this.#onPeers = onPeers;
  }

  async startRun(spec: RunSpec): Promise<void> {
    this.#worker.startRun(spec);
  }

  reserveMore(run: RunId, bytes: number): Promise<void> {
    return this.#worker.reserveMore(run, bytes);
  }

  makeRoom(run: RunId, files: readonly ManifestEntry[]): Promise<void> {
    return this.#worker.makeRoom(run, files);
  }

  async cached(whose: RunOfLoad, segments: readonly Segment[]): Promise<readonly CachedSegment[]> {
    return segments.map((segment) => {
      const { file, offset, length } = segment;
      return this.#worker.cached(whose, file, isWhole(segment) ? undefined : { offset, length });
    });
  }

  async missing(planned: PlannedLoad, segments: readonly Segment[]): Promise<readonly MissingParts[]> {
    return segments.map((segment) => {
      const { file, offset, length } = segment;
      return this.#worker.missing(planned, file, isWhole(segment) ? undefined : { offset, length });
    });
  }

  room(order: RoomOrder): Promise<WorkerRoom> {
    return this.#worker.room(order);
  }

  load(run: RunId, segment: Segment, { hasty, source, followed }: SegmentHow): Promise<SegmentOutcome> {
    const { file, offset, length } = segment;
    const how = { hasty, ...(source === undefined ? {} : { source }), ...(followed && { followed }) };
    return this.#worker.load(run, file, { ...how, ...(isWhole(segment) ? {} : { range: { offset, length } }) });
  }

  begin(run: RunId, load: BegunLoad): void {
    const ended = (end: SegmentOutcome | PrimedError): void => load.ended(end);
    void this.load(run, load.segment, load.how).then(ended, ended);
  }

  publish(_run: RunId, file: ManifestEntry): Promise<void> {
    return this.#worker.publish(file);
  }

  abandon(_run: RunId, file: ManifestEntry, reason: DiscardReason): Promise<void> {
    return this.#worker.abandon(file, reason);
  }

  discard(_run: RunId, file: ManifestEntry): Promise<void> {
    return this.#worker.discard(file);
  }

  stateChecksums(_run: RunId, file: ManifestEntry, checksums: Checksums): Promise<void> {
    return this.#worker.stateChecksums(file, checksums);
  }

  loadMetadata(run: RunId, entries: readonly ManifestEntry[]): Promise<void> {
    return this.#worker.loadMetadata(run, entries);
  }

  verify(run: RunId, file: ManifestEntry, segments: readonly Segment[], sums?: JoinedKind): Promise<VerifyOutcome> {
    const bytes = segments.reduce((sum, { length }) => sum + length, 0);
    if (bytes === file.sizeBytes) return this.#worker.verify(run, file);
    const ranges = segments.map(({ offset, length }) => ({ offset, length }));
    return this.#worker.verify(run, file, ranges, sums);
  }

  free(order: WorkerFree, { run }: RunTerm): Promise<Freed> {
    return this.#worker.free(order, run);
  }

  async setBandwidth(run: RunId, bytesPerSecond: number | undefined): Promise<void> {
    this.#worker.setBandwidth(run, bytesPerSecond);
  }

  stopRun(run: RunId): Promise<void> {
    return this.#worker.stopRun(run);
  }

  async endRun(run: RunId): Promise<RunProgress> {
    // The worker forgets what limited a run with the run.
    const { limitedMs } = this.#worker.progress(run);
    await this.#worker.endRun(run);
    const progress = this.#worker.progress(run);
    return limitedMs === undefined ? progress : { ...progress, limitedMs };
  }

  async setPeers(list: PeerList): Promise<void> {
    this.#onPeers(list);
  }

  setPins(list: PinList): Promise<void> {
    return this.#worker.setPins(list);
  }

  async setOriginLimits(limits: readonly OriginLimit[]): Promise<void> {
    this.#worker.setOriginLimits(limits);
  }

  originDemand(): readonly OriginDemand[] {
    return this.#worker.originDemand();
  }

  onOriginDemand(listener: () => void): () => void {
    return this.#worker.onOriginDemand(listener);
  }

  progress(run: RunId): RunProgress {
    return this.#worker.progress(run);
  }
}
