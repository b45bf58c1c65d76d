/**
 * Plans of loads: the source is listed as the load would list it, page by page, and each page is counted (fleet-plan) and
 * forgotten. Nothing is fetched but listings, nothing is written, and nothing is evicted or kept from being evicted.
 *
 * Who waits for whom: a plan waits for the origin's listing, and for workers about what they have. It ends with the request
 * that asked for it. A few run at once; one more is refused. Where workers come or go meanwhile, it begins anew, some times.
 *
 * What survives a crash: nothing; nobody counts on it.
 */
import { abortable } from '../core/abortable.ts';
import { PrimedError } from '../core/errors.ts';
import type { JobSnapshot, JobState } from '../core/job.ts';
import { checkReplicas } from '../core/load-options.ts';
import type { LoadPlan } from '../core/load-plan.ts';
import type { OriginLimit } from '../core/origin-limits.ts';
import { type PriceTable, RequestTally } from '../core/price.ts';
import { formatDuration } from '../core/sizes.ts';
import { definitionOf } from './job-orders.ts';
import { type Order, scopesOf } from './job-paths.ts';
import type { JobDefinition } from './job-store.ts';
import { mayBeThere } from './load-choice.ts';
import { changeNotes, measuredLoads, planOf } from './plan-answer.ts';
import { listPlanned } from './plan-listing.ts';
import { lostOf, sameMembers } from './plan-members.ts';
import type { JobDeps } from './run-context.ts';
import { loadSpec } from './run-specs.ts';
import { isWorkerLost } from './worker-link.ts';

/** The newest job of the same path. */
export interface LatestJob {
  readonly state: JobState;
  readonly active: boolean;
  readonly definition: Pick<JobDefinition, 'source' | 'loadId' | 'jobId'>;
}

export interface PlannerOptions {
  readonly deps: Pick<JobDeps, 'fleet' | 'origins' | 'clock' | 'settings'>;
  /** All jobs that are known, the newest first. */
  readonly history: () => readonly JobSnapshot[];
  readonly prices?: PriceTable | undefined;
  /** Limits of origins, as they are now. */
  readonly limits?: (() => readonly OriginLimit[]) | undefined;
}

/** Each has a listing, and asks all workers. */
export const plansAtOnce = 2;
const planLimitMs = 3_600_000;
/** Of the source, for workers that come and go meanwhile. */
const mostListings = 3;
/** Files that would be evicted, by name, on each worker. */
const filesNamed = 100;

export class LoadPlanner {
  readonly #options: PlannerOptions;
  #running = 0;

  constructor(options: PlannerOptions) {
    this.#options = options;
  }

  /**
   * Rejects as a submission would, and with what would end the load while it lists: ORIGIN_*. TOO_BUSY: too many at once, or it
   * took too long. Ends soon after the signal, with its reason.
   */
  async plan(order: Order, latest: LatestJob | undefined, signal: AbortSignal): Promise<LoadPlan> {
    if (this.#running >= plansAtOnce)
      throw new PrimedError('TOO_BUSY', `${plansAtOnce} plans are being made here, as many as may be at once.`, {
        plansAtOnce,
      });
    this.#running += 1;
    const late = AbortSignal.timeout(planLimitMs);
    try {
      return await this.#plan(order, latest, AbortSignal.any([signal, late]));
    } catch (error) {
      if (!late.aborted) throw error;
      const message = `The plan of '${order.source.path}' was given up after ${formatDuration(planLimitMs)}.`;
      throw new PrimedError('TOO_BUSY', message, { path: order.source.path });
    } finally {
      this.#running -= 1;
    }
  }

  /** What is counted is of one set of workers: of another one all of it is counted anew. */
  async #plan(order: Order, latest: LatestJob | undefined, signal: AbortSignal): Promise<LoadPlan> {
    const { fleet } = this.#options.deps;
    await abortable(fleet.settled(), signal);
    const lost = new Set<string>();
    for (let listing = 1; ; listing += 1) {
      const before = fleet.members.live();
      // Of nobody a plan can be made too: the load waits for somebody.
      checkReplicas(order.options, Math.max(1, fleet.takers));
      const counted = await this.#count(order, latest, signal).catch((error: unknown) => {
        // Of a worker that is only not to be reached there is no other set.
        if (!isWorkerLost(error) || sameMembers(before, fleet.members.live())) throw error;
        return undefined;
      });
      const now = fleet.members.live();
      for (const id of lostOf(before, now)) lost.add(id);
      const whole = counted !== undefined && sameMembers(before, now);
      if (whole || (counted !== undefined && listing === mostListings))
        return { ...counted, notes: [...counted.notes, ...changeNotes({ listing, whole, lost })] };
      if (listing < mostListings) continue;
      const message = `Workers were lost each of the ${mostListings} times that '${order.source.path}' was listed for its plan (${[...lost].join(', ')}). Plan again when they stay.`;
      throw new PrimedError('WORKER_LOST', message, { path: order.source.path, listings: mostListings });
    }
  }

  async #count(order: Order, latest: LatestJob | undefined, signal: AbortSignal): Promise<LoadPlan> {
    const { deps, prices, history, limits } = this.#options;
    const { fleet, origins, settings, clock } = deps;
    const startedMs = clock.monotonicMs();
    const definition: JobDefinition = { ...definitionOf(order, latest), number: 0 };
    const tally = new RequestTally(prices);
    const fetches = fleet.plan({
      ...{ spec: loadSpec(definition, undefined, settings), options: order.options },
      mayBeThere: mayBeThere(definition),
      rooms: await abortable(fleet.rooms(new Map(), { keeps: [], named: 0 }), signal),
      count: (path, kind, count, bytes) => tally.add(path, kind, count, bytes),
    });
    const listed = await listPlanned({ definition, origins, settings, fetches, tally, signal });
    const keeps = mayBeThere(definition) ? (scopesOf(order, origins) ?? []) : [];
    const rooms = await abortable(fleet.rooms(fetches.planned.need, { keeps, named: filesNamed }), signal);
    return planOf({
      ...{ definition, listed, rooms, tally, currency: prices?.currency },
      ...{ planned: fetches.planned, elapsedMs: Math.round(clock.monotonicMs() - startedMs) },
      runningJobId: latest?.active === true ? latest.definition.jobId : undefined,
      measured: measuredLoads(history(), definition),
      limits: limits?.() ?? [],
    });
  }
}
