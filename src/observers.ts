/** From what the rooms report to the metrics of the table. */

import type { OriginLimits } from './cluster/origin-limits.ts';
import type { ReadObserver } from './cluster/reading/origin/reads.ts';
import type { LeaseObserver } from './cluster/registrar.ts';
import type { Registry } from './cluster/registry.ts';
import type { JobObserver, JobService } from './cluster/types.ts';
import { jobStates } from './core/job.ts';
import { isMember, workerStates } from './core/membership.ts';
import { answerClasses } from './core/origin-use.ts';
import type { GuardSeen } from './core/reader-guard.ts';
import { movingStates, StillJobs } from './core/still-jobs.ts';
import { Thinning } from './core/thinning.ts';
import type { Clock } from './core/types.ts';
import type { IngestWorker } from './ingest/index.ts';
import type { LimitObserver } from './ingest/origin-limiter.ts';
import type { WorkerObserver } from './ingest/types.ts';
import type { OriginCounts, OriginTotals } from './origin/origin-counts.ts';
import type { ReadableOrigins } from './origin/types.ts';
import type { ReaderGuardOptions } from './reader-guard.ts';
import { statusClass } from './server/metrics.ts';
import type { S3GatewayOptions } from './server/s3/index.ts';
import type { Serving } from './serving/pool.ts';
import type { Store, StoreOptions } from './store/types.ts';
import { mostOriginsNamed, otherOrigins, statusClasses } from './telemetry/metric-row.ts';
import type { Telemetry } from './telemetry/registry.ts';
import {
  answerColumnOf,
  passedFirstByteSlot,
  type ServingCounters,
  secondsSlotOf,
  servingColumns,
} from './telemetry/serving-columns.ts';
import { type Column, type CounterRow, valuesOf } from './telemetry/shared-counters.ts';
import { currentSpan, detailBase, noSpan, type Span, traced } from './telemetry/trace.ts';

const msPerSecond = 1000;

export function observeWorker({ counters, gauges, histograms }: Telemetry): WorkerObserver {
  return {
    retried: (cause) => counters.originRetries.inc({ cause }),
    slowedDown: () => counters.originSlowdowns.inc(),
    concurrencyLimit: (requests) => gauges.originConcurrencyLimit.set(requests),
    discarded: (reason, bytes) => counters.originDiscarded.inc({ reason }, bytes),
    limitedBy: (cause, milliseconds) => counters.loadLimited.inc({ cause }, milliseconds / msPerSecond),
    landed: (milliseconds) => histograms.landSeconds.observe(milliseconds / msPerSecond),
    checksumFailed: (pages) => counters.checksumFailures.inc({ reader: 'verify' }, pages),
    readFailed: () => counters.storeReadErrors.inc({ reader: 'verify' }),
  };
}

/** An origin whose limit is lifted is not shown any more. */
export function observeLimits({ counters, gauges }: Telemetry): LimitObserver {
  return {
    held: (origin, limit, milliseconds) => counters.originLimitHeld.inc({ origin, limit }, milliseconds / msPerSecond),
    share(origin, limit, perSecond) {
      if (perSecond === undefined) gauges.originLimitShare.remove({ origin, limit });
      else gauges.originLimitShare.set({ origin, limit }, perSecond);
    },
  };
}

/** The limits that hold, read when Prometheus does. */
export function showLimits(telemetry: Telemetry, limits: OriginLimits): void {
  const { gauges } = telemetry;
  telemetry.onScrape(() => {
    gauges.originLimit.reset();
    for (const { origin, bytesPerSecond, requestsPerSecond } of limits.effective()) {
      if (bytesPerSecond !== undefined) gauges.originLimit.set({ origin, limit: 'bandwidth' }, bytesPerSecond);
      if (requestsPerSecond !== undefined) gauges.originLimit.set({ origin, limit: 'requests' }, requestsPerSecond);
    }
  });
}

export function observeStore({
  histograms,
  counters,
}: Telemetry): Pick<StoreOptions, 'onSync' | 'onCommit' | 'onBadPage' | 'onReadError' | 'onEvicted'> {
  return {
    onSync: (milliseconds) => histograms.storeSyncSeconds.observe(milliseconds / msPerSecond),
    onCommit: (milliseconds) => histograms.storeCommitSeconds.observe(milliseconds / msPerSecond),
    onBadPage: ({ reader }) => counters.checksumFailures.inc({ reader }),
    onReadError: (reader) => counters.storeReadErrors.inc({ reader }),
    onEvicted(reason, { files, bytes }) {
      counters.storeEvictions.inc({ reason }, files);
      counters.storeEvictedBytes.inc({ reason }, bytes);
    },
  };
}

export function observeReads({ counters }: Telemetry): ReadObserver {
  return {
    read: (source, bytes) => counters.readBytes.inc({ source }, bytes),
    asked: (result) => counters.originAsked.inc({ result }),
    stale: () => counters.readStale.inc(),
    notKept: () => counters.readNotKept.inc(),
  };
}

export function observeJobs({ counters, histograms }: Telemetry): JobObserver {
  return {
    submitted: () => counters.jobsSubmitted.inc(),
    settled({ loadedFiles, loadedBytes, skippedFiles, skippedBytes, failedFiles, failedBytes }) {
      counters.jobFiles.inc({ result: 'loaded' }, loadedFiles);
      counters.jobFiles.inc({ result: 'skipped' }, skippedFiles);
      counters.jobFiles.inc({ result: 'failed' }, failedFiles);
      counters.jobBytes.inc({ result: 'loaded' }, loadedBytes);
      counters.jobBytes.inc({ result: 'skipped' }, skippedBytes);
      counters.jobBytes.inc({ result: 'failed' }, failedBytes);
    },
    verified: (bytes) => counters.jobVerifiedBytes.inc(bytes),
    ended(state, activeMs) {
      counters.jobsEnded.inc({ state });
      histograms.jobSeconds.observe(activeMs / msPerSecond);
    },
  };
}

/** Of each span, which of its requests are told of: a listing may have ten thousand pages. */
const thinned = new WeakMap<Span, Thinning>();

/** A request to an origin, as part of what asks for it; what is part of nothing is none. */
function tracedRequest<T>(name: string, path: string, act: () => Promise<T>): Promise<T> {
  const within = currentSpan();
  if (within === noSpan) return act();
  let thinning = thinned.get(within);
  if (thinning === undefined) {
    thinning = new Thinning(detailBase());
    thinned.set(within, thinning);
  }
  if (!thinning.next()) return act();
  return traced(
    name,
    {
      kind: 'client',
      attributes: { 'primed.path': path, ...(thinning.stride === 1 ? {} : { 'primed.one_of': thinning.stride }) },
    },
    act,
  );
}

/** The same origins, with their listings counted and timed, and spans of listings and HEAD. */
export function observedOrigins<T extends ReadableOrigins>(origins: T, { counters, histograms }: Telemetry): T {
  return {
    ...origins,
    head: (path, signal) => tracedRequest('HEAD to origin', path, () => origins.head(path, signal)),
    async list(prefix, options) {
      const startedMs = performance.now();
      const listed = tracedRequest('LIST from origin', prefix, () => origins.list(prefix, options));
      const page = await listed.catch((error: unknown) => {
        if (options?.signal?.aborted !== true) counters.listFailures.inc();
        throw error;
      });
      histograms.listSeconds.observe((performance.now() - startedMs) / msPerSecond);
      counters.listedKeys.inc(page.scanned);
      return page;
    },
  };
}

/** What each origin was asked, and how it answered, read when Prometheus does. */
export function showOrigins({ counters, onScrape }: Telemetry, { totals }: Pick<OriginCounts, 'totals'>): void {
  const seen = new WeakMap<OriginTotals, OriginTotals>();
  onScrape(() => {
    for (const [at, [name, operations]] of [...totals].entries()) {
      const origin = at < mostOriginsNamed ? name : otherOrigins;
      for (const [operation, now] of operations) {
        const labels = { origin, operation };
        const before = seen.get(now);
        for (const code of answerClasses)
          counters.originOperations.inc({ ...labels, code }, now.classes[code] - (before?.classes[code] ?? 0));
        counters.originOperationsThrottled.inc(labels, now.failures.throttled - (before?.failures.throttled ?? 0));
        counters.originOperationsRetried.inc(labels, now.retries - (before?.retries ?? 0));
        counters.originAnswered.inc(labels, now.answers - (before?.answers ?? 0));
        counters.originAnswerSeconds.inc(labels, (now.firstByteMs - (before?.firstByteMs ?? 0)) / msPerSecond);
        seen.set(now, { ...now, classes: { ...now.classes }, failures: { ...now.failures } });
      }
    }
  });
}

/** Gauges of what somebody else keeps, read when Prometheus does. */
export function showWorker(telemetry: Telemetry, parts: { store: Store; worker: IngestWorker }): void {
  const { gauges } = telemetry;
  telemetry.onScrape(() => {
    const usage = parts.store.usage();
    const { capacityBytes, usedBytes, reservedBytes, freeBytes, files, blocks } = usage;
    gauges.storePinnedBytes.set(usage.pinnedBytes);
    gauges.storeHeldBytes.set(usage.heldBytes);
    gauges.storeEvictableBytes.set(usage.evictableBytes);
    gauges.storeCapacityBytes.set(capacityBytes);
    gauges.storeUsedBytes.set(usedBytes);
    gauges.storeReservedBytes.set(reservedBytes);
    gauges.storeFreeBytes.set(freeBytes);
    gauges.storeFiles.set(files);
    gauges.storeBlocks.set(blocks);
    const { queuedParts, unitsInFlight, landingParts } = parts.worker.queues();
    gauges.partsPlanned.set(queuedParts);
    gauges.unitsInFlight.set(unitsInFlight);
    gauges.landQueued.set(landingParts);
  });
}

/** How many jobs are in which state, and whether those that run get on, read when Prometheus does. */
export function showJobs(telemetry: Telemetry, jobs: Pick<JobService, 'counts' | 'list'>, clock: Clock): void {
  const { gauges } = telemetry;
  const still = new StillJobs();
  telemetry.onScrape(() => {
    // Ended jobs are many, and only counted.
    const counts = jobs.counts();
    for (const state of jobStates) gauges.jobs.set({ state }, counts.get(state) ?? 0);
    const states = movingStates.filter((state) => counts.has(state));
    const moving = states.length === 0 ? [] : jobs.list({ states });
    gauges.jobIdleSeconds.set(still.look(moving, clock.monotonicMs()) / msPerSecond);
  });
}

/** Who is there, read when Prometheus does, and how often that changes. */
export function showWorkers({ counters, gauges, onScrape }: Telemetry, registry: Registry): void {
  const held = (): Map<string, number> =>
    new Map(
      registry
        .workers()
        .filter(isMember)
        .map(({ id, epoch }) => [id, epoch]),
    );
  let before = held();
  registry.onChange(() => {
    const now = held();
    for (const [id, epoch] of now) if (before.get(id) !== epoch) counters.workerRegistrations.inc();
    for (const id of before.keys()) if (!now.has(id)) counters.workersLost.inc();
    before = now;
  });
  onScrape(() => {
    const workers = registry.workers();
    for (const state of workerStates)
      gauges.workers.set({ state }, workers.filter((worker) => worker.state === state).length);
  });
}

export function observeLease({ counters }: Telemetry): LeaseObserver {
  return {
    renewed: (result) => counters.leaseRenewals.inc({ result }),
    registered: () => counters.leaseRegistrations.inc(),
  };
}

/** What the health of a node says, and of its configuration. */
export function showHealth(
  { gauges, onScrape }: Telemetry,
  health: {
    readonly ready: () => { ready: boolean };
    readonly refusedConfig: () => boolean;
    readonly hungDisk: () => boolean;
  },
): void {
  onScrape(() => {
    gauges.diskHung.set(health.hungDisk() ? 1 : 0);
    gauges.ready.set(health.ready().ready ? 1 : 0);
    gauges.configRefused.set(health.refusedConfig() ? 1 : 0);
  });
}

/** What serving threads answer by themselves is cached here: it counts as what the main thread finds and reads in this store. */
export function showServing(
  { counters, gauges, onScrape }: Telemetry,
  serving: Pick<Serving, 'cachedBytes'>,
  row: ServingCounters,
): void {
  let seen = { looks: 0, bytes: 0 };
  onScrape(() => {
    gauges.pageCacheBytes.set(serving.cachedBytes());
    const now = { looks: answeredByThreads(row), bytes: sumOf(threadsOf(row, servingColumns.servedBytes)) };
    counters.readLooks.inc({ result: 'local' }, now.looks - seen.looks);
    counters.readBytes.inc({ source: 'local' }, now.bytes - seen.bytes);
    seen = now;
  });
}

/** What serving threads answer by themselves, and send now. */
export function readersSeen(row: ServingCounters): Pick<GuardSeen, 'reads' | 'open'> {
  return { reads: answeredByThreads(row), open: row.total(servingColumns.bodies) };
}

export function observeGuard({ counters, gauges }: Telemetry): ReaderGuardOptions['onTurn'] {
  return (mode, seconds) => {
    gauges.loadYields.set(mode === 'yielding' ? 1 : 0);
    if (mode !== 'full') counters.loadYielded.inc({ mode }, seconds);
  };
}

function answeredByThreads(counters: ServingCounters): number {
  const columns = statusClasses.flatMap((code) => (['get', 'head'] as const).map((one) => answerColumnOf(one, code)));
  return sumOf(columns.flatMap((column) => threadsOf(counters, column)));
}

/** The last row is that of the main thread. */
function threadsOf(counters: ServingCounters, column: Column): number[] {
  return valuesOf(counters, counters.rows - 1, column);
}

function sumOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0);
}

/** Counts and times the answers of the S3 port, also those that were cut off. */
export function observeS3(row: CounterRow): Pick<S3GatewayOptions, 'onAnswered' | 'onFirstByte' | 'onServed'> {
  return {
    onAnswered({ operation, status, seconds }) {
      row.add(answerColumnOf(operation, statusClass(status)), 1);
      row.observe(secondsSlotOf(operation), seconds);
    },
    onFirstByte: (seconds) => row.observe(passedFirstByteSlot, seconds),
    onServed: (bytes) => row.add(servingColumns.servedBytes, bytes),
  };
}
