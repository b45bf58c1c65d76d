/**
 * Limits of origins, and pins, that coordinators share through etcd: one key has all limits, one all pins, and each coordinator
 * watches them. A change is a transaction on the revision of the key, so that of two at once neither is lost.
 */
import { PrimedError } from '../../core/errors.ts';
import { makeLimit, mostOriginLimits, type OriginLimit, tooManyLimits } from '../../core/origin-limits.ts';
import type { Pin } from '../../core/retention.ts';
import type { Log } from '../../core/types.ts';
import type { Etcd, EtcdEntry, Revision, Watch, WatchEvent } from '../etcd/types.ts';
import type { LimitsStore, PinsStore, SetStore } from '../limits-store.ts';
import { decodeShared, encodeLimits, encodePins, type SharedLimits, type SharedPins } from './records.ts';

export interface SharedLimitsOptions {
  readonly etcd: Pick<Etcd, 'txn' | 'watchPrefix'>;
  readonly key: string;
  readonly log: Log;
}

/** What a key has, and how it is written. */
interface Kind<T> {
  /** Throws where there are too many. */
  encode(rows: readonly T[]): string;
  decode(value: Buffer): readonly (readonly [name: string, row: T])[];
}

const limitsKind: Kind<OriginLimit> = {
  encode(limits) {
    if (limits.length > mostOriginLimits) throw tooManyLimits();
    return encodeLimits(limits);
  },
  decode: (value) =>
    decodeShared<SharedLimits>(value).limits.map((limit) => [limit.origin, makeLimit(limit.origin, limit)] as const),
};

const pinsKind: Kind<Pin> = {
  encode: encodePins,
  decode: (value) => decodeShared<SharedPins>(value).paths.map((path) => [path, { path }] as const),
};

/** Attempts at a change: each fails because somebody else has changed something meanwhile. */
const mostAttempts = 100;

/** Begins to listen; its changes reject with ETCD_UNAVAILABLE, and then may have been done. */
export function openSharedLimits(options: SharedLimitsOptions): LimitsStore {
  return new EtcdSet(options, limitsKind);
}

/** The same of pins. */
export function openSharedPins(options: SharedLimitsOptions): PinsStore {
  return new EtcdSet(options, pinsKind);
}

class EtcdSet<T> implements SetStore<T> {
  readonly #kind: Kind<T>;
  readonly #options: SharedLimitsOptions;
  readonly #watch: Watch;
  readonly #listeners = new Set<() => void>();
  #rows: ReadonlyMap<string, T> = new Map();
  /** Of the key; 0: it is not there. */
  #revision: Revision = 0;
  /** Of etcd, when that was so: what is told of earlier ones is old. */
  #heard: Revision = 0;
  #known = false;
  #resolveLoaded!: () => void;
  readonly loaded = new Promise<void>((resolve) => {
    this.#resolveLoaded = resolve;
  });

  constructor(options: SharedLimitsOptions, kind: Kind<T>) {
    this.#options = options;
    this.#kind = kind;
    this.#watch = options.etcd.watchPrefix({
      prefix: options.key,
      onReset: (entries, revision) =>
        this.#take(
          entries.find(({ key }) => key === options.key),
          revision,
        ),
      onEvents: (events) => {
        for (const event of events) this.#hear(event);
      },
    });
  }

  get known(): boolean {
    return this.#known;
  }

  get version(): number {
    return this.#revision;
  }

  all(): readonly T[] {
    return [...this.#rows.values()];
  }

  async update(name: string, next: (stored: T | undefined) => T): Promise<T> {
    const rows = await this.#change((before) => new Map(before).set(name, next(before.get(name))));
    return rows.get(name)!;
  }

  async remove(name: string): Promise<void> {
    await this.#change((before) => {
      const after = new Map(before);
      after.delete(name);
      return after;
    });
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async close(): Promise<void> {
    this.#watch.close();
  }

  async #change(act: (before: ReadonlyMap<string, T>) => ReadonlyMap<string, T>): Promise<ReadonlyMap<string, T>> {
    const { etcd, key } = this.#options;
    for (let attempt = 0; attempt < mostAttempts; attempt += 1) {
      const after = act(this.#rows);
      const value = this.#kind.encode([...after.values()]);
      const { succeeded, revision, results } = await etcd.txn({
        compare: [{ key, modRevision: this.#revision }],
        success: [{ put: key, value }],
        failure: [{ get: key }],
      });
      if (succeeded) {
        this.#set(after, revision, revision);
        return after;
      }
      this.#take(results[0]?.entries[0], revision);
    }
    throw new PrimedError('TOO_BUSY', 'Limits or pins are being changed all the time; try again.');
  }

  #hear(event: WatchEvent): void {
    const { key } = this.#options;
    if (event.type === 'put' && event.entry.key === key) this.#take(event.entry, event.entry.modRevision);
    else if (event.type === 'delete' && event.key === key) this.#take(undefined, event.modRevision);
  }

  /** What cannot be read is no reason to let go of what held before. */
  #take(entry: EtcdEntry | undefined, heard: Revision): void {
    if (heard < this.#heard) return;
    try {
      this.#set(new Map(entry === undefined ? [] : this.#kind.decode(entry.value)), entry?.modRevision ?? 0, heard);
    } catch (error) {
      this.#options.log.error({ key: this.#options.key, error: String(error) }, 'what lies in etcd cannot be read');
    }
  }

  #set(rows: ReadonlyMap<string, T>, revision: Revision, heard: Revision): void {
    if (heard < this.#heard) return;
    const isNew = !this.#known || revision !== this.#revision;
    this.#rows = rows;
    this.#revision = revision;
    this.#heard = heard;
    this.#known = true;
    if (isNew) for (const listener of this.#listeners) listener();
    this.#resolveLoaded();
  }
}
