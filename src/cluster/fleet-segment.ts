/**
 * One segment, until every owner has it. One worker fetches it; the others copy it from there, a large one as it arrives.
 * Where workers have it already, all copy it from those, and the origin is asked when they have failed.
 *
 * Each round takes the steps that core/segment-plan says, at once, and draws what it must from how they ended: who has it now,
 * which source is of no use, which worker is unfit. Every round learns something, or the members have changed: so it ends.
 */
import assert from 'node:assert/strict';
import { reportOf } from '../core/errors.ts';
import { nextSteps, type Step } from '../core/segment-plan.ts';
import type { Segment } from '../core/segments.ts';
import { type Log, sameVersion } from '../core/types.ts';
import { alignUp } from '../core/units.ts';
import type { Places } from './fleet-places.ts';
import type { FleetRun } from './fleet-run.ts';
import type { Member } from './members.ts';
import { failedOutcome, failureOf, isBad, saidBy, workersShort } from './segment-failure.ts';
import { isWorkerLost, type SegmentHow, type SegmentOutcome, type WorkerId } from './worker-link.ts';

export interface SegmentOrder {
  readonly segment: Segment;
  /** See LoadHow of ingest. */
  readonly hasty: boolean;
  /** Workers that had it durable when they were asked, the best first. */
  readonly holders: readonly Member[];
  /** Told of each owner that has it durable. */
  readonly onPlaced: (member: Member) => void;
  /** Told of each owner that had it, and gave a bad page: it has to be loaded there anew. */
  readonly onBad: (member: Member) => void;
}

/** A step that was taken before the load of a segment began, and how it ended. */
export interface FirstStep {
  readonly worker: Member;
  readonly owners: readonly Member[];
  readonly outcome: SegmentOutcome;
}

/** Others may draw the room that one of them has reserved; each of those goes on by it, so that this ends soon. */
const roomAttempts = 16;
export class SegmentLoad {
  readonly #places: Places;
  readonly #log: Log;
  readonly #run: FleetRun;
  readonly #order: SegmentOrder;
  #segment: Segment;
  /** Owners that have it. */
  readonly #done = new Map<WorkerId, Member>();
  /** Owners with a bad page, which are not asked again. */
  readonly #bad = new Set<WorkerId>();
  /** Sources of no use. */
  readonly #refused = new Set<WorkerId>();
  /** It is not placed on these. */
  readonly #unfit = new Set<WorkerId>();
  /** Who did not reach the origin for it; the last of them with how that ended. */
  readonly #barred = new Set<WorkerId>();
  #unreached: SegmentOutcome | undefined;
  /** Bytes that owners kept of what they did not finish; of who was lost while it fetched, all: others had theirs from it. */
  readonly #kept = new Map<WorkerId, number>();
  #best: SegmentOutcome | undefined;

  constructor(places: Places, log: Log, run: FleetRun, order: SegmentOrder) {
    this.#places = places;
    this.#log = log;
    this.#run = run;
    this.#order = order;
    this.#segment = order.segment;
  }

  /** Resolves with the outcome that brought most. Rejects when the run is stopped while nobody is there. */
  async load(first?: FirstStep): Promise<SegmentOutcome> {
    const { replicas } = this.#run;
    if (first !== undefined) {
      const verdict = await this.#goOn(first);
      if (verdict !== undefined) return verdict;
    }
    for (;;) {
      const { file, index } = this.#segment;
      const owners = await this.#places.owners(this.#run, file.path, index, this.#unfit);
      if (owners.length < replicas) return workersShort(file.path, replicas, owners.length);
      const steps = this.#steps(owners);
      if (steps === 'stuck') {
        const cannot = owners.filter(({ id }) => !this.#done.has(id));
        // One of them at a time: the others may still copy it from whoever comes in its place.
        if (!cannot.some((worker) => this.#setUnfit(worker))) return this.#unreached ?? lastOf(this.#run.cutOff);
        continue;
      }
      if (steps.length === 0) return this.#ended();
      const followed = steps.find(({ follow }) => follow)?.source;
      const outcomes = await Promise.all(steps.map((step) => this.#take(step, step.worker === followed)));
      let verdict: SegmentOutcome | undefined;
      for (const [at, step] of steps.entries()) {
        const final = this.#learn(step, outcomes[at]!, owners);
        // A change says more than a failure.
        if (final !== undefined && (verdict === undefined || final.result === 'changed')) verdict = final;
      }
      if (verdict !== undefined) return verdict;
      if (owners.every(({ id }) => this.#done.has(id))) return this.#ended();
    }
  }

  /**
   * Who lacked room goes on with what it has, also where others have joined since: those copy it then. Who has nothing of it
   * gets it only as its owner; who drains finishes only what is nearly there.
   */
  async #goOn({ worker, owners, outcome }: FirstStep): Promise<SegmentOutcome | undefined> {
    if (!lacksRoom(outcome)) return this.#learn({ worker }, outcome, owners);
    const has = bytesOf(outcome);
    const takes = this.#takers().some(({ link }) => link === worker.link);
    if (has <= (takes ? 0 : this.#segment.length / 2)) return undefined;
    const again = await this.#loadAt(worker, { hasty: this.#order.hasty });
    return again !== 'lost' && lacksRoom(again) ? undefined : this.#learn({ worker }, again, owners);
  }

  #ended(): SegmentOutcome {
    assert(this.#best !== undefined, 'who has it has said so');
    return this.#best;
  }

  #steps(owners: readonly Member[]): Step<Member>[] | 'stuck' {
    const sources = this.#sources();
    const byId = new Map([...sources, ...owners].map((member) => [member.id, member]));
    const steps = nextSteps({
      owners: this.#byKept(owners).map(({ id }) => id),
      done: new Set([...this.#done.keys(), ...this.#bad]),
      sources: sources.map(({ id }) => id),
      barred: new Set([...this.#barred, ...this.#run.cutOff.keys()]),
      follows: this.#places.isFollowed(this.#segment),
    });
    if (steps === 'stuck') return steps;
    return steps.map(({ worker, source, follow }) => ({
      worker: byId.get(worker)!,
      ...(source === undefined ? {} : { source: byId.get(source)! }),
      ...(follow && { follow }),
    }));
  }

  /** Whoever has most of it goes on with it, and the others follow. */
  #byKept(owners: readonly Member[]): readonly Member[] {
    if (this.#kept.size === 0) return owners;
    const keptBytes = ({ id }: Member): number => this.#kept.get(id) ?? 0;
    return [...owners].sort((a, b) => keptBytes(b) - keptBytes(a));
  }

  /** Live workers that have it, or were heard to; those that have it first. Forgets those that are lost. */
  #sources(): readonly Member[] {
    const { holders } = this.#order;
    // Of nearly all segments nobody has anything yet.
    if (this.#done.size + holders.length === 0) return holders;
    const live = new Set(this.#places.live().map(({ link }) => link));
    for (const [id, { link }] of this.#done) if (!live.has(link)) this.#done.delete(id);
    const known = [...this.#done.values(), ...holders.filter(({ id }) => !this.#done.has(id))];
    return known.filter(({ id, link }) => live.has(link) && !this.#refused.has(id));
  }

  #take({ worker, source, follow }: Step<Member>, followed: boolean): Promise<SegmentOutcome | 'lost'> {
    if (source === undefined) return this.#loadAt(worker, { hasty: this.#order.hasty, ...(followed && { followed }) });
    const from = { worker: source.id, url: source.url, ...(follow && { follow }) };
    return this.#loadAt(worker, { hasty: false, source: from });
  }

  /** Of a step that has ended. Returns what ends the load; undefined: it goes on. */
  #learn(step: Step<Member>, outcome: SegmentOutcome | 'lost', owners: readonly Member[]): SegmentOutcome | undefined {
    const { worker } = step;
    if (outcome === 'lost') {
      if (step.source === undefined) this.#kept.set(worker.id, this.#segment.length);
      return undefined;
    }
    if (!isBad(outcome)) {
      if (step.source !== undefined) this.#places.failedCopies.accepted(copyOf(worker, step.source));
      this.#placed(worker, outcome);
      return undefined;
    }
    // An outcome that was not the worker's says nothing of what it has.
    if (bytesOf(outcome) > 0) this.#kept.set(worker.id, bytesOf(outcome));
    switch (failureOf(outcome)) {
      case 'source':
        this.#notCopied(step, outcome, owners);
        return undefined;
      case 'worker':
        return this.#setUnfit(worker) ? undefined : byName(worker, outcome);
      case 'origin':
        this.#run.cutOff.set(worker.id, outcome);
        return this.#unreachedBy(
          worker,
          outcome,
          this.#takers().some(({ id }) => !this.#run.cutOff.has(id)),
        );
      case 'network':
        return this.#unreachedBy(worker, outcome, this.#barred.size === 0 && this.#others(worker).length > 0);
      case 'object':
        return outcome;
    }
  }

  #placed(worker: Member, outcome: SegmentOutcome): void {
    if (!this.#bad.has(worker.id)) {
      this.#done.set(worker.id, worker);
      this.#order.onPlaced(worker);
    }
    if (this.#best === undefined || outcome.loadedBytes > this.#best.loadedBytes) this.#best = outcome;
    const { version } = outcome;
    const { file } = this.#segment;
    // A whole file that had changed was loaded at its new version: that is what the others copy.
    if (version === undefined || sameVersion(version, file)) return;
    this.#segment = { file: { path: file.path, ...version }, index: 0, offset: 0, length: version.sizeBytes };
    this.#kept.clear();
  }

  #notCopied({ worker, source, follow }: Step<Member>, { error }: SegmentOutcome, owners: readonly Member[]): void {
    assert(source !== undefined, 'only a copy fails for its source');
    const { id } = source;
    const { job: jobId } = this.#run.spec;
    const facts = { jobId, path: this.#segment.file.path, worker: worker.id, source: id, reason: error?.message };
    const corrupt = error?.code === 'PEER_CORRUPT';
    if (follow === true && !corrupt) {
      this.#log.debug(facts, 'a copy could not follow its source: it is made when that is done');
      return;
    }
    const isNews = corrupt || this.#places.failedCopies.isNews(copyOf(worker, source), error?.code ?? '');
    const level = isNews ? 'warn' : 'debug';
    this.#log[level](facts, 'a copy failed: it is made from another worker, or its bytes are read from the origin');
    this.#refused.add(id);
    if (!corrupt || this.#bad.has(id) || !owners.some((owner) => owner.id === id)) return;
    this.#done.delete(id);
    this.#bad.add(id);
    this.#order.onBad(source);
  }

  #unreachedBy({ id }: Member, outcome: SegmentOutcome, others: boolean): SegmentOutcome | undefined {
    if (!others) return outcome;
    const { job: jobId } = this.#run.spec;
    const facts = { jobId, path: this.#segment.file.path, worker: id, reason: outcome.error?.message };
    this.#log.warn(facts, 'a worker does not reach the origin: another one is asked');
    this.#barred.add(id);
    this.#unreached = outcome;
    return undefined;
  }

  #takers(): readonly Member[] {
    return this.#places.live().filter(({ takes }) => takes);
  }

  /** Whom it may be placed on besides one, which may take no more itself by now. */
  #others({ id }: Member): readonly Member[] {
    return this.#takers().filter((other) => other.id !== id && !this.#unfit.has(other.id));
  }

  /** False: it is needed, for there are not enough others. */
  #setUnfit(worker: Member): boolean {
    if (this.#others(worker).length < this.#run.replicas) return false;
    this.#unfit.add(worker.id);
    return true;
  }

  #loadAt(member: Member, how: SegmentHow): Promise<SegmentOutcome | 'lost'> {
    return loadAt(this.#run, this.#segment, member, how);
  }
}

/** Has one worker load a segment, with room for it. Never rejects. */
async function loadAt(
  run: FleetRun,
  segment: Segment,
  member: Member,
  how: SegmentHow,
): Promise<SegmentOutcome | 'lost'> {
  const { run: runId } = run.spec;
  try {
    await run.enter(member);
    for (let attempt = 1; ; attempt += 1) {
      const outcome = await member.link.load(runId, segment, how);
      if (!lacksRoom(outcome) || attempt === roomAttempts) return outcome;
      // It was planned elsewhere, or its room was taken by one that was: what it lacks is reserved here, or refused.
      const lacking = segment.length - bytesOf(outcome);
      await member.link.reserveMore(runId, alignUp(lacking));
    }
  } catch (error) {
    return isWorkerLost(error) ? 'lost' : failedOutcome(reportOf(error));
  }
}

function lacksRoom({ error }: SegmentOutcome): boolean {
  return error?.code === 'STORE_NO_ROOM';
}

function bytesOf({ loadedBytes, skippedBytes }: SegmentOutcome): number {
  return loadedBytes + skippedBytes;
}

function byName(worker: Member, outcome: SegmentOutcome): SegmentOutcome {
  return outcome.error === undefined ? outcome : { ...outcome, error: saidBy(worker, outcome.error) };
}

function lastOf(cutOff: ReadonlyMap<WorkerId, SegmentOutcome>): SegmentOutcome {
  const outcome = [...cutOff.values()].at(-1);
  assert(outcome !== undefined, 'somebody did not reach the origin');
  return outcome;
}

function copyOf(worker: Member, source: Member): string {
  return `${worker.id} ${source.id}`;
}
