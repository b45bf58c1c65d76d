/**
 * What goes on by itself in a store: what was read is written down, what has expired or is above its quota goes, and files are
 * sorted anew when pins have changed. All of it in commits of a bounded size, between those of loads.
 */
import { reportOf } from '../core/errors.ts';
import type { RetentionRule } from '../core/retention.ts';
import type { FileId, Log } from '../core/types.ts';
import type { Commit } from './commit.ts';
import type { Evictor } from './evictor.ts';
import type { IndexDb } from './index-db.ts';
import { writeUsed } from './operations.ts';
import type { Recency } from './recency.ts';
import { Sorting } from './sorting.ts';

/**
 * How long what was read is not written, unless it is much. In a large table each row lies on a page of its own, which costs
 * 4 KiB of writing: the more wait for each other, the more share one.
 */
const touchFlushMs = 10_000;
const rowsAtOnce = 4096;
/** How often expired files are looked for, and quotas are looked at. */
const lookMs = 1000;

export class Keeping {
  readonly #recency: Recency;
  readonly #evictor: Evictor;
  readonly #commit: Commit;
  readonly #log: Log;
  readonly #sorting: Sorting;
  #touchTimer: NodeJS.Timeout | undefined;
  #lookTimer: NodeJS.Timeout | undefined;
  #writing: Promise<void> | undefined;
  #looking: Promise<void> | undefined;
  #closing = false;

  constructor(options: { index: IndexDb; recency: Recency; evictor: Evictor; commit: Commit; log: Log }) {
    const { index, recency, commit } = options;
    this.#recency = recency;
    this.#evictor = options.evictor;
    this.#commit = commit;
    this.#log = options.log;
    this.#sorting = new Sorting({ index, recency, commit });
  }

  start(): void {
    void this.#background(this.#sorting.start(), 'sorting files by rules and pins');
    this.#watch();
  }

  /** Looks for what expires, or is too much, where rules say that something may be. */
  #watch(): void {
    clearInterval(this.#lookTimer);
    const { retention } = this.#recency;
    if (retention.mortal().next().done === true && retention.bounded().next().done === true) return;
    this.#lookTimer = setInterval(() => {
      this.#looking ??= this.#background(this.#look(), 'eviction by age and quota').finally(() => {
        this.#looking = undefined;
      });
    }, lookMs);
    this.#lookTimer.unref();
  }

  touch(files: Iterable<FileId>, nowMs: number): void {
    const atMs = Math.max(0, Math.floor(nowMs));
    let isTime = false;
    for (const file of files) isTime = this.#recency.touch(file, atMs) || isTime;
    if (this.#closing) return;
    if (isTime) void this.#flush();
    else this.#touchTimer ??= setTimeout(() => void this.#flush(), touchFlushMs).unref();
  }

  async setPins(paths: readonly string[]): Promise<void> {
    await this.#sorting.setPins(paths);
    void this.#background(this.#sorting.start(), 'sorting files by pins');
  }

  async setRules(rules: readonly RetentionRule[]): Promise<void> {
    await this.#sorting.setRules(rules);
    this.#evictor.sweepAnew();
    if (this.#closing) return;
    void this.#background(this.#sorting.start(), 'sorting files by rules');
    this.#watch();
  }

  /** Undefined: everything is in its class. */
  sorted(): Promise<void> | undefined {
    return this.#sorting.isDone ? undefined : this.#sorting.start();
  }

  /** Resolves when everything is in its class, nothing is expired, and no quota exceeded. For tests. */
  async settled(): Promise<void> {
    await this.#sorting.start();
    await this.#look();
  }

  async close(): Promise<void> {
    this.#closing = true;
    clearInterval(this.#lookTimer);
    await this.#sorting.close();
    await this.#looking;
    await this.#evictor.idle();
    await this.#flush();
  }

  /** One at a time. */
  #flush(): Promise<void> {
    clearTimeout(this.#touchTimer);
    this.#touchTimer = undefined;
    this.#writing ??= this.#background(this.#write(), 'recording what was read').finally(() => {
      this.#writing = undefined;
    });
    return this.#writing;
  }

  async #write(): Promise<void> {
    const rows = this.#recency.takePending();
    for (let at = 0; at < rows.length; at += rowsAtOnce) {
      const some = rows.slice(at, at + rowsAtOnce);
      await this.#commit<void>((settle) => writeUsed(some, settle));
    }
  }

  async #look(): Promise<void> {
    while (await this.#evictor.sweep()) if (this.#closing) return;
    await this.#evictor.keepQuotas();
  }

  /** A failed commit ends the store, and every later call says so. */
  async #background(work: Promise<void>, what: string): Promise<void> {
    try {
      await work;
    } catch (error) {
      if (!this.#closing) this.#log.error({ error: reportOf(error).message }, `${what} has failed`);
    }
  }
}
