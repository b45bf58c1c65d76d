/** A coordinator's port with the real routes over jobs that do what a test says, and files in memory. */

import type { AddressInfo } from 'node:net';
import Fastify, { type FastifyInstance } from 'fastify';
import type { ShareRow } from '../../src/cluster/limit-sharing.ts';
import { OriginLimits } from '../../src/cluster/origin-limits.ts';
import { ClusterPins } from '../../src/cluster/pins.ts';
import type { ToldPast } from '../../src/cluster/reading/past.ts';
import type { JobService, SubmitResult } from '../../src/cluster/types.ts';
import type { PrimedError } from '../../src/core/errors.ts';
import {
  countStates,
  type JobSnapshot,
  type JobSource,
  type JobState,
  type JobType,
  type LoadOptions,
} from '../../src/core/job.ts';
import type { LoadPlan } from '../../src/core/load-plan.ts';
import type { Pin } from '../../src/core/retention.ts';
import { bearerAuth } from '../../src/server/auth.ts';
import { RateKeeper, ratesRoute } from '../../src/server/console/rates.ts';
import { installErrorHandler } from '../../src/server/errors.ts';
import { fsApi } from '../../src/server/fs-api.ts';
import { fsHere } from '../../src/server/fs-here.ts';
import { jobApi } from '../../src/server/job-api.ts';
import { pinsApi } from '../../src/server/pins-api.ts';
import { ufsApi } from '../../src/server/ufs-api.ts';
import { whyApi } from '../../src/server/why-api.ts';
import { MemoryFiles } from './memory-files.ts';
import { memoryLimits } from './memory-limits.ts';
import { plannedLoad } from './plan.ts';
import { silent } from './silent.ts';

/** Answers by script; every call is written down. */
export class ScriptedJobs implements JobService {
  readonly submissions: { source: JobSource; options: LoadOptions; alias?: string }[] = [];
  readonly stops: string[] = [];
  readonly plans: { source: JobSource; options: LoadOptions; signal: AbortSignal }[] = [];
  onPlan: (source: JobSource) => Promise<LoadPlan> = async ({ path }) => plannedLoad({ path });
  readonly frees: { path: string; dryRun: boolean }[] = [];
  /** Answer of the next submissions; an error is thrown. */
  answer: SubmitResult | PrimedError = { jobId: 'job-1', started: true, message: '' };
  /** Called with the path at each progress. */
  onSnapshot: (path: string) => JobSnapshot | undefined = () => undefined;
  active = new Set<string>();
  jobs: JobSnapshot[] = [];

  async submit(source: JobSource, options: LoadOptions, alias?: string): Promise<SubmitResult> {
    this.submissions.push({ source, options, ...(alias === undefined ? {} : { alias }) });
    if (this.answer instanceof Error) throw this.answer;
    const { jobId } = this.answer;
    return {
      ...this.answer,
      message: this.answer.message || `Load '${source.path}' is successfully submitted. JobId: ${jobId}`,
    };
  }

  async plan(source: JobSource, options: LoadOptions, signal: AbortSignal): Promise<LoadPlan> {
    this.plans.push({ source, options, signal });
    return this.onPlan(source);
  }

  async free(path: string, { dryRun }: { dryRun: boolean }): Promise<SubmitResult> {
    this.frees.push({ path, dryRun });
    if (this.answer instanceof Error) throw this.answer;
    const { jobId } = this.answer;
    return {
      ...this.answer,
      message: this.answer.message || `Free '${path}' is successfully submitted. JobId: ${jobId}`,
    };
  }

  async stop(path: string): Promise<boolean> {
    this.stops.push(path);
    return this.active.delete(path);
  }

  /** Limits that were set, by path. */
  readonly limits = new Map<string, number | undefined>();

  async limit(path: string, bytesPerSecond: number | undefined): Promise<boolean> {
    this.limits.set(path, bytesPerSecond);
    return this.active.has(path);
  }

  snapshot(path: string, type: JobType = 'LOAD'): JobSnapshot | undefined {
    const job = this.onSnapshot(path) ?? this.jobs.find(({ jobId, alias }) => jobId === path || alias === path);
    return job?.type === type ? job : undefined;
  }

  byId(jobId: string): JobSnapshot | undefined {
    return this.jobs.find((job) => job.jobId === jobId);
  }

  counts(): ReadonlyMap<JobState, number> {
    return countStates(this.jobs.map(({ state }) => state));
  }

  list({ states, types }: { states?: readonly string[]; types?: readonly JobType[] }): readonly JobSnapshot[] {
    return this.jobs
      .filter((job) => states === undefined || states.includes(job.state))
      .filter((job) => types === undefined || types.includes(job.type));
  }

  ended(): Promise<JobSnapshot> {
    throw new Error('no test waits here');
  }

  trouble(): undefined {}
  async caughtUp() {}
  async close(): Promise<void> {}
}

export interface ScriptedCoordinator {
  readonly url: string;
  readonly jobs: ScriptedJobs;
  readonly files: MemoryFiles;
  readonly limits: OriginLimits;
  /** Who has which share of the limits, as a test says. */
  readonly shares: ShareRow[];
  /** What workers have kept, as a test says. */
  past: ToldPast;
  /** What rates were, as a test says: it counts nothing by itself. */
  readonly rates: RateKeeper;
  readonly app: FastifyInstance;
  close(): Promise<void>;
}

export async function startScriptedCoordinator(
  options: { token?: string; port?: number } = {},
): Promise<ScriptedCoordinator> {
  const jobs = new ScriptedJobs();
  const files = new MemoryFiles();
  const app = Fastify({ forceCloseConnections: true });
  installErrorHandler(app, silent);
  const log = { debug() {}, info() {}, warn() {}, error() {} };
  app.register(bearerAuth, options.token === undefined ? {} : { token: options.token });
  app.register(jobApi, { jobs });
  const limits = new OriginLimits({ configured: [], store: memoryLimits(), log });
  const shares: ShareRow[] = [];
  app.register(ufsApi, { limits, shares: () => shares });
  const pins = new ClusterPins({
    ...{ store: memoryLimits<Pin>(), from: 'scripted', log },
    takers: { live: () => [], onChange: () => () => undefined },
  });
  app.register(pinsApi, { pins });
  app.register(fsApi, {
    isPinned: (path: string) => pins.covers(path),
    source: fsHere(files, files.alone),
    log,
    progressEveryMs: 0,
    closeGraceMs: 50,
  });
  app.register(whyApi, {
    ...{ jobs, source: fsHere(files, files.alone), owners: () => [] },
    past: async () => coordinator.past,
    clock: { wallMs: Date.now },
  });
  const rates = new RateKeeper({ jobs });
  app.register(async (scope) => ratesRoute(scope, rates));
  await app.listen({ host: '127.0.0.1', port: options.port ?? 0 });
  const coordinator: ScriptedCoordinator = {
    url: `http://127.0.0.1:${(app.server.address() as AddressInfo).port}`,
    jobs,
    files,
    limits,
    shares,
    past: { told: [], unanswered: [] },
    rates,
    app,
    close: () => app.close(),
  };
  return coordinator;
}
