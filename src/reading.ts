/** How a worker reads what is not cached: the parts of cluster/reading/origin, put together. */
import type { Peers } from './cluster/reading/known-peers.ts';
import { Fillings } from './cluster/reading/origin/filling.ts';
import { OriginReads } from './cluster/reading/origin/reads.ts';
import { ReadRuns } from './cluster/reading/origin/runs.ts';
import type { PeerClient } from './cluster/reading/peer-client.ts';
import type { Log } from './core/types.ts';
import type { IngestWorker } from './ingest/index.ts';
import type { NodeBase } from './nodes.ts';
import { observeReads } from './observers.ts';
import type { FileRecord, Store } from './store/types.ts';

export interface Reading {
  readonly reads: OriginReads;
  /** Ends what is under way; before the worker closes. */
  close(): Promise<void>;
}

export function openReading(
  { config, live, log, origins, limits, telemetry }: NodeBase,
  of: {
    readonly store: Store;
    readonly worker: IngestWorker;
    readonly peers: Peers;
    readonly client: Pick<PeerClient, 'through' | 'versionAt'>;
  },
): Reading {
  const { store, worker, peers, client } = of;
  const { segmentBytes } = config.job;
  const { aheadBytes, serveStale } = config.reading;
  const now = (): number => performance.now();
  const runs = new ReadRuns({ worker, segmentBytes, log, now });
  const { partBytes } = config.worker;
  const fillings = new Fillings({ store, worker, runs, partBytes, aheadBytes, log });
  const reads = new OriginReads({
    ...{ origins, fillings, peers, client, segmentBytes, serveStale, log, now },
    policies: live.policies,
    limiter: limits.limiter,
    observe: observeReads(telemetry),
  });
  return { reads, close: () => runs.close() };
}

/** What the origin has in another version, or no more, is of no use to anyone: its readers keep it as long as they read. */
export async function dropOutdated(
  record: FileRecord,
  { worker, log }: { readonly worker: Pick<IngestWorker, 'discard'>; readonly log: Log },
): Promise<void> {
  const { path, etag, sizeBytes } = record;
  try {
    await worker.discard(record);
    log.info({ path, etag, sizeBytes }, 'a cached version is dropped: the origin has another, or none');
  } catch (error) {
    log.warn({ path, etag, error: String(error) }, 'an outdated version could not be dropped');
  }
}
