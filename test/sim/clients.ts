/** Who submits loads, waits for them, stops some; and what must be true of a job at the moment of its end. */
import type { JobService } from '../../src/cluster/types.ts';
import { PrimedError } from '../../src/core/errors.ts';
import type { JobSnapshot } from '../../src/core/job.ts';
import { defaultLoadOptions } from '../../src/core/load-options.ts';
import { ledgerDifference, type ManifestEntry, type RunId } from '../../src/core/types.ts';
import { pageBytes } from '../../src/core/units.ts';
import { pageLengthOf } from '../support/store-model.ts';
import type { Cluster } from './cluster.ts';
import type { CoordinatorNode } from './coordinator-node.ts';
import type { World } from './world.ts';

export interface JobPlan {
  readonly path: string;
  readonly replicas: number;
  readonly skipIfExists: boolean;
  readonly partialListing: boolean;
  readonly verify: boolean;
  readonly loadMetadataOnly: boolean;
  readonly batchSize: number;
  readonly segmentBytes: number;
  readonly submitMs: number;
  readonly stopAfterMs: number | undefined;
  /** What was loaded is removed so long after the end. */
  readonly freeAfterMs: number | undefined;
}

/** What a client asks the coordinator again after. */
const retryMs = 300;
/** A worker that was lost so shortly before the end of a job may still be counted by that. */
const noticeMs = 6_000;
const endedStates: readonly string[] = ['SUCCEEDED', 'FAILED', 'STOPPED'];
/** What a submission may be refused with, and is tried again after. */
const refusals: readonly string[] = ['OPTION_UNSUPPORTED', 'STOPPING', 'JOB_CONFLICT', 'ETCD_UNAVAILABLE'];
/** What files may fail with, if the world did it to them. */
const codesOfChange: readonly string[] = ['ORIGIN_CHANGED'];

export class Client {
  readonly plan: JobPlan;
  readonly #cluster: Cluster;
  readonly #world: World;
  jobId: string | undefined;
  /** Number of versions that each object had when the job was accepted last. */
  readonly #versionsBefore = new Map<string, number>();
  #checked = false;
  end: JobSnapshot | undefined;
  #stopAsked = false;
  stopped: boolean | undefined;
  freed = false;
  #freeId: string | undefined;

  constructor(plan: JobPlan, cluster: Cluster) {
    this.plan = plan;
    this.#cluster = cluster;
    this.#world = cluster.world;
    this.#world.after(plan.submitMs, undefined, () => this.#submit());
  }

  get done(): boolean {
    if (this.plan.freeAfterMs !== undefined && !this.freed) return false;
    return (
      this.end !== undefined && (this.plan.stopAfterMs === undefined || !this.#stopAsked || this.stopped !== undefined)
    );
  }

  /** A coordinator that has come (back). */
  watch(jobs: JobService): void {
    if (this.#cluster.etcd !== undefined) return;
    this.#watchFree(jobs);
    if (this.jobId === undefined || this.end !== undefined) return;
    const job = jobs.byId(this.jobId);
    if (job === undefined) {
      this.#world.wrong(`job ${this.jobId}, which was accepted, is not known after a restart`);
      return;
    }
    if (endedStates.includes(job.state)) this.#ended(job);
    else
      void jobs.ended(this.jobId).then(
        (end) => this.#ended(end),
        () => undefined,
      );
  }

  /** Where there are several coordinators, whichever is there is asked again and again. */
  #poll(): void {
    if (this.end !== undefined && (this.#freeId === undefined || this.freed)) return;
    const act = (jobs: JobService): void => {
      // Until etcd has told it of the jobs it says nothing about them.
      if (jobs.trouble() !== undefined) return;
      const job = this.jobId === undefined ? undefined : jobs.byId(this.jobId);
      if (job !== undefined && endedStates.includes(job.state)) this.#ended(job);
      const free = this.#freeId === undefined ? undefined : jobs.byId(this.#freeId);
      if (free !== undefined && endedStates.includes(free.state)) this.#freeEnded(free);
    };
    this.#ask(act, retryMs, () => this.#poll());
  }

  // --- what it does

  /** In the coordinator's process, and `again` when there is none, or no answer in time. */
  #ask(act: (jobs: JobService, coordinator: CoordinatorNode) => void, answerMs: number, again: () => void): void {
    const { coordinator, network } = this.#cluster;
    const { process, jobs } = coordinator;
    if (process === undefined || !coordinator.up || jobs === undefined) {
      this.#world.after(retryMs, undefined, again);
      return;
    }
    this.#world.after(answerMs, undefined, again);
    this.#world.after(network.latencyMs(), process, () => {
      if (coordinator.jobs !== undefined) act(coordinator.jobs, coordinator);
    });
  }

  #submit(): void {
    if (this.jobId !== undefined) return;
    const again = (): void => this.#submit();
    const { path, submitMs: _, stopAfterMs: __, freeAfterMs: ___, ...options } = this.plan;
    const act = (jobs: JobService): void => {
      for (const [name, { versions }] of this.#cluster.bucket.objects) this.#versionsBefore.set(name, versions.length);
      jobs.submit({ kind: 'path', path }, { ...defaultLoadOptions, ...options }).then(
        ({ jobId }) => {
          if (this.jobId !== undefined) return;
          this.jobId = jobId;
          this.#world.log(`client: ${path} is job ${jobId.slice(0, 8)}`);
          this.watch(jobs);
          if (this.#cluster.etcd !== undefined) this.#poll();
          this.#planStop();
          this.#cluster.accepted();
        },
        (error: unknown) => {
          if (!(error instanceof PrimedError)) this.#world.wrong(`a submission ended with ${String(error)}`);
          else if (!isRefusal(error)) this.#world.wrong(`a submission was refused: ${error.code}: ${error.message}`);
        },
      );
    };
    this.#ask(act, 2000, again);
  }

  #planStop(): void {
    const { stopAfterMs } = this.plan;
    if (stopAfterMs !== undefined) this.#world.after(stopAfterMs, undefined, () => this.#stop());
  }

  #stop(): void {
    if (this.end !== undefined && !this.#stopAsked) return;
    if (this.stopped !== undefined) return;
    this.#stopAsked = true;
    const again = (): void => this.#stop();
    const act = (jobs: JobService, { stoodStill }: CoordinatorNode): void => {
      const calm = this.#world.nowMs >= this.#cluster.calmFromMs;
      const fromMs = this.#world.nowMs;
      jobs.stop(this.plan.path).then(
        (stopped) => {
          if (this.stopped !== undefined) return;
          this.stopped = stopped;
          const toMs = this.#world.nowMs;
          const tookMs = toMs - fromMs - stoodStill.withinMs({ fromMs, toMs });
          // Two limits of 5 s follow each other where a worker is not reached, and the job store is written to.
          const limitMs = this.#cluster.etcd !== undefined ? 25_000 : calm ? 2_000 : 11_000;
          if (tookMs > limitMs) this.#world.wrong(`a stop took ${Math.round(tookMs)} ms`);
          this.#world.log(`client: stop of ${this.plan.path}: ${stopped}`);
        },
        (error: unknown) => {
          // Asked again. To who stood still meanwhile it looks as if nobody had carried it out.
          const stoodMs = stoodStill.withinMs({ fromMs, toMs: this.#world.nowMs });
          if (!isRefusal(error) && !(stoodMs > 0 && error instanceof PrimedError && error.code === 'STOP_PENDING'))
            this.#world.wrong(`a stop ended with ${String(error)}`);
        },
      );
    };
    this.#ask(act, 15_000, again);
  }

  #planFree(): void {
    const { freeAfterMs } = this.plan;
    if (freeAfterMs !== undefined) this.#world.after(freeAfterMs, undefined, () => this.#free());
  }

  #free(): void {
    if (this.#freeId !== undefined) return;
    const act = (jobs: JobService): void => {
      jobs.free(this.plan.path, { dryRun: false }).then(
        ({ jobId }) => {
          if (this.#freeId !== undefined) return;
          this.#freeId = jobId;
          if (this.#cluster.etcd === undefined) this.#watchFree(jobs);
          else this.#poll();
        },
        (error: unknown) => {
          // The stop of the load may be under way yet.
          if (!isRefusal(error)) this.#world.wrong(`a free was refused: ${String(error)}`);
        },
      );
    };
    this.#ask(act, 2000, () => this.#free());
  }

  #watchFree(jobs: JobService): void {
    if (this.#freeId === undefined || this.freed) return;
    const job = jobs.byId(this.#freeId);
    if (job === undefined) this.#world.wrong(`the free job ${this.#freeId} is not known after a restart`);
    else if (endedStates.includes(job.state)) this.#freeEnded(job);
    else
      void jobs.ended(this.#freeId).then(
        (end) => this.#freeEnded(end),
        () => undefined,
      );
  }

  #freeEnded({ state, reason = '' }: JobSnapshot): void {
    if (this.freed) return;
    this.freed = true;
    this.#world.log(`client: free of ${this.plan.path} ${state} ${reason}`);
    if (state === 'STOPPED') this.#world.wrong('a free is STOPPED that nobody stopped');
    // Workers that were not there keep what they have, and the job says so.
    if (state !== 'SUCCEEDED') return;
    const { workers, coordinators } = this.#cluster;
    for (const { id, store } of workers) {
      if (!coordinators.every((one) => one.isMember(id))) continue;
      const left = store.below(this.plan.path);
      if (left > 0) this.#world.wrong(`${this.plan.path} was freed, and ${left} files of it are on ${id}`);
    }
  }

  // --- what must be true

  #ended(job: JobSnapshot): void {
    if (this.#checked) return;
    this.#checked = true;
    this.end = job;
    const world = this.#world;
    world.log(`client: job ${job.jobId.slice(0, 8)} ${job.state} ${job.reason ?? ''}`);
    this.#cluster.runEnded(job.runId);
    this.#planFree();
    const { state, reason = '' } = job;
    if (/defect of primed/.test(reason)) world.wrong(`${state}: ${reason}`);
    if (ledgerDifference(job.ledger) !== 0)
      world.wrong(`the ledger of ${job.jobId} does not balance: ${JSON.stringify(job.ledger)}`);
    const sent = this.#cluster.bucket.sentByRun.get(job.runId) ?? 0;
    if (!this.plan.verify && job.ledger.originBytes > sent)
      world.wrong(`the ledger has ${job.ledger.originBytes} bytes from the origin, which sent ${sent}`);
    this.#checkCached(job);
    this.#checkSkipped(job);
    this.#checkCost(job.runId, sent);
    if (state === 'SUCCEEDED') this.#checkSuccess(job);
    else if (state === 'FAILED') this.#checkFailure(job);
    else if (state === 'STOPPED' && !this.#stopAsked) world.wrong('a job is STOPPED that nobody stopped');
  }

  #checkSuccess(job: JobSnapshot): void {
    const world = this.#world;
    const { path, replicas, loadMetadataOnly } = this.plan;
    if (job.failedFiles > 0 || job.failures.length > 0) world.wrong('SUCCEEDED with failed files');
    let files = 0;
    for (const object of this.#cluster.bucket.objects.values()) {
      if (!object.path.startsWith(path) || object.gone) continue;
      files += 1;
      if (loadMetadataOnly) continue;
      const first = (this.#versionsBefore.get(object.path) ?? 1) - 1;
      const versions = object.versions.slice(first);
      const held = versions.map((version) => this.#replicasOf(version, this.#endedMs(job.endedAtMs) - noticeMs));
      if (Math.max(...held) < replicas) {
        world.wrong(
          `SUCCEEDED, and ${object.path} (${versions.map(({ etag }) => etag).join()}) is on ${held.join()} workers, not ${replicas}`,
        );
      }
    }
    if (job.totalFiles !== undefined && job.totalFiles < files)
      world.wrong(`SUCCEEDED with ${job.totalFiles} files of ${files}`);
  }

  /** What the ledger calls cached is on workers that were there when the job ended. */
  #checkCached({ runId, ledger, endedAtMs }: JobSnapshot): void {
    if (this.plan.verify) return;
    const { workers, etcd } = this.#cluster;
    // Whoever ended it may not have heard yet what another coordinator has.
    const sinceMs = this.#endedMs(endedAtMs) - (etcd === undefined ? 5 : noticeMs);
    let durable = 0;
    for (const { id, store } of workers)
      if (this.#cluster.wasMember(id, sinceMs)) durable += store.model.ledger(runId).cachedBytes;
    if (ledger.cachedBytes > durable)
      this.#world.wrong(`the ledger has ${ledger.cachedBytes} bytes cached, and the workers ${durable}`);
  }

  /** What a job loaded is not reported as skipped: of that, somebody else has fetched every byte. */
  #checkSkipped({ jobId, runId, skippedFiles, skippedBytes }: JobSnapshot): void {
    if (this.plan.loadMetadataOnly || skippedFiles + skippedBytes === 0) return;
    let files = 0;
    let bytes = 0;
    for (const { path } of this.#cluster.bucket.objects.values()) {
      if (!path.startsWith(this.plan.path)) continue;
      const pages = new Map<number, number>();
      let others = false;
      for (const { store } of this.#cluster.workers)
        for (const file of [store.model.visible.get(path), store.model.loading.get(path)]) {
          if (file === undefined) continue;
          others ||= 'madeBy' in file && file.madeBy !== runId;
          for (const [page, by] of file.pages) if (by !== runId) pages.set(page, pageLengthOf(file.entry, page));
        }
      if (pages.size > 0 || others) files += 1;
      for (const length of pages.values()) bytes += length;
    }
    if (skippedFiles > files || skippedBytes > bytes)
      this.#world.wrong(
        `${jobId} has skipped ${skippedFiles} files and ${skippedBytes} bytes, and others have loaded ${files} and ${bytes}`,
      );
  }

  /** The fewest live workers that show any page of it. */
  #replicasOf(version: ManifestEntry, sinceMs: number): number {
    const { workers } = this.#cluster;
    const live = workers.filter(({ id }) => this.#cluster.wasMember(id, sinceMs));
    const range = (page: number) => ({
      offset: page * pageBytes,
      length: Math.min(pageBytes, version.sizeBytes - page * pageBytes),
    });
    const pages = Math.max(1, Math.ceil(version.sizeBytes / pageBytes));
    let fewest = Number.POSITIVE_INFINITY;
    for (let page = 0; page < pages; page += 1) {
      const count = live.filter(({ store }) => store.shows(version, range(page))).length;
      fewest = Math.min(fewest, count);
    }
    return fewest;
  }

  #checkCost(run: RunId, sentBytes: number): void {
    const { onlyDeaths, bucket, costs } = this.#cluster;
    if (!onlyDeaths || this.plan.verify) return;
    let onceBytes = 0;
    for (const { path, versions } of bucket.objects.values())
      if (path.startsWith(this.plan.path)) onceBytes += versions.at(-1)!.sizeBytes;
    const mostBytes = onceBytes + costs.allowedBytes(run);
    if (sentBytes > mostBytes)
      this.#world.wrong(
        `${sentBytes} bytes left the origin: ${onceBytes} once, and ${costs.allowedBytes(run)} were lost`,
      );
  }

  /** What is true of a job was true when it ended; while etcd is away that is told later. */
  #endedMs(endedAtMs: number | undefined): number {
    return Math.min(endedAtMs! - this.#world.startMs, this.#world.nowMs);
  }

  #checkFailure(job: JobSnapshot): void {
    const world = this.#world;
    const { reason = '', failures } = job;
    if (failures.length === 0 && !this.#mayFailAsAWhole(reason)) world.wrong(`FAILED, and nothing did: ${reason}`);
    for (const { path, code, message } of failures) {
      if (!this.#mayFail(path, code)) world.wrong(`${path} failed, and nothing was wrong with it: ${code}: ${message}`);
    }
  }

  #mayFailAsAWhole(reason: string): boolean {
    if (this.#cluster.tight && reason.startsWith('STORE_NO_ROOM')) return true;
    // Several faults of listings may together be more than a page has attempts.
    if (this.#cluster.bucket.listingFaults > 1 && reason.startsWith('ORIGIN_SERVER_ERROR')) return true;
    const objects = [...this.#cluster.bucket.objects.values()].filter(({ path }) => path.startsWith(this.plan.path));
    return reason.startsWith('ORIGIN_NOT_FOUND') && objects.every(({ gone }) => gone);
  }

  #mayFail(path: string, code: string): boolean {
    const object = this.#cluster.bucket.objects.get(path);
    if (code === 'WORKERS_SHORT') return this.#cluster.fewestTakers < this.plan.replicas;
    if (code === 'STORE_NO_ROOM') return this.#cluster.tight;
    if (object === undefined) return false;
    if (code === 'ORIGIN_NOT_FOUND') return object.gone;
    if (codesOfChange.includes(code))
      return object.versions.length > 3 || (object.versions.length > 1 && this.#cluster.options.onChange === 'fail');
    const { trouble } = object;
    return trouble?.kind === 'poison' && trouble.code === code;
  }
}

/** So too while the end of a stop before it cannot be heard. */
function isRefusal(error: unknown): boolean {
  if (!(error instanceof PrimedError)) return false;
  return refusals.includes(error.code) || (error.code === 'STOP_PENDING' && /is not known here/.test(error.message));
}
