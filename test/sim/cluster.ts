/** A world's cluster: its nodes, its network and origin, and what is watched at every moment. */
import type { JobService } from '../../src/cluster/types.ts';
import { defaultTiming, type Timing } from '../../src/cluster/wire/protocol.ts';
import type { ByteRange, Log, ManifestEntry, RunId, WorkerId } from '../../src/core/types.ts';
import { KiB } from '../../src/core/units.ts';
import type { RunSpec } from '../../src/ingest/types.ts';
import { MemoryEtcd } from '../support/memory-etcd.ts';
import type { VirtualTime } from '../support/virtual-time.ts';
import { CoordinatorNode } from './coordinator-node.ts';
import { SimEtcd } from './etcd.ts';
import { Network } from './network.ts';
import { Bucket } from './origin.ts';
import { jobsRoot, leaseMs, segmentBytes } from './settings.ts';
import { Costs, Repeats, Reservations, SharedWatch, Terms } from './watch.ts';
import type { WebSocket } from './web-sockets.ts';
import { WorkerNode } from './worker-node.ts';
import { Machine, type Process, type World } from './world.ts';

const timing: Timing = { ...defaultTiming, pingMs: 1000, silenceMs: 2500, progressMs: 1000 };
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
  fetching(worker: WorkerNode, spec: RunSpec, entry: ManifestEntry, range: ByteRange): void {
    const { world } = this;
    const { run, load } = spec;
    this.costs.fetches(worker, spec, entry, range);
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
