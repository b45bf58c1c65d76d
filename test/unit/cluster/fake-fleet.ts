/** A fleet over workers in memory, and what tests ask of it. */
import { Fleet } from '../../../src/cluster/fleet.ts';
import { ringPlacement } from '../../../src/cluster/placement.ts';
import type { WorkerId } from '../../../src/cluster/worker-link.ts';
import { segmentsOf } from '../../../src/core/segments.ts';
import {
  discardReasons,
  type JobId,
  type Ledger,
  type LoadId,
  type ManifestEntry,
  type RunId,
} from '../../../src/core/types.ts';
import type { RunSpec } from '../../../src/ingest/types.ts';
import type { FakeCluster } from './fake-links.ts';
import { entryOf, silent } from './fakes.ts';

export const run = 'run-1' as RunId;
export const segmentBytes = 100;
export const hasty = { hasty: false };
export const names = ['a', 'b', 'c', 'd'];

export function fleetOf(cluster: FakeCluster): Fleet {
  return new Fleet({
    members: cluster,
    placement: ringPlacement(cluster),
    origins: { head: async (path) => ({ ...entryOf(path, 550, cluster.source.etag(path)), checksums: {} }) },
    maxRestarts: 3,
    log: silent,
  });
}

export async function begun(
  cluster: FakeCluster,
  { replicas = 1, ...spec }: Partial<RunSpec> & { replicas?: number } = {},
): Promise<Fleet> {
  const fleet = fleetOf(cluster);
  const all = {
    run,
    job: 'job' as JobId,
    load: 'load-1' as LoadId,
    term: 0,
    reuse: 'load',
    onChange: 'restart',
    segmentBytes,
    weight: 10,
    ...spec,
  } as const;
  await fleet.startRun(all, replicas);
  return fleet;
}

export async function reserved(fleet: Fleet, files: readonly ManifestEntry[]): Promise<void> {
  const { need } = await fleet.survey(run, files);
  await fleet.reserveMore(run, need);
}

export function files(count: number, sizeBytes = 950): ManifestEntry[] {
  return Array.from({ length: count }, (_, i) => entryOf(`s3://b/f${i}`, sizeBytes));
}

export function holdersOf(cluster: FakeCluster, file: ManifestEntry): WorkerId[][] {
  return Array.from(segmentsOf(file, segmentBytes), (segment) => cluster.holders(segment));
}

export function difference({ originBytes, peerBytes, cachedBytes, discardedBytes }: Ledger): number {
  return (
    originBytes + peerBytes - cachedBytes - discardReasons.reduce((sum, reason) => sum + discardedBytes[reason], 0)
  );
}
