/**
 * Limits of origins in this process: token buckets for bytes and for requests, which lanes draw from through the limit board
 * and the control plane (listing, HEAD) by `admit`. What the buckets hold is a share of what all workers together may do;
 * who divides it is told what would be used here (`demand`).
 *
 * Tokens are added every 5 ms while somebody uses a limited origin, and at no other time.
 */
import { PrimedError } from '../core/errors.ts';
import { limitOf, makeLimit, mostOriginLimits, type OriginDemand, type OriginLimit } from '../core/origin-limits.ts';
import { leastBurstBytes, makeBucket, refill, type TokenBucket } from '../core/token-bucket.ts';
import { admitRequest, allowedBytes, bookLimited, type LimitBoard, limitRows } from './limit-board.ts';
import { largestGrant, limitedWindowSeconds, refillMs } from './pace.ts';

/** Told about what only the metrics want to know. */
export interface LimitObserver {
  /** Something waited for tokens of this kind, for so long. */
  held(origin: string, kind: LimitKind, milliseconds: number): void;
  /** What this process may do; undefined: all that it likes. */
  share(origin: string, kind: LimitKind, perSecond: number | undefined): void;
}
export type LimitKind = 'bandwidth' | 'requests';

/** How long somebody who has gone counts as one who wants something: files come one after the other. */
const lingerMs = 1000;
/** Use is averaged over about this long. */
const averageMs = 500;
/** Held back for more than this part of the time: it would use more than it has. */
const heldShare = 0.1;
/** Room to grow, for those who are not held back. */
const growth = 1.25;
/** A share is given within a second; who has none for so long has lost whoever gives them. */
const spendLimitMs = 30_000;
/** So often somebody is told what would be used, while anything is. */
const announceMs = 500;

interface Meter {
  bucket: TokenBucket | undefined;
  usedPerSecond: number;
  heldPart: number;
}

interface Row {
  readonly index: number;
  limit: OriginLimit;
  readonly meters: Readonly<Record<LimitKind, Meter>>;
  users: number;
  lastUsedMs: number;
  bytesInFlight: number;
  partsInFlight: number;
  readonly waiting: (() => void)[];
}

export class OriginLimiter {
  readonly #board: LimitBoard;
  readonly #observe: LimitObserver;
  readonly #rows = new Map<string, Row>();
  /** By the index of the origin. */
  readonly #origins: (string | undefined)[] = [];
  readonly #users: number[] = [];
  readonly #listeners = new Set<() => void>();
  #onRoom: () => void = () => undefined;
  #timer: NodeJS.Timeout | undefined;
  #announcedMs = Number.NEGATIVE_INFINITY;

  constructor(board: LimitBoard, observe: LimitObserver) {
    this.#board = board;
    this.#observe = observe;
  }

  /** Calls `act` when more may be asked of an origin than before. */
  onRoom(act: () => void): void {
    this.#onRoom = act;
  }

  /**
   * Calls `listener` when somebody comes to want something of a limited origin, each half second while somebody does, and when
   * nobody does any more.
   */
  onDemand(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** In place of all that were set before; the same ones again change nothing. */
  setLimits(limits: readonly OriginLimit[]): void {
    const wanted = new Map(limits.slice(0, mostOriginLimits).map((limit) => [limit.origin, limit]));
    for (const [origin, row] of this.#rows) {
      if (wanted.has(origin)) continue;
      this.#setRates(row, makeLimit(origin, {}));
      this.#letWaitersIn(row);
      this.#rows.delete(origin);
    }
    for (const limit of wanted.values()) this.#setRates(this.#rows.get(limit.origin) ?? this.#addRow(limit), limit);
    for (const index of this.#origins.keys()) this.#assign(index);
    for (const row of this.#rows.values()) row.users = 0;
    this.#users.forEach((users, index) => {
      const row = this.#rowOf(index);
      if (row !== undefined) row.users += users;
    });
    for (const row of this.#rows.values()) this.#letWaitersIn(row);
    this.#watch();
    this.#onRoom();
  }

  /** `origin`: `s3://bucket/` or `file:///root/`. */
  know(index: number, origin: string): void {
    if (this.#origins[index] !== undefined) return;
    this.#origins[index] = origin;
    this.#assign(index);
  }

  /** Undefined: no such origin is known. */
  nameOf(index: number): string | undefined {
    return this.#origins[index];
  }

  /** Somebody has work for the origin, until `leave`. */
  enter(index: number): void {
    this.#users[index] = (this.#users[index] ?? 0) + 1;
    const row = this.#rowOf(index);
    if (row === undefined) return;
    const came = !wants(row, performance.now());
    row.users += 1;
    this.#watch();
    if (came) this.#announce(performance.now());
  }

  leave(index: number): void {
    this.#users[index]! -= 1;
    const row = this.#rowOf(index);
    if (row === undefined) return;
    row.users -= 1;
    row.lastUsedMs = performance.now();
  }

  /** Whether as much of the origin is in flight as its limit can use. */
  isOverWindow(index: number): boolean {
    return this.fullWindow(index) !== undefined;
  }

  /** Which limit that is. */
  fullWindow(index: number): LimitKind | undefined {
    const row = this.#rowOf(index);
    if (row === undefined) return undefined;
    const { bytesPerSecond = Number.POSITIVE_INFINITY, requestsPerSecond = Number.POSITIVE_INFINITY } = row.limit;
    if (bytesPerSecond === 0) return 'bandwidth';
    if (requestsPerSecond === 0) return 'requests';
    if (row.partsInFlight === 0) return undefined;
    if (row.bytesInFlight > bytesPerSecond * limitedWindowSeconds) return 'bandwidth';
    return row.partsInFlight >= Math.max(1, requestsPerSecond * limitedWindowSeconds) ? 'requests' : undefined;
  }

  /** Parts that one unit may have, so that it does not take longer than a window. */
  partsAtOnce(index: number): number {
    const { requestsPerSecond = Number.POSITIVE_INFINITY } = this.#rowOf(index)?.limit ?? {};
    return Math.max(1, Math.floor(requestsPerSecond * limitedWindowSeconds));
  }

  sent(index: number, parts: number, bytes: number): void {
    this.#inFlight(index, parts, bytes);
  }

  settled(index: number, parts: number, bytes: number): void {
    this.#inFlight(index, -parts, -bytes);
  }

  /** Resolves when one request may be sent to the origin; rejects when the signal fires before. */
  async admit(index: number, signal?: AbortSignal): Promise<void> {
    const row = this.#rowOf(index);
    if (row?.limit.requestsPerSecond === undefined) return;
    this.enter(index);
    try {
      if (row.waiting.length === 0 && admitRequest(this.#board, row.index)) return;
      signal?.throwIfAborted();
      await new Promise<void>((resolve, reject) => {
        const onAbort = (): void => {
          row.waiting.splice(row.waiting.indexOf(admitted), 1);
          reject(signal?.reason);
        };
        const admitted = (): void => {
          signal?.removeEventListener('abort', onAbort);
          resolve();
        };
        row.waiting.push(admitted);
        signal?.addEventListener('abort', onAbort, { once: true });
      });
    } finally {
      this.leave(index);
    }
  }

  /**
   * Bytes that are moved between an origin and the main thread. Resolves when more may be; whoever moves them is between `enter` and
   * `leave`, so that there is something to wait for. Rejects with TOO_BUSY where
   * the share of this process has been nothing for `spendLimitMs`, and with the signal's reason, which gives the bytes back.
   */
  async spend(index: number, bytes: number, signal?: AbortSignal): Promise<void> {
    const row = this.#rowOf(index);
    if (row === undefined) return;
    bookLimited(this.#board, row.index, bytes);
    let hadShareMs = performance.now();
    while (this.#rowOf(index) === row && allowedBytes(this.#board, row.index, 1) === 0) {
      if (signal?.aborted) {
        bookLimited(this.#board, row.index, -bytes);
        throw signal.reason;
      }
      if (row.limit.bytesPerSecond !== 0) hadShareMs = performance.now();
      else if (performance.now() - hadShareMs >= spendLimitMs) {
        const { origin } = row.limit;
        const message = `The limit of ${origin} has left nothing for this transfer for ${spendLimitMs / 1000} s (primed ufs limit)`;
        throw new PrimedError('TOO_BUSY', message, { origin });
      }
      await new Promise((resolve) => setTimeout(resolve, refillMs));
    }
  }

  /** What would be used here of each limited origin, of those that somebody wants something of. */
  demand(): OriginDemand[] {
    const nowMs = performance.now();
    return [...this.#rows.values()]
      .filter((row) => wants(row, nowMs))
      .map(({ limit, meters: { bandwidth, requests } }) =>
        makeLimit(limit.origin, { bytesPerSecond: demandOf(bandwidth), requestsPerSecond: demandOf(requests) }),
      );
  }

  get limits(): readonly OriginLimit[] {
    return Array.from(this.#rows.values(), ({ limit }) => limit);
  }

  close(): void {
    this.setLimits([]);
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  // --- rows

  #addRow(limit: OriginLimit): Row {
    const used = new Set(Array.from(this.#rows.values(), ({ index }) => index));
    let index = 1;
    while (used.has(index) && index < limitRows - 1) index += 1;
    const meter = (): Meter => ({ bucket: undefined, usedPerSecond: 0, heldPart: 1 });
    const row: Row = {
      ...{ index, limit, users: 0, lastUsedMs: Number.NEGATIVE_INFINITY, bytesInFlight: 0, partsInFlight: 0 },
      meters: { bandwidth: meter(), requests: meter() },
      waiting: [],
    };
    this.#rows.set(limit.origin, row);
    return row;
  }

  #assign(index: number): void {
    const origin = this.#origins[index];
    const row = origin === undefined ? undefined : limitOf(origin, Array.from(this.#rows.values(), rowWithOrigin));
    Atomics.store(this.#board.rowOf, index, row?.row.index ?? 0);
  }

  #rowOf(index: number): Row | undefined {
    if (this.#rows.size === 0) return undefined;
    const at = Atomics.load(this.#board.rowOf, index);
    if (at === 0) return undefined;
    for (const row of this.#rows.values()) if (row.index === at) return row;
    return undefined;
  }

  #setRates(row: Row, limit: OriginLimit): void {
    const { bytesPerSecond, requestsPerSecond } = limit;
    const { bytes, view, requests, counted } = this.#board;
    row.limit = limit;
    this.#setRate(row.meters.bandwidth, bytesPerSecond, bytes, row.index, leastBurstBytes);
    this.#setRate(row.meters.requests, requestsPerSecond, requests, row.index, 1);
    Atomics.store(view, row.index, bytesPerSecond === undefined ? 0 : largestGrant(bytesPerSecond));
    Atomics.store(counted, row.index, requestsPerSecond === undefined ? 0 : 1);
    this.#observe.share(limit.origin, 'bandwidth', bytesPerSecond);
    this.#observe.share(limit.origin, 'requests', requestsPerSecond);
  }

  /** What is left of an old rate stays, up to the burst of the new one: a change is no occasion for another burst. */
  #setRate(meter: Meter, rate: number | undefined, cell: Int32Array, index: number, leastBurst: number): void {
    if (rate === meter.bucket?.perSecond) return;
    if (rate === undefined) {
      meter.bucket = undefined;
      return;
    }
    const nowMs = performance.now();
    const next = makeBucket(rate, nowMs, leastBurst);
    const tokens = meter.bucket === undefined ? 0 : Atomics.load(cell, index) + fractionOf(meter.bucket.tokens);
    meter.bucket = { ...next, tokens: Math.min(next.burst, tokens) };
    Atomics.store(cell, index, Math.floor(meter.bucket.tokens));
  }

  #inFlight(index: number, parts: number, bytes: number): void {
    const row = this.#rowOf(index);
    if (row === undefined) return;
    // A limit that was set meanwhile has not seen what it ends.
    row.partsInFlight = Math.max(0, row.partsInFlight + parts);
    row.bytesInFlight = Math.max(0, row.bytesInFlight + bytes);
  }

  // --- time

  #watch(): void {
    const nowMs = performance.now();
    const busy = [...this.#rows.values()].some(
      (row) => isLimited(row) && (wants(row, nowMs) || row.waiting.length > 0),
    );
    if (busy) this.#timer ??= setInterval(() => this.#refillAll(), refillMs);
    else if (this.#timer !== undefined) {
      clearInterval(this.#timer);
      this.#timer = undefined;
      this.#announce(nowMs);
    }
  }

  #announce(nowMs: number): void {
    this.#announcedMs = nowMs;
    for (const listener of this.#listeners) listener();
  }

  #refillAll(): void {
    const nowMs = performance.now();
    for (const row of this.#rows.values()) {
      const busy = row.users > 0;
      this.#refill(row, 'bandwidth', this.#board.bytes, busy, nowMs);
      this.#refill(row, 'requests', this.#board.requests, busy, nowMs);
      this.#letWaitersIn(row);
    }
    if (nowMs - this.#announcedMs >= announceMs) this.#announce(nowMs);
    this.#watch();
  }

  #refill(row: Row, kind: LimitKind, cell: Int32Array, busy: boolean, nowMs: number): void {
    const meter = row.meters[kind];
    const { bucket } = meter;
    if (bucket === undefined) return;
    const tokens = Atomics.load(cell, row.index);
    // the fraction of a token that the board cannot hold stays in the bucket
    const next = refill({ ...bucket, tokens: tokens + fractionOf(bucket.tokens) }, nowMs);
    const elapsedMs = nowMs - bucket.atMs;
    if (elapsedMs > 0) {
      const used = Math.max(0, Math.floor(bucket.tokens) - tokens);
      const part = 1 - Math.exp(-elapsedMs / averageMs);
      meter.usedPerSecond += ((used * 1000) / elapsedMs - meter.usedPerSecond) * part;
      const held = busy && tokens <= 0;
      meter.heldPart += (Number(held) - meter.heldPart) * part;
      if (held) this.#observe.held(row.limit.origin, kind, elapsedMs);
    }
    meter.bucket = next;
    Atomics.add(cell, row.index, Math.floor(next.tokens) - tokens);
  }

  #letWaitersIn(row: Row): void {
    while (row.waiting.length > 0 && admitRequest(this.#board, row.index)) row.waiting.shift()!();
  }
}

function isLimited({ limit }: Row): boolean {
  return limit.bytesPerSecond !== undefined || limit.requestsPerSecond !== undefined;
}

function wants({ users, lastUsedMs, limit }: Row, nowMs: number): boolean {
  if (limit.bytesPerSecond === undefined && limit.requestsPerSecond === undefined) return false;
  return users > 0 || nowMs - lastUsedMs < lingerMs;
}

function demandOf({ bucket, usedPerSecond, heldPart }: Meter): number | undefined {
  if (bucket === undefined) return undefined;
  return heldPart > heldShare || bucket.perSecond === 0 ? Number.POSITIVE_INFINITY : usedPerSecond * growth;
}

function fractionOf(tokens: number): number {
  return tokens - Math.floor(tokens);
}

function rowWithOrigin(row: Row): { origin: string; row: Row } {
  return { origin: row.limit.origin, row };
}
