/** The state of one run on this worker: its files, its queue of parts, its limits. Plain bookkeeping; others act on it. */
import { setMaxListeners } from 'node:events';
import type { PrimedError } from '../core/errors.ts';
import type { FlowWatch } from '../core/flows.ts';
import { covers } from '../core/path-scope.ts';
import type { RetryBudget } from '../core/retry.ts';
import type { OriginSilence } from '../core/silence.ts';
import type { TokenBucket } from '../core/token-bucket.ts';
import type { ByteRange, FileId, ManifestEntry } from '../core/types.ts';
import type { LandedPart } from '../store/types.ts';
import { PartQueue } from './part-queue.ts';
import { type FileTrace, RunTrace } from './run-trace.ts';
import type { FileOutcome, RunSpec } from './types.ts';

/** A file that is being loaded. */
export interface FileTask {
  entry: ManifestEntry;
  /** What of the file this is about; undefined: all of it, whatever its version. */
  readonly range: ByteRange | undefined;
  readonly originIndex: number;
  readonly key: string;
  /** The worker that it is copied from, in place of the origin, and what that may cost in retries. */
  readonly peer: { readonly url: string; readonly budget: RetryBudget } | undefined;
  readonly resolve: (outcome: FileOutcome) => void;
  /** Undefined: it has no span. */
  readonly trace: FileTrace | undefined;
  fileId: FileId;
  /** Grows when the file starts anew on another version: parts of earlier generations are stale. */
  generation: number;
  /** Parts not yet planned, and their bytes. */
  unplanned: Iterator<ByteRange>;
  unplannedBytes: number;
  /** Parts queued, on their way, landing or waiting for another attempt. */
  outstanding: number;
  loadedBytes: number;
  skippedBytes: number;
  restarts: number;
  /** An attempt at it has failed. */
  troubled: boolean;
  /** The store has said that the file was given up: what is landed of it counts for nothing. */
  dropped: boolean;
  /** Set once: the file is given up as soon as nothing of it is outstanding. */
  error: PrimedError | undefined;
  /** The file starts anew as soon as nothing of it is outstanding. */
  changed: boolean;
  /** It would rather be set aside than wait for a silent request. */
  hasty: boolean;
  /** Others copy it as it arrives here. */
  readonly followed: boolean;
  /** As much of it is outstanding as may be: it is planned on when a part of it has ended. */
  held: boolean;
  /** Of a file that is copied as it arrives elsewhere: ends that. */
  unfollow: (() => void) | undefined;
  /** It met silence: no more of it is asked for, and what is on its way still lands. */
  setAside: boolean;
}

export interface PartTask {
  readonly file: FileTask;
  readonly generation: number;
  readonly range: ByteRange;
  /** Counts from 1. */
  readonly attempt: number;
}

/** What arrives of it is of no use. */
export function isStale(part: PartTask): boolean {
  return part.generation !== part.file.generation || part.file.changed || part.file.error !== undefined;
}

/** It need not be asked for. */
export function isUnwanted(part: PartTask): boolean {
  return part.file.setAside || isStale(part);
}

/** A call that adds files to the store. */
interface Adding {
  readonly entries: readonly ManifestEntry[];
  readonly waiting: (() => void)[];
}

export class Run {
  readonly spec: RunSpec;
  /** Row of the run board. */
  readonly row: number;
  readonly trace: RunTrace | undefined;
  readonly files = new Set<FileTask>();
  /** What the origin is asked for. */
  readonly fetches = new PartQueue(this);
  /** What other workers are asked for: neither the origin nor the limit on reads from it holds these back. */
  readonly copies = new PartQueue(this);
  readonly retryTimers = new Set<NodeJS.Timeout>();
  readonly budget: RetryBudget = { succeeded: 0, spent: 0 };
  readonly landing: { readonly task: PartTask; readonly landed: LandedPart }[] = [];
  bucket: TokenBucket | undefined;
  landScheduled = false;
  partsInFlight = 0;
  /** Units of its verification in lanes. */
  checksInFlight = 0;
  /** Calls of its verification to the origin's control plane. */
  headsInFlight = 0;
  /** Parts that wait for another attempt, by what the last one met. */
  readonly retrying = { throttled: 0, failed: 0, copying: 0 };
  /** From the origin. */
  bytesInFlight = 0;
  /** Parts handed to the store and not yet durable. */
  partsLanding = 0;
  /** Calls to the store or the origin that the run must wait for before it ends. */
  landsInFlight = 0;
  /** Received bytes that the ledger has seen. */
  foldedBytes = 0;
  /** The same of bytes from other workers. */
  foldedPeerBytes = 0;
  /** How requests to the origin went on of late. */
  flows: FlowWatch | undefined;
  retries = 0;
  evictedBytes = 0;
  stopping = false;
  /** By origin. */
  readonly silence = new Map<number, OriginSilence>();
  /** Set once: an origin is lost, and nothing more is asked for. */
  lost: PrimedError | undefined;
  /** Ends calls to the control plane when the run is stopped. */
  readonly abort = new AbortController();
  readonly #idle: (() => void)[] = [];
  /** Calls that add files to the store. */
  readonly #adding = new Set<Adding>();

  constructor(spec: RunSpec, row: number) {
    // Every file that waits for the origin's control plane listens: as many as are under way.
    setMaxListeners(0, this.abort.signal);
    this.spec = spec;
    this.row = row;
    this.trace = RunTrace.of(spec);
  }

  get unitsInFlight(): number {
    return this.fetches.unitsInFlight + this.copies.unitsInFlight;
  }

  queueOf({ peer }: FileTask): PartQueue {
    return peer === undefined ? this.fetches : this.copies;
  }

  /** Until `added` is called with what is returned, the run adds these files to the store. */
  adds(entries: readonly ManifestEntry[]): Adding {
    const adding: Adding = { entries, waiting: [] };
    this.#adding.add(adding);
    return adding;
  }

  added(adding: Adding): void {
    this.#adding.delete(adding);
    for (const over of adding.waiting) over();
  }

  /** Files are being loaded. */
  get isAdding(): boolean {
    return this.#adding.size > 0;
  }

  /** The ends of all that is added at or below the path. */
  addingTo(path: string): Promise<void>[] {
    const below = [...this.#adding].filter(({ entries }) => entries.some((entry) => covers(path, entry.path)));
    return below.map(({ waiting }) => new Promise((resolve) => waiting.push(resolve)));
  }

  get busy(): boolean {
    return this.unitsInFlight > 0 || this.landsInFlight > 0 || this.landing.length > 0;
  }

  whenIdle(): Promise<void> {
    if (!this.busy) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  wakeIfIdle(): void {
    if (!this.busy) for (const resolve of this.#idle.splice(0)) resolve();
  }
}
