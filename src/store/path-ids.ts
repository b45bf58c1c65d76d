/**
 * From the id of a path, by which Alluxio's clients ask for pages, back to the path: an LMDB table beside the index.
 *
 *   first 16 bytes of SHA-256(path)  ->  path          three to six times the path on disk, no memory but mapped pages
 *   'clean'                          ->  files of the index when this was closed
 *
 * It is derived from the index and may be deleted. Paths come a moment after they became visible, many in one transaction,
 * so that loads do not wait for it; those that are not written yet are answered from memory. `clean` is there only while nobody
 * has it open: who opens it without, or with another number of files, reads all paths of the index anew, in the background,
 * and until that is done says that it does not know all. Ids of paths that are gone stay, and are answered: whoever looks
 * the path up finds nothing. When they are most of the table, it is made anew.
 */
import { realpathSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { type Database, open } from 'lmdb';
import { PrimedError, reportOf } from '../core/errors.ts';
import { pathId } from '../core/path-id.ts';
import type { Log } from '../core/types.ts';
import { makeFolder, releaseMapped } from '../platform/index.ts';
import { committed, committing } from './committed.ts';
import { dataName } from './database-file.ts';
import { lookupBytes, mappedLimitBytes, maxPathBytes } from './index-db.ts';
import { prepareDatabase } from './new-database.ts';
import type { Store } from './types.ts';

export interface PathIdsOptions {
  readonly dir: string;
  readonly store: Pick<Store, 'paths' | 'usage'>;
  readonly log: Log;
  /** How long a path may wait for others before it is written. */
  readonly flushMs?: number;
  /** Ids beyond two for each file that the table may have before it is made anew. */
  readonly spareIds?: number;
}

const keyBytes = 16;
const cleanKey = Buffer.from('clean');
/**
 * Of one transaction, unless it is time. In a large table each id lies on a page of its own, which costs 4 KiB of writing; the more
 * are written at once, the more share one.
 */
const atOnce = 16_384;
/** Paths in memory that are not written yet: 16 MiB where each has 250 B. */
const mostPending = 65_536;
const defaults = { flushMs: 5000, spareIds: 100_000 };

export class PathIds {
  readonly #options: PathIdsOptions & typeof defaults;
  readonly #table: Database<Buffer, Uint8Array>;
  readonly #dataPath: string;
  /** By id. */
  #pending = new Map<string, string>();
  #writing = new Map<string, string>();
  #timer: NodeJS.Timeout | undefined;
  #flushing: Promise<void> | undefined;
  #reading: Promise<void> | undefined;
  /** Paths are missing that only reading all of them brings. */
  #missed = false;
  #closing = false;
  #seenBytes = 0;

  /** Throws STORE_FOREIGN, and what LMDB throws. */
  static async open(options: PathIdsOptions): Promise<PathIds> {
    const ids = new PathIds(options);
    await ids.#begin();
    return ids;
  }

  private constructor(options: PathIdsOptions) {
    this.#options = { ...defaults, ...options };
    const { dir } = options;
    makeFolder(dir);
    this.#prepare();
    this.#table = open<Buffer, Uint8Array>({
      ...{ path: dir, encoding: 'binary', keyEncoding: 'binary', compression: false },
      ...committing,
    });
    this.#dataPath = realpathSync(join(dir, dataName));
  }

  /** False: there may be paths whose ids are not known yet. */
  get whole(): boolean {
    return this.#reading === undefined && !this.#missed;
  }

  /** Known at once, durable soon. A path that no file can have is left out. */
  add(path: string): void {
    // A UTF-16 unit takes at most 3 bytes of UTF-8.
    if (path.length * 3 <= maxPathBytes || Buffer.byteLength(path) <= maxPathBytes) this.#wait(path, pathId(path));
  }

  /** The path of an id, be there a file or not; undefined where none is known. */
  get(id: string): string | undefined {
    const waiting = this.#pending.get(id) ?? this.#writing.get(id);
    if (waiting !== undefined) return waiting;
    const value = this.#table.get(keyOf(id));
    this.#see(lookupBytes);
    const path = value?.toString('utf8');
    return path !== undefined && pathId(path) === id ? path : undefined;
  }

  /** Resolves when what was added is written, and all paths are read. */
  async settled(): Promise<void> {
    await this.#reading;
    while (this.#pending.size > 0 || this.#flushing !== undefined) await this.#flush();
  }

  /** After the store: nothing becomes visible any more. */
  async close(): Promise<void> {
    this.#closing = true;
    const wasWhole = this.whole;
    await this.settled();
    clearTimeout(this.#timer);
    if (wasWhole && !this.#missed) {
      const { files } = this.#options.store.usage();
      // Without it a start reads all paths anew.
      await this.#commit(() => void this.#table.put(cleanKey, Buffer.from(String(files)))).catch(() => undefined);
    }
    await this.#table.close();
  }

  /** It is derived: a damaged one is made anew. */
  #prepare(): void {
    const { dir, log } = this.#options;
    try {
      prepareDatabase(dir, 'ids');
    } catch (error) {
      if (!(error instanceof PrimedError) || error.code !== 'STORE_CORRUPT') throw error;
      log.warn({ dir, reason: error.message }, 'the table of path ids is damaged, and made anew');
      rmSync(join(dir, dataName));
      prepareDatabase(dir, 'ids');
    }
  }

  async #begin(): Promise<void> {
    const clean = this.#table.get(cleanKey)?.toString();
    const { files } = this.#options.store.usage();
    if (clean !== undefined) await this.#commit(() => void this.#table.remove(cleanKey));
    if (clean !== String(files)) this.#readAll();
  }

  #readAll(): void {
    this.#missed = false;
    this.#reading = this.#readPaths().finally(() => {
      this.#reading = undefined;
    });
  }

  async #readPaths(): Promise<void> {
    const { store, log } = this.#options;
    const startedMs = performance.now();
    let paths = 0;
    try {
      if (this.#isOvergrown()) await this.#table.clearAsync();
      for (const path of store.paths()) {
        const id = pathId(path);
        if (!this.#has(id)) this.#wait(path, id);
        paths += 1;
        if (this.#pending.size >= atOnce) await this.#flush();
        // A request that comes in the meantime waits for 256 paths, about a millisecond.
        if (paths % 256 === 0) await setImmediate();
        if (this.#closing) {
          this.#missed = true;
          return;
        }
      }
      await this.#flush();
      const tookMs = Math.round(performance.now() - startedMs);
      if (paths > 0) log.info({ paths, tookMs }, 'the ids of all cached paths are known');
    } catch (error) {
      this.#fail(error);
    }
  }

  #has(id: string): boolean {
    this.#see(lookupBytes);
    return this.#pending.has(id) || this.#table.doesExist(keyOf(id));
  }

  #wait(path: string, id: string): void {
    if (this.#pending.size >= mostPending) {
      this.#missed = true;
      return;
    }
    this.#pending.set(id, path);
    if (this.#pending.size >= atOnce) void this.#flush();
    else this.#timer ??= setTimeout(() => void this.#flush(), this.#options.flushMs);
  }

  /** One at a time; who comes meanwhile waits for the one that runs. */
  #flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#flushing ??= this.#write().finally(() => {
      this.#flushing = undefined;
      if (this.#pending.size > 0 && this.#timer === undefined)
        this.#timer = setTimeout(() => void this.#flush(), this.#pending.size >= atOnce ? 0 : this.#options.flushMs);
      else if (this.#reading === undefined && !this.#closing && (this.#missed || this.#isOvergrown())) this.#readAll();
    });
    return this.#flushing;
  }

  async #write(): Promise<void> {
    if (this.#pending.size === 0) return;
    this.#writing = this.#pending;
    this.#pending = new Map();
    try {
      // In the order of the keys, neighbours share a page of the tree. LMDB's thread reads the values until the commit has ended.
      const rows = [...this.#writing]
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([id, path]) => ({ key: keyOf(id), value: Buffer.from(path, 'utf8') }));
      await this.#commit(() => {
        for (const { key, value } of rows) void this.#table.put(key, value);
      });
      this.#see(rows.length * lookupBytes);
    } catch (error) {
      this.#fail(error);
    } finally {
      this.#writing = new Map();
    }
  }

  async #commit(write: () => void): Promise<void> {
    await committed(this.#table.batch(write));
    await this.#table.flushed;
  }

  /** Ids that are asked for are then said to be not known yet; a start of the daemon reads all anew. */
  #fail(error: unknown): void {
    const { dir, log } = this.#options;
    if (!this.#closing) log.error({ dir, error: reportOf(error).message }, 'ids of paths cannot be written');
    this.#closing = true;
    this.#missed = true;
  }

  #isOvergrown(): boolean {
    const { entryCount } = this.#table.getStats() as { entryCount: number };
    return entryCount > 2 * this.#options.store.usage().files + this.#options.spareIds;
  }

  #see(bytes: number): void {
    this.#seenBytes += bytes;
    if (this.#seenBytes < mappedLimitBytes) return;
    this.#seenBytes = 0;
    releaseMapped(this.#dataPath);
  }
}

function keyOf(id: string): Buffer {
  return Buffer.from(id.slice(0, 2 * keyBytes), 'hex');
}
