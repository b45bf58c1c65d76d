/** A worker with its real parts: lanes, a store in a temporary folder, and the embedded origin. */
import { join } from 'node:path';
import type { FileEvent, FileTeller, Untimed } from '../../../src/core/file-events.ts';
import type { RetentionRule } from '../../../src/core/retention.ts';
import { defaultRetry } from '../../../src/core/retry.ts';
import type { Log, ManifestEntry, UfsPath } from '../../../src/core/types.ts';
import { defaultSegmentBytes, MiB } from '../../../src/core/units.ts';
import type { EmbeddedOrigin, OriginOptions } from '../../../src/demo/origin/api.ts';
import { type IngestWorker, openIngest } from '../../../src/ingest/index.ts';
import type { PeerAccess, PeerReach } from '../../../src/ingest/peer-links.ts';
import type { RunSpec, WorkerObserver } from '../../../src/ingest/types.ts';
import { openOrigins } from '../../../src/origin/origins.ts';
import type { ObjectDetails } from '../../../src/origin/types.ts';
import { openStore } from '../../../src/store/index.ts';
import type { Store } from '../../../src/store/types.ts';
import { laneLayout } from '../../../src/telemetry/lane-columns.ts';
import { makeSharedCounters } from '../../../src/telemetry/shared-counters.ts';
import { temporaryFolder } from '../../support/files.ts';
import { originEnvironment, startTestOrigin } from '../../support/origin.ts';

export interface Bench {
  readonly origin: EmbeddedOrigin;
  readonly store: Store;
  readonly worker: IngestWorker;
  readonly observed: { retries: string[]; limits: number[]; badPages: number; failedReads: number };
  /** What was told of files. */
  readonly told: { readonly events: Untimed<FileEvent>[]; well: number };
  /** The manifest below a prefix, as the origin lists it now. */
  list(prefix?: string): Promise<ManifestEntry[]>;
  /** One object as HEAD describes it. */
  head(path: UfsPath): Promise<ManifestEntry>;
  /** All that HEAD says. */
  details(path: UfsPath): Promise<ObjectDetails>;
  start(more?: Partial<RunSpec>): RunSpec['run'];
  close(): Promise<void>;
}

const quiet: Log = { debug() {}, info() {}, warn() {}, error() {} };

/** @param more.origin of another bench, which closes it */
export async function openBench(
  options: OriginOptions = {},
  storeBytes = 512 * MiB,
  more: {
    readonly origin?: EmbeddedOrigin;
    readonly peerAccess?: PeerAccess;
    readonly peerReach?: PeerReach;
    readonly rules?: readonly RetentionRule[];
  } = {},
): Promise<Bench> {
  const folder = temporaryFolder('worker');
  const origin = more.origin ?? (await startTestOrigin(options));
  Object.assign(process.env, originEnvironment(origin));
  const timeouts = { connectMs: 2000, firstByteMs: 20_000, stallMs: 20_000 };
  const store = await openStore({
    indexDir: join(folder.path, 'index'),
    stores: [{ dir: join(folder.path, 'store'), sizeBytes: storeBytes }],
    now: Date.now,
    log: quiet,
    ledgerFlushMs: 50,
    ...(more.rules === undefined ? {} : { retention: { rules: more.rules, eviction: 'lru' as const } }),
  });
  const origins = openOrigins({ ufs: [], timeouts, retry: { attempts: 2 }, log: quiet });
  const observed = { retries: [] as string[], limits: [] as number[], badPages: 0, failedReads: 0 };
  const observe: WorkerObserver = {
    retried: (cause) => observed.retries.push(cause),
    slowedDown() {},
    concurrencyLimit: (requests) => observed.limits.push(requests),
    discarded() {},
    limitedBy() {},
    landed() {},
    readFailed: () => {
      observed.failedReads += 1;
    },
    checksumFailed: (pages) => {
      observed.badPages += pages;
    },
  };
  const told = { events: [] as Untimed<FileEvent>[], well: 0 };
  const tell: FileTeller = {
    happened: (event) => void told.events.push(event),
    hasFailed: (path) => told.events.some((event) => event.kind === 'attempt' && event.path === path),
    wentWell: () => {
      told.well += 1;
    },
  };
  const lanes = 2;
  const { worker } = await openIngest({
    ...{ store, origins, timeouts, observe, tell, lanes, log: quiet },
    socketsPerLane: 8,
    partBytes: 8 * MiB,
    smallBytes: MiB,
    slotBudgetBytes: 64 * MiB,
    retry: { ...defaultRetry, baseMs: 5, maxMs: 20, maxAttempts: 3 },
    maxRestarts: 2,
    ...(more.peerAccess === undefined ? {} : { peerAccess: more.peerAccess }),
    ...(more.peerReach === undefined ? {} : { peerReach: more.peerReach }),
    diskEngine: 'auto',
    counters: makeSharedCounters(laneLayout, lanes).buffer,
    onFatal: (error) => {
      throw error;
    },
  });
  let runs = 0;
  return {
    origin,
    store,
    worker,
    observed,
    told,
    async list(prefix = '') {
      const page = await origins.list(`s3://${origin.bucket}/${prefix}` as UfsPath, {});
      return [...page.entries];
    },
    details: (path) => origins.head(path),
    async head(path) {
      const { etag, sizeBytes, lastModifiedMs, versionId } = await origins.head(path);
      return { path, etag, sizeBytes, lastModifiedMs, ...(versionId === undefined ? {} : { versionId }) };
    },
    start(more = {}) {
      runs += 1;
      const id = `run-${runs}`;
      const spec = {
        run: id,
        job: id,
        load: id,
        term: 0,
        reuse: 'load',
        onChange: 'restart',
        segmentBytes: defaultSegmentBytes,
        weight: 10,
        ...more,
      } as RunSpec;
      worker.startRun(spec);
      worker.reserve(spec.run, storeBytes / 4);
      return spec.run;
    },
    async close() {
      await worker.close();
      await origins.close();
      await store.close();
      if (more.origin === undefined) await origin.close();
      folder.remove();
    },
  };
}
