/** What a worker says of itself to its coordinator, of its store and its counters; a daemon alone says it to its own console. */
import type { WorkerFigures } from './core/membership.ts';
import { type OriginOperation, type OriginUse, originTroubles } from './core/origin-use.ts';
import { addSample, type RateWindow, rateOf } from './core/rate.ts';
import type { OriginCounts, OriginTotals } from './origin/origin-counts.ts';
import type { Store } from './store/types.ts';
import { failureCauses, type LaneCounters, laneColumns, laneFailureColumns } from './telemetry/lane-columns.ts';
import { type ServingCounters, servingColumns } from './telemetry/serving-columns.ts';

/** Cheap: asked at each renewal of the lease, or once a second. */
export function workerFigures(of: {
  readonly store: Pick<Store, 'usage'>;
  readonly lanes: LaneCounters;
  readonly serving: ServingCounters;
  readonly origins: () => OriginUse[];
  readonly now: () => number;
  /** As of `originUses`. */
  readonly anewAfterMs?: number;
}): () => WorkerFigures {
  const { now, anewAfterMs = Number.POSITIVE_INFINITY } = of;
  const received = meter(now, { anewAfterMs });
  const served = meter(now, { anewAfterMs });
  const failed = meter(now, { anewAfterMs });
  const throttled = meter(now, { anewAfterMs });
  return () => {
    const { capacityBytes, freeBytes, files, reservedBytes, pinnedBytes, heldBytes } = of.store.usage();
    return {
      ...{ capacityBytes, freeBytes: Math.max(0, freeBytes), files },
      use: {
        ...{ reservedBytes, pinnedBytes, heldBytes },
        receivedBytesPerSecond: received(
          of.lanes.total(laneColumns.originBytes) + of.lanes.total(laneColumns.peerBytes),
        ),
        servedBytesPerSecond: served(of.serving.total(servingColumns.servedBytes)),
        originFailuresPerMinute: failed(failures(of.lanes)) * 60,
        originThrottledPerMinute: throttled(of.lanes.total(laneFailureColumns.throttled)) * 60,
      },
      origins: of.origins(),
    };
  };
}

/** The first byte of a write comes when the whole of it has been sent: that says how long it is. */
const isRead = (operation: OriginOperation): boolean => ['GET', 'HEAD', 'LIST'].includes(operation);

/**
 * Those that were asked for something of late, of whatever kind.
 * @param anewAfterMs of who looks now and then: what was since a look longer ago is not of late, and rates begin anew
 */
export function originUses(
  { totals: origins }: Pick<OriginCounts, 'totals'>,
  now: () => number,
  anewAfterMs = Number.POSITIVE_INFINITY,
): () => OriginUse[] {
  const meters = new Map<string, (name: string, total: number) => number>();
  let lookedMs = now();
  return () => {
    const beforeMs = lookedMs;
    lookedMs = now();
    return [...origins].flatMap(([origin, operations]) => {
      const sumOf = (all: readonly OriginTotals[], figure: (of: OriginTotals) => number): number =>
        all.reduce((sofar, one) => sofar + figure(one), 0);
      const sum = (figure: (of: OriginTotals) => number): number => sumOf([...operations.values()], figure);
      const reads = [...operations].flatMap(([operation, one]) => (isRead(operation) ? [one] : []));
      // All of one that is new was since the look before.
      const rate = meters.get(origin) ?? namedMeters(now, { sinceMs: beforeMs, anewAfterMs });
      meters.set(origin, rate);
      const requestsPerMinute = Math.round(
        rate(
          'requests',
          sum(({ requests }) => requests),
        ) * 60,
      );
      const answered = rate(
        'answers',
        sumOf(reads, ({ answers }) => answers),
      );
      const waitedMs = rate(
        'firstByteMs',
        sumOf(reads, ({ firstByteMs }) => firstByteMs),
      );
      const bytesPerSecond = rate(
        'bytes',
        sum(({ bytes }) => bytes),
      );
      const failed = originTroubles.map(
        (one) =>
          [
            one,
            Math.round(
              rate(
                one,
                sum(({ failures }) => failures[one]),
              ) * 60,
            ),
          ] as const,
      );
      if (requestsPerMinute === 0) return [];
      return [
        {
          ...{ origin, requestsPerMinute, bytesPerSecond: Math.round(bytesPerSecond) },
          firstByteMs: answered === 0 ? 0 : Math.max(1, Math.round(waitedMs / answered)),
          failuresPerMinute: Object.fromEntries(failed) as OriginUse['failuresPerMinute'],
        },
      ];
    });
  };
}

function namedMeters(now: () => number, begins: Begins): (name: string, total: number) => number {
  const meters = new Map<string, Meter>();
  return (name, total) => {
    const known = meters.get(name) ?? meter(now, begins);
    meters.set(name, known);
    return known(total);
  };
}

/** A cancelled request is no failure of an origin. */
function failures(lanes: LaneCounters): number {
  const causes = failureCauses.filter((cause) => cause !== 'cancelled');
  return causes.reduce((sum, cause) => sum + lanes.total(laneFailureColumns[cause]), 0);
}

type Meter = (total: number) => number;

interface Begins {
  /** When it was zero, where that is known. */
  readonly sinceMs?: number;
  /** It begins anew where the look before was so long ago. */
  readonly anewAfterMs: number;
}

/** The rate of something that only grows, as often as it is asked. */
function meter(now: () => number, { sinceMs, anewAfterMs }: Begins): Meter {
  let window: RateWindow = sinceMs === undefined ? [] : [{ atMs: sinceMs, total: 0 }];
  return (total) => {
    const atMs = now();
    const last = window.at(-1);
    if (last !== undefined && atMs - last.atMs > anewAfterMs) window = [];
    window = addSample(window, { atMs, total });
    return rateOf(window, atMs) ?? 0;
  };
}
