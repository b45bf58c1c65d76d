/** One seed: a world is made, disturbed for a while, and must come to its right end. */
import { mkdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ledgerDifference } from '../../src/core/types.ts';
import { MiB } from '../../src/core/units.ts';
import { Client, type JobPlan } from './clients.ts';
import { Cluster } from './cluster.ts';
import { type CoordinatorNode, idsOf } from './coordinator-node.ts';
import { type FaultKind, Faults, faultKinds } from './faults.ts';
import { simulateGlobals } from './globals.ts';
import { leaseMs } from './settings.ts';
import { setCoordinators } from './transport.ts';
import { setAddresses } from './web-sockets.ts';
import { enter, World } from './world.ts';

export interface Verdict {
  readonly seed: number;
  readonly wrong: readonly string[];
  /** Faults that met work under way. */
  readonly fired: ReadonlyMap<FaultKind, number>;
  readonly met: Cluster['met'];
  /** `SUCCEEDED` and so on, one a job. */
  readonly ends: readonly string[];
  readonly events: number;
  readonly virtualMs: number;
  readonly lines: readonly string[];
}

/** What has no worker fetch a byte again that is durable. */
const faultsOfOthers: readonly FaultKind[] = [
  'coordinator killed',
  'coordinator without power',
  'coordinator shut down',
  'coordinator frozen',
  'object fails for a while',
  'object is silent',
  'listing fails',
];

const deaths: readonly FaultKind[] = [
  ...faultsOfOthers,
  'worker killed',
  'worker without power',
  'worker gone for good',
  'worker shut down',
  'both killed',
];

/** Bounds of virtual time: until all has ended after the last fault, and until nothing is left of it. */
const endLimitMs = 240_000;
const faultsUntilMs = 25_000;
/** So many worlds have two coordinators. */
const severalShare = Number(process.env.SIM_SEVERAL ?? 0.15);

mkdirSync(join(tmpdir(), 'primed-simulated'), { recursive: true });

export async function simulate(seed: number, { logging = false, several = severalShare } = {}): Promise<Verdict> {
  const world = new World(seed);
  world.logging = logging;
  enter(world);
  const restore = simulateGlobals();
  const unhandled = (error: unknown): void =>
    world.wrong(`nobody handles ${error instanceof Error ? error.stack : String(error)}`);
  const others = process.listeners('unhandledRejection');
  process.removeAllListeners('unhandledRejection');
  process.on('unhandledRejection', unhandled);
  try {
    return await simulated(seed, world, several);
  } finally {
    process.off('unhandledRejection', unhandled);
    for (const listener of others) process.on('unhandledRejection', listener);
    setAddresses(undefined);
    setCoordinators(undefined);
    restore();
    enter(undefined);
  }
}

async function simulated(seed: number, world: World, several: number): Promise<Verdict> {
  const coordinators = world.chance(several) ? 2 : 1;
  const workerCount = world.integer(2, coordinators > 1 ? 4 : 5);
  const tight = world.chance(0.06);
  const cluster = new Cluster(world, {
    capacityBytes: tight ? 40 * MiB : 10_000 * MiB,
    onChange: world.chance(0.15) ? 'fail' : 'restart',
    patientLinks: world.chance(coordinators > 1 ? 0.4 : 0.1),
    coordinators,
  });
  cluster.tight = tight;
  const { network, bucket } = cluster;
  const [first] = cluster.coordinators as [CoordinatorNode];
  const machineAt = (host: string) => cluster.machineAt(host);
  setCoordinators({
    network,
    machineAt,
    registryOf: (process) => (process === first.process ? first.registrations : undefined),
  });
  setAddresses({
    network,
    machineAt,
    upgradesOf: (process) => cluster.workerOf(process),
    delivering: (socket, process, frame) => cluster.delivering(socket, process, frame),
  });
  for (let count = 0; count < workerCount; count += 1) cluster.addWorker();
  const plans = planJobs(world, workerCount);
  const files = world.chance(0.3) ? world.integer(1, 3) : world.integer(3, 16);
  for (let at = 0; at < files; at += 1)
    bucket.put(`${world.pick(plans).path}f${String(at).padStart(2, '0')}`, cluster.sizeBytes());
  for (const { path } of plans) bucket.put(`${path}last`, cluster.sizeBytes());
  bucket.slowMs = world.pick([300, 1500, 4000]);

  for (const one of cluster.coordinators) one.start();
  for (const worker of cluster.workers) world.after(world.between(0, 300), undefined, () => worker.start());
  const clients = plans.map((plan) => new Client(plan, cluster));
  cluster.onJobs = (jobs) => {
    for (const client of clients) client.watch(jobs);
  };
  const needed = Math.max(...plans.map(({ replicas }) => replicas));
  const faults = new Faults(cluster, needed);
  const calm = world.chance(0.1);
  if (calm) cluster.calmFromMs = 0;
  cluster.workersAreWell = calm || world.chance(0.2);
  const count = calm ? 0 : world.integer(1, 7);
  cluster.onlyDeaths = !cluster.workersAreWell && !tight && world.chance(0.3);
  const kinds = cluster.workersAreWell ? faultsOfOthers : cluster.onlyDeaths ? deaths : faultKinds;
  for (let at = 0; at < count; at += 1)
    faults.plan(world.pick(kinds), world.between(400, world.pick([4000, 10_000, faultsUntilMs])));
  // Workers and coordinators lose what they hold there at about the same time, while their links stay.
  if (coordinators > 1 && kinds === faultKinds && world.chance(0.3))
    faults.plan('etcd is away', world.between(400, 4000));
  if (!calm && world.chance(0.1)) {
    // As soon as a client has heard that its job is safe.
    cluster.accepted = () => {
      cluster.accepted = () => undefined;
      faults.plan('coordinator without power', world.between(0, 5));
    };
  }

  await world.run(Number.POSITIVE_INFINITY, () => faults.over && world.nowMs > 1000);
  // What a fault left for good is mended now, but for what is gone for good.
  network.healAll(cluster.machines);
  for (const one of cluster.coordinators) one.start();
  for (const worker of cluster.workers) if (!worker.goneForGood) worker.start();
  const quietMs = world.nowMs;
  if (!calm) cluster.calmFromMs = quietMs + cluster.recoveryMs;
  const ended = await world.run(quietMs + endLimitMs, () => clients.every(({ done }) => done));
  if (!ended) {
    for (const { plan, end, jobId } of clients)
      if (end === undefined)
        world.wrong(`${plan.path} (${jobId ?? 'not accepted'}) never ended: ${cluster.stateOf(plan.path)}`);
      else world.wrong(`the stop of ${plan.path} was never answered`);
  }
  await world.run(world.nowMs + (calm ? 3000 : 2 * leaseMs + 9000), () => false);
  checkRest(cluster, clients, calm);
  return {
    seed,
    wrong: world.faults,
    fired: faults.fired,
    met: cluster.met,
    ends: clients.map(({ end }) => end?.state ?? 'NONE'),
    events: world.events,
    virtualMs: world.nowMs,
    lines: world.lines,
  };
}

function planJobs(world: World, workers: number): JobPlan[] {
  const count = world.pick([1, 1, 1, 2, 3]);
  return Array.from({ length: count }, (_, at): JobPlan => {
    const stops = world.chance(0.15);
    return {
      path: `s3://b/d${at}/`,
      replicas: Math.min(workers, world.pick([1, 1, 2, 2, 3])),
      skipIfExists: world.chance(0.4),
      partialListing: world.chance(0.5),
      verify: world.chance(0.25),
      loadMetadataOnly: world.chance(0.04),
      batchSize: world.pick([1, 3, 10]),
      segmentBytes: world.pick([2 * MiB, 4 * MiB, 4 * MiB, 64 * MiB]),
      submitMs: world.between(300, 2500),
      freeAfterMs: world.chance(0.1) ? world.between(0, 3000) : undefined,
      stopAfterMs: stops ? world.between(10, 8000) : undefined,
    };
  });
}

/** Nothing is left of what has ended. */
function checkRest(cluster: Cluster, clients: readonly Client[], calm: boolean): void {
  const { world, workers, bucket } = cluster;
  for (const { id, worker, up, store } of workers) {
    for (const [run, ledger] of store.model.ledgers) {
      if (up && ledgerDifference(ledger) !== 0) world.wrong(`${id}: the ledger of run ${run} does not balance`);
    }
    if (!up || worker === undefined) continue;
    if (worker.runs.size > 0) world.wrong(`${id} still has runs: ${[...worker.runs.keys()].join()}`);
    if (worker.reservedBytes > 0) world.wrong(`${id} still has ${worker.reservedBytes} bytes reserved`);
  }
  for (const coordinator of cluster.coordinators) {
    const { livePeers } = coordinator;
    for (const { id, up, peers } of workers) {
      if (!up || livePeers === undefined || !coordinator.isMember(id)) continue;
      const heard = peers === undefined ? 'nothing' : idsOf(peers.peers);
      if (heard !== livePeers) world.wrong(`${id} was told of workers ${heard}, and live are ${livePeers}`);
    }
    // Whoever is asked says the same of what has ended.
    if (coordinator.up && coordinator.jobs?.trouble() === undefined)
      for (const { plan, jobId, end } of clients) {
        const state = jobId === undefined ? undefined : coordinator.jobs?.byId(jobId)?.state;
        if (end !== undefined && state !== end.state)
          world.wrong(`${coordinator.machine.name} says ${state} of ${plan.path}, which is ${end.state}`);
      }
    for (const call of coordinator.pending.values()) world.wrong(`a call is pending for ever: ${call}`);
  }
  if (!calm || cluster.tight) return;
  for (const { plan, end } of clients)
    if (plan.stopAfterMs === undefined && end?.state !== 'SUCCEEDED')
      world.wrong(`${plan.path}: ${end?.state} in a calm world: ${end?.reason}`);
  for (const [key, times] of bucket.sent)
    if (times > 1) world.wrong(`${key} left the origin ${times} times in a calm world`);
}
