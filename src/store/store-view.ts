/**
 * A store as another thread of its process sees it: whole files, to be found and read, through the same index and with a hold
 * on what is read. It writes nothing.
 */
import { closeSync } from 'node:fs';
import type { ByteRange, FileId, UfsPath } from '../core/types.ts';
import { pageBytes } from '../core/units.ts';
import { openDirect } from '../platform/index.ts';
import { IndexDb } from './index-db.ts';
import { segmentBytes } from './layout.ts';
import { CachedFile } from './open-file.ts';
import { type Block, blockKey, decodeFile, inlineBlock, pathKey, readBlock } from './records.ts';
import type { ThreadReads } from './shared-reads.ts';
import type { FileRecord, PageLocation } from './types.ts';

/** What is read of one file at once, at most: its blocks are held in memory as long. A million pages a TiB. */
export const mostViewedBytes = 1024 * segmentBytes;
/** Times that a file may be replaced between two looks at it. */
const mostLooks = 4;
/** Files that stay held although nobody reads them, until `letGo`. */
const mostIdle = 1024;

export interface ViewedFile {
  readonly record: FileRecord;
  /** The pages of a range, which lie in the store until `close`. Throws STORE_CORRUPT where the index has no place for one. */
  pages(range: ByteRange): Iterable<PageLocation>;
  close(): void;
}

/** A file that is held, as its record was when it was found. */
interface Held {
  /** Of the record. */
  readonly bytes: Buffer;
  readonly record: FileRecord;
  readonly inline: Block | undefined;
  /** By segment. */
  readonly blocks: Map<number, Block>;
  readonly file: CachedFile;
  readers: number;
}

export class StoreView {
  /** Of the store files, in the order of the stores. */
  readonly descriptors: readonly number[];
  readonly #index: IndexDb;
  readonly #reads: ThreadReads;
  /** One of a path: that which was found last. */
  readonly #held = new Map<UfsPath, Held>();
  /** Those that nobody reads any more. */
  readonly #idle = new Set<Held>();

  /** Throws STORE_IO. */
  constructor(spec: { indexDir: string; storePaths: readonly string[]; reads: ThreadReads }) {
    this.#index = new IndexDb(spec.indexDir);
    this.#reads = spec.reads;
    this.descriptors = spec.storePaths.map((path) => openDirect(path, { write: false }).fd);
  }

  /**
   * A file that is whole here, with what `choose` takes of it. Undefined: it is not, or it cannot be held.
   * What `choose` throws is thrown on.
   */
  open(path: UfsPath, choose: (record: FileRecord) => ByteRange | undefined): ViewedFile | undefined {
    const held = this.#hold(path);
    if (held === undefined) return undefined;
    const file = new Reading(held, () => this.#left(held));
    try {
      const range = choose(held.record);
      if (range === undefined || this.#holdBlocks(held, range)) return file;
    } catch (error) {
      file.close();
      throw error;
    }
    file.close();
    return undefined;
  }

  /** The record of a file that is whole here. */
  find(path: UfsPath): FileRecord | undefined {
    const bytes = this.#look(path);
    const held = this.#held.get(path);
    if (bytes !== undefined && held?.bytes.equals(bytes) === true) return held.record;
    const record = bytes && decodeFile(bytes, path);
    return record?.state === 'complete' ? record : undefined;
  }

  /** Gives up what is held although nobody reads it: to be called now and then. */
  letGo(): void {
    for (const held of this.#idle) this.#drop(held);
    this.#idle.clear();
  }

  /** Files that are read here although they were removed long ago: to be closed. */
  overdue(): FileId[] {
    return this.#reads.cuts();
  }

  /** Every file must have been closed. */
  async close(): Promise<void> {
    this.letGo();
    for (const fd of this.descriptors) closeSync(fd);
    await this.#index.close();
  }

  /** With one reader more. */
  #hold(path: UfsPath): Held | undefined {
    for (let looks = 0; looks < mostLooks; looks += 1) {
      const bytes = this.#look(path);
      if (bytes === undefined) return undefined;
      const held = this.#held.get(path);
      if (held?.bytes.equals(bytes) === true) {
        held.readers += 1;
        this.#idle.delete(held);
        return held;
      }
      const record = decodeFile(bytes, path);
      if (record.state !== 'complete') return undefined;
      if (!this.#enter(record.fileId)) return undefined;
      // Seen again when it is held: it may have been removed since the first look.
      if (this.#look(path)?.equals(bytes) === true) return this.#keep(path, record, bytes);
      this.#reads.leave(record.fileId);
    }
    return undefined;
  }

  /** What is held for nobody must not be in the way of what is read. */
  #enter(file: FileId): boolean {
    if (this.#reads.enter(file)) return true;
    if (this.#idle.size === 0) return false;
    this.letGo();
    return this.#reads.enter(file);
  }

  #keep(path: UfsPath, record: FileRecord, bytes: Buffer): Held {
    const inline = inlineBlock(bytes);
    const blocks = new Map<number, Block>();
    const readers = {
      enter: () => undefined,
      leave: () => undefined,
      isOverdue: () => false,
      block: (_: FileId, at: number) => blocks.get(at),
    };
    const file = new CachedFile({ record, inline, readers, volumes: [] });
    const held: Held = { bytes, record, inline, blocks, file, readers: 1 };
    this.#held.set(path, held);
    return held;
  }

  #left(held: Held): void {
    held.readers -= 1;
    if (held.readers > 0) return;
    if (this.#held.get(held.record.path) === held && this.#idle.size < mostIdle) this.#idle.add(held);
    else this.#drop(held);
  }

  #drop(held: Held): void {
    const { path, fileId } = held.record;
    if (this.#held.get(path) === held) this.#held.delete(path);
    this.#reads.leave(fileId);
  }

  /** Who was told of a commit has to find it: nothing goes by what was seen before. */
  #look(path: UfsPath): Buffer | undefined {
    this.#index.refresh();
    return this.#index.get(this.#index.files, pathKey(path));
  }

  /** Reads the blocks of the range now, because they leave the index with the file. False: they are too many, or some are gone. */
  #holdBlocks({ record, inline, blocks }: Held, { offset, length }: ByteRange): boolean {
    if (inline !== undefined) return true;
    if (length > mostViewedBytes) return false;
    const last = Math.floor((offset + length - 1) / segmentBytes);
    for (let segment = Math.floor(offset / segmentBytes); segment <= last; segment += 1) {
      if (blocks.has(segment)) continue;
      const bytes = this.#index.get(this.#index.blocks, blockKey(record.fileId, segment));
      if (bytes === undefined) return false;
      blocks.set(segment, readBlock(bytes));
    }
    return true;
  }
}

class Reading implements ViewedFile {
  readonly record: FileRecord;
  readonly #file: CachedFile;
  #leave: (() => void) | undefined;

  constructor({ record, file }: Held, leave: () => void) {
    this.record = record;
    this.#file = file;
    this.#leave = leave;
  }

  pages({ offset, length }: ByteRange): Iterable<PageLocation> {
    const first = offset - (offset % pageBytes);
    return length === 0 ? [] : this.#file.pages([{ offset: first, length: offset + length - first }]);
  }

  close(): void {
    this.#leave?.();
    this.#leave = undefined;
  }
}
