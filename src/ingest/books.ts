/** Bytes received are folded from the lanes' shared counters into the ledger of their run; what is lost gets a reason. */
import type { DiscardReason } from '../core/types.ts';
import type { Store } from '../store/types.ts';
import type { Run } from './run.ts';
import { bytesOfRun, type RunBoard } from './run-board.ts';
import type { WorkerObserver } from './types.ts';

export class Books {
  readonly #store: Store;
  readonly #board: RunBoard;
  readonly #observe: WorkerObserver;

  constructor(store: Store, board: RunBoard, observe: WorkerObserver) {
    this.#observe = observe;
    this.#store = store;
    this.#board = board;
  }

  /** Books what has arrived since the last time. Cheap: called before every decision that reads the ledger. */
  fold(run: Run): void {
    const received = bytesOfRun(this.#board, this.#board.received, run.row);
    const copied = bytesOfRun(this.#board, this.#board.copied, run.row);
    if (received === run.foldedBytes && copied === run.foldedPeerBytes) return;
    const originBytes = received - run.foldedBytes;
    const peerBytes = copied - run.foldedPeerBytes;
    this.#store.account(run.spec.run, { originBytes, peerBytes });
    run.foldedBytes = received;
    run.foldedPeerBytes = copied;
  }

  discard(run: Run, reason: DiscardReason, bytes: number): void {
    this.#observe.discarded(reason, bytes);
    this.#store.account(run.spec.run, { discarded: { reason, bytes } });
  }
}
