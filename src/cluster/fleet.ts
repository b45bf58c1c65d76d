/**
 * The workers together, as one that loads files.
 *
 * Who is in it: the Fleet begins and ends runs on every worker. Places (fleet-places) asks the ring where each segment of a
 * file belongs; FileLoads (fleet-file) cuts a file and answers for it when every segment is durable as often as was asked;
 * SegmentLoads (fleet-segment) has one worker fetch a segment and the other replicas copy it from there. fleet-survey says
 * what is cached, FleetRun what a run has come to. Members says who is live; a WorkerLink is how each is spoken to.
 *
 * Who waits for whom: a file waits for its segments; a segment for its worker or, while no worker is live, for one to join.
 * A worker that is lost ends its calls at once (its link does), and its segments are placed anew. A worker that is slow holds
 * up its own segments only.
 *
 * What survives a crash: what the workers have made durable. The Fleet remembers nothing; it asks.
 */
import { PrimedError } from '../core/errors.ts';
import type { LimitSums } from '../core/limit-causes.ts';
import type { LoadId, Log, ManifestEntry, RunId } from '../core/types.ts';
import type { FileOutcome, RoomOrder, RunProgress, RunSpec, WorkerRoom } from '../ingest/types.ts';
import type { Origins } from '../origin/types.ts';
import { currentSpan } from '../telemetry/trace.ts';
import { type FileHow, FileLoads, type FileOrder } from './fleet-file.ts';
import { type FileClaim, Places } from './fleet-places.ts';
import { FleetPlan } from './fleet-plan.ts';
import { emptyProgress, FleetRun } from './fleet-run.ts';
import { type CachedFile, type Holders, type SurveyHow, survey } from './fleet-survey.ts';
import { type FileVerdict, verifyFile } from './fleet-verify.ts';
import { append } from './grouping.ts';
import type { Member, Members, Placement } from './members.ts';
import type { Need } from './need.ts';
import { PathTurns } from './path-turns.ts';
import { PlainLoad, PlainLoads } from './plain-load.ts';
import { failureOfAll } from './plan-members.ts';
import { isWorkerGone, isWorkerLost, type WorkerId, type WorkerLink } from './worker-link.ts';

export interface FleetOptions {
  readonly members: Members;
  readonly placement: Placement;
  readonly origins: Pick<Origins, 'head'>;
  /** How often a file that changes at the origin starts anew. */
  readonly maxRestarts: number;
  readonly log: Log;
  /** Larger segments are copied as they arrive at their source; by default those of several parts. */
  readonly followedAboveBytes?: number;
  /** Before it, workers that are on their way back are not yet seen. */
  readonly settled?: Promise<void>;
}

export class Fleet {
  readonly #options: FleetOptions;
  readonly #runs = new Map<RunId, FleetRun>();
  readonly #turns = new PathTurns();
  readonly #places: Places;
  readonly #files: FileLoads;
  readonly #plain: PlainLoads;
  readonly #unsubscribe: () => void;

  constructor(options: FleetOptions) {
    this.#options = options;
    const { origins, maxRestarts, log } = options;
    this.#places = new Places(options);
    this.#files = new FileLoads({
      ...{ places: this.#places, origins, maxRestarts, log },
      reserveMore: (run, need) => this.#reserveMore(run, need),
    });
    this.#plain = new PlainLoads(this.#files, this.#turns);
    this.#unsubscribe = options.members.onChange(() => {
      this.#places.membersChanged();
      for (const run of this.#runs.values()) run.membersChanged(options.members.live());
    });
  }

  /** Resolves when what the workers have can be asked for. */
  settled(): Promise<void> {
    return this.#options.settled ?? Promise.resolve();
  }

  /** Workers that a new segment may be placed on. */
  get takers(): number {
    return this.#places.takers;
  }

  /** Who is there now, for what is asked of every worker rather than placed. */
  get members(): Pick<Members, 'live' | 'absent' | 'onChange'> {
    return this.#options.members;
  }

  /** Idempotent for a run id. Resolves when every live worker knows the run. */
  async startRun(spec: RunSpec, replicas: number): Promise<void> {
    if (this.#runs.has(spec.run)) return;
    const trace = currentSpan().traceparent;
    const run = new FleetRun(trace === undefined ? spec : { ...spec, trace }, replicas);
    this.#plain.runBegins([...this.#runs.values()].some(({ ended }) => !ended));
    this.#runs.set(spec.run, run);
    const live = this.#places.live();
    const entered = await Promise.allSettled(live.map((member) => run.enter(member)));
    checkAll(entered);
  }

  /**
   * What is cached of each file, and what room the rest of it needs where it belongs.
   * @param how.load whose it may be; by default that of the run
   * @param how.elsewhere whether other workers are asked for what is missing there; by default they are not
   */
  async survey(
    runId: RunId,
    entries: readonly ManifestEntry[],
    how: Partial<SurveyHow> = {},
  ): Promise<{ files: CachedFile[]; need: Need }> {
    const run = this.#run(runId);
    return survey(this.#places, run, entries, { load: run.spec.load, elsewhere: false, ...how });
  }

  /** Gives back what earlier loads have left half loaded of these files, and this run would not use. */
  async makeRoom(runId: RunId, entries: readonly ManifestEntry[]): Promise<void> {
    const run = this.#run(runId);
    const made = await Promise.allSettled(
      this.#places.live().map(async (member) => {
        await run.enter(member);
        await member.link.makeRoom(runId, entries);
      }),
    );
    checkAll(made);
  }

  /** Bytes that files take, of which nothing is there. */
  needOf(runId: RunId, entries: readonly ManifestEntry[]): Need {
    const run = this.#run(runId);
    const need: Need = new Map();
    for (const entry of entries) this.#places.addNeed(run, entry, 1, need);
    return need;
  }

  /** A load that is not made. */
  plan(order: ConstructorParameters<typeof FleetPlan>[1]): FleetPlan {
    return new FleetPlan(this.#places, order);
  }

  /**
   * What room each worker has that takes new segments, for so many bytes there, and what it would evict. Rejects where one of
   * them does not say so, with WORKER_REFUSED for all that are of a release without plans.
   */
  async rooms(need: Need, how: Omit<RoomOrder, 'bytes'>): Promise<Map<WorkerId, WorkerRoom>> {
    const takers = this.#places.live().filter(({ takes }) => takes);
    const ask = async ({ id, link }: Member): Promise<[WorkerId, WorkerRoom]> => {
      return [id, await link.room({ ...how, bytes: need.get(id) ?? 0 })];
    };
    const asked = await Promise.allSettled(takers.map(ask));
    const failed = asked.filter((one) => one.status === 'rejected');
    if (failed.length > 0) throw failureOfAll(failed.map(({ reason }) => reason));
    return new Map(asked.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : [])));
  }

  /** Rejects with STORE_NO_ROOM, naming the worker; then nothing changed. */
  async reserveMore(runId: RunId, need: Need): Promise<void> {
    await this.#reserveMore(this.#run(runId), need);
  }

  /**
   * For files of which nothing is there any more, or not all: room for what is missing where it belongs, and how each is loaded,
   * from who has it rather than from the origin. Rejects with STORE_NO_ROOM.
   */
  async roomAgain(runId: RunId, entries: readonly ManifestEntry[]): Promise<FileHow[]> {
    await this.makeRoom(runId, entries);
    const { files, need } = await this.survey(runId, entries, { elsewhere: true });
    await this.reserveMore(runId, need);
    return files.map(({ holders }) => (holders === undefined ? { hasty: false } : { hasty: false, holders }));
  }

  /**
   * Resolves when the file is durable as often as asked, given up, set aside, or stopped. Never rejects. A path has one
   * loader at a time, over all runs: who comes second waits, and then finds the file complete, or loads it anew.
   */
  load(runId: RunId, entry: ManifestEntry, how: FileHow): Promise<FileOutcome> {
    const run = this.#run(runId);
    return this.#turns.take(entry.path, run.signal, () => this.#files.load(run, entry, how));
  }

  /** The same for very many files: for most of them without a promise. `ended` is called once, after this has returned. */
  begin<T extends FileOrder>(runId: RunId, file: T, ended: (outcome: FileOutcome, file: T) => void): void {
    const run = this.#run(runId);
    const { entry, how, claim } = file;
    const worker = how.holders === undefined ? this.#places.plainly(run, entry, claim) : undefined;
    if (worker !== undefined && new PlainLoad(this.#plain, run, file, worker, ended).begin()) return;
    void this.load(runId, entry, how).then((outcome) => ended(outcome, file));
  }

  /** Which workers a file will keep busy, and who is to have it. */
  claimOf(runId: RunId, entry: ManifestEntry): FileClaim {
    return this.#places.claimOf(this.#run(runId), entry);
  }

  /** Size, ETag and times, on the worker that the path belongs to. */
  async loadMetadata(runId: RunId, entries: readonly ManifestEntry[]): Promise<void> {
    const run = this.#run(runId);
    let left = entries;
    while (left.length > 0) {
      const byMember = new Map<Member, ManifestEntry[]>();
      for (const entry of left) {
        for (const member of await this.#places.owners(run, entry.path, 0)) append(byMember, member, entry);
      }
      const lost: ManifestEntry[] = [];
      await Promise.all(
        Array.from(byMember, async ([member, some]) => {
          try {
            await run.enter(member);
            await member.link.loadMetadata(runId, some);
          } catch (error) {
            if (!isWorkerLost(error)) throw error;
            lost.push(...some);
          }
        }),
      );
      left = [...new Set(lost)];
    }
  }

  /** Who has a file as often as asked, besides those it belongs to; undefined: some of it is missing. */
  async whereabouts(runId: RunId, file: ManifestEntry, load?: LoadId): Promise<Holders | undefined> {
    const how = { elsewhere: true, ...(load === undefined ? {} : { load }) };
    const [found] = (await this.survey(runId, [file], how)).files;
    return found?.held === true ? (found.holders ?? new Map()) : undefined;
  }

  /** Every page on every replica, and the whole object as far as the origin states a checksum that can be joined. Never rejects. */
  async verify(runId: RunId, file: ManifestEntry, holders: Holders): Promise<FileVerdict> {
    return verifyFile(this.#places, this.#options.origins, this.#run(runId), file, holders);
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
        this.#options.log.warn(
          { run: runId, jobId: run.spec.job, error: String(one.reason) },
          'a worker did not end its run: it drops what it has under way at the end of its lease',
        );
    run.ended = true;
  }

  progress(runId: RunId): RunProgress {
    return this.#runs.get(runId)?.progress() ?? emptyProgress();
  }

  /** What each worker says that its part of the run was waiting for, in milliseconds that only grow. */
  limits(runId: RunId): ReadonlyMap<WorkerId, LimitSums> {
    return this.#runs.get(runId)?.limits() ?? new Map();
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

  async #reserveMore(run: FleetRun, need: Need): Promise<void> {
    const runId = run.spec.run;
    const done: { link: WorkerLink; bytes: number }[] = [];
    const results = await Promise.allSettled(
      this.#places.live().map(async (member) => {
        const bytes = need.get(member.id) ?? 0;
        if (bytes === 0) return;
        await run.enter(member);
        await member.link.reserveMore(runId, bytes);
        done.push({ link: member.link, bytes });
      }),
    );
    const refused = results.find((one) => one.status === 'rejected' && !isWorkerGone(one.reason));
    if (refused === undefined) return;
    await Promise.allSettled(done.map(({ link, bytes }) => link.reserveMore(runId, -bytes)));
    throw (refused as PromiseRejectedResult).reason;
  }

  #run(runId: RunId): FleetRun {
    const run = this.#runs.get(runId);
    if (run === undefined) throw new PrimedError('INTERNAL', `run ${runId} was not started`);
    return run;
  }
}

/** Some workers may be gone, or not let this coordinator in, so long as others did what they were asked for. */
function checkAll(results: readonly PromiseSettledResult<unknown>[]): void {
  const failed = results.filter((one) => one.status === 'rejected');
  const bad = failed.find(({ reason }) => !isWorkerGone(reason));
  if (bad !== undefined) throw bad.reason;
  const refusal = failed.find(({ reason }) => !isWorkerLost(reason));
  if (refusal !== undefined && failed.length === results.length) throw refusal.reason;
}
