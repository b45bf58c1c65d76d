/** What the roles are made of: the worker's side of a node, the coordinator's, and how the one joins the other. */
import { randomUUID } from 'node:crypto';
import { closeSync } from 'node:fs';
import { join } from 'node:path';
import type { FastifyInstance } from 'fastify';
import type { Etcd } from './cluster/etcd/index.ts';
import { Fleet } from './cluster/fleet.ts';
import { openJobService } from './cluster/job-service.ts';
import { openPinsStore } from './cluster/limits-store.ts';
import { coordinatorDesk, type LoadDesk, localDesk } from './cluster/load-desk.ts';
import { LocalLink } from './cluster/local-link.ts';
import type { OriginLimits } from './cluster/origin-limits.ts';
import { countedLists, peersOf, tellPeers } from './cluster/peer-news.ts';
import { ClusterPins } from './cluster/pins.ts';
import { ringPlacement } from './cluster/placement.ts';
import { ClusterFiles } from './cluster/reading/files.ts';
import { fsCluster } from './cluster/reading/fs-cluster.ts';
import type { FsSource } from './cluster/reading/fs-source.ts';
import { KnownPeers, noPeers } from './cluster/reading/known-peers.ts';
import { type PastSource, pastHere, pastOfCluster } from './cluster/reading/past.ts';
import { nobody, PeerClient } from './cluster/reading/peer-client.ts';
import type { Written } from './cluster/reading/written.ts';
import { openRegistrar, type Registrar } from './cluster/registrar.ts';
import { openRegistry, type Registrations, type Registry } from './cluster/registry.ts';
import {
  membersSettled,
  type RegistryMembers,
  registryMembers,
  urlOf as workerUrl,
} from './cluster/registry-members.ts';
import { soloFleet } from './cluster/solo-fleet.ts';
import type { OpenJobService } from './cluster/types.ts';
import { attachControl, type Control } from './cluster/wire/control-server.ts';
import { RemoteLink } from './cluster/wire/remote-link.ts';
import { WorkerRates } from './cluster/worker-rates.ts';
import type { Config } from './config/config.ts';
import { slotShare } from './config/defaults.ts';
import type { LiveText } from './core/live.ts';
import type { WorkerFigures } from './core/membership.ts';
import { isMember } from './core/membership.ts';
import type { ClientTls } from './core/node-tls.ts';
import type { WritableOrigins } from './core/passed-write.ts';
import type { PeerOrder } from './core/peers.ts';
import type { PinList } from './core/retention.ts';
import { formatSize } from './core/sizes.ts';
import type { Log, RunId, WorkerId } from './core/types.ts';
import { watchDisk } from './disk-watch.ts';
import { etcdCoordinators, etcdJobs, etcdLimits, etcdPins, etcdRegistrar, etcdRegistry } from './etcd-nodes.ts';
import { type IngestWorker, openIngest } from './ingest/index.ts';
import type { Live } from './live.ts';
import {
  observeGuard,
  observeJobs,
  observeLease,
  observeS3,
  observeStore,
  observeWorker,
  readersSeen,
  showJobs,
  showLimits,
  showServing,
  showWorker,
  showWorkers,
} from './observers.ts';
import type { ReadableOrigins } from './origin/types.ts';
import { type CoordinatorLimits, type NodeLimits, openCoordinatorLimits } from './origin-limits.ts';
import { openPathIds, type PagesOrder, pagesOf } from './pages.ts';
import { crc32c, crc64nvme, lockFolder, probeDiskEngine, systemClock } from './platform/index.ts';
import { guardReaders } from './reader-guard.ts';
import { openReading, type Reading } from './reading.ts';
import type { Reload } from './reload.ts';
import { fsHere } from './server/fs-here.ts';
import { buildS3Server } from './server/s3/index.ts';
import { buildApiServer, buildWorkerServer, nodeAccessOf } from './servers.ts';
import { mainAddress, openServing, type Serving } from './serving/pool.ts';
import { openStore, type PathIds, SharedReads } from './store/index.ts';
import type { Gone, Store } from './store/types.ts';
import { FilePast } from './telemetry/file-past.ts';
import { type LaneCounters, laneColumns, laneLayout } from './telemetry/lane-columns.ts';
import type { Telemetry } from './telemetry/registry.ts';
import { type ServingCounters, servingLayout } from './telemetry/serving-columns.ts';
import { makeSharedCounters, valuesOf } from './telemetry/shared-counters.ts';
import type { Tracer } from './telemetry/trace.ts';
import { workerFigures } from './worker-figures.ts';

/** What is open by now, and what is being closed. */
export interface Opened {
  ready: boolean;
  closing?: string;
  telemetry?: Telemetry;
  traces?: Pick<Tracer, 'close'>;
  origins?: ReadableOrigins & WritableOrigins;
  store?: Store;
  /** Closes after the store, which tells it what has become visible. */
  pathIds?: PathIds;
  /** What happened to files. Closes after the store, which tells it what went. */
  past?: FilePast;
  /** Where coordinators ask for it. */
  askPast?: PastSource;
  lanes?: LaneCounters;
  worker?: IngestWorker;
  control?: Control;
  registrar?: Registrar;
  source?: FsSource;
  /** What a worker knows of others. */
  peers?: KnownPeers;
  peerClient?: PeerClient;
  reading?: Reading;
  desk?: LoadDesk;
  registry?: Registry;
  /** Where workers register over HTTP. */
  registrations?: Registrations;
  etcd?: Etcd;
  /** What stands in the way of being ready, in a few words; asked at each look at the health. */
  trouble?: () => string | undefined;
  /** Why the disk of the store is taken for hung. */
  hungDisk?: () => string | undefined;
  members?: RegistryMembers;
  limits?: CoordinatorLimits;
  pins?: ClusterPins;
  jobs?: OpenJobService;
  /** Ends that no other process may have what the coordinator keeps. */
  unlock?: () => void;
  /** That the configuration was read again and refused, in a few words. */
  refusedConfig?: string;
  reload?: Reload;
  /** Ends what the service manager is told. */
  unwatch?: () => void;
  api?: FastifyInstance;
  http?: FastifyInstance;
  /** For what the serving threads leave to this one. */
  s3?: FastifyInstance;
  /** Opens the S3 port; resolves with its number, and rejects as `listen` does. */
  openServing?: () => Promise<number>;
  serving?: Serving;
  servingCounters?: ServingCounters;
  /** Ends that loads give way to readers. */
  unguard?: () => void;
}

export interface NodeBase {
  readonly config: Config;
  readonly log: Log;
  readonly telemetry: Telemetry;
  readonly origins: ReadableOrigins & WritableOrigins;
  readonly limits: NodeLimits;
  readonly live: Live;
  readonly ready: () => { ready: boolean; reason?: string };
  /** What the start is busy with, for the service manager, where it takes longer. */
  readonly tellStart: (status: string) => void;
  readonly opened: Opened;
}

const ledgerFlushMs = 500;
/** In the data folder, where a worker of the same machine may have its own. */
const coordinatorLock = {
  name: 'coordinator.lock',
  belongs: "a coordinator's data (jobs, workers, limits, pins) belongs to one process",
};

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
    observe: observeWorker(telemetry),
    tell: past,
    onFatal,
    peerAccess: nodeProof(base),
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
    pages: pagesOf({ config, origins, ids, ...reading }),
    ...(config.role === 'worker' ? { own: { store, source, landings: worker.landings, reading, past } } : {}),
  });
  openS3Side(base, { store, reads, source, engine, onFatal, written: reading.written });
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
    written: Written;
    engine: string;
    onFatal: (error: Error) => void;
  },
): void {
  const { store, reads, source, written, engine, onFatal } = parts;
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
      written: (paths) => written.everywhere(paths),
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
      ...(config.tls.s3 && live.tls.server && { tls: live.tls.server }),
      ...{ access: live.s3, domains, reading: config.reading },
      ...{ indexDir, storePaths: store.files.map((file) => file.path) },
      ...{ counters, reads, mainPath: path, inside, log },
      onTouched: (files) => store.touch(files),
      onLost: onFatal,
    });
    showServing(telemetry, opened.serving, counters);
    return opened.serving.port;
  };
}

/** Jobs, and the port that clients submit them to. Alone it has the workers that register with it, else the one of this process. */
export async function openCoordinatorSide(base: NodeBase): Promise<void> {
  const { config, log, telemetry, origins, opened } = base;
  const { job } = config;
  // Its databases can be opened by several processes, each of which would take the jobs of the others for its own.
  const lockFd = lockFolder(config.dataDir, coordinatorLock);
  opened.unlock = () => closeSync(lockFd);
  const members = opened.worker === undefined ? registeredMembers(base) : undefined;
  // Before the fleet, so that a worker is told its limits before its first run.
  const { limiter } = base.limits;
  const shared = config.cluster.etcd === undefined ? undefined : etcdLimits(base);
  const limits = openCoordinatorLimits({ config, limiter, members: members?.members, shared, log });
  opened.limits = limits;
  showLimits(telemetry, limits.limits);
  const pins = clusterPins(base, members?.members);
  opened.pins = pins;
  const fleet =
    members === undefined ? soloFleet(opened.worker!, origins, log) : registeredFleet(base, members, limits.limits);
  const options = {
    dir: config.jobsDir,
    fleet,
    origins,
    clock: systemClock,
    log,
    observe: observeJobs(telemetry),
    tellStart: base.tellStart,
    settings: {
      maxActive: job.maxActive,
      maxWaiting: job.maxWaiting,
      maxEnded: job.maxEnded,
      retentionMs: job.retentionMs,
      onChange: job.onChange,
    },
    prices: config.prices,
    originLimits: () => limits.limits.effective(),
  };
  const jobs = config.cluster.etcd === undefined ? await openJobService(options) : await etcdJobs(base, options);
  opened.jobs = jobs;
  showJobs(telemetry, jobs, systemClock);
  const { registry, registrations, past } = opened;
  const source = opened.source ?? filesOfCluster(base, members);
  const figures = figuresOf(base);
  opened.api = buildApiServer({
    ...base,
    jobs,
    source,
    past: past === undefined ? opened.askPast! : pastHere(config.cluster.id, past),
    owners: ownersOf(members?.members),
    ufs: limits,
    pins,
    ...(registry && { registry }),
    ...(registrations && { registrations }),
    ...(members && {
      refusalOf: (id: WorkerId) => members.members.refusalOf(id),
      rateOf: (id: WorkerId) => members.rates.of(id),
    }),
    ...(figures && { figures }),
  });
}

/** What left the store, one by one. */
function tellGone(past: FilePast, gone: readonly Gone[], jobOf: (run: RunId) => string | undefined): void {
  for (const { run, ...file } of gone) {
    const job = run === undefined ? undefined : jobOf(run);
    past.happened({ kind: 'gone', ...file, ...(run && { run }), ...(job !== undefined && { job }) });
  }
}

/** By the ring, as it is now. Without one there is one worker, which is no news. */
function ownersOf(members: RegistryMembers | undefined): (path: string, index: number, replicas: number) => string[] {
  if (members === undefined) return () => [];
  const placement = ringPlacement(members);
  return (path, index, replicas) => placement.owners(path, index, replicas).map(({ id }) => id);
}

/** Of the worker in this process, as soon as it is open. */
function figuresOf({
  opened: { store, lanes, servingCounters: serving },
}: NodeBase): (() => WorkerFigures) | undefined {
  if (store === undefined || lanes === undefined || serving === undefined) return undefined;
  return workerFigures({ store, lanes, serving, now: () => systemClock.monotonicMs() });
}

/** What is pinned, and who is told. A daemon alone tells its own worker. */
function clusterPins(base: NodeBase, members: RegistryMembers | undefined): ClusterPins {
  const { config, log, opened } = base;
  const isShared = config.cluster.etcd !== undefined;
  const store = isShared ? etcdPins(base) : openPinsStore(join(config.dataDir, 'pins'));
  const own = [{ id: 'local' as WorkerId, link: { setPins: (list: PinList) => opened.worker!.setPins(list) } }];
  const takers = members ?? { live: () => own, onChange: () => () => undefined };
  // Versions of what lies in etcd are the same for all coordinators.
  return new ClusterPins({ store, takers, from: isShared ? 'etcd' : randomUUID(), log });
}

interface Registered {
  readonly members: RegistryMembers;
  /** How fast they load for this coordinator. */
  readonly rates: WorkerRates;
  readonly settled: Promise<void>;
  readonly order: () => PeerOrder;
}

function registeredMembers(base: NodeBase): Registered {
  const { config, log, telemetry, opened } = base;
  const { registry, settled, order } = config.cluster.etcd === undefined ? embeddedRegistry(base) : etcdRegistry(base);
  opened.registry = registry;
  showWorkers(telemetry, registry);
  const proof = nodeProof(base);
  // A coordinator that comes back is another one to the workers: what the last one had asked for was given up with it.
  const coordinator = randomUUID();
  const rates = new WorkerRates(() => systemClock.monotonicMs());
  const members = registryMembers({
    registry,
    connect: (row, onRefused) => {
      const { id, epoch, version: release } = row;
      const onReceived = (bytes: number): void => rates.received(id, bytes);
      return new RemoteLink({
        ...{ id, epoch, coordinator, log, url: workerUrl(row), release, onRefused, onReceived },
        ...proof,
      });
    },
  });
  opened.members = members;
  return { members, rates, settled, order: order ?? countedLists(coordinator) };
}

function registeredFleet(base: NodeBase, registered: Registered, limits: OriginLimits): Fleet {
  const { job } = base.config;
  const { log, origins } = base;
  const { members } = registered;
  // No run begins before its workers were told what they may ask of the origins.
  const settled = Promise.all([registered.settled, limits.loaded]).then(() => undefined);
  tellPeers({ ...registered, log });
  return new Fleet({
    members,
    placement: ringPlacement(members),
    origins,
    maxRestarts: job.maxRestarts,
    log,
    settled,
  });
}

/** A registry, and when the workers that are there are known after a start. */
export interface KnownWorkers {
  readonly registry: Registry;
  readonly settled: Promise<void>;
  /** Of lists of its workers, where coordinators share one. */
  readonly order?: () => PeerOrder;
}

function embeddedRegistry({ config, log, opened }: NodeBase): KnownWorkers {
  const { leaseMs } = config.cluster;
  const registry = openRegistry({ dir: config.workersDir, leaseMs, clock: systemClock, log });
  opened.registrations = registry;
  // They renew, and so find out, three times in a lease.
  return { registry, settled: membersSettled(registry, leaseMs) };
}

/** The files of this worker and, as soon as it has heard of others, of those; and what the origin has, where that may be read. */
function filesHere(base: NodeBase, store: Store, worker: IngestWorker): Reading & Pick<PagesOrder, 'peers' | 'client'> {
  const { peers, client } = base.config.role === 'worker' ? othersOf(base) : { peers: noPeers, client: nobody };
  const reading = openReading(base, { store, worker, peers, client });
  base.opened.reading = reading;
  reading.scrub.start();
  return { ...reading, peers, client };
}

function othersOf(base: NodeBase): { readonly peers: KnownPeers; readonly client: PeerClient } {
  const { config, log, opened, telemetry } = base;
  const peers = new KnownPeers(config.cluster.id as WorkerId);
  const client = new PeerClient({ ...nodeProof(base), log, onBroke: () => telemetry.counters.peerBreaks.inc() });
  telemetry.onScrape(() => {
    const avoided = peers.others().filter((peer) => client.isAvoided(peer));
    telemetry.gauges.peersAvoided.set(avoided.length);
  });
  opened.peers = peers;
  opened.peerClient = client;
  return { peers, client };
}

/** Of a coordinator, which has none of its own. */
function filesOfCluster(base: NodeBase, registered: Registered | undefined): FsSource {
  const { log, opened } = base;
  const client = new PeerClient(nodeProof(base));
  opened.peerClient = client;
  const { registry } = opened;
  const members = registered?.members;
  // Who is there is asked at once; that nobody else is, is known later.
  let whole = members === undefined;
  void registered?.settled.then(() => {
    whole = true;
  });
  const peers = new KnownPeers(undefined, () => whole);
  const order = countedLists('');
  const refresh = (): void => peers.set({ ...order(), peers: peersOf(members?.live() ?? []) });
  members?.onChange(refresh);
  refresh();
  const whom = {
    client,
    live: () => peers.others(),
    gone: () =>
      (registry?.workers() ?? [])
        .filter((row) => !isMember(row))
        .map(({ id, lastSeenMs }) => ({ id, reason: `lost, last heard at ${new Date(lastSeenMs).toISOString()}` })),
  };
  opened.askPast = pastOfCluster(whom);
  return fsCluster({ files: new ClusterFiles({ peers, client, log }), ...whom });
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

/** By what this node is let in by others, and whom it trusts. */
function nodeProof({ config: { tls }, live }: NodeBase): { token?: LiveText; tls?: ClientTls } {
  return {
    ...(live.clusterToken === undefined || tls.nodes === 'mtls' ? {} : { token: live.clusterToken }),
    ...(live.tls.client === undefined ? {} : { tls: live.tls.client }),
  };
}

function portOf({ server }: FastifyInstance): number {
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
}
