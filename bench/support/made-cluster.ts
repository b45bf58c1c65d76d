/** A coordinator's console over jobs and workers that are made up, as many as one likes. */
import { countStates, type JobSnapshot } from '../../src/core/job.ts';
import { defaultLoadOptions } from '../../src/core/load-options.ts';
import type { WorkerRow } from '../../src/core/membership.ts';
import { clusterProtocol } from '../../src/core/protocol.ts';
import { emptyLedger, type JobId, type LoadId, type RunId, type WorkerId } from '../../src/core/types.ts';
import { GiB } from '../../src/core/units.ts';
import type { ConsoleParts } from '../../src/server/console/source.ts';

/** Read at each look: whoever has it changes it as he likes. */
export interface MadeCluster {
  jobs: JobSnapshot[];
  workers: WorkerRow[];
}

export function partsOf(made: MadeCluster): ConsoleParts {
  return {
    jobs: {
      list: ({ states }) => made.jobs.filter(({ state }) => states?.includes(state) ?? true),
      counts: () => countStates(made.jobs.map(({ state }) => state)),
      trouble: () => undefined,
    },
    limits: { known: true, rows: () => [] },
    shares: () => [],
    registry: { workers: () => made.workers },
    version: 'test',
  };
}

/** A load that runs, `turn` seconds after its start. */
export function madeJob(number: number, turn: number, now = Date.now()): JobSnapshot {
  const totalBytes = 400 * GiB;
  const loadedBytes = Math.min(totalBytes, (number + 1) * turn * 50_000_000);
  const processedFiles = Math.floor((loadedBytes / totalBytes) * 10_000);
  return {
    ...{ jobId: `job-${number}` as JobId, runId: `run-${number}` as RunId, loadId: `load-${number}` as LoadId },
    ...{ type: 'LOAD', state: 'RUNNING', source: { kind: 'path', path: `s3://datasets/set-${number}/` } },
    ...{ options: defaultLoadOptions, submittedAtMs: now - number * 60_000, activeMs: turn * 1000 },
    ...{ listingDone: true, scannedFiles: 10_000, totalFiles: 10_000, totalBytes, loadedBytes, processedFiles },
    ...{ loadedFiles: processedFiles, loadedEmptyFiles: 0, skippedFiles: 0, skippedBytes: 0, failedFiles: 0 },
    ...{ failures: [], retries: 0, verifiedFiles: 0, verifiedBytes: 0, ledger: emptyLedger() },
    ...{ bytesPerSecond: (number + 1) * 50_000_000, etaMs: 600_000 - turn * 1000 },
  };
}

export function madeWorker(number: number, turn = 0): WorkerRow {
  const { oldest, newest } = clusterProtocol;
  const capacityBytes = 1000 * GiB;
  const usedBytes = Math.min(capacityBytes, (number % 100) * 10 * GiB + turn * 50_000_000);
  return {
    ...{ id: `w${String(number).padStart(4, '0')}` as WorkerId, instance: '', epoch: number + 1, state: 'LIVE' },
    ...{ drains: false, host: `10.0.${number >> 8}.${number & 255}`, httpPort: 28_080, s3Port: 29_998 },
    ...{ version: '0.1.0', protocol: oldest, newestProtocol: newest },
    ...{ capacityBytes, freeBytes: capacityBytes - usedBytes, files: number * 1000 + turn },
    ...{ leaseEndsMs: 0, registeredAtMs: 0, lastSeenMs: 0 },
    use: {
      ...{ reservedBytes: 5 * GiB, pinnedBytes: usedBytes / 10, heldBytes: usedBytes / 5 },
      ...{ receivedBytesPerSecond: 50_000_000 + turn, servedBytesPerSecond: 0 },
      ...{ originFailuresPerMinute: 0, originThrottledPerMinute: 0 },
    },
  };
}
