/**
 * What a lane counts. The names are the columns of the shared block (shared-counters.ts); metrics.ts says under which
 * name and in which unit each of them is shown to Prometheus.
 *
 * `laneColumns.originBytes` is a place in the row: `row.add(laneColumns.originBytes, count)`.
 */
import { type Column, type CounterRow, type SharedCounters, sharedLayout } from './shared-counters.ts';

/** The same words as FailureCause of origin/types.ts, which this room may not import; a test keeps them equal. */
export const failureCauses = [
  'connect',
  'connect-timeout',
  'first-byte-timeout',
  'stall',
  'reset',
  'short',
  'protocol',
  'range',
  'changed',
  'missing',
  'denied',
  'expired',
  'throttled',
  'server',
  'client',
  'cancelled',
] as const;
export type LaneFailureCause = (typeof failureCauses)[number];

const totals = [
  'originBytes',
  'originRequests',
  'originParts',
  // copies from other workers
  'peerBytes',
  'peerRequests',
  'peerFailures',
  'diskWriteBytes',
  'diskWrites',
  'diskReadBytes',
  'checksumBytes',
  /** Requests that went through the AWS SDK, because their answer was not one that the response reader takes. */
  'generalWay',
  'writeErrors',
  /** Rises while the loop turns: the watchdog looks at it. */
  'heartbeats',
] as const;

/** Set, not added. */
const levels = [
  'socketsOpen',
  'partsInFlight',
  'slotsInUse',
  'queuedParts',
  /** Since when the oldest transfer with the disk has been under way. */
  'diskWaitMs',
  'loopDelayP99Ms',
  'loopDelayMaxMs',
  'loopUtilization',
] as const;

/** From a fast SSD's write to the longest wait that a default timeout allows. */
const stageBoundsMs = [0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000] as const;

const failureColumn = <T extends LaneFailureCause>(cause: T) => `failure:${cause}` as const;

export const laneLayout = sharedLayout([...totals, ...levels, ...failureCauses.map(failureColumn)], {
  partQueuedMs: stageBoundsMs,
  partFirstByteMs: stageBoundsMs,
  partBodyMs: stageBoundsMs,
  diskWriteMs: stageBoundsMs,
});

export const laneColumns = laneLayout.columns;
export const laneHistograms = laneLayout.histograms;
/** The column of each cause: `row.add(laneFailureColumns[failure.cause], 1)`. */
export const laneFailureColumns = Object.fromEntries(
  failureCauses.map((cause) => [cause, laneColumns[failureColumn(cause)]]),
) as Readonly<Record<LaneFailureCause, Column>>;

export type LaneCounters = SharedCounters<keyof typeof laneColumns, keyof typeof laneHistograms>;
export type LaneRow = CounterRow;
