/** Where the console's feed comes from: jobs, workers and limits of origins as this coordinator knows them. */

import type { ShareRow } from '../../cluster/limit-sharing.ts';
import type { LimitRow } from '../../cluster/origin-limits.ts';
import type { RatesStore } from '../../cluster/rates-store.ts';
import type { Registry } from '../../cluster/registry.ts';
import type { JobService } from '../../cluster/types.ts';
import { PrimedError } from '../../core/errors.ts';
import type { JobSnapshot } from '../../core/job.ts';
import { isEnded } from '../../core/job-machine.ts';
import { isMember, type WorkerFigures, type WorkerRow } from '../../core/membership.ts';
import { busiestOf, type OriginUse } from '../../core/origin-use.ts';
import type { WorkerId } from '../../core/types.ts';
import type { FeedSource } from './feed.ts';
import { jobRow, originRow, ownWorker, workerRow } from './rows.ts';

export interface ConsoleParts {
  readonly jobs: Pick<JobService, 'list' | 'counts' | 'trouble'>;
  readonly limits: { readonly known: boolean; rows(): readonly LimitRow[] };
  readonly shares: () => readonly ShareRow[];
  /** Undefined: one process is coordinator and worker. */
  readonly registry?: Pick<Registry, 'workers'>;
  readonly refusalOf?: (id: WorkerId) => Error | undefined;
  /** Of the worker in this process. */
  readonly figures?: () => WorkerFigures;
  /** How origins answer a coordinator that has no worker in its process. */
  readonly ownUses?: () => readonly OriginUse[];
  readonly version: string;
  /** What rates were, over a restart. */
  readonly rates?: Pick<RatesStore, 'all' | 'put'>;
}

/** Of more jobs, those that have ended the longest ago are left out; the head counts them all. */
const mostJobs = 2_000;

/** `rateOf`: of a job that does not say its rate itself. */
export function consoleSource(
  parts: ConsoleParts,
  rateOf: (jobId: string) => number | undefined = () => undefined,
): FeedSource {
  const { jobs, limits, shares, registry, refusalOf = () => undefined, figures, ownUses = () => [], version } = parts;
  const jobRows = jobRowsOf(jobs, rateOf);
  const workerRows = registry === undefined ? ownRows(figures, version) : workerRowsOf(registry, refusalOf);
  const originRows = (): ReadonlyMap<string, string> => {
    if (!limits.known) return new Map();
    const taken = shares();
    return textsOf(limits.rows().map((row) => originRow(row, taken)));
  };
  return {
    rows: () => ({ jobs: jobRows(), workers: workerRows(), origins: originRows() }),
    head: () => {
      const trouble = jobs.trouble();
      const origins = busiestOf(ownUses());
      return {
        ...{ version, standalone: registry === undefined, jobs: Object.fromEntries(jobs.counts()) },
        ...(origins.length > 0 && { origins }),
        ...(trouble !== undefined && { trouble }),
      };
    },
  };
}

/** What has ended stays as it is: its row is made once. */
function jobRowsOf(
  jobs: Pick<JobService, 'list'>,
  rateOf: (jobId: string) => number | undefined,
): () => ReadonlyMap<string, string> {
  let kept: ReadonlyMap<string, { readonly endedAtMs: number | undefined; readonly text: string }> = new Map();
  return () => {
    const rows = new Map<string, string>();
    const keep = new Map<string, { readonly endedAtMs: number | undefined; readonly text: string }>();
    for (const job of shownOf(heardOf(jobs))) {
      const { jobId, state, endedAtMs } = job;
      const known = isEnded(state) ? kept.get(jobId) : undefined;
      const measured = isEnded(state) ? undefined : rateOf(jobId);
      const text =
        known !== undefined && known.endedAtMs === endedAtMs ? known.text : JSON.stringify(jobRow(job, measured));
      if (isEnded(state)) keep.set(jobId, { endedAtMs, text });
      rows.set(jobId, text);
    }
    kept = keep;
    return rows;
  };
}

/** None before anything was heard of them: the head says why. */
export function heardOf(
  jobs: Pick<JobService, 'list'>,
  which: Parameters<JobService['list']>[0] = {},
): readonly JobSnapshot[] {
  try {
    return jobs.list(which);
  } catch (error) {
    if (error instanceof PrimedError && error.code === 'ETCD_UNAVAILABLE') return [];
    throw error;
  }
}

/** A row of the registry is another one as soon as it says something else: most are as they were. */
function workerRowsOf(
  registry: Pick<Registry, 'workers'>,
  refusalOf: NonNullable<ConsoleParts['refusalOf']>,
): () => ReadonlyMap<string, string> {
  const texts = new WeakMap<WorkerRow, string>();
  const textOf = (row: WorkerRow): string => {
    const refusal = isMember(row) ? refusalOf(row.id) : undefined;
    if (refusal !== undefined) return JSON.stringify(workerRow(row, refusal));
    const known = texts.get(row) ?? JSON.stringify(workerRow(row, undefined));
    texts.set(row, known);
    return known;
  };
  return () => new Map(registry.workers().map((row) => [row.id, textOf(row)]));
}

function ownRows(figures: (() => WorkerFigures) | undefined, version: string): () => ReadonlyMap<string, string> {
  return () => textsOf(figures === undefined ? [] : [ownWorker(figures(), version)]);
}

function shownOf(all: readonly JobSnapshot[]): readonly JobSnapshot[] {
  if (all.length <= mostJobs) return all;
  const active = all.filter(({ state }) => !isEnded(state)).slice(0, mostJobs);
  const ended = all.filter(({ state }) => isEnded(state)).slice(0, mostJobs - active.length);
  return [...active, ...ended];
}

function textsOf(rows: readonly { readonly id: string }[]): ReadonlyMap<string, string> {
  return new Map(rows.map((row) => [row.id, JSON.stringify(row)]));
}
