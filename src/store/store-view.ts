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

export interface ViewedFile {
  readonly record: FileRecord;
  /** The pages of a range, which lie in the store until `close`. Throws STORE_CORRUPT where the index has no place for one. */
  pages(range: ByteRange): Iterable<PageLocation>;
  close(): void;
}

interface Viewed {
  readers: number;
  /** By segment. */
  readonly blocks: Map<number, Block>;
}

export class StoreView {
  /** Of the store files, in the order of the stores. */
  readonly descriptors: readonly number[];
  readonly #index: IndexDb;
  readonly #reads: ThreadReads;
  readonly #viewed = new Map<FileId, Viewed>();

  /** Throws STORE_IO. */
  constructor(spec: { indexDir: string; storePaths: readonly string[]; reads: ThreadReads }) {
    this.#index = new IndexDb(spec.indexDir);
    this.#reads = spec.reads;
    this.descriptors = spec.storePaths.map((path) => openDirect(path, { write: false }).fd);
  }

  /**
   * A file that is whole here, with what `choose` takes of it. Undefined: it is not, or it cannot be held.
   * What `choose` throws is thrown on, and nothing is held then.
   */
  open(path: UfsPath, choose: (record: FileRecord) => ByteRange | undefined): ViewedFile | undefined {
    for (let looks = 0; looks < mostLooks; looks += 1) {
      const bytes = this.#look(path);
      const record = bytes && decodeFile(bytes, path);
      if (record?.state !== 'complete') return undefined;
      if (!this.#reads.enter(record.fileId)) return undefined;
      // Seen again when it is held: the first look may be as old as this turn of the event loop, and the file removed since.
      if (this.#isStill(path, bytes!)) return this.#viewedFile(record, inlineBlock(bytes!), choose);
      this.#reads.leave(record.fileId);
    }
    return undefined;
  }

  /** The record of a file that is whole here now. */
  find(path: UfsPath): FileRecord | undefined {
    this.#index.refresh();
    const bytes = this.#look(path);
    const record = bytes && decodeFile(bytes, path);
    return record?.state === 'complete' ? record : undefined;
  }

  /** Every file must have been closed. */
  async close(): Promise<void> {
    for (const fd of this.descriptors) closeSync(fd);
    await this.#index.close();
  }

  #look(path: UfsPath): Buffer | undefined {
    return this.#index.get(this.#index.files, pathKey(path));
  }

  #isStill(path: UfsPath, bytes: Buffer): boolean {
    this.#index.refresh();
    return this.#look(path)?.equals(bytes) === true;
  }

  #viewedFile(
    record: FileRecord,
    inline: Block | undefined,
    choose: (record: FileRecord) => ByteRange | undefined,
  ): ViewedFile | undefined {
    const { fileId } = record;
    const viewed = this.#viewed.get(fileId) ?? { readers: 0, blocks: new Map<number, Block>() };
    this.#viewed.set(fileId, viewed);
    const leave = (): void => {
      viewed.readers -= 1;
      if (viewed.readers === 0) this.#viewed.delete(fileId);
      this.#reads.leave(fileId);
    };
    const readers = {
      enter: () => {
        viewed.readers += 1;
      },
      leave,
      block: (_file: FileId, segment: number) => viewed.blocks.get(segment),
    };
    const file = new CachedFile({ record, inline, readers, volumes: [] });
    try {
      const range = choose(record);
      if (range !== undefined && inline === undefined && !this.#hold(record, range, viewed.blocks)) {
        file.close();
        return undefined;
      }
    } catch (error) {
      file.close();
      throw error;
    }
    return {
      record,
      pages: ({ offset, length }) => {
        const first = offset - (offset % pageBytes);
        return length === 0 ? [] : file.pages([{ offset: first, length: offset + length - first }]);
      },
      close: () => file.close(),
    };
  }

  /** Reads the blocks of the range now, because they leave the index with the file. False: they are too many, or some are gone. */
  #hold({ fileId }: FileRecord, { offset, length }: ByteRange, blocks: Map<number, Block>): boolean {
    if (length > mostViewedBytes) return false;
    const last = Math.floor((offset + length - 1) / segmentBytes);
    for (let segment = Math.floor(offset / segmentBytes); segment <= last; segment += 1) {
      if (blocks.has(segment)) continue;
      const bytes = this.#index.get(this.#index.blocks, blockKey(fileId, segment));
      if (bytes === undefined) return false;
      blocks.set(segment, readBlock(bytes));
    }
    return true;
  }
}
