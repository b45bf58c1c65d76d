/** See types.ts for who is in this room and who waits for whom. */

import { type FileTeller, noTeller } from '../core/file-events.ts';
import type { RetrySettings } from '../core/retry.ts';
import type { Log } from '../core/types.ts';
import { OriginCounts } from '../origin/origin-counts.ts';
import type { Origins, OriginTimeouts } from '../origin/types.ts';
import type { ThreadId } from '../platform/thread-priority.ts';
import type { Store } from '../store/types.ts';
import { LanePool } from './lanes.ts';
import { type LimitBoard, makeLimitBoard } from './limit-board.ts';
import { OriginLimiter } from './origin-limiter.ts';
import type { PeerAccess, PeerReach } from './peer-links.ts';
import { makeRunBoard, mostSlots } from './run-board.ts';
import type { WorkerObserver } from './types.ts';
import { IngestWorker } from './worker.ts';

export type { IngestWorker } from './worker.ts';

export interface IngestOptions {
  readonly store: Store;
  readonly origins: Origins;
  readonly log: Log;
  readonly lanes: number;
  readonly socketsPerLane: number;
  readonly partBytes: number;
  readonly smallBytes: number;
  /** For all slots of all lanes: the part of the worker's memory budget that payload may take. */
  readonly slotBudgetBytes: number;
  readonly timeouts: OriginTimeouts;
  readonly retry: RetrySettings;
  readonly maxRestarts: number;
  /** What other workers ask for, of those who copy from them; undefined: nothing. */
  readonly peerAccess?: PeerAccess;
  /** Which of them cannot be reached; by default nobody knows. */
  readonly peerReach?: PeerReach;
  readonly diskEngine: 'auto' | 'io_uring' | 'threads';
  /** What holds this process to limits of origins; undefined: there are none. */
  readonly limits?: { readonly board: LimitBoard; readonly limiter: OriginLimiter };
  /** What each origin was asked, and how it answered; undefined: nobody wants to know. */
  readonly originCounts?: OriginCounts;
  /** Shared counters with a row for each lane (telemetry/lane-columns). */
  readonly counters: SharedArrayBuffer;
  /** Lanes give way to readers now. */
  readonly yields?: () => boolean;
  readonly observe: WorkerObserver;
  /** Told of what happens to files; by default nobody. */
  readonly tell?: FileTeller;
  readonly onFatal: (error: Error) => void;
}

/** A lane needs one slot landing and one leaving. */
const fewestSlots = 2;

/** Starts the lanes and the worker that feeds them. Throws NATIVE_MISSING. */
export async function openIngest(
  options: IngestOptions,
): Promise<{ worker: IngestWorker; engine: string; slots: number; threads: readonly ThreadId[] }> {
  const board = makeRunBoard(options.lanes);
  const { board: limitBoard, limiter } = options.limits ?? unlimited();
  const affordable = Math.floor(options.slotBudgetBytes / (options.partBytes * options.lanes));
  const lanes = await LanePool.open({
    lanes: options.lanes,
    slotBytes: options.partBytes,
    slotsPerLane: Math.max(fewestSlots, Math.min(mostSlots, affordable)),
    socketsPerLane: options.socketsPerLane,
    timeouts: options.timeouts,
    diskEngine: options.diskEngine,
    stores: options.store.files,
    counters: options.counters,
    runBoard: board,
    limitBoard,
    onLost: options.onFatal,
  });
  const worker = new IngestWorker({
    store: options.store,
    origins: options.origins,
    lanes,
    board,
    limiter,
    counts: options.originCounts ?? new OriginCounts(),
    log: options.log,
    random: Math.random,
    partBytes: options.partBytes,
    smallBytes: options.smallBytes,
    socketsPerLane: options.socketsPerLane,
    retry: options.retry,
    maxRestarts: options.maxRestarts,
    ...(options.peerAccess === undefined ? {} : { peerAccess: options.peerAccess }),
    ...(options.peerReach === undefined ? {} : { peerReach: options.peerReach }),
    yields: options.yields ?? (() => false),
    observe: options.observe,
    tell: options.tell ?? noTeller,
  });
  return { worker, engine: lanes.engine, slots: lanes.count * lanes.slotsPerLane, threads: lanes.threads };
}

function unlimited(): { board: LimitBoard; limiter: OriginLimiter } {
  const board = makeLimitBoard();
  return { board, limiter: new OriginLimiter(board, { held() {}, share() {} }) };
}
