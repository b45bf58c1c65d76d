/** The coordinator's side of a node: the workers that it knows, and their jobs, limits, pins and files. */
import { randomUUID } from 'node:crypto';
import { closeSync } from 'node:fs';
import { join } from 'node:path';
import { Fleet } from './cluster/fleet.ts';
import { openJobService } from './cluster/job-service.ts';
import { openPinsStore } from './cluster/limits-store.ts';
import type { OriginLimits } from './cluster/origin-limits.ts';
import { countedLists, peersOf, tellPeers } from './cluster/peer-news.ts';
import { ClusterPins } from './cluster/pins.ts';
import { ringPlacement } from './cluster/placement.ts';
import { openRatesStore } from './cluster/rates-store.ts';
import { ClusterFiles } from './cluster/reading/files.ts';
import { fsCluster } from './cluster/reading/fs-cluster.ts';
import type { FsSource } from './cluster/reading/fs-source.ts';
import { KnownPeers } from './cluster/reading/known-peers.ts';
import { pastHere, pastOfCluster } from './cluster/reading/past.ts';
import { PeerClient } from './cluster/reading/peer-client.ts';
import { openRegistry } from './cluster/registry.ts';
import {
  membersSettled,
  type RegistryMembers,
  registryMembers,
  urlOf as workerUrl,
} from './cluster/registry-members.ts';
import { soloFleet } from './cluster/solo-fleet.ts';
import { RemoteLink } from './cluster/wire/remote-link.ts';
import { WorkerRates } from './cluster/worker-rates.ts';
import { isMember } from './core/membership.ts';
import type { PeerOrder } from './core/peers.ts';
import { rateWindowMs } from './core/rate.ts';
import type { PinList } from './core/retention.ts';
import type { WorkerId } from './core/types.ts';
import { etcdJobs, etcdLimits, etcdPins, etcdRegistry } from './etcd-nodes.ts';
import { figuresOf, type KnownWorkers, type NodeBase, nodeProof } from './node.ts';
import { observeJobs, showJobs, showLimits, showWorkers } from './observers.ts';
import { openCoordinatorLimits } from './origin-limits.ts';
import { lockFolder, systemClock } from './platform/index.ts';
import { buildApiServer } from './servers.ts';
import { takeWhatIsOnDisk } from './store/upgrade.ts';
import { originUses } from './worker-figures.ts';

/** In the data folder, where a worker of the same machine may have its own. */
const coordinatorLock = {
  name: 'coordinator.lock',
  belongs: "a coordinator's data (jobs, workers, limits, pins) belongs to one process",
};

/** Jobs, and the port that clients submit them to. Alone it has the workers that register with it, else the one of this process. */
export async function openCoordinatorSide(base: NodeBase): Promise<void> {
  const { config, log, telemetry, origins, opened } = base;
  const { job } = config;
  // Its databases can be opened by several processes, each of which would take the jobs of the others for its own.
  const lockFd = lockFolder(config.dataDir, coordinatorLock);
  opened.unlock = () => closeSync(lockFd);
  await takeDatabases(config);
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
  // Nobody looks while no console is open.
  const figures = figuresOf(base, rateWindowMs);
  const ownUses = originUses(base.originCounts, () => systemClock.monotonicMs(), rateWindowMs);
  const rates = openRatesStore(join(config.dataDir, 'rates'), log);
  if (rates !== undefined) opened.rates = rates;
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
    ...(figures ? { figures } : { ownUses }),
    ...(rates && { rates }),
  });
}

/** Those that this node opens beside the job store, which sees to it by itself. */
export async function takeDatabases({
  role,
  cluster,
  dataDir,
  workersDir,
}: Pick<NodeBase['config'], 'role' | 'cluster' | 'dataDir' | 'workersDir'>): Promise<void> {
  // With etcd they lie there, and what is here of a time before is nobody's.
  if (cluster.etcd === undefined) {
    for (const kind of ['limits', 'pins'] as const) await takeWhatIsOnDisk(join(dataDir, kind), kind);
    if (role === 'coordinator') await takeWhatIsOnDisk(workersDir, 'workers');
  }
  // Without them curves begin anew, and a damaged one is told of when it is opened.
  await takeWhatIsOnDisk(join(dataDir, 'rates'), 'rates').catch(() => undefined);
}

/** By the ring, as it is now. Without one there is one worker, which is no news. */
function ownersOf(members: RegistryMembers | undefined): (path: string, index: number, replicas: number) => string[] {
  if (members === undefined) return () => [];
  const placement = ringPlacement(members);
  return (path, index, replicas) => placement.owners(path, index, replicas).map(({ id }) => id);
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

function embeddedRegistry({ config, log, opened }: NodeBase): KnownWorkers {
  const { leaseMs } = config.cluster;
  const registry = openRegistry({ dir: config.workersDir, leaseMs, clock: systemClock, log });
  opened.registrations = registry;
  // They renew, and so find out, three times in a lease.
  return { registry, settled: membersSettled(registry, leaseMs) };
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
