/** One file: every version that the origin shows of it while it is loaded, cut into segments, and made visible in one step. */
import { abortable } from '../core/abortable.ts';
import { PrimedError, reportOf } from '../core/errors.ts';
import type { Segment } from '../core/segments.ts';
import type { Log, ManifestEntry } from '../core/types.ts';
import type { FileOutcome } from '../ingest/types.ts';
import type { Origins } from '../origin/types.ts';
import { type FileClaim, type Places, segmentsAtOnce } from './fleet-places.ts';
import type { FleetRun } from './fleet-run.ts';
import { type FirstStep, SegmentLoad } from './fleet-segment.ts';
import type { Holders } from './fleet-survey.ts';
import { mapBounded } from './map-bounded.ts';
import type { Member } from './members.ts';
import type { Need } from './need.ts';
import { failedOutcome } from './segment-failure.ts';
import { VersionLoad } from './version-load.ts';
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

/** How often what lies on workers is loaded there anew because of bad pages. */
const maxRepairs = 2;

export interface FileHow {
  /** See LoadHow of ingest. */
  readonly hasty: boolean;
  /** Who has segments of it that their owners lack, by index, as the survey found. */
  readonly holders?: Holders;
}

/** A file that is handed out. */
export interface FileOrder {
  readonly entry: ManifestEntry;
  readonly how: FileHow;
  readonly claim: FileClaim;
}

export class FileLoads {
  readonly #options: FileLoadsOptions;
  readonly #places: Places;

  constructor(options: FileLoadsOptions) {
    this.#options = options;
    this.#places = options.places;
  }

  /** Never rejects. `first`: how it ended where it was tried already. */
  async load(run: FleetRun, entry: ManifestEntry, how: FileHow, first?: FirstStep): Promise<FileOutcome> {
    const { path } = entry;
    let file = entry;
    try {
      for (let restarts = 0; ; restarts += 1) {
        const outcome =
          restarts === 0
            ? await this.#loadVersion(run, file, how, first)
            : await this.#loadVersion(run, file, { hasty: false });
        const { result } = outcome;
        if (result !== 'changed') return { path, version: file, ...outcome, result };
        file = await this.#nextVersion(run, file, restarts);
      }
    } catch (error) {
      if (run.stopped) return { path, result: 'stopped', loadedBytes: 0, skippedBytes: 0 };
      return { path, result: 'failed', loadedBytes: 0, skippedBytes: 0, error: reportOf(error) };
    }
  }

  async #loadVersion(run: FleetRun, file: ManifestEntry, how: FileHow, first?: FirstStep): Promise<SegmentOutcome> {
    const segmentBytes = this.#places.segmentBytesOf(run, file);
    const version = new VersionLoad(file, segmentBytes, how.holders);
    for (let repairs = 0, before = first; ; before = undefined) {
      const loadOne = async (segment: Segment): Promise<void> => {
        // Of a file that cannot be had no more is asked for.
        if (version.bad === undefined) version.settled(segment, await this.#loadSegment(run, segment, version, how));
      };
      if (version.cut) await mapBounded(version.missing(), segmentsAtOnce, loadOne);
      else
        for (const only of version.missing())
          version.settled(only, await this.#loadSegment(run, only, version, how, before));
      if (version.bad !== undefined) {
        if (version.bad.result === 'changed' && version.cut) await this.#abandon(run, file, version.links());
        return version.outcome();
      }
      const spoiled = version.takeSpoiled();
      if (spoiled.length > 0 && repairs < maxRepairs) {
        repairs += 1;
        const { path } = file;
        this.#options.log.warn(
          { jobId: run.spec.job, path, workers: spoiled.map(({ id }) => id) },
          'what has a bad page is loaded anew',
        );
        await Promise.allSettled(spoiled.map(({ link }) => link.discard(run.spec.run, file)));
      } else if (spoiled.length > 0) {
        return failedOutcome(reportOf(stillBad(file, spoiled)));
      } else if (!version.cut) return version.outcome();
      // What a worker had that is lost before it could publish is placed anew.
      else version.forget(await this.#publish(run, file, version.links()));
      if (version.complete) return version.outcome();
    }
  }

  #loadSegment(
    run: FleetRun,
    segment: Segment,
    version: VersionLoad,
    how: FileHow,
    first?: FirstStep,
  ): Promise<SegmentOutcome> {
    const order = {
      segment,
      hasty: how.hasty,
      holders: version.holdersOf(segment.index),
      onPlaced: (member: Member) => version.placed(segment.index, member),
      onBad: (member: Member) => version.spoiled(segment.index, member),
    };
    return new SegmentLoad(this.#places, this.#options.log, run, order).load(first);
  }

  /** Returns the links of workers that were lost before they could. */
  async #publish(run: FleetRun, file: ManifestEntry, links: readonly WorkerLink[]): Promise<WorkerLink[]> {
    const lost: WorkerLink[] = [];
    await Promise.all(
      links.map(async (link) => {
        try {
          await link.publish(run.spec.run, file);
        } catch (error) {
          if (!isWorkerLost(error)) throw error;
          lost.push(link);
        }
      }),
    );
    return lost;
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
    const facts = { jobId: run.spec.job, path, was: etag, is, sizeBytes };
    this.#options.log.info(facts, 'the object changed at the origin: loading it anew');
    return file;
  }

  #difference(run: FleetRun, old: ManifestEntry, file: ManifestEntry): Need {
    const need: Need = new Map();
    this.#places.addNeed(run, file, 1, need);
    this.#places.addNeed(run, old, -1, need);
    return need;
  }
}

function stillBad({ path }: ManifestEntry, workers: readonly Member[]): PrimedError {
  const names = workers.map(({ id }) => id).join(', ');
  const message = `${path}: a page of it is bad on ${names}, also after it was loaded there ${maxRepairs} times anew`;
  return new PrimedError('STORE_CORRUPT', message, { path });
}
