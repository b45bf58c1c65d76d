/** What a worker says of itself to its coordinator, of its store and its counters; a daemon alone says it to its own console. */
import type { WorkerFigures } from './core/membership.ts';
import { addSample, type RateWindow, rateOf } from './core/rate.ts';
import type { Store } from './store/types.ts';
import { failureCauses, type LaneCounters, laneColumns, laneFailureColumns } from './telemetry/lane-columns.ts';
import { type ServingCounters, servingColumns } from './telemetry/serving-columns.ts';

/** Cheap: asked at each renewal of the lease, or once a second. */
export function workerFigures(of: {
  readonly store: Pick<Store, 'usage'>;
  readonly lanes: LaneCounters;
  readonly serving: ServingCounters;
  readonly now: () => number;
}): () => WorkerFigures {
  const received = meter(of.now);
  const served = meter(of.now);
  const failed = meter(of.now);
  const throttled = meter(of.now);
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
    };
  };
}

/** A cancelled request is no failure of an origin. */
function failures(lanes: LaneCounters): number {
  const causes = failureCauses.filter((cause) => cause !== 'cancelled');
  return causes.reduce((sum, cause) => sum + lanes.total(laneFailureColumns[cause]), 0);
}

/** The rate of something that only grows, as often as it is asked. */
function meter(now: () => number): (total: number) => number {
  let window: RateWindow = [];
  return (total) => {
    const atMs = now();
    window = addSample(window, { atMs, total });
    return rateOf(window, atMs) ?? 0;
  };
}
