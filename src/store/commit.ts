/**
 * The group commit: one loop, one commit at a time.
 *
 *   queued operations --take all--> fdatasync of the store files they wrote --> one index transaction --> durable
 *                                                                                   |
 *        those that come while it runs wait for the next round               settle: promises, freed extents
 *
 * An operation's `apply` decides against the index as the commit before left it, in order, and only collects puts and
 * removes: nothing that throws runs inside the transaction.
 *
 * A failed sync or commit ends the store: after a failed fdatasync the kernel may have dropped the pages, and after a
 * failed commit it is unknown what is on disk. Everything that waits fails with the cause, and so does everything later.
 */
import { PrimedError } from '../core/errors.ts';
import type { EvictionReason } from '../core/eviction.ts';
import type { Changes } from './changes.ts';
import type { IndexDb } from './index-db.ts';
import type { BadPage, Gone, Reader, Removed } from './types.ts';
import type { Volume } from './volume.ts';

export interface Operation {
  /** How much it adds to a commit: parts, files, blocks that are removed. */
  readonly weight: number;
  /** Bit i: it depends on bytes written to store i. */
  readonly stores: number;
  apply(changes: Changes): void;
  done(): void;
  failed(error: PrimedError): void;
}

/** Queues an operation, and resolves as it settles. */
export type Commit = <T>(
  make: (settle: { resolve(value: T): void; reject(error: PrimedError): void }) => Operation,
) => Promise<T>;

/** Parts, files or removed blocks in one commit at most, unless one operation has more. Each takes about 5 µs of the main thread: 20 ms. */
const commitWeightLimit = 4096;

/** Called at the points where a crash is interesting; for tests. */
export interface CommitHooks {
  readonly beforeSync?: () => Promise<void>;
  readonly beforeCommit?: () => Promise<void>;
  /** Everything is decided, nothing is written to the index yet. */
  readonly inCommit?: () => Promise<void>;
  readonly afterCommit?: () => Promise<void>;
}

/** What the metrics want to know. */
export interface StoreObserver {
  /** Time of each grouped fdatasync, and of each durable commit of the index. */
  readonly onSync?: ((milliseconds: number) => void) | undefined;
  readonly onCommit?: ((milliseconds: number) => void) | undefined;
  /** A read met a page without its checksum. */
  readonly onBadPage?: ((bad: BadPage) => void) | undefined;
  /** The operating system did not give a page that somebody wanted to read. */
  readonly onReadError?: ((reader: Reader) => void) | undefined;
  /** Files were evicted. */
  readonly onEvicted?: ((reason: EvictionReason, removed: Removed) => void) | undefined;
  /** Files have left the store, durably; not those that are freed with all that lies beside them. */
  readonly onGone?: ((gone: readonly Gone[]) => void) | undefined;
  /** A file is visible, and durable. */
  readonly onShown?: ((path: string) => void) | undefined;
}

export class GroupCommit {
  readonly #index: IndexDb;
  readonly #volumes: readonly Pick<Volume, 'sync'>[];
  readonly #begin: () => Changes;
  readonly #hooks: CommitHooks;
  readonly #observe: StoreObserver;
  #queue: Operation[] = [];
  #running: Promise<void> | undefined;
  /** Since when the disk has been waited for. */
  #waitsSinceMs: number | undefined;
  #syncing = false;
  #broken: PrimedError | undefined;

  constructor(options: {
    index: IndexDb;
    volumes: readonly Pick<Volume, 'sync'>[];
    begin: () => Changes;
    hooks: CommitHooks;
    observe: StoreObserver;
  }) {
    this.#index = options.index;
    this.#volumes = options.volumes;
    this.#begin = options.begin;
    this.#hooks = options.hooks;
    this.#observe = options.observe;
  }

  /** Why nothing can be committed any more. */
  get broken(): PrimedError | undefined {
    return this.#broken;
  }

  /** How long the disk has been waited for, by the sync or commit under way. */
  get diskWaitMs(): number {
    return this.#waitsSinceMs === undefined ? 0 : performance.now() - this.#waitsSinceMs;
  }

  /** The sync of store files is what is waited for, rather than the commit of the index. */
  get syncing(): boolean {
    return this.#syncing;
  }

  enqueue(operation: Operation): void {
    if (this.#broken) {
      operation.failed(this.#broken);
      return;
    }
    this.#queue.push(operation);
    this.#running ??= this.#run();
  }

  /** Resolves when the loop has nothing to do. */
  async idle(): Promise<void> {
    while (this.#running) await this.#running;
  }

  async #run(): Promise<void> {
    // One turn of the event loop, so that everything that happens in this one shares the commit.
    await new Promise((resolve) => setImmediate(resolve));
    while (this.#queue.length > 0) {
      const operations = this.#take();
      try {
        await this.#commit(operations);
      } catch (error) {
        this.#break(error, operations);
        break;
      }
    }
    this.#running = undefined;
  }

  #take(): Operation[] {
    let weight = 0;
    let count = 0;
    while (count < this.#queue.length && (count === 0 || weight + this.#queue[count]!.weight <= commitWeightLimit)) {
      weight += this.#queue[count]!.weight;
      count++;
    }
    return this.#queue.splice(0, count);
  }

  async #commit(operations: readonly Operation[]): Promise<void> {
    await this.#hooks.beforeSync?.();
    let stores = 0;
    for (const operation of operations) stores |= operation.stores;
    const startedMs = performance.now();
    const written = this.#volumes.filter((_, i) => (stores & (1 << i)) !== 0);
    this.#syncing = true;
    try {
      await this.#waitFor(() => Promise.all(written.map((volume) => volume.sync())));
    } finally {
      this.#syncing = false;
    }
    const syncedMs = performance.now();
    if (stores !== 0) this.#observe.onSync?.(syncedMs - startedMs);
    await this.#hooks.beforeCommit?.();
    const changes = this.#begin();
    for (const operation of operations) operation.apply(changes);
    changes.finish();
    await this.#hooks.inCommit?.();
    if (changes.count > 0) await this.#waitFor(() => this.#index.commit(() => changes.write(), changes.count));
    this.#observe.onCommit?.(performance.now() - syncedMs);
    await this.#hooks.afterCommit?.();
    changes.settle();
    for (const operation of operations) operation.done();
    const { onShown, onGone } = this.#observe;
    if (changes.gone.length > 0) onGone?.(changes.gone);
    if (onShown !== undefined) for (const path of changes.shown()) onShown(path);
  }

  async #waitFor(disk: () => Promise<unknown>): Promise<void> {
    this.#waitsSinceMs = performance.now();
    try {
      await disk();
    } finally {
      this.#waitsSinceMs = undefined;
    }
  }

  #break(error: unknown, operations: readonly Operation[]): void {
    this.#broken =
      error instanceof PrimedError
        ? error
        : new PrimedError('INTERNAL', `a commit of the store failed: ${String(error)}`, {}, { cause: error });
    const waiting = [...operations, ...this.#queue];
    this.#queue = [];
    for (const operation of waiting) operation.failed(this.#broken);
  }
}
