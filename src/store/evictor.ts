/**
 * Makes room: for loads before they begin, below quotas, and of what has expired.
 *
 * Who is in it: a reservation that does not fit asks for room, and gets it in steps. A step looks at a bounded number of files
 * at the heads of the queues (core/eviction decides on each) and removes those that may go in one commit, as every removal does:
 * durable first, then their extents are free. Steps take turns, so that two of them never want the same file, and loads
 * and readers go on in between. What is read keeps its extents until the last reader has left; it is not chosen either.
 *
 * What survives a crash: each step, or nothing of it.
 */

import { PrimedError } from '../core/errors.ts';
import { type EvictionReason, type Facts, nextOf, verdictOn, type Waiting } from '../core/eviction.ts';
import { pinnedClass } from '../core/retention.ts';
import { formatSize } from '../core/sizes.ts';
import type { FileId, RunId } from '../core/types.ts';
import { alignUp } from '../core/units.ts';
import type { Why } from './changes.ts';
import type { Commit } from './commit.ts';
import { previewEviction } from './eviction-preview.ts';
import type { Holds } from './holds.ts';
import type { IndexDb } from './index-db.ts';
import type { LoadingFiles } from './loading-files.ts';
import { evictFiles, recordsOf } from './operations.ts';
import type { Readers } from './readers.ts';
import type { QueueRow, Recency } from './recency.ts';
import { type Place, parsePlaceKey, placeKey } from './records.ts';
import type { Space } from './space.ts';
import type { EvictionOrder, EvictionPreview, FileRecord, Removed } from './types.ts';

/** Files that a step looks at, and records of files and blocks that it removes: some 20 ms of the main thread. */
const lookedAtOnce = 4096;
const removedAtOnce = 2048;

export interface EvictorParts {
  readonly index: IndexDb;
  readonly space: Space;
  readonly loading: LoadingFiles;
  readonly readers: Readers;
  readonly holds: Holds;
  readonly recency: Recency;
  readonly now: () => number;
  /** False: nothing goes to make room. Read at each look. */
  readonly evicts: () => boolean;
  readonly onEvicted: ((reason: EvictionReason, removed: Removed) => void) | undefined;
  readonly commit: Commit;
  /** Undefined: every file is counted in the class that it belongs to. */
  readonly sorted: () => Promise<void> | undefined;
  /** Gives up some of what stopped loads have left half loaded. False: there was nothing. */
  readonly dropLeftovers: () => Promise<boolean>;
}

interface Evicting extends Why {
  readonly reason: EvictionReason;
}

interface Step extends Removed {
  /** Every queue was looked at to its end. */
  readonly ended: boolean;
}

export class Evictor {
  readonly #parts: EvictorParts;
  #turn: Promise<unknown> = Promise.resolve();
  /** Where the last look at expired files ended, by class. */
  readonly #swept = new Map<number, Buffer>();

  constructor(parts: EvictorParts) {
    this.#parts = parts;
  }

  /**
   * Adds to what a run may still allocate, and evicts what that takes. Rejects with STORE_NO_ROOM when evicting all that may go
   * would not do: then nothing was evicted but what stopped loads had left half loaded, unless loads and readers have taken meanwhile what was counted on.
   */
  async reserveMore(run: RunId, bytes: number): Promise<Removed> {
    const { space, recency, evicts } = this.#parts;
    const evicted = { files: 0, bytes: 0 };
    let lookedAtAll = false;
    const wanted = (): number => space.reservedFor(run) + bytes;
    while (space.shortage(run, wanted()) > 0) {
      if (!evicts()) break;
      if (space.shortage(run, wanted()) > recency.evictableBytes) {
        const sorted = this.#parts.sorted();
        if (sorted !== undefined) await sorted;
        else if (!(await this.#inTurn(this.#parts.dropLeftovers))) break;
        continue;
      }
      const step = await this.#inTurn(async () => {
        const shortBytes = space.shortage(run, wanted());
        return shortBytes > 0 ? this.#step(recency.classes(), shortBytes, { reason: 'space', run }) : undefined;
      });
      evicted.files += step?.files ?? 0;
      evicted.bytes += step?.bytes ?? 0;
      if (step?.ended !== true || step.files > 0) continue;
      // Who was passed over because he was read may have been left meanwhile.
      recency.lookAgain();
      if (lookedAtAll) break;
      lookedAtAll = true;
    }
    this.reserve(run, wanted());
    return evicted;
  }

  /** See Store. */
  async preview({ bytes, keeps, named }: EvictionOrder): Promise<EvictionPreview> {
    const { space, recency, evicts } = this.#parts;
    const none = { files: 0, bytes: 0, paths: [], counted: true };
    const shortBytes = space.shortageOf(bytes);
    if (!evicts() || shortBytes <= 0) return none;
    await this.#parts.sorted();
    const facts = this.#facts();
    const isHeld: Facts['isHeld'] = (waiting) => keeps(waiting.path) || facts.isHeld(waiting);
    return previewEviction(recency, { ...facts, isHeld }, { bytes: shortBytes, named });
  }

  /** Sets what a run may still allocate, of what is free. Throws STORE_NO_ROOM, and says what else there is. */
  reserve(run: RunId, bytes: number): void {
    const { space, recency, holds, evicts } = this.#parts;
    try {
      space.reserve(run, bytes);
    } catch (error) {
      if (!(error instanceof PrimedError) || error.code !== 'STORE_NO_ROOM') throw error;
      const pinnedBytes = recency.bytesOf(pinnedClass);
      const { evictableBytes } = recency;
      const heldBytes = holds.bytes;
      const parts = [
        `${formatSize(pinnedBytes)} are pinned`,
        `${formatSize(heldBytes)} belong to running loads`,
        evicts() ? `${formatSize(evictableBytes)} could be evicted` : 'nothing is evicted (store.eviction = "none")',
      ];
      throw new PrimedError('STORE_NO_ROOM', `${error.message}; of what is cached, ${parts.join(', ')}`, {
        ...error.facts,
        ...{ pinnedBytes, heldBytes, evictableBytes },
      });
    }
  }

  /** What a load could have evicted, as far as is known. */
  get evictableBytes(): number {
    const { recency, evicts } = this.#parts;
    return evicts() ? recency.evictableBytes : 0;
  }

  /** See Store. */
  admit(file: FileId, path: string, bytes: number): Promise<void> | undefined {
    const { recency } = this.#parts;
    const of = recency.retention.classOf(path);
    const quotaBytes = recency.retention.rule(of)?.quotaBytes;
    if (quotaBytes === undefined || of === pinnedClass) return undefined;
    return this.#admit(of, quotaBytes, () => recency.expect(file, of, alignUp(bytes)), alignUp(bytes));
  }

  async #admit(of: number, quotaBytes: number, expect: () => void, bytes: number): Promise<void> {
    const { recency } = this.#parts;
    const excess = (): number => recency.expectedBytesOf(of) + bytes - quotaBytes;
    for (let looked = false; excess() > 0; ) {
      const step = await this.#inTurn(async () =>
        excess() > 0 ? this.#step([of], excess(), { reason: 'quota' }) : undefined,
      );
      if (step?.ended !== true || step.files > 0) continue;
      recency.lookAgain();
      if (looked) break;
      looked = true;
    }
    if (excess() <= 0) return expect();
    const prefix = recency.retention.rule(of)?.prefix;
    const thereBytes = recency.expectedBytesOf(of);
    throw new PrimedError(
      'STORE_QUOTA',
      `${prefix} has a quota of ${formatSize(quotaBytes)} on this worker: ${formatSize(thereBytes)} of it belong to running loads, and a file needs ${formatSize(bytes)} more`,
      { prefix, quotaBytes, thereBytes, neededBytes: bytes },
    );
  }

  /** Removes files of classes that have more than they may, those that were not used for longest. */
  async keepQuotas(): Promise<void> {
    const { recency } = this.#parts;
    for (const { class: of, quotaBytes } of recency.retention.bounded()) {
      for (;;) {
        const step = await this.#inTurn(async () => {
          const excessBytes = recency.bytesOf(of) - quotaBytes;
          return excessBytes > 0 ? this.#step([of], excessBytes, { reason: 'quota' }) : undefined;
        });
        if (step === undefined || (step.ended && step.files === 0)) break;
      }
    }
  }

  /** Removes a bounded number of files that have expired; resolves with whether there may be more. */
  sweep(): Promise<boolean> {
    return this.#inTurn(async () => {
      let more = false;
      for (const { class: of, ttlMs } of this.#parts.recency.retention.mortal()) {
        more = (await this.#sweepClass(of, this.#parts.now() - ttlMs)) || more;
      }
      return more;
    });
  }

  /** Rules are others: files that were passed may have expired by them. */
  sweepAnew(): void {
    this.#swept.clear();
  }

  /** Resolves when what runs has ended. */
  async idle(): Promise<void> {
    await this.#turn;
  }

  #inTurn<T>(act: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(act);
    this.#turn = result.catch(() => undefined);
    return result;
  }

  async #step(classes: readonly number[], wantedBytes: number, why: Evicting): Promise<Step> {
    const { recency } = this.#parts;
    const { retention } = recency;
    const queues = new Map<number, { head: QueueRow; rest: Iterator<QueueRow> }>();
    for (const of of classes) {
      const rest = recency.rows(of);
      const first = rest.next();
      if (first.done !== true) queues.set(of, { head: first.value, rest });
    }
    const files: QueueRow[] = [];
    const moves: { path: string; fileId: FileId; place: Place }[] = [];
    const facts = this.#facts();
    let [looked, records, bytes] = [0, 0, 0];
    // Behind it, and above that priority, somebody waits who has to move there first.
    let horizonMs = Number.POSITIVE_INFINITY;
    let priority = Number.POSITIVE_INFINITY;
    const heads = function* (): Generator<QueueRow> {
      for (const { head } of queues.values()) yield head;
    };
    for (;;) {
      const row = nextOf(heads(), (of) => retention.priorityOf(of));
      if (row === undefined) break;
      const isFull = looked >= lookedAtOnce || records >= removedAtOnce || bytes >= wantedBytes;
      if (isFull || row.sinceMs > horizonMs || retention.priorityOf(row.class) > priority)
        return this.#remove({ files, moves, why, ended: false });
      looked++;
      const verdict = verdictOn(row, facts);
      if (verdict.do === 'evict') {
        files.push(row);
        records += recordsOf(row.bytes);
        bytes += alignUp(row.bytes);
      } else if (verdict.do === 'move') {
        moves.push({ path: row.path, fileId: row.fileId, place: verdict });
        if (verdict.class !== pinnedClass) {
          const to = retention.priorityOf(verdict.class);
          priority = Math.min(priority, to);
          // One that comes to a class of less worth may have to go before all who wait here.
          horizonMs = Math.min(horizonMs, to < retention.priorityOf(row.class) ? 0 : verdict.sinceMs);
        }
      }
      recency.looked(row);
      const queue = queues.get(row.class)!;
      const next = queue.rest.next();
      if (next.done === true) queues.delete(row.class);
      else queue.head = next.value;
    }
    return this.#remove({ files, moves, why, ended: moves.length === 0 });
  }

  async #sweepClass(of: number, deadMs: number): Promise<boolean> {
    const { index } = this.#parts;
    const first = placeKey({ class: of, sinceMs: 0 }, 0 as FileId);
    const end = placeKey({ class: of, sinceMs: Math.max(0, deadMs) }, 0 as FileId);
    const start = this.#swept.get(of) ?? first;
    const files: { path: string; fileId: FileId; bytes: number }[] = [];
    let last: Buffer | undefined;
    for (const { key, value } of index.range(index.ages, { start, end, limit: removedAtOnce })) {
      last = Buffer.from(key);
      files.push({ path: value.toString('utf8'), fileId: parsePlaceKey(last).fileId, bytes: 0 });
    }
    if (last === undefined || files.length < removedAtOnce) this.#swept.delete(of);
    else this.#swept.set(of, Buffer.concat([last, Buffer.of(0)]));
    const facts = this.#facts();
    const going = files.filter(
      ({ path, fileId }) => facts.classOf(path) === of && !facts.isHeld({ path, fileId, class: of, sinceMs: 0 }),
    );
    if (going.length > 0) await this.#remove({ files: going, moves: [], why: { reason: 'ttl' }, ended: true });
    return files.length === removedAtOnce;
  }

  #facts(): Facts {
    const { recency, readers, now } = this.#parts;
    return {
      pinnedClass,
      nowMs: Math.floor(now()),
      classOf: (path) => recency.retention.classOf(path),
      usedMs: (fileId) => recency.usedMs(fileId as FileId),
      isHeld: (waiting) => this.#isHeld(waiting),
      isRead: (fileId) => readers.isRead(fileId as FileId),
    };
  }

  #isHeld({ fileId }: Pick<Waiting, 'fileId'>): boolean {
    const { holds, loading } = this.#parts;
    if (holds.has(fileId as FileId)) return true;
    const adding = loading.inMemory(fileId as FileId);
    return adding !== undefined && adding.users.size > 0;
  }

  async #remove(order: {
    files: readonly { path: string; fileId: FileId; bytes: number }[];
    moves: readonly { path: string; fileId: FileId; place: Place }[];
    why: Evicting;
    ended: boolean;
  }): Promise<Step> {
    const { commit, holds, recency, onEvicted } = this.#parts;
    const { files, moves, why, ended } = order;
    if (files.length + moves.length === 0) return { files: 0, bytes: 0, ended };
    const mayGo = (record: FileRecord): boolean =>
      !this.#isHeld(record) && !holds.isOf(record.loadId) && recency.retention.classOf(record.path) !== pinnedClass;
    const removed = await commit<Removed>((settle) => evictFiles({ files, moves, mayGo, why }, settle));
    if (removed.files > 0) onEvicted?.(why.reason, removed);
    return { ...removed, ended };
  }
}
