/**
 * What all open consoles are told, computed once for all of them.
 *
 *   jobs, workers, origins ──▶ state ── what differs ──▶ one message ──▶ each listener
 *                               once a second, while anybody listens
 *
 * Who waits for whom: nobody for a listener. One whose socket is full is told nothing until it has drained, then everything at
 * once; one that does not drain is dropped. So what waits in memory is one message a listener.
 */
import { type ConsoleHead, type FeedTable, feedTables, newsOf } from '../../core/console-feed.ts';
import { PrimedError } from '../../core/errors.ts';
import { FeedMessage } from './message.ts';

/** Rows as JSON, by id. */
export type FeedRows = Readonly<Record<FeedTable, ReadonlyMap<string, string>>>;

export interface FeedSource {
  /** Both are asked at most once in an interval; must be cheap. */
  rows(): FeedRows;
  head(): ConsoleHead;
}

/** Somebody who listens. */
export interface Listener {
  /** False: no more until `drained`. */
  write(message: FeedMessage): boolean;
  /** Whether it may still listen: asked before each message. */
  may(): boolean;
  end(): void;
}

export interface FeedOptions {
  readonly source: FeedSource;
  readonly now?: () => number;
  readonly intervalMs?: number;
  readonly mostListeners?: number;
}

const usualIntervalMs = 1_000;
/** Each costs its socket and at most one message: with 1,000 jobs and 1,000 workers some 500 KB. */
const usualMostListeners = 64;
/** So often something is said, that a listener may know that it is still heard. */
const beatMs = 15_000;
/** Who has taken nothing for so long is gone, or might as well be. */
const fullLimitMs = 30_000;

interface Listening {
  readonly listener: Listener;
  /** Since when its socket is full. */
  fullSinceMs: number | undefined;
  /** Something was not said to it. */
  behind: boolean;
}

interface Told {
  readonly rows: FeedRows;
  readonly head: string;
  readonly atMs: number;
}

export class ConsoleFeed {
  readonly #source: FeedSource;
  readonly #now: () => number;
  readonly #intervalMs: number;
  readonly #most: number;
  readonly #listening = new Set<Listening>();
  #timer: NodeJS.Timeout | undefined;
  #told: Told | undefined;
  /** All of `#told`; made when it is needed. */
  #whole: FeedMessage | undefined;
  #saidMs = 0;
  #closed = false;

  constructor({ source, now = () => Date.now(), intervalMs = usualIntervalMs, mostListeners }: FeedOptions) {
    this.#source = source;
    this.#now = now;
    this.#intervalMs = intervalMs;
    this.#most = mostListeners ?? usualMostListeners;
  }

  get listeners(): number {
    return this.#listening.size;
  }

  /** Throws WATCHERS_LIMIT, STOPPING: so that it can still be answered. `join` is what follows. */
  check(): void {
    if (this.#closed) throw new PrimedError('STOPPING', 'The daemon is shutting down.');
    if (this.#listening.size < this.#most) return;
    throw new PrimedError(
      'WATCHERS_LIMIT',
      `${this.#most} consoles watch this coordinator, which is the most; close one of them, or ask the REST API.`,
      { most: this.#most },
    );
  }

  /** Tells the listener everything, and from then on what changes. Throws as `check`. */
  join(listener: Listener): { readonly drained: () => void; readonly leave: () => void } {
    this.check();
    const one: Listening = { listener, fullSinceMs: undefined, behind: false };
    if (this.#timer === undefined) {
      this.#look();
      this.#timer = setInterval(() => this.tick(), this.#intervalMs);
      this.#timer.unref();
    }
    this.#listening.add(one);
    this.#say(one, this.#everything());
    return {
      drained: () => {
        one.fullSinceMs = undefined;
      },
      leave: () => this.#leave(one),
    };
  }

  /** Once in each interval, by the feed itself. */
  tick(): void {
    const news = this.#look();
    const nowMs = this.#now();
    const beat = news === undefined && nowMs - this.#saidMs >= beatMs ? FeedMessage.beat : undefined;
    if (news !== undefined || beat !== undefined) this.#saidMs = nowMs;
    for (const one of [...this.#listening]) {
      if (!one.listener.may()) this.#drop(one);
      else if (one.fullSinceMs !== undefined) {
        one.behind ||= news !== undefined;
        if (nowMs - one.fullSinceMs >= fullLimitMs) this.#drop(one);
      } else {
        const message = one.behind ? this.#everything() : (news ?? beat);
        one.behind = false;
        if (message !== undefined) this.#say(one, message);
      }
    }
  }

  close(): void {
    this.#closed = true;
    for (const one of [...this.#listening]) this.#drop(one);
  }

  /** Looks at everything. Undefined: it is as it was. */
  #look(): FeedMessage | undefined {
    const before = this.#told;
    const rows = this.#source.rows();
    const head = JSON.stringify(this.#source.head());
    const told = { rows, head, atMs: this.#now() };
    this.#told = told;
    this.#whole = undefined;
    if (before === undefined) return FeedMessage.of(told.atMs, { whole: true, head, tables: everyRow(rows) });
    const tables = feedTables.flatMap((table) => {
      const news = newsOf(before.rows[table], rows[table]);
      return news === undefined ? [] : [[table, news] as const];
    });
    if (tables.length === 0 && head === before.head) return undefined;
    return FeedMessage.of(told.atMs, { whole: false, tables, ...(head !== before.head && { head }) });
  }

  #everything(): FeedMessage {
    const { rows, head, atMs } = this.#told!;
    this.#whole ??= FeedMessage.of(atMs, { whole: true, head, tables: everyRow(rows) });
    return this.#whole;
  }

  #say(one: Listening, message: FeedMessage): void {
    if (!one.listener.write(message)) one.fullSinceMs ??= this.#now();
  }

  #drop(one: Listening): void {
    this.#leave(one);
    one.listener.end();
  }

  #leave(one: Listening): void {
    this.#listening.delete(one);
    if (this.#listening.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
    // Nobody needs it, and it may be large.
    this.#told = undefined;
    this.#whole = undefined;
  }
}

function everyRow(rows: FeedRows): readonly (readonly [FeedTable, { put: string[]; gone: string[] }])[] {
  return feedTables.map((table) => [table, { put: [...rows[table].values()], gone: [] }] as const);
}
