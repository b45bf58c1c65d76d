/** One file: every version that the origin shows of it while it is loaded, cut into segments, and made visible in one step. */
import { abortable } from '../core/abortable.ts';
import { PrimedError, reportOf } from '../core/errors.ts';
import { type Segment, segmentsOf } from '../core/segments.ts';
import type { Log, ManifestEntry } from '../core/types.ts';
import type { FileOutcome } from '../ingest/types.ts';
import type { Origins } from '../origin/types.ts';
import type { Places } from './fleet-places.ts';
import type { FleetRun } from './fleet-run.ts';
import { SegmentLoads } from './fleet-segment.ts';
import { append } from './grouping.ts';
import { mapBounded } from './map-bounded.ts';
import type { Need } from './need.ts';
import { isWorkerLost, type SegmentOutcome, type WorkerLink } from './worker-link.ts';

export interface FileLoadsOptions {
  readonly places: Places;
  readonly origins: Pick<Origins, 'head'>;
  /** How often a file that changes at the origin starts anew. */
  readonly maxRestarts: number;
  readonly log: Log;
  /** Room for a version that takes the place of another, where that had some. */
  readonly reserveMore: (run: FleetRun, need: Need) => Promise<void>;
}

/** Segments of one file that are under way at once: enough for every worker of a large cluster, few enough for its memory. */
const segmentsAtOnce = 256;

export class FileLoads {
  readonly #options: FileLoadsOptions;
  readonly #places: Places;
  readonly #segments: SegmentLoads;

  constructor(options: FileLoadsOptions) {
    this.#options = options;
    this.#places = options.places;
    this.#segments = new SegmentLoads(options.places, options.log);
  }

  /** Never rejects. */
  async load(run: FleetRun, entry: ManifestEntry, { hasty }: { readonly hasty: boolean }): Promise<FileOutcome> {
    const { path } = entry;
    let file = entry;
    try {
      for (let restarts = 0; ; restarts += 1) {
        const outcome = await this.#loadVersion(run, file, hasty && restarts === 0);
        const { result } = outcome;
        if (result !== 'changed') return { path, version: file, ...outcome, result };
        file = await this.#nextVersion(run, file, restarts);
      }
    } catch (error) {
      if (run.stopped) return { path, result: 'stopped', loadedBytes: 0, skippedBytes: 0 };
      return { path, result: 'failed', loadedBytes: 0, skippedBytes: 0, error: reportOf(error) };
    }
  }

  async #loadVersion(run: FleetRun, file: ManifestEntry, hasty: boolean): Promise<SegmentOutcome> {
    const segmentBytes = this.#places.segmentBytesOf(run, file);
    if (segmentBytes >= file.sizeBytes) {
      return this.#segments.load(run, { file, index: 0, offset: 0, length: file.sizeBytes }, hasty, () => undefined);
    }
    const done = new Map<number, SegmentOutcome>();
    const involved = new Map<WorkerLink, number[]>();
    let bad: SegmentOutcome | undefined;
    const loadOne = async (segment: Segment): Promise<void> => {
      if (bad !== undefined || done.has(segment.index)) return;
      const outcome = await this.#segments.load(run, segment, hasty, (link) => append(involved, link, segment.index));
      if (outcome.result === 'loaded' || outcome.result === 'skipped') done.set(segment.index, outcome);
      // A change says more than a failure: the file starts anew.
      else if (bad === undefined || outcome.result === 'changed') bad = outcome;
    };
    for (;;) {
      await mapBounded(segmentsOf(file, segmentBytes), segmentsAtOnce, loadOne);
      if (bad !== undefined) {
        if (bad.result === 'changed') await this.#abandon(run, file, [...involved.keys()]);
        return sumOf(bad, done.values());
      }
      // What a worker had that is lost before it could publish is placed anew.
      const missed = await this.#publish(run, file, involved);
      if (missed.length === 0) return sumOf({ result: 'loaded', loadedBytes: 0, skippedBytes: 0 }, done.values());
      for (const index of missed) done.delete(index);
    }
  }

  async #publish(run: FleetRun, file: ManifestEntry, involved: Map<WorkerLink, number[]>): Promise<number[]> {
    const missed: number[] = [];
    await Promise.all(
      Array.from(involved, async ([link, indexes]) => {
        try {
          await link.publish(run.spec.run, file);
        } catch (error) {
          if (!isWorkerLost(error)) throw error;
          involved.delete(link);
          missed.push(...indexes);
        }
      }),
    );
    return missed;
  }

  /** What was fetched of a version that nobody will ask for again. Of other bad ends the workers keep what may be used. */
  async #abandon(run: FleetRun, file: ManifestEntry, links: readonly WorkerLink[]): Promise<void> {
    await Promise.allSettled(links.map((link) => link.abandon(run.spec.run, file, 'changed')));
  }

  async #nextVersion(run: FleetRun, old: ManifestEntry, restarts: number): Promise<ManifestEntry> {
    const { path, etag } = old;
    if (run.spec.onChange === 'fail') {
      const message = `${path}: the object changed at the origin during the load (it was ${etag}); the policy is to fail`;
      throw new PrimedError('ORIGIN_CHANGED', message, { path });
    }
    if (restarts >= this.#options.maxRestarts) {
      const message = `${path}: the object changed at the origin ${restarts + 1} times during the load`;
      throw new PrimedError('ORIGIN_CHANGED', message, { path });
    }
    const { signal } = run;
    const {
      etag: is,
      sizeBytes,
      lastModifiedMs,
      versionId,
    } = await abortable(this.#options.origins.head(path, signal), signal);
    const file = { path, etag: is, sizeBytes, lastModifiedMs, ...(versionId === undefined ? {} : { versionId }) };
    // The room of the old version went back to the reservation where it was abandoned.
    await this.#options.reserveMore(run, this.#difference(run, old, file));
    this.#options.log.info({ path, was: etag, is, sizeBytes }, 'the object changed at the origin: loading it anew');
    return file;
  }

  #difference(run: FleetRun, old: ManifestEntry, file: ManifestEntry): Need {
    const need: Need = new Map();
    this.#places.addNeed(run, file, 1, need);
    this.#places.addNeed(run, old, -1, need);
    return need;
  }
}

function sumOf(verdict: SegmentOutcome, segments: Iterable<SegmentOutcome>): SegmentOutcome {
  let { loadedBytes, skippedBytes } = verdict;
  for (const segment of segments) {
    loadedBytes += segment.loadedBytes;
    skippedBytes += segment.skippedBytes;
  }
  const result = verdict.result === 'loaded' && loadedBytes === 0 && skippedBytes > 0 ? 'skipped' : verdict.result;
  return { ...verdict, result, loadedBytes, skippedBytes };
}
