/** One segment: one worker fetches it, the other replicas copy it from there, and who is lost or unfit is replaced. */
import { type ErrorReport, PrimedError, reportOf } from '../core/errors.ts';
import type { Segment } from '../core/segments.ts';
import type { Log } from '../core/types.ts';
import { alignUp } from '../core/units.ts';
import type { Places } from './fleet-places.ts';
import type { FleetRun } from './fleet-run.ts';
import type { Member } from './members.ts';
import { isWorkerLost, type SegmentHow, type SegmentOutcome, type WorkerId, type WorkerLink } from './worker-link.ts';

/** Others may draw the room that one of them has reserved; each of those goes on by it, so that this ends soon. */
const roomAttempts = 16;

export class SegmentLoads {
  readonly #places: Places;
  readonly #log: Log;

  constructor(places: Places, log: Log) {
    this.#places = places;
    this.#log = log;
  }

  /** `onPlaced` is told of each worker that has it durable. Rejects when the run is stopped while nobody is there. */
  async load(
    run: FleetRun,
    segment: Segment,
    hasty: boolean,
    onPlaced: (link: WorkerLink) => void,
  ): Promise<SegmentOutcome> {
    const unfit = new Set<WorkerId>();
    const astray = new Astray();
    for (;;) {
      const owners = await this.#places.owners(run, segment.file.path, segment.index, unfit);
      const first = owners.find(({ id }) => !astray.has(id));
      if (first === undefined) {
        if (this.#places.takers <= unfit.size + owners.length) return astray.failure;
        for (const { id } of owners) unfit.add(id);
        continue;
      }
      const others = owners.filter((owner) => owner !== first);
      const outcome = await this.#loadAt(run, first, segment, { hasty });
      if (outcome === 'lost') continue;
      if (outcome.result === 'failed' && isOfWorker(outcome.error) && this.#places.takers > unfit.size + 1) {
        unfit.add(first.id);
        continue;
      }
      if (outcome.result === 'failed' && this.#places.takers > 1 && astray.add(first.id, outcome)) continue;
      if (isBad(outcome)) return outcome;
      onPlaced(first.link);
      if (run.replicas === 1) return outcome;
      const copied = await this.#replicate(run, segment, first, others, unfit, onPlaced);
      if (copied === 'lost') continue;
      return copied ?? outcome;
    }
  }

  /** Undefined: there are as many replicas as asked; `lost`: the placement has to be looked at anew. */
  async #replicate(
    run: FleetRun,
    segment: Segment,
    source: Member,
    others: readonly Member[],
    unfit: Set<WorkerId>,
    onPlaced: (link: WorkerLink) => void,
  ): Promise<SegmentOutcome | 'lost' | undefined> {
    if (others.length + 1 < run.replicas) {
      const { path } = segment.file;
      const message = `${path}: ${run.replicas} replicas are asked for and ${others.length + 1} workers can take one`;
      return failedOutcome(reportOf(new PrimedError('WORKERS_SHORT', message, { path })));
    }
    const from = { hasty: false, source: { worker: source.id, url: source.url } };
    const copies = await Promise.all(
      others.map(async (member) => ({ member, outcome: await this.#copyTo(run, member, segment, from) })),
    );
    for (const { member, outcome } of copies) {
      if (outcome !== 'lost' && (outcome.result === 'loaded' || outcome.result === 'skipped')) onPlaced(member.link);
    }
    const bad = copies.find(({ outcome }) => outcome !== 'lost' && isBad(outcome));
    if (bad === undefined) return copies.some(({ outcome }) => outcome === 'lost') ? 'lost' : undefined;
    const outcome = bad.outcome as SegmentOutcome;
    if (outcome.result === 'failed' && isOfWorker(outcome.error) && this.#places.takers > unfit.size + run.replicas) {
      unfit.add(bad.member.id);
      return 'lost';
    }
    return outcome;
  }

  /** A source that fails, in whatever way, costs one more read of the origin, not the file. */
  async #copyTo(run: FleetRun, member: Member, segment: Segment, from: SegmentHow): Promise<SegmentOutcome | 'lost'> {
    const copied = await this.#loadAt(run, member, segment, from);
    if (copied === 'lost' || copied.error?.code !== 'PEER_FAILED') return copied;
    const facts = { path: segment.file.path, worker: member.id, reason: copied.error.message };
    this.#log.warn(facts, 'a copy failed: its bytes are read from the origin');
    return this.#loadAt(run, member, segment, { hasty: false });
  }

  async #loadAt(run: FleetRun, member: Member, segment: Segment, how: SegmentHow): Promise<SegmentOutcome | 'lost'> {
    try {
      await run.enter(member);
      for (let attempt = 1; ; attempt += 1) {
        const outcome = await member.link.load(run.spec.run, segment, how);
        if (outcome.error?.code !== 'STORE_NO_ROOM' || attempt === roomAttempts) return outcome;
        // It was planned elsewhere, or its room was taken by one that was: what it lacks is reserved here, or refused.
        const lacking = segment.length - outcome.loadedBytes - outcome.skippedBytes;
        await member.link.reserveMore(run.spec.run, alignUp(lacking));
      }
    } catch (error) {
      return isWorkerLost(error) ? 'lost' : failedOutcome(reportOf(error));
    }
  }
}

/**
 * Workers that do not get through to the origin for a segment: another may, as it goes another way, and the first can still
 * copy it from there. One more worker is asked, so that an object which answers nobody does not cost attempts on all of them.
 * Who has found that the origin is lost asks it for nothing, so that does not count.
 */
class Astray {
  readonly #ids = new Set<WorkerId>();
  #asked = 0;
  #failure: SegmentOutcome | undefined;

  has(id: WorkerId): boolean {
    return this.#ids.has(id);
  }

  /** How the last of them failed. */
  get failure(): SegmentOutcome {
    return this.#failure!;
  }

  /** False: the outcome says nothing about the way, or enough were asked. */
  add(id: WorkerId, failure: SegmentOutcome): boolean {
    const code = failure.error?.code;
    if (code === undefined || !(code === 'ORIGIN_LOST' || noWayToOrigin.has(code))) return false;
    if (code !== 'ORIGIN_LOST') this.#asked += 1;
    this.#ids.add(id);
    this.#failure = failure;
    return this.#asked < workersAsked;
  }
}

const workersAsked = 2;
const noWayToOrigin: ReadonlySet<string> = new Set(['ORIGIN_UNREACHABLE', 'ORIGIN_TIMEOUT', 'ORIGIN_RESET']);

/** Another worker may do better: it is this one's disk or process, not the origin's object. */
function isOfWorker(error: ErrorReport | undefined): boolean {
  return (
    error !== undefined && (error.code.startsWith('STORE_') || error.code === 'INTERNAL' || error.code === 'STOPPING')
  );
}

function isBad({ result }: SegmentOutcome): boolean {
  return result !== 'loaded' && result !== 'skipped';
}

function failedOutcome(error: ErrorReport): SegmentOutcome {
  return { result: 'failed', loadedBytes: 0, skippedBytes: 0, error };
}
