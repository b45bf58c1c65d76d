/**
 * The index: one LMDB environment a worker.
 *
 *   meta          text key -> JSON          format version, stores by uuid, first FileId that was never handed out
 *   files         path (UTF-8) -> file      visible files; one of at most a page carries its block
 *   blocks        FileId u48, segment u32 -> block
 *   loading       FileId u48 -> file        files of which some bytes are durable
 *   loadingPaths  path -> FileId u48
 *   runs          run id -> ledger
 *   queue         class u16, since u48, FileId u48 -> f64 durable bytes, path     files in the order of their eviction
 *   ages          class u16, cached at u48, FileId u48 -> path                    of classes whose files expire
 *   used          FileId u48 -> u48 ms          files that were read since they took their place in the queue
 *
 * Durability: `overlappingSync` is off, so a commit is LMDB's own: pages written, fdatasync, meta page written through
 * a descriptor that syncs. A batch resolves after that. (With overlappingSync, which is lmdb-js's default, it would
 * resolve at the commit and be durable only at `flushed`.) A batch is one transaction: the writer thread does not commit inside it.
 *
 * Memory: LMDB maps its whole file, and every page that is looked at stays in the memory of the process, up to the size
 * of the index. So all reads go through this class, which gives the mapped pages back to the page cache after every
 * `mappedLimitBytes` of them. LMDB unmaps nothing while it is open.
 */

import { realpathSync } from 'node:fs';
import { join } from 'node:path';
import { type Database, open, type RootDatabase } from 'lmdb';
import { PrimedError } from '../core/errors.ts';
import { KiB, MiB } from '../core/units.ts';
import { makeFolder, releaseMapped } from '../platform/index.ts';
import { committed, committing } from './committed.ts';
import { checkDatabase, dataName } from './database-file.ts';
import { indexSteps } from './index-steps.ts';
import { prepareDatabase } from './new-database.ts';
import { refusal } from './upgrade.ts';

export const indexFormat = 6;
/** LMDB's limit for 4 KiB pages is 1978. */
export const maxPathBytes = 1900;
/** How much of the index may be looked at before what is mapped is given back. Doing that takes about 0.3 ms. */
export const mappedLimitBytes = 32 * MiB;
/** What one key that is looked up or written costs: a page of 4 KiB, and those around it that the kernel maps with it. */
export const lookupBytes = 16 * KiB;

/** All of the environment, in any order. */
export const indexTables = [
  ...(['meta', 'files', 'blocks', 'loading', 'loadingPaths'] as const),
  ...(['runs', 'queue', 'ages', 'used'] as const),
];

export type Table = Database<Buffer, Uint8Array>;

export interface KeyRange {
  readonly start?: Uint8Array;
  /** Not included. */
  readonly end?: Uint8Array;
  readonly limit?: number;
}

export interface StoreEntry {
  readonly index: number;
  readonly uuid: string;
  readonly sizeBytes: number;
  /** Where it was last seen; for messages. */
  readonly dir: string;
  /** `creating`: recorded before its files were made; it never held data. */
  readonly state: 'creating' | 'ready';
}

/** What was to be read is not there yet: the first start was interrupted before its first commit. */
export class NoIndexYet extends Error {
  constructor(dir: string) {
    super(`there is no index in ${dir} yet`);
    this.name = 'NoIndexYet';
  }
}

export class IndexDb {
  readonly dir: string;
  readonly meta: Table;
  readonly files: Table;
  readonly blocks: Table;
  readonly loading: Table;
  readonly loadingPaths: Table;
  readonly runs: Table;
  readonly queue: Table;
  readonly ages: Table;
  readonly used: Table;
  readonly #root: RootDatabase<Buffer, Uint8Array>;
  readonly #dataPath: string;
  /** Looked at since the mapped pages were given back last. */
  #seenBytes = 0;

  /**
   * Opens or creates the index; for reading only, opens one that is there. Throws STORE_VERSION, STORE_FOREIGN, STORE_CORRUPT,
   * STORE_IO, and for reading only NoIndexYet; then nothing was changed.
   */
  constructor(dir: string, { readOnly = false }: { readonly readOnly?: boolean } = {}) {
    this.dir = dir;
    if (readOnly) checkDatabase(dir, 'index');
    else {
      makeFolder(dir);
      prepareDatabase(dir, 'index');
    }
    const options = { encoding: 'binary', keyEncoding: 'binary' } as const;
    try {
      this.#root = open({
        path: dir,
        ...options,
        readOnly,
        maxDbs: 12,
        compression: false,
        ...committing,
      });
    } catch (error) {
      const message = `the index in ${dir} cannot be opened: ${String(error)}`;
      throw new PrimedError('STORE_IO', message, { dir }, { cause: error });
    }
    this.#dataPath = realpathSync(join(dir, dataName));
    // For reading only, a table that is not there is none. The format is written after all of them were made.
    const meta: Table | undefined = this.#root.openDB('meta', options);
    this.meta = meta;
    const format = meta === undefined ? undefined : this.getMeta<number>('format');
    if (readOnly && format === undefined) {
      void this.#root.close();
      throw new NoIndexYet(dir);
    }
    if (format !== undefined && format !== indexFormat) {
      void this.#root.close();
      throw refusal({ dir, kind: 'index', format: indexFormat, steps: indexSteps }, format);
    }
    this.files = this.#root.openDB('files', options);
    this.blocks = this.#root.openDB('blocks', options);
    this.loading = this.#root.openDB('loading', options);
    this.loadingPaths = this.#root.openDB('loadingPaths', options);
    this.runs = this.#root.openDB('runs', options);
    this.queue = this.#root.openDB('queue', options);
    this.ages = this.#root.openDB('ages', options);
    this.used = this.#root.openDB('used', options);
  }

  /** The reads from here on see what is committed by now; those of one turn of the event loop see the same else. */
  refresh(): void {
    this.#root.resetReadTxn();
  }

  /** Nothing lies at a key that is none: empty, or longer than any path. */
  get(table: Table, key: Uint8Array): Buffer | undefined {
    if (key.length === 0 || key.length > maxPathBytes) return undefined;
    const value = table.get(key);
    this.#see(lookupBytes + (value?.length ?? 0));
    return value;
  }

  /** Rows in the order of their keys. */
  *range(table: Table, range: KeyRange = {}): Generator<{ key: Uint8Array; value: Buffer }> {
    for (const row of table.getRange(range)) {
      this.#see(row.key.length + row.value.length);
      yield row;
    }
  }

  /** Every row, fast: the value is valid until `each` returns. */
  scan(table: Table, each: (key: Uint8Array, value: Buffer) => void): void {
    for (const key of table.getKeys()) {
      const value = table.getBinaryFast(key)!;
      each(key, value);
      this.#see(key.length + value.length);
    }
  }

  count(table: Table): number {
    return (table.getStats() as { entryCount: number }).entryCount;
  }

  getMeta<T>(key: string): T | undefined {
    const bytes = this.get(this.meta, Buffer.from(key));
    return bytes === undefined ? undefined : (JSON.parse(bytes.toString('utf8')) as T);
  }

  /** Inside `commit`. */
  putMeta(key: string, value: unknown): void {
    void this.meta.put(Buffer.from(key), Buffer.from(JSON.stringify(value)));
  }

  /**
   * Runs `write`, whose puts and removes, `changes` of them, become one transaction.
   * Resolves when it is durable. Throws STORE_IO; then it is unknown whether it is, and the index must be opened anew.
   */
  async commit(write: () => void, changes = 1): Promise<void> {
    try {
      await committed(this.#root.batch(write));
      await this.#root.flushed;
    } catch (error) {
      throw this.#explain(error);
    }
    this.#see(changes * lookupBytes);
  }

  /** Durable when resolved. */
  async clear(table: Table): Promise<void> {
    await committed(table.clearAsync());
    await this.#root.flushed;
  }

  async close(): Promise<void> {
    await this.#root.close();
  }

  #see(bytes: number): void {
    this.#seenBytes += bytes;
    if (this.#seenBytes < mappedLimitBytes) return;
    this.#seenBytes = 0;
    releaseMapped(this.#dataPath);
  }

  #explain(cause: unknown): PrimedError {
    return new PrimedError(
      'STORE_IO',
      `the index in ${this.dir} could not be written: ${String(cause)}; free space or repair the disk, then start again`,
      { dir: this.dir },
      { cause },
    );
  }
}
