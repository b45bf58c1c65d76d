/**
 * A load that is not made: who would fetch which part of a file from whom, by the code that makes loads (Places, the survey,
 * core/segment-plan, and what workers say they miss), where nothing fails.
 *
 * Workers are asked about files only where something of them may be there: else all of each is missing where it belongs. What
 * is asked changes nothing there. Nothing is kept of a file once it is counted.
 */
import type { LoadOptions } from '../core/job.ts';
import { allSteps, type Step } from '../core/segment-plan.ts';
import { type Segment, segmentsOf } from '../core/segments.ts';
import type { ManifestEntry } from '../core/types.ts';
import { alignUp, defaultPartBytes } from '../core/units.ts';
import type { MissingParts, RunSpec, WorkerRoom } from '../ingest/types.ts';
import { headsToVerify } from '../ingest/verify-heads.ts';
import { missingRanges } from '../store/layout.ts';
import type { CountRequests } from './counted-origins.ts';
import type { Places } from './fleet-places.ts';
import { FleetRun } from './fleet-run.ts';
import { type CachedFile, survey } from './fleet-survey.ts';
import { append } from './grouping.ts';
import { countsAsThere } from './load-choice.ts';
import type { Member } from './members.ts';
import { addNeed, type Need, needAt } from './need.ts';
import type { WorkerId } from './worker-link.ts';

export interface PlannedFetches {
  skippedFiles: number;
  skippedBytes: number;
  loadedFiles: number;
  loadedBytes: number;
  copies: number;
  copiedBytes: number;
  readonly bytesAt: Map<WorkerId, number>;
  readonly originBytesAt: Map<WorkerId, number>;
  readonly need: Need;
}

interface Question {
  readonly member: Member;
  readonly segment: Segment;
  missing?: MissingParts;
}

/** Where a worker is to get a segment, and what it misses of it. */
interface PlannedStep {
  readonly step: Step<Member>;
  readonly segment: Segment;
  readonly question: Question;
}

interface PlannedFile {
  readonly entry: ManifestEntry;
  readonly steps: readonly PlannedStep[];
  /** It is left as it is. */
  readonly there: boolean;
}

export class FleetPlan {
  readonly #places: Places;
  readonly #run: FleetRun;
  readonly #options: LoadOptions;
  readonly #mayBeThere: boolean;
  readonly #rooms: ReadonlyMap<WorkerId, WorkerRoom>;
  readonly #countRequests: CountRequests;
  readonly planned: PlannedFetches = {
    ...{ skippedFiles: 0, skippedBytes: 0, loadedFiles: 0, loadedBytes: 0, copies: 0, copiedBytes: 0 },
    bytesAt: new Map(),
    originBytesAt: new Map(),
    need: new Map(),
  };

  /** @param order.rooms of every worker that is live */
  constructor(
    places: Places,
    order: {
      readonly spec: RunSpec;
      readonly options: LoadOptions;
      readonly mayBeThere: boolean;
      readonly rooms: ReadonlyMap<WorkerId, WorkerRoom>;
      readonly count: CountRequests;
    },
  ) {
    this.#places = places;
    this.#run = new FleetRun(order.spec, order.options.replicas);
    this.#options = order.options;
    this.#mayBeThere = order.mayBeThere;
    this.#rooms = order.rooms;
    this.#countRequests = order.count;
  }

  /** Counts a page of files. Rejects where a worker fails, and with WORKER_LOST: what was counted is of other workers then. */
  async add(entries: readonly ManifestEntry[]): Promise<void> {
    const { loadMetadataOnly } = this.#options;
    if (!this.#mayBeThere && !loadMetadataOnly) {
      for (const entry of entries) if (!this.#countPlainly(entry)) this.#countWhole(entry);
      return;
    }
    const how = { load: this.#run.spec.load, elsewhere: !loadMetadataOnly };
    const found = await survey(this.#places, this.#run, entries, how);
    if (loadMetadataOnly) {
      for (const { complete } of found.files) this.#count(complete, 0, 0);
      return;
    }
    const files = entries.map((entry, at) => this.#fileOf(entry, found.files[at]));
    await this.#ask(files);
    addNeed(this.planned.need, found.need);
    for (const file of files) this.#countFile(file);
  }

  /** What most files are: small, on one worker, and of which nothing is there. False: it is another kind of file. */
  #countPlainly(entry: ManifestEntry): boolean {
    const { path, sizeBytes } = entry;
    const { replicas, verify } = this.#options;
    if (replicas > 1 || verify || sizeBytes > this.#places.segmentBytesOf(this.#run, entry)) return false;
    const owner = this.#places.of(this.#run, path, 0)[0];
    if (owner === undefined || sizeBytes > this.#partBytesOf(owner)) return false;
    const { planned } = this;
    needAt(planned.need, owner.id, alignUp(sizeBytes));
    planned.loadedFiles += 1;
    if (sizeBytes === 0) return true;
    planned.loadedBytes += sizeBytes;
    needAt(planned.bytesAt, owner.id, sizeBytes);
    needAt(planned.originBytesAt, owner.id, sizeBytes);
    this.#countRequests(path, 'wholeGet', 1, sizeBytes);
    return true;
  }

  /** Nothing of the file is there. */
  #countWhole(entry: ManifestEntry): void {
    this.#places.addNeed(this.#run, entry, 1, this.planned.need);
    this.#countFile(this.#fileOf(entry, undefined));
  }

  #fileOf(entry: ManifestEntry, cached: CachedFile | undefined): PlannedFile {
    const there = cached !== undefined && countsAsThere(cached, this.#options);
    const steps: PlannedStep[] = [];
    // What is there is only looked at by a verification.
    if (there && !this.#options.verify) return { entry, steps, there };
    for (const segment of segmentsOf(entry, this.#places.segmentBytesOf(this.#run, entry))) {
      const owners = this.#places.of(this.#run, entry.path, segment.index);
      const sources = cached?.holders?.get(segment.index) ?? [];
      for (const step of allSteps({ owners, sources, follows: this.#places.isFollowed(segment) }))
        steps.push({ step, segment, question: { member: step.worker, segment } });
    }
    return { entry, steps, there };
  }

  /** Each worker gets all of its questions at once. */
  async #ask(files: readonly PlannedFile[]): Promise<void> {
    const asked = new Map<Member, Question[]>();
    for (const { steps } of files) for (const { question } of steps) append(asked, question.member, question);
    const { load, reuse } = this.#run.spec;
    await Promise.all(
      Array.from(asked, async ([member, questions]) => {
        const answers = await member.link.missing(
          { load, reuse },
          questions.map(({ segment }) => segment),
        );
        for (const [at, question] of questions.entries()) question.missing = answers[at]!;
      }),
    );
  }

  #countFile({ entry, steps, there }: PlannedFile): void {
    let loadedBytes = 0;
    let [segment, most] = [-1, 0];
    const lengths = new Map<Member, { bytes: number; heads: number }>();
    for (const one of steps) {
      const { bytes, parts, heads } = one.question.missing ?? this.#allOf(one.segment, one.step.worker);
      if (!there) this.#countStep(entry, one.step, { bytes, parts });
      if (one.segment.index !== segment) {
        loadedBytes += most;
        [segment, most] = [one.segment.index, 0];
      }
      most = Math.max(most, there ? 0 : bytes);
      if (!this.#options.verify) continue;
      const has = lengths.get(one.step.worker)?.bytes ?? 0;
      lengths.set(one.step.worker, { bytes: has + one.segment.length, heads });
    }
    // Of no worker, where nobody is there to get it.
    loadedBytes += !there && steps.length === 0 ? entry.sizeBytes : most;
    if (this.#options.verify) this.#countVerification(entry, lengths);
    this.#count(there, entry.sizeBytes - loadedBytes, loadedBytes);
  }

  #countStep(entry: ManifestEntry, { worker, source }: Step<Member>, missing: { bytes: number; parts: number }): void {
    const { bytes, parts } = missing;
    if (parts === 0) return;
    const { planned } = this;
    needAt(planned.bytesAt, worker.id, bytes);
    if (source !== undefined) {
      planned.copies += parts;
      planned.copiedBytes += bytes;
      return;
    }
    needAt(planned.originBytesAt, worker.id, bytes);
    this.#countRequests(entry.path, parts === 1 && bytes === entry.sizeBytes ? 'wholeGet' : 'rangedGet', parts, bytes);
  }

  /** See fleet-verify: who has all of a file asks by himself; for those who have not, the coordinator does once. */
  #countVerification(
    { path, sizeBytes }: ManifestEntry,
    at: ReadonlyMap<Member, { bytes: number; heads: number }>,
  ): void {
    let heads = 0;
    let apart = false;
    for (const one of at.values()) {
      if (one.bytes === sizeBytes) heads += one.heads;
      else apart = true;
    }
    this.#countRequests(path, 'head', heads + (apart ? 1 : 0), 0);
  }

  #count(there: boolean, skippedBytes: number, loadedBytes: number): void {
    const { planned } = this;
    if (there) planned.skippedFiles += 1;
    else planned.loadedFiles += 1;
    planned.skippedBytes += skippedBytes;
    planned.loadedBytes += loadedBytes;
  }

  /** Nothing is there. */
  #allOf({ file, offset, length }: Segment, worker: Member): MissingParts {
    const partBytes = this.#partBytesOf(worker);
    const small = offset === 0 && length <= partBytes;
    const parts = length === 0 ? 0 : small ? 1 : missingRanges({ offset, length }, partBytes, () => undefined).length;
    return { bytes: length, parts, heads: this.#options.verify ? headsToVerify(file, '', partBytes) : 0 };
  }
  #partBytesOf({ id }: Member): number {
    // One that has joined since is like the others.
    return this.#rooms.get(id)?.partBytes ?? defaultPartBytes;
  }
}
