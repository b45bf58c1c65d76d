/**
 * A worker at the other end of a wire, as the coordinator speaks to it.
 *
 * Who waits for whom: a call waits until fewer of its kind are in flight than may be, then for its result, over as many
 * connections as that takes. Calls of one turn of the loop leave in one frame. A reservation waits for the one before it.
 *
 * What a lost connection costs: nothing is known of what was pending, so all of it is said again under its numbers. The
 * worker answers what it has done, goes on with what it is doing, and does what it has not heard of. Where it has given the
 * runs up in the meantime, it begins them again first, with what was reserved.
 */
import { randomUUID } from 'node:crypto';
import type { Checksums } from '../../core/attributes.ts';
import { errorOf, PrimedError } from '../../core/errors.ts';
import type { LiveText } from '../../core/live.ts';
import type { ClientTls } from '../../core/node-tls.ts';
import type { OriginDemand, OriginLimit } from '../../core/origin-limits.ts';
import type { PeerList } from '../../core/peers.ts';
import { defaultPriority } from '../../core/priority.ts';
import { withDefaults } from '../../core/protocol.ts';
import type { PinList } from '../../core/retention.ts';
import type { Segment } from '../../core/segments.ts';
import { formatDuration } from '../../core/sizes.ts';
import type { DiscardReason, Log, ManifestEntry, Random, RunId, WorkerId } from '../../core/types.ts';
import type {
  MissingParts,
  PlannedLoad,
  RoomOrder,
  RunProgress,
  RunSpec,
  VerifyOutcome,
  WorkerFree,
  WorkerRoom,
} from '../../ingest/types.ts';
import type { JoinedKind } from '../../ingest/whole-object.ts';
import type { Freed, RunOfLoad } from '../../store/types.ts';
import { emptyProgress } from '../fleet-run.ts';
import { firstWithPlans, withoutPlans } from '../plan-members.ts';
import type { EndableLink } from '../registry-members.ts';
import type { BegunLoad, CachedSegment, RunTerm, SegmentHow, SegmentOutcome } from '../worker-link.ts';
import { type Call, Calls, type OtherCall, tell } from './calls.ts';
import {
  type CachedColumns,
  type MissingColumns,
  packCuts,
  packEntries,
  packedEntries,
  unpackCached,
  unpackMissing,
  unpackOutcomes,
} from './columns.ts';
import { Dialer } from './dialer.ts';
import { framesOf, numbersIn } from './down-messages.ts';
import { Newest } from './newest.ts';
import {
  type DownMessage,
  defaultTiming,
  down,
  entriesPerFrame,
  type Hello,
  type Method,
  maxFrameBytes,
  packDown,
  reportFrom,
  type Timing,
  type UpMessage,
  unknownRun,
  unpackUp,
  up,
} from './protocol.ts';

export interface RemoteLinkOptions {
  readonly id: WorkerId;
  /** `http://host:port` of the worker. */
  readonly url: string;
  /** That of the registration which this link speaks to. */
  readonly epoch: number;
  /** Id of this coordinator; the worker speaks to one link of it at a time. */
  readonly coordinator: string;
  /** The cluster's. */
  readonly token?: LiveText;
  readonly tls?: ClientTls;
  readonly log: Log;
  readonly random?: Random;
  readonly timing?: Timing;
  /** What the worker says to be, for messages. */
  readonly release?: string;
  /** How long a question of a plan waits for a connection. */
  readonly connectLimitMs?: number;
  /** Told that the worker does not let this coordinator in, with WORKER_REFUSED, and with undefined that it does again. */
  readonly onRefused?: (refusal: PrimedError | undefined) => void;
  /** Told how many bytes more than before the worker says to have received from origins. */
  readonly onReceived?: (bytes: number) => void;
}

/** Their first argument is no run, or one that need not have begun. */
const ofNoRun: ReadonlySet<Method> = new Set(['cached', 'missing', 'room']);

interface Run {
  spec: RunSpec;
  /** The worker has said that it began. */
  begun: boolean;
  stopped: boolean;
  ending: boolean;
  /** What the worker has agreed to, over all calls. */
  reservedBytes: number;
  /** Settles after the last reservation that was asked for. */
  reserving: Promise<unknown>;
  progress: RunProgress;
}

/** Parts of a long question that are asked at once. */
const partsAtOnce = 4;
/** Segments of a file to be verified are three numbers each, where an entry has texts. */
const cutsPerEntry = 64;

export class RemoteLink implements EndableLink {
  readonly id: WorkerId;
  readonly #url: string;
  readonly #dialer: Dialer;
  readonly #onRefused: NonNullable<RemoteLinkOptions['onRefused']>;
  readonly #onReceived: RemoteLinkOptions['onReceived'];
  readonly #runs = new Map<RunId, Run>();
  readonly #calls = new Calls(
    () => setImmediate(this.#flush),
    (run) => (run === undefined ? undefined : this.#runs.get(run)?.spec.weight) ?? defaultPriority,
  );
  /** Results that arrived over this connection, and that the worker does not know to have arrived. */
  #arrived = 0;
  /** Why all calls are rejected. */
  #refusal: PrimedError | undefined;
  #lost = false;
  readonly #release: string | undefined;
  readonly #connectLimitMs: number;
  /** Those who wait for a connection. */
  readonly #awaiting = new Set<() => void>();
  /** What the worker is to know by now, and whether it is being told. */
  readonly #peers = new Newest<PeerList>((list) => this.#call('control', 'setPeers', [list]));
  readonly #pins = new Newest<PinList>((list) => this.#call('control', 'setPins', [list]));
  /** What it was told last that it may ask of origins. */
  #limits: readonly OriginLimit[] | undefined;
  /** Such calls that are pending. */
  #limiting = 0;
  #demand: readonly OriginDemand[] = [];
  readonly #demandListeners = new Set<() => void>();

  /** Begins to connect; calls wait until that has succeeded. */
  constructor(options: RemoteLinkOptions) {
    const { id, url, epoch, coordinator, token, tls, log, random = Math.random, timing = defaultTiming } = options;
    this.id = id;
    this.#url = url;
    this.#release = options.release;
    this.#connectLimitMs = options.connectLimitMs ?? 60_000;
    this.#onRefused = options.onRefused ?? (() => undefined);
    this.#onReceived = options.onReceived;
    this.#dialer = new Dialer(
      {
        ...{ worker: id, url, epoch, coordinator, log, random, timing },
        session: randomUUID(),
        ...(token === undefined ? {} : { token }),
        ...(tls === undefined ? {} : { tls }),
      },
      {
        opened: () => this.#opened(),
        heard: (frame) => {
          for (const message of unpackUp(frame)) this.#heard(message);
        },
        ticked: () => {
          if (this.#arrived > 0) this.#send([]);
        },
        refused: (error) => {
          const before = this.#refusal;
          this.#refusal = error;
          // First it is no owner any more, then what it was asked for is asked of another.
          if (before?.message !== error.message) this.#onRefused(error);
          this.#calls.rejectAll(error);
          this.#wake();
        },
      },
    );
  }

  /** Ends the link: calls that are pending, and all later ones, reject with WORKER_LOST. */
  lost(): void {
    if (this.#lost) return;
    this.#lost = true;
    this.#dialer.close();
    this.#refusal = new PrimedError(
      'WORKER_LOST',
      `Worker '${this.id}' at ${this.#url} is lost: its registration has ended. What it was asked for is asked of another; its own log says why it left.`,
      { worker: this.id },
    );
    this.#calls.rejectAll(this.#refusal);
    this.#wake();
  }

  async startRun(spec: RunSpec): Promise<void> {
    const known = this.#runs.get(spec.run);
    // What was said of a run that was given up, or of its time under another term, is not said of this one.
    const run: Run =
      known !== undefined && !known.ending && known.spec.term === spec.term
        ? known
        : {
            ...{ spec, begun: false, stopped: false, ending: false, reservedBytes: 0 },
            reserving: Promise.resolve(),
            progress: known?.progress ?? emptyProgress(),
          };
    run.spec = spec;
    this.#runs.set(spec.run, run);
    try {
      await this.#call('control', 'startRun', [spec]);
      run.begun = true;
    } catch (error) {
      if (!run.begun) this.#forget(spec.run, run);
      throw error;
    }
  }

  /** Says what is reserved in all, so that a repetition reserves nothing; so one is asked for after the other. */
  async reserveMore(runId: RunId, bytes: number): Promise<void> {
    const run = this.#runs.get(runId);
    if (run === undefined) throw unknownRun(runId, this.id);
    const reserved = run.reserving.then(async () => {
      const totalBytes = run.reservedBytes + bytes;
      await this.#call('control', 'reserve', [runId, totalBytes]);
      run.reservedBytes = totalBytes;
    });
    run.reserving = reserved.catch(() => undefined);
    await reserved;
  }

  async makeRoom(run: RunId, files: readonly ManifestEntry[]): Promise<void> {
    await inParts(files, (part) => this.#call('query', 'makeRoom', [run, packedEntries(part)], part.length));
  }

  async cached({ run, load }: RunOfLoad, segments: readonly Segment[]): Promise<readonly CachedSegment[]> {
    const answers = await inParts(segments, async (part) => {
      const args = [run, load, packEntries(part.map(({ file }) => file)), packCuts(part)];
      return unpackCached(part.length, (await this.#call('query', 'cached', args, part.length)) as CachedColumns);
    });
    return answers.flat();
  }

  async missing(planned: PlannedLoad, segments: readonly Segment[]): Promise<readonly MissingParts[]> {
    await this.#knowsPlans();
    const answers = await inParts(segments, async (part) => {
      const args = [planned, packEntries(part.map(({ file }) => file)), packCuts(part)];
      return unpackMissing(part.length, (await this.#call('query', 'missing', args, part.length)) as MissingColumns);
    });
    return answers.flat();
  }

  async room(order: RoomOrder): Promise<WorkerRoom> {
    await this.#knowsPlans();
    return (await this.#call('query', 'room', [order])) as WorkerRoom;
  }

  /** Such a call must not be said to a worker that does not know it, and that is known while there is a connection. */
  async #knowsPlans(): Promise<void> {
    const { id: worker } = this;
    const late = performance.now() + this.#connectLimitMs;
    while (!this.#dialer.open && this.#refusal === undefined) {
      const leftMs = late - performance.now();
      if (leftMs <= 0) throw notConnected(worker, this.#url, this.#connectLimitMs);
      await this.#connection(leftMs);
    }
    if (this.#refusal !== undefined) throw this.#refusal;
    const { protocol } = this.#dialer;
    if (protocol < firstWithPlans) throw withoutPlans([{ worker, protocol, release: this.#release }]);
  }

  /** Resolves when the worker is connected, when it is known that it will not be, or after so long. */
  #connection(limitMs: number): Promise<void> {
    return new Promise((resolve) => {
      const end = (): void => {
        clearTimeout(timer);
        this.#awaiting.delete(end);
        resolve();
      };
      const timer = setTimeout(end, limitMs);
      this.#awaiting.add(end);
    });
  }

  #wake(): void {
    for (const end of [...this.#awaiting]) end();
  }

  load(run: RunId, segment: Segment, how: SegmentHow): Promise<SegmentOutcome> {
    return new Promise((resolve, reject) => {
      const ended: BegunLoad['ended'] = (end) => (end instanceof PrimedError ? reject(end) : resolve(end));
      this.begin(run, { segment, how, ended });
    });
  }

  begin(run: RunId, load: BegunLoad): void {
    this.#ask({ kind: 'load', run, weight: 1, load, number: 0 });
  }

  async publish(run: RunId, file: ManifestEntry): Promise<void> {
    await this.#call('query', 'publish', [run, packEntries([file])]);
  }

  async abandon(run: RunId, file: ManifestEntry, reason: DiscardReason): Promise<void> {
    await this.#call('query', 'abandon', [run, packEntries([file]), reason]);
  }

  async discard(run: RunId, file: ManifestEntry): Promise<void> {
    await this.#call('query', 'discard', [run, packEntries([file])]);
  }

  async stateChecksums(run: RunId, file: ManifestEntry, checksums: Checksums): Promise<void> {
    await this.#call('query', 'stateChecksums', [run, packEntries([file]), checksums]);
  }

  async loadMetadata(run: RunId, entries: readonly ManifestEntry[]): Promise<void> {
    await inParts(entries, (part) => this.#call('query', 'loadMetadata', [run, packEntries(part)], part.length));
  }

  verify(run: RunId, file: ManifestEntry, segments: readonly Segment[], sums?: JoinedKind): Promise<VerifyOutcome> {
    const args = [run, packEntries([file]), segments.length, packCuts(segments), sums ?? null];
    const weight = 1 + Math.floor(segments.length / cutsPerEntry);
    return this.#call('verify', 'verify', args, weight) as Promise<VerifyOutcome>;
  }

  async free({ path, after, dryRun = false, stopLoads }: WorkerFree, { run, term }: RunTerm): Promise<Freed> {
    return (await this.#call('query', 'free', [path, after ?? null, dryRun, stopLoads, run, term])) as Freed;
  }

  async setBandwidth(runId: RunId, bytesPerSecond: number | undefined): Promise<void> {
    const run = this.#runs.get(runId);
    if (run !== undefined) {
      const { bandwidthBytesPerSecond: _, ...spec } = run.spec;
      run.spec = bytesPerSecond === undefined ? spec : { ...spec, bandwidthBytesPerSecond: bytesPerSecond };
    }
    await this.#call('control', 'setBandwidth', [runId, bytesPerSecond ?? null]);
  }

  async stopRun(runId: RunId): Promise<void> {
    const run = this.#runs.get(runId);
    if (run !== undefined) run.stopped = true;
    await this.#call('control', 'stopRun', [runId]);
  }

  async endRun(runId: RunId): Promise<RunProgress> {
    const run = this.#runs.get(runId);
    if (run !== undefined) run.ending = true;
    const progress = withDefaults(emptyProgress(), await this.#call('control', 'endRun', [runId]));
    if (run !== undefined) this.#progressed(run, progress);
    this.#forget(runId, run);
    return progress;
  }

  #progressed(run: Run, progress: RunProgress): void {
    const bytes = progress.receivedBytes - run.progress.receivedBytes;
    run.progress = progress;
    if (bytes > 0) this.#onReceived?.(bytes);
  }

  #forget(runId: RunId, run: Run | undefined): void {
    if (this.#runs.get(runId) === run) this.#runs.delete(runId);
  }

  setPeers(list: PeerList): Promise<void> {
    return this.#peers.tell(list);
  }

  setPins(list: PinList): Promise<void> {
    return this.#pins.tell(list);
  }

  async setOriginLimits(limits: readonly OriginLimit[]): Promise<void> {
    this.#limits = limits;
    this.#limiting += 1;
    try {
      await this.#call('control', 'setOriginLimits', [limits]);
    } finally {
      this.#limiting -= 1;
    }
  }

  originDemand(): readonly OriginDemand[] {
    return this.#demand;
  }

  onOriginDemand(listener: () => void): () => void {
    this.#demandListeners.add(listener);
    return () => this.#demandListeners.delete(listener);
  }

  progress(run: RunId): RunProgress {
    return this.#runs.get(run)?.progress ?? emptyProgress();
  }

  // --- calls

  #call(kind: OtherCall['kind'], method: Method, args: readonly unknown[], weight = 1): Promise<unknown> {
    const run = ofNoRun.has(method) ? undefined : (args[0] as RunId | undefined);
    return new Promise((resolve, reject) => {
      const ended = (end: unknown): void => (end instanceof PrimedError ? reject(end) : resolve(end));
      this.#ask({ kind, run, weight, method, args, ended, number: 0 });
    });
  }

  #ask(call: Call): void {
    if (this.#refusal === undefined) this.#calls.ask(call);
    else tell(call, this.#refusal);
  }

  // --- down

  #opened(): void {
    if (!this.#lost && this.#refusal !== undefined) {
      this.#refusal = undefined;
      this.#onRefused(undefined);
    }
    this.#wake();
    this.#arrived = 0;
    const runs = [...this.#runs.values()].filter(({ begun, ending }) => begun && !ending);
    this.#send([
      [
        down.hello,
        this.#calls.pending,
        runs.map(({ spec, reservedBytes, stopped }): Hello[2][number] => [spec, reservedBytes, stopped]),
      ],
    ]);
    this.#calls.sayAgain();
    this.#flush();
    this.#peers.again();
    this.#pins.again();
    if (this.#limits !== undefined && this.#limiting === 0) this.setOriginLimits(this.#limits).catch(() => undefined);
  }

  /** While there is no connection everything stays pending: a new one begins with all of that. */
  readonly #flush = (): void => {
    const calls = this.#calls.takeUnsaid();
    if (this.#dialer.open) for (const messages of framesOf(calls)) this.#send(messages);
  };

  #send(messages: readonly DownMessage[]): void {
    const frame = packDown(this.#arrived, messages);
    this.#arrived = 0;
    if (frame.length <= maxFrameBytes) {
      this.#dialer.send(frame);
      return;
    }
    // The worker would close the connection, and the next one would begin with the same frame.
    const text = `A message of ${frame.length} bytes to worker '${this.id}' is larger than ${maxFrameBytes} bytes`;
    for (const number of messages.flatMap(numbersIn)) this.#calls.settle(number, new PrimedError('INTERNAL', text));
  }

  // --- up

  #heard(message: UpMessage): void {
    switch (message[0]) {
      case up.outcomes:
        this.#arrived += message[1].length;
        this.#calls.settleLoads(message[1], (loads) =>
          unpackOutcomes(loads.length, message[2], (at) => loads[at]?.load.segment),
        );
        break;
      case up.answer:
        this.#arrived += 1;
        this.#calls.settle(message[1], message[2]);
        break;
      case up.failure:
        this.#arrived += 1;
        this.#calls.settle(message[1], errorOf(reportFrom(message[2], message[3])));
        break;
      case up.progress: {
        const run = this.#runs.get(message[1]);
        if (run !== undefined) this.#progressed(run, withDefaults(emptyProgress(), message[2]));
        break;
      }
      case up.demand:
        this.#demand = message[1];
        for (const listener of this.#demandListeners) listener();
        break;
      default:
      // Of a newer worker, which does without an answer.
    }
  }
}

function notConnected(worker: WorkerId, url: string, limitMs: number): PrimedError {
  const message = `Worker '${worker}' has its lease, and this coordinator has had no connection to it at ${url} for ${formatDuration(limitMs)}: the log says why. Plan again when it has.`;
  return new PrimedError('WORKER_LOST', message, { worker });
}

/** Results in the order of the parts. */
async function inParts<T, R>(items: readonly T[], ask: (part: readonly T[]) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  for (let from = 0; from < items.length; ) {
    const parts: Promise<R>[] = [];
    // What is one part stays the array that it is, by which `packedEntries` knows it again.
    for (; from < items.length && parts.length < partsAtOnce; from += entriesPerFrame)
      parts.push(ask(items.length <= entriesPerFrame ? items : items.slice(from, from + entriesPerFrame)));
    results.push(...(await Promise.all(parts)));
  }
  return results;
}
