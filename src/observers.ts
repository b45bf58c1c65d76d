/** From what the rooms report to the metrics of the table. */
import type { WorkerObserver } from './ingest/types.ts';
import type { Telemetry } from './telemetry/registry.ts';

const msPerSecond = 1000;

export function observeWorker({ counters, gauges, histograms }: Telemetry): WorkerObserver {
  return {
    retried: (cause) => counters.originRetries.inc({ cause }),
    slowedDown: () => counters.originSlowdowns.inc(),
    concurrencyLimit: (requests) => gauges.originConcurrencyLimit.set(requests),
    discarded: (reason, bytes) => counters.originDiscarded.inc({ reason }, bytes),
    landed: (milliseconds) => histograms.landSeconds.observe(milliseconds / msPerSecond),
    checksumFailed: (pages) => counters.checksumFailures.inc({ reader: 'verify' }, pages),
  };
}

export function observeStore({ histograms, counters }: Telemetry): {
  onSync: (milliseconds: number) => void;
  onCommit: (milliseconds: number) => void;
  onBadPage: () => void;
} {
  return {
    onSync: (milliseconds) => histograms.storeSyncSeconds.observe(milliseconds / msPerSecond),
    onCommit: (milliseconds) => histograms.storeCommitSeconds.observe(milliseconds / msPerSecond),
    onBadPage: () => counters.checksumFailures.inc({ reader: 'serve' }),
  };
}
