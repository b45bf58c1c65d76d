/** The worker's side of a node: its store and lanes, its ports, and how it joins a cluster. */
import type { FastifyInstance } from 'fastify';
import { coordinatorDesk, type LoadDesk, localDesk } from './cluster/load-desk.ts';
import { LocalLink } from './cluster/local-link.ts';
import type { FsSource } from './cluster/reading/fs-source.ts';
import { KnownPeers, noPeers } from './cluster/reading/known-peers.ts';
import { nobody, PeerClient } from './cluster/reading/peer-client.ts';
import { openRegistrar } from './cluster/registrar.ts';
import { attachControl } from './cluster/wire/control-server.ts';
import { slotShare } from './config/defaults.ts';
import type { Peer } from './core/peers.ts';
import { formatSize } from './core/sizes.ts';
import type { RunId, WorkerId } from './core/types.ts';
import { watchDisk } from './disk-watch.ts';
import { etcdCoordinators, etcdRegistrar } from './etcd-nodes.ts';
import { type IngestWorker, openIngest } from './ingest/index.ts';
import type { PeerReach } from './ingest/peer-links.ts';
import { figuresOf, type NodeBase, nodeProof } from './node.ts';
import { s3Tls } from './node-tls.ts';
import {
  observeGuard,
  observeLease,
  observeS3,
  observeStore,
  observeWorker,
  readersSeen,
  showServing,
  showWorker,
} from './observers.ts';
import { openPathIds, type PagesOrder, pagesOf } from './pages.ts';
import { crc32c, crc64nvme, probeDiskEngine, systemClock } from './platform/index.ts';
import { guardReaders } from './reader-guard.ts';
import { openReading, type Reading } from './reading.ts';
import { fsHere } from './server/fs-here.ts';
import { buildS3Server } from './server/s3/index.ts';
import { buildWorkerServer, nodeAccessOf } from './servers.ts';
import { mainAddress, openServing } from './serving/pool.ts';
import { openStore, type PathIds, SharedReads } from './store/index.ts';
import type { Gone, Store } from './store/types.ts';
import { FilePast } from './telemetry/file-past.ts';
import { laneColumns, laneLayout } from './telemetry/lane-columns.ts';
import { servingLayout } from './telemetry/serving-columns.ts';
import { makeSharedCounters, valuesOf } from './telemetry/shared-counters.ts';

const ledgerFlushMs = 500;
/** Store, lanes, and the ports that a worker answers on, not yet listening. Resolves with facts for the log. */
export async function openWorkerSide(base: NodeBase, onFatal: (error: Error) => void): Promise<object> {
  const { config, live, log, telemetry, origins, opened } = base;
  const { worker: settings, ingest, job } = config;
  const reads = new SharedReads(settings.servingThreads);
  let ids: PathIds | undefined;
  const wentEarly: Gone[] = [];
  const observed = observeStore(telemetry);
  const store = await openStore({
    indexDir: config.indexDir,
    stores: settings.stores,
    now: () => systemClock.wallMs(),
    log,
    tellStart: base.tellStart,
    ledgerFlushMs,
    retention: config.store,
    onShown: (path) => ids?.add(path),
    otherReads: reads,
    ...observed,
    onGone: (files) => {
      if (opened.past === undefined) wentEarly.push(...files);
      else tellGone(opened.past, files, (run) => opened.worker?.jobOf(run));
    },
    onBadPage: (bad) => {
      observed.onBadPage?.(bad);
      opened.reading?.repairs.found(bad);
    },
  });
  opened.store = store;
  // Behind the store: of one that is refused nothing is touched.
  const past = await FilePast.open({ dir: config.historyDir, now: () => systemClock.wallMs(), log });
  tellGone(past, wentEarly, () => undefined);
  opened.past = past;
  ids = await openPathIds(config, store, log);
  opened.pathIds = ids;
  const counters = makeSharedCounters(laneLayout, settings.lanes);
  telemetry.attachLanes(counters);
  opened.lanes = counters;
  let yields = false;
  const { worker, engine, slots, threads } = await openIngest({
    store,
    origins,
    log,
    lanes: settings.lanes,
    socketsPerLane: settings.socketsPerLane,
    partBytes: settings.partBytes,
    smallBytes: settings.smallObjectMaxBytes,
    slotBudgetBytes: settings.memoryBudgetBytes * slotShare,
    timeouts: ingest.timeouts,
    retry: live.retry,
    maxRestarts: job.maxRestarts,
    diskEngine: settings.diskEngine,
    counters: counters.buffer,
    yields: () => yields,
    limits: base.limits,
    originCounts: base.originCounts,
    observe: observeWorker(telemetry),
    tell: past,
    onFatal,
    peerAccess: nodeProof(base),
    peerReach: reachOf(base),
  });
  opened.worker = worker;
  opened.hungDisk = watchDisk({ store, lanes: counters, limitMs: settings.diskTimeoutMs, log });
  if (settings.diskEngine === 'auto' && engine === 'threads') {
    const { reason } = await probeDiskEngine();
    log.warn({ reason }, 'io_uring is not to be had here: stores are written by threads, which cost more CPU');
  }
  telemetry.gauges.slots.set(slots);
  telemetry.gauges.memoryBudget.set(settings.memoryBudgetBytes);
  telemetry.gauges.originConcurrencyMax.set(settings.socketsPerLane * settings.lanes);
  showWorker(telemetry, { store, worker });
  const reading = filesHere(base, store, worker);
  const source = fsHere(store, reading.files);
  opened.source = source;
  const desk = deskOf(base);
  opened.desk = desk;
  opened.http = buildWorkerServer({
    ...base,
    desk,
    pages: pagesOf({ config, ufs: base.live.ufs, origins, ids, ...reading }),
    ...(config.role === 'worker' ? { own: { store, source, landings: worker.landings, reading, past } } : {}),
  });
  openS3Side(base, { store, reads, source, reading, engine, onFatal });
  const onTurn = observeGuard(telemetry);
  opened.unguard = guardReaders({
    ...{ lanes: threads, settings: live.guard, log },
    seen: () => ({
      ...readersSeen(opened.servingCounters!),
      turns: valuesOf(counters, counters.rows, laneColumns.heartbeats),
      awaited: reading.isAwaited(),
    }),
    onTurn: (mode, seconds) => {
      yields = mode === 'yielding';
      onTurn(mode, seconds);
    },
  });
  const { capacityBytes, files, blocks } = store.usage();
  return { diskEngine: engine, lanes: settings.lanes, slots, capacity: formatSize(capacityBytes), files, blocks };
}

/** The S3 server of this thread, and how to start those threads that have the port, once it listens. */
function openS3Side(
  { config, live, log, telemetry, opened, origins }: NodeBase,
  parts: {
    store: Store;
    reads: SharedReads;
    source: FsSource;
    reading: Pick<Reading, 'reads' | 'written'>;
    engine: string;
    onFatal: (error: Error) => void;
  },
): void {
  const { store, reads, source, reading, engine, onFatal } = parts;
  const { worker: settings, indexDir } = config;
  const { domains } = config.s3;
  const redirect = config.s3.redirect && { redirect: { tls: config.tls.s3 && live.tls.server !== undefined } };
  const { path, inside } = mainAddress();
  const threads = settings.servingThreads;
  const counters = makeSharedCounters(servingLayout, threads + 1);
  telemetry.attachServing(counters);
  opened.servingCounters = counters;
  const row = counters.row(threads);
  opened.s3 = buildS3Server({
    ...{ files: source.files, log, access: live.s3, inside, domains },
    writes: {
      ...{ origins, policies: live.policies, sums: { crc32c, crc64nvme } },
      written: (paths) => reading.written.everywhere(paths),
    },
    ...redirect,
    ...observeS3(row),
  });
  opened.openServing = async () => {
    await opened.s3!.listen({ path });
    opened.serving = await openServing({
      listen: settings.s3Listen,
      threads,
      cacheBytes: settings.readCacheBytes,
      engine: engine === 'io_uring' ? 'io_uring' : 'threads',
      ...(config.tls.s3 && live.tls.server && { tls: s3Tls(live.tls.server) }),
      ...{ access: live.s3, domains, reading: config.reading },
      ...{ indexDir, storePaths: store.files.map((file) => file.path) },
      ...{ counters, reads, mainPath: path, inside, log },
      current: (path) => reading.reads.version(path),
      onTouched: (files) => store.touch(files),
      onLost: onFatal,
    });
    showServing(telemetry, opened.serving, counters);
    return opened.serving.port;
  };
}

/** What left the store, one by one. */
function tellGone(past: FilePast, gone: readonly Gone[], jobOf: (run: RunId) => string | undefined): void {
  for (const { run, ...file } of gone) {
    const job = run === undefined ? undefined : jobOf(run);
    past.happened({ kind: 'gone', ...file, ...(run && { run }), ...(job !== undefined && { job }) });
  }
}

/** The files of this worker and, as soon as it has heard of others, of those; and what the origin has, where that may be read. */
function filesHere(base: NodeBase, store: Store, worker: IngestWorker): Reading & Pick<PagesOrder, 'peers' | 'client'> {
  const { peers, client } = base.config.role === 'worker' ? othersOf(base) : { peers: noPeers, client: nobody };
  const reading = openReading(base, { store, worker, peers, client });
  base.opened.reading = reading;
  reading.scrub.start();
  return { ...reading, peers, client };
}

/** Copies in loads ask no worker that readers have found not to answer, and the other way round. */
function reachOf({ opened }: Pick<NodeBase, 'opened'>): PeerReach {
  const known = (url: string): { peer: Peer; client: PeerClient } | undefined => {
    const peer = opened.peers?.others().find((one) => one.url === url);
    return peer && opened.peerClient && { peer, client: opened.peerClient };
  };
  return {
    avoids: (url) => {
      const one = known(url);
      return one?.client.avoids(one.peer) === true;
    },
    failed: (url, why) => {
      const one = known(url);
      one?.client.unreached(one.peer, why);
    },
    answered: (url) => {
      const one = known(url);
      one?.client.answered(one.peer);
    },
  };
}

function othersOf(base: NodeBase): { readonly peers: KnownPeers; readonly client: PeerClient } {
  const { config, log, opened, telemetry } = base;
  const peers = new KnownPeers(config.cluster.id as WorkerId);
  const client = new PeerClient({ ...nodeProof(base), log, onBroke: () => telemetry.counters.peerBreaks.inc() });
  telemetry.onScrape(() => {
    const avoided = peers.others().filter((peer) => client.avoids(peer));
    telemetry.gauges.peersAvoided.set(avoided.length);
  });
  opened.peers = peers;
  opened.peerClient = client;
  return { peers, client };
}

/** Where this worker takes requests about loads. */
function deskOf(base: NodeBase): LoadDesk {
  const { config, live, opened } = base;
  if (config.role === 'standalone') return localDesk(() => opened.jobs, live.loadDefaults);
  return coordinatorDesk({
    coordinators: config.cluster.etcd === undefined ? () => [config.cluster.coordinator] : etcdCoordinators(base),
    ...(live.apiToken === undefined ? {} : { token: live.apiToken }),
    ...(live.tls.client === undefined ? {} : { tls: live.tls.client }),
  });
}

/** After its ports are open: registers with the coordinator, or in etcd, and takes the orders of coordinators. */
export function joinCluster(base: NodeBase): void {
  const { config, live, log, telemetry, opened } = base;
  const { cluster } = config;
  const { worker, store, http, serving } = opened;
  if (worker === undefined || store === undefined || http === undefined || serving === undefined) return;
  const id = cluster.id as WorkerId;
  const self = {
    id,
    address: {
      host: cluster.host,
      httpPort: portOf(http),
      s3Port: serving.port,
      version: PRIMED_VERSION,
      ...(live.tls.server === undefined ? {} : { tls: true }),
      ...(cluster.zone === undefined ? {} : { zone: cluster.zone }),
    },
    figures: figuresOf(base)!,
    ...(opened.hungDisk && { holdBack: opened.hungDisk }),
    observe: observeLease(telemetry),
  };
  const registrar =
    cluster.etcd === undefined
      ? openRegistrar({ coordinator: cluster.coordinator, log, ...self, ...nodeProof(base) })
      : etcdRegistrar(base, self);
  opened.registrar = registrar;
  opened.control = attachControl(http.server, {
    link: new LocalLink(id, worker, (list) => opened.peers?.set(list)),
    epoch: () => registrar.epoch(),
    leaseMs: () => cluster.leaseMs,
    version: PRIMED_VERSION,
    log,
    ...nodeAccessOf(base),
  });
}

function portOf({ server }: FastifyInstance): number {
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
}
