/**
 * What holds the worker back: the origin (503 and 429 lower the number of requests in flight, for the whole worker) and
 * the operator (bytes per second of a run). The decisions are core/throttle and core/token-bucket; this applies them.
 */
import { allowed, makeThrottle, succeeded, type Throttle, throttled } from '../core/throttle.ts';
import { makeBucket, refill } from '../core/token-bucket.ts';
import type { Log } from '../core/types.ts';
import type { OriginFailure } from '../origin/types.ts';
import type { LanePool } from './lanes.ts';
import { largestGrant, limitedWindowSeconds, refillMs } from './pace.ts';
import type { Run } from './run.ts';
import type { RunBoard } from './run-board.ts';
import type { WorkerObserver } from './types.ts';

/** Answers to requests that were sent before the first 503 was heard come within about this time, and count once. */
const throttleCooldownMs = 1_000;
export class Limits {
  readonly #lanes: LanePool;
  readonly #board: RunBoard;
  readonly #log: Log;
  readonly #observe: WorkerObserver;
  readonly #limited = new Set<Run>();
  /** The status with which the origin asked to slow down last. */
  #slowStatus: number | undefined;
  #throttle: Throttle;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: {
    lanes: LanePool;
    board: RunBoard;
    log: Log;
    sockets: number;
    observe: WorkerObserver;
  }) {
    this.#lanes = options.lanes;
    this.#board = options.board;
    this.#log = options.log;
    this.#observe = options.observe;
    this.#throttle = makeThrottle(options.sockets);
    this.#observe.concurrencyLimit(this.requests);
  }

  /** Requests that may be in flight. */
  get requests(): number {
    return allowed(this.#throttle);
  }

  /** How long no new request may be sent, in ms; 0: now. */
  get holdMs(): number {
    return Math.max(0, this.#throttle.holdUntilMs - performance.now());
  }

  /** As core/limit-causes calls it. */
  get throttledBy(): 'throttled' | 'throttled-503' | 'throttled-429' {
    if (this.#slowStatus === 503) return 'throttled-503';
    return this.#slowStatus === 429 ? 'throttled-429' : 'throttled';
  }

  slowDown(failure: OriginFailure): void {
    this.#slowStatus = failure.httpStatus;
    const before = this.requests;
    const { retryAfterMs, httpStatus, s3Code, requestId } = failure;
    this.#throttle = throttled(this.#throttle, performance.now(), { cooldownMs: throttleCooldownMs, retryAfterMs });
    if (this.requests === before) return;
    const facts = { httpStatus, s3Code, requestId, requestsInFlight: this.requests };
    this.#log.warn(facts, 'the origin asks to slow down');
    this.#observe.slowedDown();
    this.#tellLanes();
  }

  succeeded(requests: number): void {
    const before = this.requests;
    this.#throttle = succeeded(this.#throttle, requests);
    if (this.requests !== before) this.#tellLanes();
  }

  /** Bytes per second that this worker may read for the run; undefined: no limit. */
  setBandwidth(run: Run, bytesPerSecond: number | undefined): void {
    run.bucket = bytesPerSecond === undefined ? undefined : makeBucket(bytesPerSecond, performance.now());
    Atomics.store(this.#board.tokens, run.row, Math.floor(run.bucket?.tokens ?? 0));
    Atomics.store(this.#board.viewBytes, run.row, largestGrant(bytesPerSecond));
    if (run.bucket === undefined) this.#limited.delete(run);
    else this.#limited.add(run);
    this.#watch();
  }

  forget(run: Run): void {
    this.#limited.delete(run);
    this.#watch();
  }

  /** Whether a limited run has as much in flight as its rate can use. */
  isOverWindow(run: Run): boolean {
    if (run.bucket === undefined || run.bytesInFlight === 0) return false;
    return run.bytesInFlight > run.bucket.perSecond * limitedWindowSeconds;
  }

  close(): void {
    this.#limited.clear();
    this.#watch();
  }

  #tellLanes(): void {
    this.#observe.concurrencyLimit(this.requests);
    const limit = Math.max(1, Math.floor(this.requests / this.#lanes.count));
    this.#lanes.broadcast({ type: 'concurrency', limit });
  }

  #watch(): void {
    if (this.#limited.size > 0) this.#timer ??= setInterval(() => this.#refill(), refillMs);
    else {
      clearInterval(this.#timer);
      this.#timer = undefined;
    }
  }

  #refill(): void {
    const now = performance.now();
    for (const run of this.#limited) {
      if (run.bucket === undefined) continue;
      const tokens = Atomics.load(this.#board.tokens, run.row);
      // the fraction of a token that the board cannot hold stays in the bucket
      const fraction = run.bucket.tokens - Math.floor(run.bucket.tokens);
      run.bucket = refill({ ...run.bucket, tokens: tokens + fraction }, now);
      Atomics.add(this.#board.tokens, run.row, Math.floor(run.bucket.tokens) - tokens);
    }
  }
}
