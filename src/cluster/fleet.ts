/**
 * The workers together, as one that loads files.
 *
 * Who is in it: the Fleet cuts files into segments, asks the ring where each belongs, has one worker fetch it and the other
 * replicas copy it from there, and answers for the file when every segment is durable as often as was asked. Members says
 * who is live; a WorkerLink is how each is spoken to.
 *
 * Who waits for whom: a file waits for its segments; a segment for its worker or, while no worker is live, for one to join.
 * A worker that is lost ends its calls at once (its link does), and its segments are placed anew. A worker that is slow holds
 * up its own segments only.
 *
 * What survives a crash: what the workers have made durable. The Fleet remembers nothing; it asks.
 */
import { abortable } from '../core/abortable.ts';
import { type ErrorReport, PrimedError, reportOf } from '../core/errors.ts';
import { type Segment, segmentCount, segmentsOf } from '../core/segments.ts';
import { emptyLedger, type LoadId, type Log, type ManifestEntry, type RunId } from '../core/types.ts';
import { alignUp } from '../core/units.ts';
import type { FileOutcome, RunProgress, RunSpec, VerifyOutcome } from '../ingest/types.ts';
import type { Origins } from '../origin/types.ts';
import { FleetRun } from './fleet-run.ts';
import { mapBounded } from './map-bounded.ts';
import type { Member, Members, Placement } from './members.ts';
import type { CachedSegment, SegmentHow, SegmentOutcome, WorkerId, WorkerLink } from './worker-link.ts';

export interface FleetOptions {
  readonly members: Members;
  readonly placement: Placement;
  readonly origins: Pick<Origins, 'head'>;
  readonly segmentBytes: number;
  /** How often a file that changes at the origin starts anew. */
  readonly maxRestarts: number;
  readonly log: Log;
  /** Before it, workers that are on their way back are not yet seen. */
  readonly settled?: Promise<void>;
}

/** What is cached of a file at its version. */
export interface CachedFile {
  /** Every byte is durable on as many workers as asked. */
  readonly complete: boolean;
  /** Durable bytes; a byte counts once, however many workers have it. */
  readonly bytes: number;
  /** Whether this very load put some of them there. */
  readonly ours: boolean;
}

/** Bytes that files will yet take, rounding included, by worker. */
export type Need = Map<WorkerId, number>;

export function addNeed(sum: Need, more: Need): void {
  for (const [id, bytes] of more) sum.set(id, (sum.get(id) ?? 0) + bytes);
}

/** Segments of one file that are under way at once: enough for every worker of a large cluster, few enough for its memory. */
const segmentsAtOnce = 256;
/** Segments that one question names at most. */
const segmentsAsked = 8192;

export class Fleet {
  readonly #options: FleetOptions;
  readonly #runs = new Map<RunId, FleetRun>();
  /** Settles when nobody loads the path any more. */
  readonly #turns = new Map<string, Promise<unknown>>();
  readonly #unsubscribe: () => void;

  constructor(options: FleetOptions) {
    this.#options = options;
    this.#unsubscribe = options.members.onChange(() => {
      for (const run of this.#runs.values()) run.membersChanged(options.members.live());
    });
  }

  /** Resolves when what the workers have can be asked for. */
  settled(): Promise<void> {
    return this.#options.settled ?? Promise.resolve();
  }

  /** Workers that a new segment may be placed on. */
  get takers(): number {
    return this.#options.members.live().filter(({ takes }) => takes).length;
  }

  /** Idempotent for a run id. Resolves when every live worker knows the run. */
  async startRun(spec: RunSpec, replicas: number): Promise<void> {
    if (this.#runs.has(spec.run)) return;
    const run = new FleetRun(spec, replicas);
    this.#runs.set(spec.run, run);
    const live = this.#options.members.live();
    const entered = await Promise.allSettled(live.map((member) => run.enter(member)));
    for (const one of entered) if (one.status === 'rejected' && !isLost(one.reason)) throw one.reason;
  }

  /**
   * What is cached of each file, and what room the rest of it needs where it belongs.
   * @param load whose it may be; by default that of the run.
   */
  async survey(
    runId: RunId,
    entries: readonly ManifestEntry[],
    load: LoadId = this.#run(runId).spec.load,
  ): Promise<{ files: CachedFile[]; need: Need }> {
    const run = this.#run(runId);
    const need: Need = new Map();
    const files: CachedFile[] = [];
    for (let from = 0; from < entries.length; ) {
      let to = from;
      let segments = 0;
      do {
        const entry = entries[to]!;
        segments += segmentCount(entry.sizeBytes, this.#segmentBytesOf(run, entry)) * run.replicas;
        to += 1;
      } while (to < entries.length && segments < segmentsAsked);
      files.push(...(await this.#survey(run, load, entries.slice(from, to), need)));
      from = to;
    }
    return { files, need };
  }

  /** Gives back what earlier loads have left half loaded of these files, and this run would not use. */
  async makeRoom(runId: RunId, entries: readonly ManifestEntry[]): Promise<void> {
    const run = this.#run(runId);
    const made = await Promise.allSettled(
      this.#options.members.live().map(async (member) => {
        await run.enter(member);
        await member.link.makeRoom(runId, entries);
      }),
    );
    for (const one of made) if (one.status === 'rejected' && !isLost(one.reason)) throw one.reason;
  }

  /** Bytes that files take, of which nothing is there. */
  needOf(runId: RunId, entries: readonly ManifestEntry[]): Need {
    const run = this.#run(runId);
    const need: Need = new Map();
    for (const entry of entries) this.#addNeed(run, entry, 1, need);
    return need;
  }

  /** Rejects with STORE_NO_ROOM, naming the worker; then nothing changed. */
  async reserveMore(runId: RunId, need: Need): Promise<void> {
    const run = this.#run(runId);
    const done: { link: WorkerLink; bytes: number }[] = [];
    const results = await Promise.allSettled(
      this.#options.members.live().map(async (member) => {
        const bytes = need.get(member.id) ?? 0;
        if (bytes === 0) return;
        await run.enter(member);
        await member.link.reserveMore(runId, bytes);
        done.push({ link: member.link, bytes });
      }),
    );
    const refused = results.find((one) => one.status === 'rejected' && !isLost(one.reason));
    if (refused === undefined) return;
    await Promise.allSettled(done.map(({ link, bytes }) => link.reserveMore(runId, -bytes)));
    throw (refused as PromiseRejectedResult).reason;
  }

  /**
   * Resolves when the file is durable as often as asked, given up, set aside, or stopped. Never rejects. A path has one
   * loader at a time, over all runs: who comes second waits, and then finds the file complete, or loads it anew.
   */
  load(runId: RunId, entry: ManifestEntry, how: { readonly hasty: boolean }): Promise<FileOutcome> {
    const run = this.#run(runId);
    const { path } = entry;
    const earlier = this.#turns.get(path);
    const outcome = earlier === undefined ? this.#load(run, entry, how) : this.#loadAfter(earlier, run, entry, how);
    // Who gives up waiting does not let the next one in before the first is done.
    const turn = Promise.all([earlier, outcome]).then(() => {
      if (this.#turns.get(path) === turn) this.#turns.delete(path);
    });
    this.#turns.set(path, turn);
    return outcome;
  }

  async #loadAfter(
    earlier: Promise<unknown>,
    run: FleetRun,
    entry: ManifestEntry,
    how: { readonly hasty: boolean },
  ): Promise<FileOutcome> {
    await abortable(earlier, run.signal).catch(() => undefined);
    return this.#load(run, entry, how);
  }

  async #load(run: FleetRun, entry: ManifestEntry, { hasty }: { readonly hasty: boolean }): Promise<FileOutcome> {
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

  /** Size, ETag and times, on the worker that the path belongs to. */
  async loadMetadata(runId: RunId, entries: readonly ManifestEntry[]): Promise<void> {
    const run = this.#run(runId);
    let left = entries;
    while (left.length > 0) {
      const byMember = new Map<Member, ManifestEntry[]>();
      for (const entry of left) {
        for (const member of await this.#owners(run, entry.path, 0)) append(byMember, member, entry);
      }
      const lost: ManifestEntry[] = [];
      await Promise.all(
        Array.from(byMember, async ([member, some]) => {
          try {
            await run.enter(member);
            await member.link.loadMetadata(runId, some);
          } catch (error) {
            if (!isLost(error)) throw error;
            lost.push(...some);
          }
        }),
      );
      left = [...new Set(lost)];
    }
  }

  /** Every page on every replica, and the whole object where one worker has all of it. */
  async verify(runId: RunId, file: ManifestEntry): Promise<VerifyOutcome> {
    const run = this.#run(runId);
    try {
      const byMember = new Map<Member, Segment[]>();
      for (const segment of segmentsOf(file, this.#segmentBytesOf(run, file))) {
        for (const member of await this.#owners(run, file.path, segment.index)) append(byMember, member, segment);
      }
      const outcomes = await Promise.all(
        Array.from(byMember, async ([member, segments]) => {
          await run.enter(member);
          return member.link.verify(runId, file, segments);
        }),
      );
      return outcomes.find(({ ok }) => !ok) ?? together(file, outcomes);
    } catch (error) {
      const { path } = file;
      return { path, ok: false, checkedBytes: 0, badPages: 0, wholeObject: 'unavailable', error: reportOf(error) };
    }
  }

  async setBandwidth(runId: RunId, bytesPerSecond: number | undefined): Promise<void> {
    const run = this.#run(runId);
    run.setBandwidth(bytesPerSecond);
    await Promise.allSettled(run.links().map((link) => link.setBandwidth(runId, bytesPerSecond)));
  }

  /** Pending loads resolve as `stopped` within 2 s. */
  async stopRun(runId: RunId): Promise<void> {
    const run = this.#runs.get(runId);
    if (run === undefined) return;
    run.stop();
    await Promise.allSettled(run.links().map((link) => link.stopRun(runId)));
  }

  /** After the last load. */
  async endRun(runId: RunId): Promise<void> {
    const run = this.#runs.get(runId);
    if (run === undefined) return;
    run.stop();
    const ended = await Promise.allSettled(run.links().map(async (link) => run.heard(link, await link.endRun(runId))));
    for (const one of ended)
      if (one.status === 'rejected')
        this.#options.log.warn({ run: runId, error: String(one.reason) }, 'a worker did not end its run');
    run.ended = true;
  }

  progress(runId: RunId): RunProgress {
    return this.#runs.get(runId)?.progress() ?? emptyProgress();
  }

  /** Grows when a worker that had a part in the run is lost: what it had made durable is not there any more. */
  losses(runId: RunId): number {
    return this.#run(runId).losses;
  }

  /** Why nothing goes on; undefined: it does. */
  waitingFor(runId: RunId): string | undefined {
    return this.#runs.get(runId)?.waitingFor;
  }

  forget(runId: RunId): void {
    this.#runs.delete(runId);
  }

  close(): void {
    this.#unsubscribe();
  }

  // --- one version of one file

  async #loadVersion(run: FleetRun, file: ManifestEntry, hasty: boolean): Promise<SegmentOutcome> {
    const segmentBytes = this.#segmentBytesOf(run, file);
    if (segmentBytes >= file.sizeBytes) {
      return this.#loadSegment(run, { file, index: 0, offset: 0, length: file.sizeBytes }, hasty, () => undefined);
    }
    const done = new Map<number, SegmentOutcome>();
    const involved = new Map<WorkerLink, number[]>();
    let bad: SegmentOutcome | undefined;
    const loadOne = async (segment: Segment): Promise<void> => {
      if (bad !== undefined || done.has(segment.index)) return;
      const outcome = await this.#loadSegment(run, segment, hasty, (link) => append(involved, link, segment.index));
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
          if (!isLost(error)) throw error;
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

  /** A file is cut only where several workers share it. */
  #segmentBytesOf(run: FleetRun, file: ManifestEntry): number {
    const alone = run.replicas === 1 && this.takers <= 1;
    return alone ? Math.max(1, file.sizeBytes) : this.#options.segmentBytes;
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
    await this.reserveMore(run.spec.run, this.#difference(run, old, file));
    this.#options.log.info({ path, was: etag, is, sizeBytes }, 'the object changed at the origin: loading it anew');
    return file;
  }

  #difference(run: FleetRun, old: ManifestEntry, file: ManifestEntry): Need {
    const need: Need = new Map();
    this.#addNeed(run, file, 1, need);
    this.#addNeed(run, old, -1, need);
    return need;
  }

  #addNeed(run: FleetRun, file: ManifestEntry, sign: 1 | -1, need: Need): void {
    for (const { index, length } of segmentsOf(file, this.#segmentBytesOf(run, file))) {
      for (const { id } of this.#place(run, file.path, index)) {
        need.set(id, (need.get(id) ?? 0) + sign * alignUp(length));
      }
    }
  }

  // --- one segment

  /** `onPlaced` is told of each worker that has it durable. */
  async #loadSegment(
    run: FleetRun,
    segment: Segment,
    hasty: boolean,
    onPlaced: (link: WorkerLink) => void,
  ): Promise<SegmentOutcome> {
    const unfit = new Set<WorkerId>();
    for (;;) {
      const owners = await this.#owners(run, segment.file.path, segment.index, unfit);
      const [first, ...others] = owners as [Member, ...Member[]];
      const outcome = await this.#loadAt(run, first, segment, { hasty });
      if (outcome === 'lost') continue;
      if (outcome.result === 'failed' && isOfWorker(outcome.error) && this.takers > unfit.size + 1) {
        unfit.add(first.id);
        continue;
      }
      if (outcome.result !== 'loaded' && outcome.result !== 'skipped') return outcome;
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
    if (outcome.result === 'failed' && isOfWorker(outcome.error) && this.takers > unfit.size + run.replicas) {
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
    this.#options.log.warn(facts, 'a copy failed: its bytes are read from the origin');
    return this.#loadAt(run, member, segment, { hasty: false });
  }

  async #loadAt(run: FleetRun, member: Member, segment: Segment, how: SegmentHow): Promise<SegmentOutcome | 'lost'> {
    try {
      await run.enter(member);
      const outcome = await member.link.load(run.spec.run, segment, how);
      if (outcome.error?.code !== 'STORE_NO_ROOM') return outcome;
      // It was planned elsewhere: room is reserved there, not here.
      await member.link.reserveMore(run.spec.run, alignUp(segment.length));
      return await member.link.load(run.spec.run, segment, how);
    } catch (error) {
      return isLost(error) ? 'lost' : failedOutcome(reportOf(error));
    }
  }

  // --- places

  /** Who holds a segment, at least one; waits while nobody is there. Rejects when the run is stopped. */
  async #owners(run: FleetRun, path: string, index: number, unfit?: ReadonlySet<WorkerId>): Promise<readonly Member[]> {
    for (;;) {
      if (run.stopped) throw new PrimedError('STOPPED', `${path}: the load was stopped`, { path });
      const owners = this.#place(run, path, index, unfit);
      if (owners.length > 0) return owners;
      await run.change('no worker is there that takes new segments');
    }
  }

  #place(run: FleetRun, path: string, index: number, unfit?: ReadonlySet<WorkerId>): readonly Member[] {
    return this.#options.placement.owners(path, index, run.replicas, unfit);
  }

  #run(runId: RunId): FleetRun {
    const run = this.#runs.get(runId);
    if (run === undefined) throw new PrimedError('INTERNAL', `run ${runId} was not started`);
    return run;
  }

  // --- what is there

  async #survey(run: FleetRun, load: LoadId, entries: readonly ManifestEntry[], need: Need): Promise<CachedFile[]> {
    const { reuse } = run.spec;
    const asked = new Map<Member, { segments: Segment[]; file: number[] }>();
    entries.forEach((entry, file) => {
      for (const segment of segmentsOf(entry, this.#segmentBytesOf(run, entry))) {
        for (const member of this.#place(run, entry.path, segment.index)) {
          const of = asked.get(member) ?? { segments: [], file: [] };
          asked.set(member, of);
          of.segments.push(segment);
          of.file.push(file);
        }
      }
    });
    const found = entries.map(() => ({ complete: true, replicas: 0, best: new Map<number, number>(), ours: false }));
    await Promise.all(
      Array.from(asked, async ([member, { segments, file }]) => {
        const cached = await cachedAt(member, load, segments);
        segments.forEach((segment, at) => {
          const { complete, bytes, ours } = cached[at]!;
          const whole = found[file[at]!]!;
          whole.replicas += 1;
          whole.complete &&= complete;
          whole.ours ||= ours;
          whole.best.set(segment.index, Math.max(bytes, whole.best.get(segment.index) ?? 0));
          const usable = reuse === 'any' || ours ? bytes : 0;
          const missing = complete && usable === segment.length ? 0 : Math.max(0, alignUp(segment.length) - usable);
          if (missing > 0) need.set(member.id, (need.get(member.id) ?? 0) + missing);
        });
      }),
    );
    return found.map(({ complete, replicas, best, ours }, at) => {
      const entry = entries[at]!;
      const wanted = segmentCount(entry.sizeBytes, this.#segmentBytesOf(run, entry)) * run.replicas;
      let bytes = 0;
      for (const some of best.values()) bytes += some;
      return { complete: complete && replicas >= wanted, bytes, ours };
    });
  }
}

/** A worker that is lost while it is asked has nothing. */
async function cachedAt(member: Member, load: LoadId, segments: readonly Segment[]): Promise<readonly CachedSegment[]> {
  try {
    return await member.link.cached(load, segments);
  } catch (error) {
    if (!isLost(error)) throw error;
    return segments.map(() => ({ complete: false, bytes: 0, ours: false }));
  }
}

function isLost(error: unknown): boolean {
  return error instanceof PrimedError && error.code === 'WORKER_LOST';
}

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

function sumOf(verdict: SegmentOutcome, segments: Iterable<SegmentOutcome>): SegmentOutcome {
  let { loadedBytes, skippedBytes } = verdict;
  for (const segment of segments) {
    loadedBytes += segment.loadedBytes;
    skippedBytes += segment.skippedBytes;
  }
  const result = verdict.result === 'loaded' && loadedBytes === 0 && skippedBytes > 0 ? 'skipped' : verdict.result;
  return { ...verdict, result, loadedBytes, skippedBytes };
}

function together({ path }: ManifestEntry, outcomes: readonly VerifyOutcome[]): VerifyOutcome {
  const checkedBytes = outcomes.reduce((sum, outcome) => sum + outcome.checkedBytes, 0);
  const wholeObject = outcomes.find((one) => one.wholeObject !== 'unavailable')?.wholeObject ?? 'unavailable';
  return { path, ok: true, checkedBytes, badPages: 0, wholeObject };
}

function append<K, V>(map: Map<K, V[]>, key: K, value: V): void {
  const values = map.get(key);
  if (values === undefined) map.set(key, [value]);
  else values.push(value);
}

export function emptyProgress(): RunProgress {
  return { receivedBytes: 0, durableBytes: 0, retries: 0, partsInFlight: 0, ledger: emptyLedger() };
}
