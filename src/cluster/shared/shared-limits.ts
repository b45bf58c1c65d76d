/**
 * Limits of origins that coordinators share through etcd: one key has all of them, and each coordinator watches it. A change is
 * a transaction on the revision of the key, so that of two at once neither is lost.
 */
import { PrimedError } from '../../core/errors.ts';
import { makeLimit, mostOriginLimits, type OriginLimit, tooManyLimits } from '../../core/origin-limits.ts';
import type { Log } from '../../core/types.ts';
import type { Etcd, EtcdEntry, Revision, Watch, WatchEvent } from '../etcd/types.ts';
import type { LimitsStore } from '../limits-store.ts';
import { decodeShared, encodeLimits, type SharedLimits } from './records.ts';

export interface SharedLimitsOptions {
  readonly etcd: Pick<Etcd, 'txn' | 'watchPrefix'>;
  readonly key: string;
  readonly log: Log;
}

type Limits = ReadonlyMap<string, OriginLimit>;

/** Attempts at a change: each fails because somebody else has changed something meanwhile. */
const mostAttempts = 100;

/** Begins to listen; its changes reject with ETCD_UNAVAILABLE, and then may have been done. */
export function openSharedLimits(options: SharedLimitsOptions): LimitsStore {
  return new EtcdLimits(options);
}

class EtcdLimits implements LimitsStore {
  readonly #options: SharedLimitsOptions;
  readonly #watch: Watch;
  readonly #listeners = new Set<() => void>();
  #limits: Limits = new Map();
  /** Of the key; 0: it is not there. */
  #revision: Revision = 0;
  /** Of etcd, when that was so: what is told of earlier ones is old. */
  #heard: Revision = 0;
  #known = false;
  #resolveLoaded!: () => void;
  readonly loaded = new Promise<void>((resolve) => {
    this.#resolveLoaded = resolve;
  });

  constructor(options: SharedLimitsOptions) {
    this.#options = options;
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

  all(): readonly OriginLimit[] {
    return [...this.#limits.values()];
  }

  async update(origin: string, next: (stored: OriginLimit | undefined) => OriginLimit): Promise<OriginLimit> {
    const limits = await this.#change((before) => new Map(before).set(origin, next(before.get(origin))));
    return limits.get(origin)!;
  }

  async remove(origin: string): Promise<void> {
    await this.#change((before) => {
      const after = new Map(before);
      after.delete(origin);
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

  async #change(act: (before: Limits) => Limits): Promise<Limits> {
    const { etcd, key } = this.#options;
    for (let attempt = 0; attempt < mostAttempts; attempt += 1) {
      const after = act(this.#limits);
      if (after.size > mostOriginLimits) throw tooManyLimits();
      const { succeeded, revision, results } = await etcd.txn({
        compare: [{ key, modRevision: this.#revision }],
        success: [{ put: key, value: encodeLimits([...after.values()]) }],
        failure: [{ get: key }],
      });
      if (succeeded) {
        this.#set(after, revision, revision);
        return after;
      }
      this.#take(results[0]?.entries[0], revision);
    }
    throw new PrimedError('TOO_BUSY', 'Limits of origins are being changed all the time; try again.');
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
      const limits = entry === undefined ? [] : decodeShared<SharedLimits>(entry.value).limits;
      const known = limits.map((limit) => [limit.origin, makeLimit(limit.origin, limit)] as const);
      this.#set(new Map(known), entry?.modRevision ?? 0, heard);
    } catch (error) {
      this.#options.log.error({ key: this.#options.key, error: String(error) }, 'what lies in etcd cannot be read');
    }
  }

  #set(limits: Limits, revision: Revision, heard: Revision): void {
    if (heard < this.#heard) return;
    const isNew = !this.#known || revision !== this.#revision;
    this.#limits = limits;
    this.#revision = revision;
    this.#heard = heard;
    this.#known = true;
    if (isNew) for (const listener of this.#listeners) listener();
    this.#resolveLoaded();
  }
}
