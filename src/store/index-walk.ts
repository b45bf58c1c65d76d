/**
 * Every row of an index against every other: what belongs to what, and that no byte of a store belongs to two. For a store that
 * nobody has open. Reads only, and goes on after what is wrong, so that all of it is found.
 *
 * files, loading ──▶ their blocks ──▶ extents ──▶ an allocator, as an opening fills it
 *   └▶ queue                             Blocks that nobody came for are looked for when their number says so.
 *
 * Memory is the allocator's, and 16 B a file where blocks belong to none.
 */
import { setImmediate } from 'node:timers/promises';
import { NumberSet } from '../core/number-set.ts';
import type { FileId } from '../core/types.ts';
import { alignBytes, alignUp } from '../core/units.ts';
import { rows } from './catalog.ts';
import type { IndexDb, StoreEntry, Table } from './index-db.ts';
import { pageExtents, pageLength, pagesInSegment, pagesPerSegment, totalLength } from './layout.ts';
import {
  type Block,
  blockKey,
  decodeFile,
  decodeLedger,
  fileFigures,
  fileKey,
  hasPage,
  inlineBlock,
  parseFileKey,
  parsePlaceKey,
  parseSegment,
  pathKey,
  placeOf,
  readBlock,
} from './records.ts';
import { Space } from './space.ts';
import { dataOffset } from './superblock.ts';
import type { FileRecord } from './types.ts';

export const walkFaults = ['unreadable', 'outside', 'overlap', 'blocks', 'orphan', 'queue', 'loading'] as const;
/**
 * - `unreadable`: a record that is none of this format;
 * - `outside`, `overlap`: bytes beyond their store, or of two blocks;
 * - `blocks`: what a file has in the store is not what its record says;
 * - `orphan`: blocks of no file;
 * - `queue`: a file that does not wait for its eviction where its record says, or somebody who waits and is no file;
 * - `loading`: the two tables of files that are being loaded do not name the same.
 */
export type WalkFault = (typeof walkFaults)[number];

export interface WalkFound {
  count: number;
  /** The first ones, in words. */
  readonly named: string[];
}

export interface WalkResult {
  readonly files: number;
  readonly blocks: number;
  readonly extents: number;
  /** Given out by the allocator after all extents were taken from it. */
  readonly usedBytes: number;
  readonly capacityBytes: number;
  readonly found: ReadonlyMap<WalkFault, WalkFound>;
}

/** Told now and then. */
export type OnWalked = (rows: number, of: number) => void;

const namedAtMost = 5;
/** Rows of one turn of the event loop: some 20 ms. */
const rowsAtOnce = 4096;

/** The index may be open for reading only. Rejects where it cannot be read at all. */
export function walkIndex(index: IndexDb, onWalked: OnWalked = () => undefined): Promise<WalkResult> {
  return new IndexWalk(index, onWalked).run();
}

class IndexWalk {
  readonly #index: IndexDb;
  readonly #onWalked: OnWalked;
  readonly #space: Space;
  readonly #grainsOf: ReadonlyMap<number, number>;
  readonly #found = new Map<WalkFault, WalkFound>();
  readonly #total: number;
  #walked = 0;
  #blockRows = 0;
  #blocks = 0;
  #extents = 0;
  #takenGrains = 0;
  /** Files that are to wait for their eviction. */
  #placed = 0;

  constructor(index: IndexDb, onWalked: OnWalked) {
    this.#index = index;
    this.#onWalked = onWalked;
    const stores = (index.getMeta<StoreEntry[]>('stores') ?? []).filter(({ state }) => state === 'ready');
    const firstGrain = dataOffset / alignBytes;
    const parts = stores
      .sort((a, b) => a.index - b.index)
      .map(({ index: store, sizeBytes }) => ({
        index: store as never,
        grains: sizeBytes / alignBytes - firstGrain,
        firstGrain,
      }));
    this.#space = new Space(parts);
    this.#grainsOf = new Map(parts.map(({ index: store, grains }) => [store, grains + firstGrain]));
    const { files, loading, loadingPaths, queue, runs } = index;
    this.#total = [files, loading, loadingPaths, queue, runs].reduce((sum, table) => sum + index.count(table), 0);
  }

  async run(): Promise<WalkResult> {
    const { files, loading, loadingPaths, queue, runs, blocks } = this.#index;
    await this.#each(files, (key, value) => this.#file(key.toString('utf8'), value));
    await this.#each(loading, (key, value) => this.#loadingFile(parseFileKey(key), value));
    await this.#each(loadingPaths, (key, value) => this.#loadingPath(key.toString('utf8'), parseFileKey(value)));
    await this.#each(queue, (key, value) => void this.#read('a row of the queue', () => this.#waits(key, value)));
    const waiting = this.#index.count(queue);
    if (waiting < this.#placed)
      this.#add('queue', `${this.#placed} files are to wait for their eviction, and ${waiting} do`);
    await this.#each(runs, (key, value) => this.#read(`run ${key}`, () => decodeLedger(value)));
    if (this.#index.count(blocks) !== this.#blockRows) await this.#orphans();
    this.#onWalked(this.#total, this.#total);
    this.#space.seal();
    const usedBytes = this.#space.capacityBytes - this.#space.unusedBytes;
    if (usedBytes !== this.#takenGrains * alignBytes)
      this.#add(
        'overlap',
        `the allocator has given out ${usedBytes} bytes for extents of ${this.#takenGrains * alignBytes}`,
      );
    return {
      ...{ files: this.#index.count(files), blocks: this.#blocks, extents: this.#extents, usedBytes },
      ...{ capacityBytes: this.#space.capacityBytes, found: this.#found },
    };
  }

  async #each(table: Table, look: (key: Buffer, value: Buffer) => void): Promise<void> {
    for (const { key, value } of rows(this.#index, table, '', undefined)) {
      look(key, value);
      this.#walked += 1;
      if (this.#walked % rowsAtOnce > 0) continue;
      this.#onWalked(this.#walked, this.#total);
      await setImmediate();
    }
  }

  #add(fault: WalkFault, text: string, count = 1): void {
    const found = this.#found.get(fault) ?? { count: 0, named: [] };
    this.#found.set(fault, found);
    found.count += count;
    if (found.named.length < namedAtMost) found.named.push(text);
  }

  /** Undefined: it is told that it is not to be read. */
  #read<T>(what: string, decode: () => T): T | undefined {
    try {
      return decode();
    } catch (error) {
      this.#add('unreadable', `${what}: ${error instanceof Error ? error.message : String(error)}`);
      return undefined;
    }
  }

  #file(path: string, value: Buffer): void {
    const read = this.#read(path, () => ({ record: decodeFile(value, path), inline: inlineBlock(value) }));
    if (read === undefined) return;
    const { record, inline } = read;
    if (record.state === 'loading' || record.state === undefined) {
      this.#add('unreadable', `${path}: a visible file of state ${value[1]}`);
      return;
    }
    if (record.state === 'metadata') return;
    const bytes = this.#blocksOf(record, inline);
    // More of one that is there in part may have landed since.
    const isRight = record.state === 'complete' ? bytes === record.sizeBytes : bytes >= record.cachedBytes;
    if (!isRight || record.cachedBytes > record.sizeBytes)
      this.#add(
        'blocks',
        `${path}: ${bytes} bytes of it are in blocks, its record says ${record.cachedBytes} of ${record.sizeBytes}`,
      );
    this.#placed += 1;
  }

  #loadingFile(id: FileId, value: Buffer): void {
    const record = this.#read(`file ${id}, being loaded`, () => decodeFile(value));
    if (record === undefined) return;
    const { path } = record;
    const named = this.#index.get(this.#index.loadingPaths, pathKey(path));
    if (record.fileId !== id || named === undefined || parseFileKey(named) !== id)
      this.#add(
        'loading',
        `${path}: file ${id} is being loaded, and its path names ${named === undefined ? 'none' : parseFileKey(named)}`,
      );
    const visible = this.#index.get(this.#index.files, pathKey(path));
    // What of it is visible was looked at with that.
    if (visible !== undefined && this.#read(path, () => decodeFile(visible, path))?.fileId === id) return;
    const bytes = this.#blocksOf(record, undefined);
    if (bytes !== record.cachedBytes)
      this.#add(
        'blocks',
        `${path}, being loaded: ${bytes} bytes of it are in blocks, its record says ${record.cachedBytes}`,
      );
  }

  #loadingPath(path: string, id: FileId): void {
    if (this.#index.get(this.#index.loading, fileKey(id)) === undefined)
      this.#add('loading', `${path}: it names file ${id}, which is not being loaded`);
  }

  #waits(key: Buffer, value: Buffer): void {
    const { class: of, sinceMs, fileId } = parsePlaceKey(key);
    const path = value.toString('utf8', 8);
    const bytes = this.#index.get(this.#index.files, pathKey(path));
    // It was told where the files were read.
    if (bytes !== undefined && !isReadable(bytes)) return;
    const place = bytes === undefined ? undefined : placeOf(bytes);
    const its = place === undefined ? 'it is no file' : `its record says ${place.class} since ${place.sinceMs}`;
    if (bytes === undefined || place?.class !== of || place.sinceMs !== sinceMs)
      this.#add('queue', `${path}: it waits in class ${of} since ${sinceMs}, and ${its}`);
    else if (decodeFile(bytes, path).fileId !== fileId || fileFigures(bytes).cachedBytes !== value.readDoubleLE(0))
      this.#add('queue', `${path}: who waits for its eviction is another version of it`);
  }

  /** Bytes of the pages that are present. */
  #blocksOf(record: FileRecord, inline: Block | undefined): number {
    if (inline !== undefined) return this.#block(record, 0, inline);
    const { blocks } = this.#index;
    const range = { start: blockKey(record.fileId, 0), end: fileKey((record.fileId + 1) as FileId) };
    let bytes = 0;
    for (const { key, value } of this.#index.range(blocks, range)) {
      this.#blockRows += 1;
      const segment = parseSegment(key);
      const block = this.#read(`${record.path}, segment ${segment}`, () => readBlock(value));
      if (block !== undefined) bytes += this.#block(record, segment, block);
    }
    return bytes;
  }

  #block({ path, sizeBytes }: FileRecord, segment: number, block: Block): number {
    this.#blocks += 1;
    const where = `${path}, segment ${segment}`;
    for (const { store, fileGrain, grains } of block.extents) this.#extent(where, store, fileGrain, grains);
    if (block.pages !== pagesInSegment(sizeBytes, segment)) {
      this.#add('blocks', `${where}: it has ${block.pages} pages, of a file of ${sizeBytes} bytes`);
      return 0;
    }
    const firstPage = segment * pagesPerSegment;
    let [bytes, stored] = [0, 0];
    for (let page = 0; page < block.pages; page += 1) {
      if (!hasPage(block.present, page)) continue;
      const length = pageLength(sizeBytes, firstPage + page);
      const lies = totalLength(pageExtents(block, page, length));
      if (lies !== alignUp(length))
        this.#add('blocks', `${where}: page ${page} has ${lies} bytes of room for ${length}`);
      bytes += length;
      stored += alignUp(length);
    }
    const taken = block.extents.reduce((sum, { grains }) => sum + grains * alignBytes, 0);
    if (taken > stored) this.#add('blocks', `${where}: it keeps ${taken} bytes of room for ${stored}`);
    return bytes;
  }

  #extent(where: string, store: number, fileGrain: number, grains: number): void {
    this.#extents += 1;
    if (this.#space.take(store, fileGrain, grains)) {
      this.#takenGrains += grains;
      return;
    }
    const end = this.#grainsOf.get(store);
    const isInside =
      end !== undefined && grains > 0 && fileGrain >= dataOffset / alignBytes && fileGrain + grains <= end;
    const at = `${grains} grains at ${fileGrain} of store ${store}`;
    this.#add(isInside ? 'overlap' : 'outside', `${where}: ${at}`);
  }

  async #orphans(): Promise<void> {
    const known = new NumberSet();
    for (const table of [this.#index.files, this.#index.loading])
      await this.#each(table, (_, value) => {
        const id = value.length < 10 ? 0 : value.readUIntLE(4, 6);
        if (id > 0) known.add(id);
      });
    await this.#each(this.#index.blocks, (key, value) => {
      const id = parseFileKey(key);
      if (known.has(id)) return;
      const segment = parseSegment(key);
      const block = this.#read(`file ${id}, segment ${segment}`, () => readBlock(value));
      for (const { store, fileGrain, grains } of block?.extents ?? [])
        this.#extent(`file ${id}`, store, fileGrain, grains);
      const bytes = (block?.extents ?? []).reduce((sum, { grains }) => sum + grains * alignBytes, 0);
      this.#add('orphan', `file ${id}, segment ${segment}: ${bytes} bytes`);
    });
  }
}

function isReadable(file: Buffer): boolean {
  try {
    decodeFile(file, '');
    return true;
  } catch {
    return false;
  }
}
