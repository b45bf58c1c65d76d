/** How a worker reads what it has, what others have, and what is not cached: the parts of cluster/reading, put together. */
import { join } from 'node:path';
import { ClusterFiles } from './cluster/reading/files.ts';
import type { Peers } from './cluster/reading/known-peers.ts';
import { Fillings } from './cluster/reading/origin/filling.ts';
import { OriginReads } from './cluster/reading/origin/reads.ts';
import { ReadRuns } from './cluster/reading/origin/runs.ts';
import type { PeerClient } from './cluster/reading/peer-client.ts';
import { Repairs } from './cluster/reading/repair.ts';
import { Scrub } from './cluster/reading/scrub.ts';
import { Written } from './cluster/reading/written.ts';
import type { GoneReason } from './core/file-events.ts';
import type { Log } from './core/types.ts';
import type { IngestWorker } from './ingest/index.ts';
import type { NodeBase } from './node.ts';
import { observeReads } from './observers.ts';
import type { FileRecord, Store } from './store/types.ts';

export interface Reading {
  readonly reads: OriginReads;
  readonly repairs: Repairs;
  readonly files: ClusterFiles;
  readonly scrub: Scrub;
  readonly written: Written;
  /** Whether lanes fetch what a reader waits for. */
  isAwaited(): boolean;
  /** Ends what is under way; before the worker closes. */
  close(): Promise<void>;
}

export function openReading(
  { config, live, log, origins, limits, telemetry }: NodeBase,
  of: {
    readonly store: Store;
    readonly worker: IngestWorker;
    readonly peers: Peers;
    readonly client: Pick<PeerClient, 'stat' | 'list' | 'read' | 'through' | 'versionAt' | 'written' | 'avoids'>;
  },
): Reading {
  const { store, worker, peers, client } = of;
  const { segmentBytes } = config.job;
  const { aheadBytes, serveStale } = config.reading;
  const now = (): number => performance.now();
  const runs = new ReadRuns({ worker, store, segmentBytes, log, now });
  const { partBytes } = config.worker;
  const { counters } = telemetry;
  const repairs = new Repairs({
    ...{ store, log, now },
    observe: (result) => counters.repairedPages.inc({ source: result }),
    sources: async function* (entry, range) {
      for await (const replica of files.replicas(entry, range)) yield { source: 'peer', ...replica };
      yield { source: 'origin', name: 'the origin', read: () => reads.pass(entry, range) };
    },
  });
  const fillings = new Fillings({ store, worker, runs, repairs, partBytes, aheadBytes, log });
  const reads = new OriginReads({
    ...{ origins, fillings, peers, client, segmentBytes, serveStale, log, now },
    policies: live.policies,
    limiter: limits.limiter,
    observe: observeReads(telemetry),
  });
  const files = new ClusterFiles({
    ...{ store, peers, client, log, repairs, origin: reads },
    onThrough: (bytes) => {
      counters.peerReadBytes.inc(bytes);
      counters.readBytes.inc({ source: 'peer' }, bytes);
    },
    onHere: (bytes) => counters.readBytes.inc({ source: 'local' }, bytes),
    onLook: (result) => counters.readLooks.inc({ result }),
    onOutdated: (record) => void dropOutdated(record, { worker, log, reason: 'outdated' }),
  });
  const scrub = new Scrub({
    ...{ store, repairs, log },
    file: join(config.dataDir, 'scrub.json'),
    pace: config.scrub,
    wallMs: () => Date.now(),
    observe: {
      checked: (bytes) => counters.scrubbedBytes.inc(bytes),
      round: (seconds) => telemetry.gauges.scrubRoundSeconds.set(seconds),
    },
  });
  telemetry.onScrape(() => telemetry.gauges.scrubProgress.set(scrub.progress));
  const close = async (): Promise<void> => {
    await scrub.close();
    await runs.close();
  };
  const written = new Written({
    ...{ store, reads, peers, client, log },
    drop: (record) => dropOutdated(record, { worker, log, reason: 'written' }),
  });
  return { reads, repairs, files, scrub, written, isAwaited: () => fillings.underWayBytes > 0, close };
}

/** What the origin has in another version, or no more, is of no use to anyone: its readers keep it as long as they read. */
async function dropOutdated(
  record: FileRecord,
  {
    worker,
    log,
    reason,
  }: { readonly worker: Pick<IngestWorker, 'discard'>; readonly log: Log; readonly reason: GoneReason },
): Promise<void> {
  const { path, etag, sizeBytes } = record;
  try {
    await worker.discard(record, reason);
    log.info({ path, etag, sizeBytes }, 'a cached version is dropped: the origin has another, or none');
  } catch (error) {
    log.warn({ path, etag, error: String(error) }, 'an outdated version could not be dropped');
  }
}
