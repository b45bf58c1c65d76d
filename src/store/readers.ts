/**
 * Files that are being read. The blocks of a file that is replaced, removed or given up while it is read stay known here, and
 * its extents are given back only when the last reader closes.
 */
import type { Extent, FileId, RunId } from '../core/types.ts';
import type { IndexDb } from './index-db.ts';
import { type Block, blockKey, readBlock } from './records.ts';
import type { Space } from './space.ts';

interface Reading {
  readers: number;
  /** Set when the file is gone from the index: what to give back at the end, and to whose reservation. */
  left?: { readonly extents: readonly Extent[]; readonly run: RunId | undefined };
}

export class Readers {
  readonly #index: IndexDb;
  readonly #space: Space;
  readonly #reading = new Map<FileId, Reading>();
  /** Blocks that left the index, or are about to, of files that may be read. */
  readonly #retired = new Map<FileId, ReadonlyMap<number, Block>>();

  constructor(index: IndexDb, space: Space) {
    this.#index = index;
    this.#space = space;
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
    if (!reading.left) return;
    this.#retired.delete(file);
    this.#space.free(reading.left.extents, reading.left.run);
  }

  isRead(file: FileId): boolean {
    return this.#reading.has(file);
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
    if (reading) {
      reading.left = { extents, run };
      return;
    }
    this.#retired.delete(file);
    this.#space.free(extents, run);
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
