/**
 * What must be true all the time, and not only in the end: of what workers are told, of who runs which job, and of the room that
 * is reserved. Each of these looks at what crosses between processes, not at what one of them believes.
 */
import { unpackEntries } from '../../src/cluster/wire/columns.ts';
import { numbersOf, unpackDown } from '../../src/cluster/wire/protocol.ts';
import type { ByteRange, LoadId, ManifestEntry, RunId } from '../../src/core/types.ts';
import { pageBytes } from '../../src/core/units.ts';
import type { RunSpec } from '../../src/ingest/types.ts';
import type { MemoryEtcd } from '../support/memory-etcd.ts';
import type { Cluster } from './cluster.ts';
import type { CoordinatorNode } from './coordinator-node.ts';
import type { WorkerNode } from './worker-node.ts';
import type { Process, World } from './world.ts';

/** So long after nobody has a claim any more somebody has it who could: what is heard of it, contending, and two transactions. */
const takeOverMs = 4000;
const lookMs = 250;
const endedStates = /"state":"(SUCCEEDED|FAILED|STOPPED)"/;

/** Rooms that coordinators have asked for, by worker and run; what a repetition says is not asked for once more. */
export class Reservations {
  readonly #world: World;
  readonly #mostBytes = new Map<string, number>();

  constructor(world: World) {
    this.#world = world;
  }

  /** What one link has asked for by now, granted or not. */
  asked(worker: string, run: RunId, totalBytes: number): void {
    const key = `${worker} ${run}`;
    this.#mostBytes.set(key, Math.max(totalBytes, this.#mostBytes.get(key) ?? 0));
  }

  /** What a worker has reserved for a run since that began there. */
  granted(worker: string, run: RunId, totalBytes: number): void {
    const mostBytes = this.#mostBytes.get(`${worker} ${run}`) ?? 0;
    if (totalBytes > mostBytes)
      this.#world.wrong(`${worker} has reserved ${totalBytes} bytes for run ${run}, and was asked for ${mostBytes}`);
  }
}

/** A call that is repeated over another connection is done once, so long as the worker keeps the session. */
export class Repeats {
  readonly #world: World;
  readonly #keptMs: number;
  /** By worker and session: when anything was heard last, and what was begun. */
  readonly #sessions = new Map<string, { heardMs: number; process: Process; readonly begun: Set<number> }>();
  /** Frames that said nothing new. */
  count = 0;

  constructor(world: World, keptMs: number) {
    this.#world = world;
    this.#keptMs = keptMs;
  }

  /** Undefined: the frame has no message. */
  delivering(worker: WorkerNode, name: string, frame: Buffer | undefined): void {
    const key = `${worker.id} ${name}`;
    const { nowMs } = this.#world;
    const process = worker.process!;
    const known = this.#sessions.get(key);
    const isKept = known !== undefined && known.process === process && nowMs - known.heardMs <= this.#keptMs;
    const session = isKept ? known : { heardMs: nowMs, process, begun: new Set<number>() };
    this.#sessions.set(key, session);
    session.heardMs = nowMs;
    const numbers = frame === undefined ? [] : numbersIn(frame);
    if (numbers.length === 0) return;
    const { begun } = session;
    const before = worker.changes;
    const isOld = numbers.every((number) => begun.has(number));
    if (isOld) this.count += 1;
    this.#world.afterwards(() => {
      const done = worker.changes - before;
      if (isOld && done > 0) this.#world.wrong(`${worker.id} does ${done} calls again that it has begun already`);
      if (!isOld && done >= numbers.length) for (const number of numbers) begun.add(number);
    });
  }
}

function numbersIn(frame: Buffer): number[] {
  return unpackDown(frame).messages.flatMap((message) =>
    message[0] === 1 ? numbersOf(message[2], unpackEntries(message[3]).length) : message[0] === 2 ? [message[1]] : [],
  );
}

/**
 * What deaths of workers cost: only what was under way there, or durable nowhere else, leaves the origin once more. Segments are
 * what is placed: who came when a run was under way asks for all of one that nobody has whole, also for what others have of it.
 */
export class Costs {
  readonly #cluster: Cluster;
  readonly #lostBytes = new Map<RunId, number>();
  readonly #runs = new Map<RunId, LoadId>();
  /** What was given up already when it was told to end: by worker, pages of loads. */
  readonly #givenUp = new Map<WorkerNode, Set<string>>();
  /** By run and process: it began when bytes of the run had left the origin. */
  readonly #cameLate = new Map<string, boolean>();
  /** What such a process fetched of segments, by run and page. */
  readonly #begunAnew = new Set<string>();

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  started(worker: WorkerNode, { run, load }: RunSpec): void {
    this.#runs.set(run, load);
    const key = keyOf(worker, run);
    if (!this.#cameLate.has(key)) this.#cameLate.set(key, (this.#cluster.bucket.sentByRun.get(run) ?? 0) > 0);
  }

  /** A worker is about to ask the origin. */
  fetches(worker: WorkerNode, { run, load, segmentBytes }: RunSpec, entry: ManifestEntry, range: ByteRange): void {
    if (this.#cameLate.get(keyOf(worker, run)) !== true) return;
    const others = this.#cluster.workers.filter((one) => one !== worker && one.up);
    const from = Math.floor(range.offset / segmentBytes) * segmentBytes;
    const segment = { offset: from, length: Math.min(segmentBytes, entry.sizeBytes - from) };
    if (others.some(({ store }) => store.hasOf(load, entry, segment))) return;
    for (const page of pagesIn(range)) {
      const key = `${run} ${entry.path} ${page.offset}`;
      if (this.#begunAnew.has(key) || !others.some(({ store }) => store.hasOf(load, entry, page))) continue;
      this.#begunAnew.add(key);
      this.#add(run, page.length);
    }
  }

  /** A run is ended at a worker, with what is under way of it. */
  stopped({ worker }: WorkerNode, run: RunId): void {
    this.#add(run, worker?.inFlightBytesOf(run) ?? 0);
  }

  /** It is told to end: what it has counts no more from now on, some time before it dies. */
  leaves(node: WorkerNode): void {
    const given = new Set<string>();
    this.#givenUp.set(node, given);
    for (const [run, load] of this.#runs) this.#add(run, this.#onlyThere(node, load, given));
  }

  died(node: WorkerNode): void {
    const given = this.#givenUp.get(node) ?? new Set();
    this.#givenUp.delete(node);
    for (const [run, load] of this.#runs)
      this.#add(run, (node.worker?.inFlightBytesOf(run) ?? 0) + this.#onlyThere(node, load, given));
  }

  /** What may have left the origin for a run besides each byte once. */
  allowedBytes(run: RunId): number {
    return this.#lostBytes.get(run) ?? 0;
  }

  /** Bytes that no other worker has, but for those in `given`, to which they are added. */
  #onlyThere(worker: WorkerNode, load: LoadId, given: Set<string>): number {
    const { bucket, workers } = this.#cluster;
    const others = workers.filter((one) => one !== worker && one.up);
    let bytes = 0;
    for (const { versions } of bucket.objects.values()) {
      const entry = versions.at(-1)!;
      for (const range of pagesIn({ offset: 0, length: entry.sizeBytes })) {
        const has = ({ store }: WorkerNode): boolean => store.hasOf(load, entry, range);
        const page = `${load} ${entry.path} ${range.offset}`;
        if (given.has(page) || !has(worker) || others.some(has)) continue;
        given.add(page);
        bytes += range.length;
      }
    }
    return bytes;
  }

  #add(run: RunId, bytes: number): void {
    this.#lostBytes.set(run, this.allowedBytes(run) + bytes);
  }
}

function keyOf({ process }: WorkerNode, run: RunId): string {
  return `${run} ${process!.name}`;
}

/** A range begins with a page, and ends with one or with its file. */
function* pagesIn({ offset, length }: ByteRange): Generator<ByteRange> {
  const end = offset + length;
  for (let at = offset; at < end; at += pageBytes) yield { offset: at, length: Math.min(pageBytes, end - at) };
}

/** Whoever was followed in a run changes nothing of it any more, whatever it believes. */
export class Terms {
  readonly #world: World;
  /** By coordinator and run. */
  readonly #said = new Map<string, number>();
  /** Calls about runs that were another's by then. */
  late = 0;

  constructor(world: World) {
    this.#world = world;
  }

  /** A frame of a coordinator is about to be read by a worker. */
  delivering(worker: WorkerNode, coordinator: string, frame: Buffer): void {
    for (const message of unpackDown(frame).messages) {
      if (message[0] === 0) for (const [spec] of message[2]) this.#note(coordinator, spec);
      if (message[0] === 0) continue;
      const isStart = message[0] === 2 && message[2] === 'startRun';
      if (isStart) this.#note(coordinator, message[3] as RunSpec);
      const run = message[0] === 1 ? message[1] : isStart ? (message[3] as RunSpec).run : (message[3] as RunId);
      const term = this.#said.get(`${coordinator} ${run}`);
      if (term === undefined || term >= worker.termOf(run)) continue;
      this.late += 1;
      const before = worker.callsOf(run);
      this.#world.afterwards(() => {
        if (worker.callsOf(run) !== before)
          this.#world.wrong(
            `${worker.id} did what was said of run ${run} under term ${term}, after ${worker.termOf(run)}`,
          );
      });
    }
  }

  #note(coordinator: string, { run, term }: RunSpec): void {
    this.#said.set(`${coordinator} ${run}`, term);
  }
}

/** Shared jobs, as etcd has them: each ends once, and none is left alone for long. */
export class SharedWatch {
  readonly #world: World;
  readonly #etcd: MemoryEtcd;
  readonly #root: string;
  readonly #coordinators: readonly CoordinatorNode[];
  /** Of which coordinators etcd may not have heard since. */
  readonly #hinderedMs = new Map<CoordinatorNode, number>();
  readonly #processes = new Map<CoordinatorNode, Process | undefined>();
  readonly #aloneSinceMs = new Map<string, number>();
  /** Jobs that were left alone and taken over. */
  takenOver = 0;
  #heard = 0;
  readonly #ended = new Set<string>();

  constructor(options: { world: World; etcd: MemoryEtcd; root: string; coordinators: readonly CoordinatorNode[] }) {
    this.#world = options.world;
    this.#etcd = options.etcd;
    this.#root = options.root;
    this.#coordinators = options.coordinators;
  }

  /** `recoveryMs`: so long a coordinator may need until it decides again. */
  look({ recoveryMs, hindered }: { recoveryMs: number; hindered: (coordinator: CoordinatorNode) => boolean }): void {
    this.#checkEnds();
    const { nowMs } = this.#world;
    for (const one of this.#coordinators) {
      if (hindered(one) || this.#processes.get(one) !== one.process) this.#hinderedMs.set(one, nowMs);
      this.#processes.set(one, one.process);
    }
    const able = [...this.#hinderedMs.values()].some((sinceMs) => nowMs - sinceMs > recoveryMs + takeOverMs);
    for (const key of this.#etcd.keys(`${this.#root}state/`)) {
      const jobId = key.slice(`${this.#root}state/`.length);
      const over = endedStates.test(this.#etcd.entries.get(key)!.value.toString());
      if (over || this.#etcd.entries.has(`${this.#root}claim/${jobId}`)) {
        if (this.#aloneSinceMs.delete(jobId) && !over) this.takenOver += 1;
        continue;
      }
      const sinceMs = this.#aloneSinceMs.get(jobId) ?? nowMs;
      this.#aloneSinceMs.set(jobId, sinceMs);
      if (able && nowMs - sinceMs > takeOverMs) {
        this.#world.wrong(`job ${jobId} is left alone since ${Math.round(sinceMs)} ms, and a coordinator is there`);
        this.#aloneSinceMs.set(jobId, Number.POSITIVE_INFINITY);
      }
    }
    this.#world.after(lookMs, undefined, () => this.look({ recoveryMs, hindered }));
  }

  /** An end is the last that is said of a job. */
  #checkEnds(): void {
    const { history } = this.#etcd;
    for (; this.#heard < history.length; this.#heard += 1) {
      for (const event of history[this.#heard]!.events) {
        if (event.type !== 'put' || !event.entry.key.startsWith(`${this.#root}state/`)) continue;
        const { key, value } = event.entry;
        if (this.#ended.has(key)) this.#world.wrong(`${key} has ended, and then it was said: ${value.toString()}`);
        if (endedStates.test(value.toString())) this.#ended.add(key);
      }
    }
  }
}
