/** A plan as a coordinator would answer it. */
import type { LoadPlan } from '../../src/core/load-plan.ts';
import { GiB, MiB } from '../../src/core/units.ts';

/** Three files of 1 GiB in all, one of them cached, on one worker that evicts for them. */
export function plannedLoad(more: Partial<LoadPlan> = {}): LoadPlan {
  return {
    path: 's3://bucket/dir/',
    resumed: false,
    listing: { scannedFiles: 4, files: 3, bytes: GiB, elapsedMs: 1200 },
    refused: { files: 0, named: [] },
    cached: { files: 1, bytes: 24 * MiB },
    load: { files: 2, bytes: 1000 * MiB },
    requests: { list: 1, head: 1, rangedGet: 125, wholeGet: 1, total: 128, copies: 0 },
    originBytes: 1000 * MiB,
    copiedBytes: 0,
    workers: [
      {
        ...{ id: 'w1', bytes: 1000 * MiB, originBytes: 1000 * MiB, roomBytes: 1000 * MiB },
        ...{ freeBytes: 900 * MiB, capacityBytes: 2 * GiB, fits: true },
        evicted: { files: 7, bytes: 100 * MiB, paths: ['s3://bucket/old/1', 's3://bucket/old/2'], counted: true },
      },
    ],
    fits: true,
    notes: [],
    ...more,
  };
}
