/** Coordinator and workers of a world, wired as src/nodes.ts wires them. */
import { randomUUID } from 'node:crypto';
import { EventEmitter } from 'node:events';
import type { Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openEtcdRegistrar } from '../../src/cluster/etcd-registrar.ts';
import { openEtcdRegistry } from '../../src/cluster/etcd-registry.ts';
import { Fleet } from '../../src/cluster/fleet.ts';
import { openJobService } from '../../src/cluster/job-service.ts';
import { LocalLink } from '../../src/cluster/local-link.ts';
import { countedLists, tellPeers } from '../../src/cluster/peer-news.ts';
import { ringPlacement } from '../../src/cluster/placement.ts';
import { openRegistrar, type Registrar } from '../../src/cluster/registrar.ts';
import { openRegistry, type Registrations, type Registry } from '../../src/cluster/registry.ts';
import { type EndableLink, membersSettled, registryMembers, urlOf } from '../../src/cluster/registry-members.ts';
import { openSharedJobs } from '../../src/cluster/shared/shared-jobs.ts';
import type { JobService } from '../../src/cluster/types.ts';
import { attachControl, type Control } from '../../src/cluster/wire/control-server.ts';
import { defaultTiming, type Timing } from '../../src/cluster/wire/protocol.ts';
import { RemoteLink } from '../../src/cluster/wire/remote-link.ts';
import type { BegunLoad } from '../../src/cluster/worker-link.ts';
import { isMember } from '../../src/core/membership.ts';
import { latestPeers, type PeerList } from '../../src/core/peers.ts';
import type { ByteRange, Clock, Log, ManifestEntry, RunId, WorkerId } from '../../src/core/types.ts';
import { KiB, MiB } from '../../src/core/units.ts';
import type { RunSpec } from '../../src/ingest/types.ts';
import { MemoryEtcd } from '../support/memory-etcd.ts';
import type { VirtualTime } from '../support/virtual-time.ts';
import { SimEtcd } from './etcd.ts';
import { Network } from './network.ts';
import { Bucket, SimOrigins } from './origin.ts';
import { StoodStill } from './stood-still.ts';
import { SimStore } from './store.ts';
import { Costs, Repeats, Reservations, SharedWatch, Terms } from './watch.ts';
import type { WebSocket } from './web-sockets.ts';
import { SimWorker } from './worker.ts';
import { Machine, Process, type World } from './world.ts';

export const leaseMs = 6_000;
const segmentBytes = 4 * MiB;
const timing: Timing = { ...defaultTiming, pingMs: 1000, silenceMs: 2500, progressMs: 1000 };
/** Real, but nothing is in it: databases are in memory. */
const folder = join(tmpdir(), 'primed-simulated');
const httpPort = 28080;
const jobsRoot = '/primed/jobs/';
const etcdMembers = { prefix: '/primed/workers/', cluster: 'sim', leaseMs };
/** So long after the end of a job a worker may fetch for it, which has not heard of the end: a lease, and what finds out. */
const lateMs = leaseMs + 4_000;

function sizeOf(world: World): number {
  if (world.chance(0.05)) return 0;
  if (world.chance(0.4)) return world.integer(1, 900 * KiB);
  const segments = world.integer(1, 6);
  return world.chance(0.4) ? segments * segmentBytes : world.integer(1, segments * segmentBytes);
}

export interface ClusterOptions {
  readonly capacityBytes: number;
  readonly onChange: 'restart' | 'fail';
  /** Links notice later than leases that nothing is heard: then they outlive registrations. */
  readonly patientLinks: boolean;
  /** More than one: over etcd. */
  readonly coordinators: number;
}

export class Cluster {
  readonly world: World;
  readonly network: Network;
  readonly bucket: Bucket;
  readonly options: ClusterOptions;
  readonly coordinators: CoordinatorNode[] = [];
  /** Where several coordinators share the jobs. */
  readonly etcd: { readonly server: MemoryEtcd; readonly machine: Machine } | undefined;
  readonly workers: WorkerNode[] = [];
  /** Told of each coordinator that has opened its jobs. */
  onJobs: (jobs: JobService) => void = () => undefined;
  /** Epochs that workers were given, ever. */
  readonly epochs = new Set<number>();
  /** Least workers that took segments since jobs began. */
  fewestTakers = Number.POSITIVE_INFINITY;
  /** Stores have little room. */
  tight = false;
  /** From then on nothing is done to the world, and what was done to it is over. */
  calmFromMs = Number.POSITIVE_INFINITY;
  /** Nothing is done to workers, to the ways to them, or to what they ask for that would have them fetch twice. */
  workersAreWell = false;
  /** Nothing is done to the world that would have a byte fetched twice, but that workers die. */
  onlyDeaths = false;
  /** Frames that came for a registration that did not hold any more. */
  staleFrames = 0;
  readonly timing: Timing;
  readonly reservations: Reservations;
  readonly terms: Terms;
  readonly costs = new Costs(this);
  readonly repeats: Repeats;
  readonly watch: SharedWatch | undefined;
  readonly #endedMs = new Map<RunId, number>();

  constructor(world: World, options: ClusterOptions) {
    this.world = world;
    this.options = options;
    this.timing = options.patientLinks ? { ...timing, silenceMs: 1.5 * leaseMs } : timing;
    this.network = new Network(world);
    this.bucket = new Bucket(world);
    this.reservations = new Reservations(world);
    this.terms = new Terms(world);
    this.repeats = new Repeats(world, leaseMs - 1000);
    if (options.coordinators > 1) {
      const time = { process: () => ({ after: (ms: number, act: () => void) => this.#calledOff(ms, act) }) };
      this.etcd = { server: new MemoryEtcd(time as unknown as VirtualTime), machine: new Machine('e') };
    }
    for (let at = 0; at < options.coordinators; at += 1)
      this.coordinators.push(new CoordinatorNode(this, at === 0 ? 'c' : `c${at + 1}`));
    if (this.etcd === undefined) return;
    const { coordinators } = this;
    this.watch = new SharedWatch({ world, etcd: this.etcd.server, root: jobsRoot, coordinators });
    const hindered = (one: CoordinatorNode): boolean => this.#isHindered(one);
    this.watch.look({ recoveryMs: this.recoveryMs, hindered });
  }

  /** Until links are back that were cut, or whose end is gone, and until it is known who is not. */
  get recoveryMs(): number {
    const { silenceMs, handshakeMs, longestRetryMs } = this.timing;
    return leaseMs + silenceMs + handshakeMs + longestRetryMs;
  }

  #calledOff(delayMs: number, act: () => void): () => void {
    const event = this.world.after(delayMs, undefined, act);
    return () => this.world.cancel(event);
  }

  /** One that is there, whichever; else the first. */
  get coordinator(): CoordinatorNode {
    const up = this.coordinators.filter((one) => one.up && one.jobs !== undefined);
    return up.length > 1 ? this.world.pick(up) : (up[0] ?? this.coordinators[0]!);
  }

  etcdOf(process: Process): SimEtcd {
    const { network } = this;
    return new SimEtcd({ ...this.etcd!, network, process });
  }

  /** For any of the coordinators: one that stands still knows nothing of those that came meanwhile. */
  wasMember(id: WorkerId, sinceMs: number): boolean {
    return this.coordinators.some((one) => one.wasMember(id, sinceMs));
  }

  /** Is not there, stands still, or has no way to etcd. */
  #isHindered({ up, leaving, process, machine }: CoordinatorNode): boolean {
    const { network, etcd } = this;
    if (!up || leaving || process!.frozen || etcd === undefined || network.slow) return true;
    return network.isCut(machine, etcd.machine) || network.isCut(etcd.machine, machine);
  }

  get machines(): Machine[] {
    const etcd = this.etcd === undefined ? [] : [this.etcd.machine];
    return [...etcd, ...this.coordinators.map(({ machine }) => machine), ...this.workers.map(({ machine }) => machine)];
  }

  addWorker(): WorkerNode {
    const worker = new WorkerNode(this, `w${this.workers.length + 1}`);
    this.workers.push(worker);
    return worker;
  }

  machineAt(host: string): Machine | undefined {
    const [name] = host.split(':');
    return this.machines.find((machine) => machine.name === name);
  }

  workerOf(process: Process): WorkerNode | undefined {
    return this.workers.find((worker) => worker.process === process);
  }

  /** Bytes are on their way somewhere. */
  get atWork(): boolean {
    return this.workers.some(({ up, worker }) => up && worker !== undefined && worker.partsInFlight > 0);
  }

  sizeBytes(): number {
    return sizeOf(this.world);
  }

  stateOf(path: string): string {
    const job = this.coordinator.jobs?.snapshot(path);
    return job === undefined ? 'unknown' : `${job.state} ${job.reason ?? ''} ${job.processedFiles}/${job.totalFiles}`;
  }

  runEnded(run: RunId): void {
    this.#endedMs.set(run, this.world.nowMs);
  }

  thawed(process: Process): void {
    const worker = this.workerOf(process);
    if (worker !== undefined) worker.thawedMs = this.world.nowMs;
  }

  /** Told of each submission that was accepted just now. */
  accepted: () => void = () => undefined;

  /** A worker asks the origin. */
  fetching(worker: WorkerNode, { run, load }: RunSpec, entry: ManifestEntry, range: ByteRange): void {
    const { world } = this;
    const endedMs = this.#endedMs.get(run);
    if (endedMs !== undefined && world.nowMs - Math.max(endedMs, worker.thawedMs) > lateMs)
      world.wrong(`${worker.id} fetches ${entry.path} for run ${run}, which has ended long ago`);
    if (!this.workersAreWell) return;
    const holder = this.workers.find(({ store }) => store.hasOf(load, entry, range));
    if (holder !== undefined)
      world.wrong(`${worker.id} fetches ${entry.path} at ${range.offset}, which is durable on ${holder.id} already`);
  }

  /** What a coordinator says to a registration that does not hold any more changes nothing. */
  delivering(socket: WebSocket, process: Process, frame: Buffer | undefined): void {
    const worker = this.workerOf(process);
    if (worker === undefined || socket.side !== 1) return;
    this.repeats.delivering(worker, socket.headers['x-primed-session']!, frame);
    if (frame === undefined) return;
    this.terms.delivering(worker, socket.headers['x-primed-coordinator']!, frame);
    const epoch = worker.registrar?.epoch();
    if (socket.headers['x-primed-epoch'] === String(epoch)) return;
    this.staleFrames += 1;
    const { changes } = worker;
    this.world.afterwards(() => {
      if (worker.changes !== changes)
        this.world.wrong(
          `${worker.id} did what was said to epoch ${socket.headers['x-primed-epoch']}; it has ${epoch}`,
        );
    });
  }

  /** How often it came to what some checks are about. */
  get met(): Readonly<Record<'stale frame' | 'late call' | 'repeated frame' | 'job taken over', number>> {
    return {
      'stale frame': this.staleFrames,
      'late call': this.terms.late,
      'repeated frame': this.repeats.count,
      'job taken over': this.watch?.takenOver ?? 0,
    };
  }

  logOf(process: Process): Log {
    const { world } = this;
    const say = (level: string) => (facts: object, message: string) => {
      if (world.logging) world.log(`${process.name} ${level} ${message} ${JSON.stringify(facts, shown)}`);
    };
    const error = (facts: object, message: string): void => {
      say('error')(facts, message);
      if (/defect|must not|does not balance/.test(message)) world.wrong(`${message}: ${JSON.stringify(facts, shown)}`);
    };
    return { debug: say('debug'), info: say('info'), warn: say('warn'), error };
  }
}

function shown(_key: string, value: unknown): unknown {
  return value instanceof Error ? (value.stack ?? value.message) : value;
}

export function idsOf(list: readonly { readonly id: string }[]): string {
  return list
    .map(({ id }) => id)
    .sort()
    .join();
}

abstract class Node {
  readonly cluster: Cluster;
  readonly machine: Machine;
  process: Process | undefined;
  /** It was told to end. */
  leaving = false;

  constructor(cluster: Cluster, name: string) {
    this.cluster = cluster;
    this.machine = new Machine(name);
  }

  get up(): boolean {
    return this.process?.alive === true;
  }

  start(): void {
    if (this.up) return;
    const { machine, cluster } = this;
    machine.restarts += 1;
    const process = new Process(machine, `${machine.name}#${machine.restarts}`);
    machine.process = process;
    this.process = process;
    this.leaving = false;
    cluster.world.log(`${process.name} starts`);
    cluster.world.after(0, process, () => this.#run(() => this.open(process)));
  }

  die(how: 'kill' | 'power'): void {
    if (this.process === undefined || !this.up) return;
    this.cluster.world.log(`${this.process.name} dies (${how})`);
    this.cluster.world.kill(this.process, how);
  }

  /** As after SIGTERM: it has 5 s. */
  leave(): void {
    const { process, cluster } = this;
    if (process === undefined || !this.up) return;
    this.leaving = true;
    cluster.world.log(`${process.name} is told to end`);
    const end = (): void => {
      cluster.world.log(`${process.name} ends`);
      cluster.world.kill(process, 'kill');
    };
    cluster.world.after(5000, process, end, 'timer');
    cluster.world.after(0, process, () => this.#run(() => this.close().then(end)));
  }

  protected abstract open(process: Process): Promise<void>;
  protected abstract close(): Promise<void>;

  #run(act: () => Promise<void>): void {
    act().catch((error: unknown) =>
      this.cluster.world.wrong(`${this.process?.name}: ${error instanceof Error ? error.stack : String(error)}`),
    );
  }
}

export class CoordinatorNode extends Node {
  registry: Registry | undefined;
  /** Where workers register with it. */
  registrations: (Registry & Registrations) | undefined;
  jobs: JobService | undefined;
  #members: { close(): void } | undefined;
  #ids: (() => string) | undefined;
  /** Calls on links that have not been answered, by what they are. */
  readonly pending = new Map<symbol, string>();
  readonly stoodStill = new StoodStill();
  /** When workers were last members. */
  readonly memberUntilMs = new Map<WorkerId, number>();

  protected async open(process: Process): Promise<void> {
    const { cluster } = this;
    const { world, options } = cluster;
    const log = cluster.logOf(process);
    this.jobs = undefined;
    this.pending.clear();
    const clock = { monotonicMs: () => world.nowMs, wallMs: () => Math.floor(world.wallMs) };
    const { etcd, registry, settled, order: shared } = this.#known(process, clock, log);
    this.registry = registry;
    const coordinator = randomUUID();
    const members = registryMembers({
      registry,
      connect: (row) => {
        const { id, epoch } = row;
        return this.#watched(new RemoteLink({ id, epoch, coordinator, log, url: urlOf(row), timing: cluster.timing }));
      },
    });
    this.#members = members;
    tellPeers({ members, settled, order: shared ?? countedLists(coordinator), log });
    this.#ids = undefined;
    void settled.then(() => {
      if (this.#members === members) this.#ids = () => idsOf(members.live());
    });
    registry.onChange(() => this.#noteMembers());
    const origins = new SimOrigins(cluster.bucket);
    const fleet = new Fleet({
      members,
      placement: ringPlacement(members),
      origins,
      maxRestarts: 2,
      log,
      followedAboveBytes: MiB,
      settled,
    });
    const order = {
      dir: join(folder, 'jobs'),
      ...{ fleet, origins, clock, log },
      settings: { listingKeys: 4, maxActive: 2, onChange: options.onChange, listingRetryMs: 100 },
    };
    const places = { root: jobsRoot, url: `http://${this.machine.name}:19999`, release: 'test', leaseMs };
    const jobs = await (etcd === undefined ? openJobService(order) : openSharedJobs({ ...order, ...places, etcd }));
    this.jobs = jobs;
    cluster.onJobs(jobs);
  }

  #known(process: Process, clock: Clock, log: Log) {
    if (this.cluster.etcd === undefined) {
      const registry = openRegistry({ dir: join(folder, 'workers'), leaseMs, clock, log });
      this.registrations = registry;
      return { etcd: undefined, order: undefined, registry, settled: membersSettled(registry, leaseMs) };
    }
    const etcd = this.cluster.etcdOf(process);
    const registry = openEtcdRegistry({ etcd, ...etcdMembers, timeoutMs: 2000, clock, log });
    return { etcd, order: () => registry.order(), registry, settled: registry.loaded };
  }

  /** The live workers, as it sees them; undefined while it waits for some to come back. */
  get livePeers(): string | undefined {
    return this.#ids?.();
  }

  isMember(id: WorkerId): boolean {
    return this.registry?.workers().some((row) => row.id === id && isMember(row)) === true;
  }

  /** Is a member, or was one at that time or later. */
  wasMember(id: WorkerId, sinceMs: number): boolean {
    return this.isMember(id) || (this.memberUntilMs.get(id) ?? Number.NEGATIVE_INFINITY) >= sinceMs;
  }

  protected async close(): Promise<void> {
    await this.jobs?.close(2500);
    this.#members?.close();
    await this.registry?.close();
  }

  #noteMembers(): void {
    const { world } = this.cluster;
    const rows = this.registry!.workers();
    let takers = 0;
    for (const row of rows) {
      if (isMember(row)) {
        this.memberUntilMs.set(row.id, Number.POSITIVE_INFINITY);
        if (!row.drains) takers += 1;
      } else if (this.memberUntilMs.get(row.id) === Number.POSITIVE_INFINITY)
        this.memberUntilMs.set(row.id, world.nowMs);
    }
    this.cluster.fewestTakers = Math.min(this.cluster.fewestTakers, takers);
  }

  /** The link, with an account of what it has not answered. */
  #watched(link: RemoteLink): EndableLink {
    const { pending } = this;
    const asked = new Map<RunId, number>();
    const ask = (run: RunId, bytes: number): void => {
      const totalBytes = (asked.get(run) ?? 0) + bytes;
      asked.set(run, totalBytes);
      this.cluster.reservations.asked(link.id, run, totalBytes);
    };
    return new Proxy(link, {
      get(target, name) {
        const value: unknown = Reflect.get(target, name, target);
        if (typeof value !== 'function') return value;
        return (...args: unknown[]) => {
          const call = Symbol(String(name));
          const settled = (): void => void pending.delete(call);
          if (name === 'begin') {
            pending.set(call, `load at ${link.id}`);
            const told = args[1] as BegunLoad;
            const ended: BegunLoad['ended'] = (end) => {
              settled();
              told.ended(end);
            };
            args[1] = { segment: told.segment, how: told.how, ended };
          }
          if (name === 'reserveMore') ask(...(args as [RunId, number]));
          const result: unknown = Reflect.apply(value, target, args);
          if (!(result instanceof Promise)) return result;
          if (name === 'reserveMore')
            result.catch(() => {
              const [run, bytes] = args as [RunId, number];
              ask(run, -bytes);
            });
          pending.set(call, `${String(name)} at ${link.id}`);
          result.then(settled, settled);
          return result;
        };
      },
    });
  }
}

export class WorkerNode extends Node {
  readonly id: WorkerId;
  readonly store: SimStore;
  readonly server = new EventEmitter();
  worker: SimWorker | undefined;
  goneForGood = false;
  drains = false;
  registrar: Registrar | undefined;
  #control: Control | undefined;
  /** Calls that changed something, ever. */
  changes = 0;
  readonly #calls = new Map<RunId, number>();
  /** Highest of each run that its process was given. */
  readonly #terms = new Map<RunId, number>();
  /** When it last went on after it stood still. */
  thawedMs = Number.NEGATIVE_INFINITY;
  /** The list of live workers that holds. */
  peers: PeerList | undefined;

  constructor(cluster: Cluster, name: string) {
    super(cluster, name);
    this.id = name as WorkerId;
    this.store = new SimStore(cluster.options.capacityBytes);
  }

  override leave(): void {
    if (this.up && !this.leaving) this.cluster.costs.leaves(this);
    super.leave();
  }

  protected async open(process: Process): Promise<void> {
    const { cluster, store } = this;
    const { world } = cluster;
    const log = cluster.logOf(process);
    if (this.machine.restarts > 1) store.restart();
    this.#terms.clear();
    process.onDeath.push(() => cluster.costs.died(this));
    this.server.removeAllListeners();
    const worker = new SimWorker({
      ...{ name: this.machine.name, process, store },
      ...{ bucket: cluster.bucket, origins: new SimOrigins(cluster.bucket) },
      askPeer: (url, serve) => this.#askPeer(url, serve),
      onCall: (method, run) => {
        this.changes += 1;
        if (run !== undefined) this.#calls.set(run, this.callsOf(run) + 1);
        if (method === 'stopRun') cluster.costs.stopped(this, run!);
        if (world.logging && method !== 'load') world.log(`${process.name} ${method} ${run?.slice(0, 8) ?? ''}`);
      },
      onStart: (spec) => this.#started(spec),
      onReserved: (run, totalBytes) => cluster.reservations.granted(this.id, run, totalBytes),
      onFetch: (spec, entry, range) => cluster.fetching(this, spec, entry, range),
    });
    this.worker = worker;
    // Ports are open a while after the process began.
    await new Promise((resolve) => setTimeout(resolve, world.between(1, 50)));
    const self = {
      id: this.id,
      address: { host: this.machine.name, httpPort, s3Port: 29998, version: 'test' },
      figures: () => ({ capacityBytes: store.capacityBytes, freeBytes: store.capacityBytes, files: 0 }),
      log,
    };
    const clock = { monotonicMs: () => world.nowMs, wallMs: () => Math.floor(world.wallMs) };
    const registrar =
      cluster.etcd === undefined
        ? openRegistrar({ coordinator: 'http://c:19999', ...self })
        : openEtcdRegistrar({ ...self, ...etcdMembers, etcd: cluster.etcdOf(process), clock });
    this.registrar = registrar;
    registrar.onEpoch((epoch) => {
      if (epoch === undefined) return;
      if (cluster.epochs.has(epoch)) world.wrong(`epoch ${epoch} was given twice, now to ${this.id}`);
      cluster.epochs.add(epoch);
    });
    this.#control = attachControl(this.server as unknown as Server, {
      link: new LocalLink(this.id, worker, (list) => {
        const before = this.peers;
        // Of etcd another coordinator may have heard less.
        if (cluster.etcd === undefined && before?.from === list.from && list.version < before.version)
          world.wrong(`${this.id} hears an older list of workers after a newer one`);
        this.peers = latestPeers(before, list);
      }),
      epoch: () => registrar.epoch(),
      leaseMs: () => leaseMs,
      version: 'test',
      log,
      timing: cluster.timing,
    });
  }

  callsOf(run: RunId): number {
    return this.#calls.get(run) ?? 0;
  }

  termOf(run: RunId): number {
    return this.#terms.get(run) ?? 0;
  }

  #started(spec: RunSpec): void {
    const { run, term } = spec;
    this.cluster.costs.started(spec);
    if (term < this.termOf(run))
      this.cluster.world.wrong(`${this.id} begins run ${run} under term ${term}, after ${this.termOf(run)}`);
    this.#terms.set(run, term);
  }

  protected async close(): Promise<void> {
    await this.registrar?.close();
    this.#control?.close();
    await this.worker?.close();
  }

  #askPeer(url: string, serve: (worker: SimWorker) => boolean): Promise<boolean> {
    const { cluster } = this;
    const machine = cluster.machineAt(new URL(url).host)!;
    const refused = (): Error => new Error('connect ECONNREFUSED');
    return cluster.network.ask(machine, refused, async (process) => {
      const worker = cluster.workerOf(process)?.worker;
      if (worker === undefined) throw refused();
      return serve(worker);
    });
  }
}
