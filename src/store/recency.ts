/**
 * When files were last used, and the queues in which they wait for their eviction.
 *
 *   queue   class, since, FileId -> bytes, path     written with the file: neighbours in time are neighbours in the tree
 *   used    FileId -> when                          written for many files at once, some seconds after they were read
 *
 * A read moves nothing in the queue. `core/eviction` asks who is at the head whether it was used since, and moves it then.
 *
 * On disk a file costs a row of the queue, 30 B and its path, and once it was read a row of `used`, 20 B. In memory it costs nothing: what was
 * read waits here until it is written, at most `mostPending` files. A crash loses that: they count as used when they were before.
 */
import { type Pins, pinnedClass, type Retention } from '../core/retention.ts';
import type { FileId } from '../core/types.ts';
import { alignUp } from '../core/units.ts';
import type { Holds } from './holds.ts';
import type { IndexDb } from './index-db.ts';
import { fileKey, type Place, parsePlaceKey, placeKey } from './records.ts';

/** Files that were used and are not written yet; about 60 B each. */
const mostPending = 65_536;
/** Ids of files that went a moment ago: who reads them last says so a little later. */
const goneKept = 16_384;
/** Rows that are taken from the index at a time. */
const rowsAtOnce = 256;

export interface ClassUsage {
  files: number;
  /** As they lie in the store, rounding included. */
  bytes: number;
}

export interface QueueRow extends Place {
  readonly key: Buffer;
  readonly fileId: FileId;
  readonly bytes: number;
  readonly path: string;
}

export class Recency {
  readonly #index: IndexDb;
  readonly #holds: Holds;
  readonly retention: Retention;
  readonly usage: Map<number, ClassUsage>;
  /** Up to where each queue was looked at, and nothing was found that may go. */
  readonly #looked = new Map<number, Buffer>();
  #pending = new Map<FileId, number>();
  #writing: ReadonlyMap<FileId, number> = new Map();
  /** What is on its way into classes that have a quota, by file. */
  readonly #coming = new Map<FileId, { readonly class: number; readonly bytes: number }>();
  /** The same, by class: it is asked for with each file that begins, while thousands are on their way. */
  readonly #comingBytes = new Map<number, number>();
  readonly #gone = new Set<number>();
  /** The same, in a ring: looking for the oldest entry of a Set costs a walk over those that were deleted. */
  readonly #goneRing = new Float64Array(goneKept);
  #goneCount = 0;

  constructor(options: {
    index: IndexDb;
    holds: Holds;
    retention: Retention;
    usage: Map<number, ClassUsage>;
  }) {
    this.#index = options.index;
    this.#holds = options.holds;
    this.retention = options.retention;
    this.usage = options.usage;
  }

  set pins(pins: Pins) {
    this.retention.pins = pins;
  }

  /** Bytes of the class. */
  bytesOf(of: number): number {
    return this.usage.get(of)?.bytes ?? 0;
  }

  /** What may be evicted, as far as is known. */
  get evictableBytes(): number {
    let sum = 0;
    for (const [of, { bytes }] of this.usage) if (of !== pinnedClass) sum += bytes;
    return Math.max(0, sum - this.#holds.bytes);
  }

  /** Of the class, with what is on its way into it. */
  expectedBytesOf(of: number): number {
    return this.bytesOf(of) + this.#comingBytesOf(of);
  }

  expect(file: FileId, of: number, bytes: number): void {
    const before = this.#coming.get(file)?.bytes ?? 0;
    this.expectNoMore(file);
    this.#coming.set(file, { class: of, bytes: before + bytes });
    this.#comingBytes.set(of, this.#comingBytesOf(of) + before + bytes);
  }

  /** It is there, or will not come. */
  expectNoMore(file: FileId): void {
    const coming = this.#coming.get(file);
    if (coming === undefined) return;
    this.#coming.delete(file);
    this.#comingBytes.set(coming.class, this.#comingBytesOf(coming.class) - coming.bytes);
  }

  #comingBytesOf(of: number): number {
    return this.#comingBytes.get(of) ?? 0;
  }

  // --- who was used when

  /** True: it is time to write them. */
  touch(file: FileId, nowMs: number): boolean {
    if (this.#gone.has(file)) return false;
    if (this.#pending.size < mostPending || this.#pending.has(file)) this.#pending.set(file, nowMs);
    return this.#pending.size >= mostPending;
  }

  get hasPending(): boolean {
    return this.#pending.size > 0;
  }

  usedMs(file: FileId): number | undefined {
    const known = this.#pending.get(file) ?? this.#writing.get(file);
    if (known !== undefined) return known;
    const value = this.#index.get(this.#index.used, fileKey(file));
    return value?.readUIntLE(0, 6);
  }

  /** What is to be written, in the order of the table; until the next call it is known here as well. */
  takePending(): readonly (readonly [FileId, number])[] {
    this.#writing = this.#pending;
    this.#pending = new Map();
    return [...this.#writing].sort(([a], [b]) => a - b);
  }

  isGone(file: FileId): boolean {
    return this.#gone.has(file);
  }

  // --- the queues

  /** Classes that have files, but for the pinned ones. */
  classes(): number[] {
    return [...this.usage].filter(([of, { files }]) => of !== pinnedClass && files > 0).map(([of]) => of);
  }

  /** From where it was last looked at, or from its head. */
  *rows(of: number, from: 'looked' | 'head' = 'looked'): Generator<QueueRow> {
    const head = placeKey({ class: of, sinceMs: 0 }, 0 as FileId);
    let start = from === 'looked' ? (this.#looked.get(of) ?? head) : head;
    const end = placeKey({ class: of + 1, sinceMs: 0 }, 0 as FileId);
    for (;;) {
      const chunk: QueueRow[] = [];
      for (const { key, value } of this.#index.range(this.#index.queue, { start, end, limit: rowsAtOnce })) {
        const own = Buffer.from(key);
        const [bytes, path] = [value.readDoubleLE(0), value.toString('utf8', 8)];
        chunk.push({ ...parsePlaceKey(own), key: own, bytes, path });
      }
      yield* chunk;
      if (chunk.length < rowsAtOnce) return;
      start = behind(chunk.at(-1)!.key);
    }
  }

  /** Nothing up to there is to be looked at again, unless somebody comes to wait there. */
  looked(row: QueueRow): void {
    this.#looked.set(row.class, behind(row.key));
  }

  /** Some of those that were passed over may go now. */
  lookAgain(): void {
    this.#looked.clear();
  }

  // --- told by commits, once they are durable

  placed(file: FileId, place: Place, cachedBytes: number): void {
    const bytes = alignUp(cachedBytes);
    this.expectNoMore(file);
    this.#count(place.class, 1, bytes);
    if (place.class !== pinnedClass) this.#holds.changed(file, bytes);
    const looked = this.#looked.get(place.class);
    if (looked === undefined) return;
    const key = placeKey(place, file);
    if (Buffer.compare(key, looked) < 0) this.#looked.set(place.class, key);
  }

  left(file: FileId, place: Place, cachedBytes: number): void {
    const bytes = alignUp(cachedBytes);
    this.#count(place.class, -1, -bytes);
    if (place.class !== pinnedClass) this.#holds.changed(file, -bytes);
  }

  /** It is not visible any more. */
  gone(file: FileId): void {
    this.#pending.delete(file);
    const place = this.#goneCount++ % goneKept;
    this.#gone.delete(this.#goneRing[place]!);
    this.#goneRing[place] = file;
    this.#gone.add(file);
  }

  #count(of: number, files: number, bytes: number): void {
    const usage = this.usage.get(of);
    if (usage === undefined) this.usage.set(of, { files, bytes });
    else {
      usage.files += files;
      usage.bytes += bytes;
    }
  }
}

function behind(key: Buffer): Buffer {
  return Buffer.concat([key, Buffer.of(0)]);
}
