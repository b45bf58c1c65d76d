/**
 * Files that are being read, by this thread and by others. The blocks of a file that is replaced, removed or given up while it is read stay known here, and
 * its extents are given back only when the last reader closes.
 */
import type { Extent, FileId, RunId } from '../core/types.ts';
import type { IndexDb } from './index-db.ts';
import { type Block, blockKey, readBlock } from './records.ts';
import type { OtherReads } from './shared-reads.ts';
import type { Space } from './space.ts';

/** Of a file that is gone from the index: what to give back at the end, and to whose reservation. */
interface Left {
  readonly extents: readonly Extent[];
  readonly run: RunId | undefined;
  readonly sinceMs: number;
}

interface Reading {
  readers: number;
  left?: Left;
}

/** How often those that other threads read are looked at again: they do not say when they end. */
const lookAgainMs = 50;

export class Readers {
  readonly #index: IndexDb;
  readonly #space: Space;
  readonly #reading = new Map<FileId, Reading>();
  /** Blocks that left the index, or are about to, of files that may be read. */
  readonly #retired = new Map<FileId, ReadonlyMap<number, Block>>();

  readonly #now: () => number;
  readonly #others: OtherReads | undefined;
  #removedLimitMs: number;
  /** Gone from the index, and read by other threads. */
  readonly #leftToOthers = new Map<FileId, Left>();
  #timer: NodeJS.Timeout | undefined;

  constructor(parts: {
    index: IndexDb;
    space: Space;
    /** In ms. */
    now: () => number;
    others: OtherReads | undefined;
    /** How long after its removal a file may be read. Undefined: to the end. */
    removedLimitMs: number | undefined;
  }) {
    this.#index = parts.index;
    this.#space = parts.space;
    this.#now = parts.now;
    this.#others = parts.others;
    this.#removedLimitMs = parts.removedLimitMs ?? Number.POSITIVE_INFINITY;
  }

  /** Holds for what was removed before, too. Undefined: to the end. */
  setRemovedLimit(ms: number | undefined): void {
    this.#removedLimitMs = ms ?? Number.POSITIVE_INFINITY;
  }

  /** What is still read by others then is free when the store is opened again. */
  close(): void {
    clearTimeout(this.#timer);
  }

  enter(file: FileId): void {
    const reading = this.#reading.get(file);
    if (reading) reading.readers++;
    else this.#reading.set(file, { readers: 1 });
  }

  leave(file: FileId): void {
    const reading = this.#reading.get(file)!;
    reading.readers--;
    if (reading.readers > 0) return;
    this.#reading.delete(file);
    if (reading.left) this.#release(file, reading.left);
  }

  isRead(file: FileId): boolean {
    return this.#reading.has(file) || this.#others?.isRead(file) === true;
  }

  /** Whether the file was removed so long ago that nobody may read on. */
  isOverdue(file: FileId): boolean {
    const left = this.#reading.get(file)?.left;
    return left !== undefined && this.#isOver(left);
  }

  #isOver({ sinceMs }: Left): boolean {
    return this.#now() - sinceMs >= this.#removedLimitMs;
  }

  /** The commit that is being made removes these blocks from the index. */
  retire(file: FileId, blocks: ReadonlyMap<number, Block>): void {
    this.#retired.set(file, blocks);
  }

  /**
   * The removal is durable: the extents are free, at the latest when the last reader has left.
   * @param run whose reservation they go back to
   */
  retired(file: FileId, extents: readonly Extent[], run?: RunId): void {
    const reading = this.#reading.get(file);
    const left = { extents, run, sinceMs: this.#now() };
    if (reading) reading.left = left;
    else this.#release(file, left);
  }

  #release(file: FileId, left: Left): void {
    if (this.#others?.isRead(file) === true) {
      this.#leftToOthers.set(file, left);
      if (this.#isOver(left)) this.#others.cut(file);
      this.#timer ??= setTimeout(() => this.#lookAgain(), lookAgainMs).unref();
      return;
    }
    this.#retired.delete(file);
    this.#space.free(left.extents, left.run);
  }

  #lookAgain(): void {
    this.#timer = undefined;
    const all = [...this.#leftToOthers];
    this.#leftToOthers.clear();
    for (const [file, left] of all) this.#release(file, left);
  }

  /** Whether the file is being removed, or was while it is read. */
  isRetired(file: FileId): boolean {
    return this.#retired.has(file);
  }

  block(file: FileId, segment: number): Block | undefined {
    const retired = this.#retired.get(file);
    if (retired) return retired.get(segment);
    const bytes = this.#index.get(this.#index.blocks, blockKey(file, segment));
    return bytes === undefined ? undefined : readBlock(bytes);
  }
}
