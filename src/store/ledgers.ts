/** The ledgers of runs: in memory while they change, durable with every commit. */
import type { DiscardReason, Ledger, Log, RunId } from '../core/types.ts';
import { emptyLedger, ledgerDifference } from '../core/types.ts';
import type { IndexDb } from './index-db.ts';
import { type Arena, decodeLedger, encodeLedger } from './records.ts';

/** Ledgers kept in memory at most; the others are read from the index when asked for. */
const keptLimit = 1024;

export class Ledgers {
  readonly #index: IndexDb;
  readonly #known = new Map<RunId, Ledger>();
  readonly #dirty = new Set<RunId>();
  /** Booked as cached in the commit that runs: not durable before it has ended. */
  readonly #landing = new Map<RunId, number>();

  constructor(index: IndexDb) {
    this.#index = index;
  }

  get dirty(): boolean {
    return this.#dirty.size > 0;
  }

  /** A copy, as it stands with everything booked; bytes are cached when they are durable. */
  get(run: RunId): Ledger {
    const ledger = this.#known.get(run) ?? this.#read(run);
    const cachedBytes = ledger.cachedBytes - (this.#landing.get(run) ?? 0);
    return { ...ledger, cachedBytes, discardedBytes: { ...ledger.discardedBytes } };
  }

  origin(run: RunId, bytes: number): void {
    this.#change(run).originBytes += bytes;
  }

  /** In a commit that is being made. */
  peer(run: RunId, bytes: number): void {
    this.#change(run).peerBytes += bytes;
  }

  cached(run: RunId, bytes: number): void {
    this.#change(run).cachedBytes += bytes;
    if (bytes > 0) this.#landing.set(run, (this.#landing.get(run) ?? 0) + bytes);
  }

  /** That commit is durable. */
  settle(): void {
    this.#landing.clear();
  }

  discarded(run: RunId, reason: DiscardReason, bytes: number): void {
    this.#change(run).discardedBytes[reason] += bytes;
  }

  /** Hands every changed ledger to `put`, which writes it with the commit that is being made. */
  write(arena: Arena, put: (key: Buffer, value: Buffer) => void): void {
    for (const run of this.#known.keys()) {
      if (this.#known.size <= keptLimit) break;
      // One that this commit writes is not in the index before the commit has ended: it may be booked on meanwhile.
      if (!this.#dirty.has(run)) this.#known.delete(run);
    }
    for (const run of this.#dirty) put(Buffer.from(run), encodeLedger(this.#known.get(run)!, arena));
    this.#dirty.clear();
  }

  /** At open: what was received before a crash and neither landed nor discarded was lost by it. */
  recover(log: Log): void {
    for (const { key, value } of this.#index.range(this.#index.runs)) {
      const run = Buffer.from(key).toString('utf8') as RunId;
      const lost = ledgerDifference(decodeLedger(value));
      if (lost > 0) {
        this.discarded(run, 'crash', lost);
        log.info({ run, bytes: lost }, 'bytes that were in flight at the last stop are booked as discarded');
      } else if (lost < 0) {
        log.error(
          { run, bytes: -lost },
          'the ledger of this run has more bytes cached and discarded than came from the origin and from workers',
        );
      }
    }
  }

  #change(run: RunId): Ledger {
    let ledger = this.#known.get(run);
    if (!ledger) {
      ledger = this.#read(run);
      this.#known.set(run, ledger);
    }
    this.#dirty.add(run);
    return ledger;
  }

  #read(run: RunId): Ledger {
    const bytes = this.#index.get(this.#index.runs, Buffer.from(run));
    return bytes === undefined ? emptyLedger() : decodeLedger(bytes);
  }
}
