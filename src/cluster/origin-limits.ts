/**
 * The limits that hold: those of the configuration, and above them those that were set while the cluster ran, until they are
 * given back to the configuration.
 */
import { PrimedError } from '../core/errors.ts';
import { makeLimit, mostOriginLimits, type OriginLimit, tooManyLimits } from '../core/origin-limits.ts';
import type { Log } from '../core/types.ts';
import type { LimitsStore } from './limits-store.ts';

export interface LimitChange {
  /** Null: no limit from now on; absent: as it is. */
  readonly bytesPerSecond?: number | null;
  readonly requestsPerSecond?: number | null;
}

export interface LimitRow extends OriginLimit {
  readonly source: 'configuration' | 'set';
}

export class OriginLimits {
  #configured: ReadonlyMap<string, OriginLimit>;
  readonly #store: LimitsStore;
  readonly #log: Log;
  readonly #listeners = new Set<() => void>();
  readonly #unsubscribe: () => void;

  constructor(options: { configured: readonly OriginLimit[]; store: LimitsStore; log: Log }) {
    this.#configured = byOrigin(options.configured);
    this.#store = options.store;
    this.#log = options.log;
    this.#unsubscribe = options.store.onChange(() => this.#changed());
  }

  /** False: those that were set are not known yet, and nobody must be told that there are none. */
  get known(): boolean {
    return this.#store.known;
  }

  /** Resolves when they are known. */
  get loaded(): Promise<void> {
    return this.#store.loaded;
  }

  /** By origin; with those that have no limit, because a longer name without one is an exception from a shorter one. */
  rows(): readonly LimitRow[] {
    const rows = new Map<string, LimitRow>();
    for (const limit of this.#configured.values()) rows.set(limit.origin, { ...limit, source: 'configuration' });
    for (const limit of this.#store.all()) rows.set(limit.origin, { ...limit, source: 'set' });
    return [...rows.values()].sort((a, b) => (a.origin < b.origin ? -1 : 1));
  }

  effective(): readonly OriginLimit[] {
    return this.rows().map(({ source: _, ...limit }) => limit);
  }

  /**
   * Durable when resolved. Throws REQUEST_INVALID for a root that is not configured, and when there are too many;
   * ETCD_UNAVAILABLE where coordinators share them, and then it may have been done.
   */
  async set(origin: string, { bytesPerSecond, requestsPerSecond }: LimitChange): Promise<LimitRow> {
    if (!this.rows().some((row) => row.origin === origin)) this.#checkNew(origin);
    const next = await this.#store.update(origin, (stored) => {
      const known = stored ?? this.#configured.get(origin);
      return makeLimit(origin, {
        bytesPerSecond: bytesPerSecond === undefined ? known?.bytesPerSecond : (bytesPerSecond ?? undefined),
        requestsPerSecond:
          requestsPerSecond === undefined ? known?.requestsPerSecond : (requestsPerSecond ?? undefined),
      });
    });
    this.#log.info({ ...next }, 'the limit of an origin was set');
    this.#changed();
    return { ...next, source: 'set' };
  }

  /** Gives the origin back to the configuration; undefined: that has no limit for it. */
  async reset(origin: string): Promise<LimitRow | undefined> {
    await this.#store.remove(origin);
    this.#log.info({ origin }, 'the limit of an origin is that of the configuration again');
    this.#changed();
    return this.rows().find((row) => row.origin === origin);
  }

  /** The configuration says something else from now on. */
  configure(limits: readonly OriginLimit[]): void {
    this.#configured = byOrigin(limits);
    this.#changed();
  }

  /** Returns how to end that. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async close(): Promise<void> {
    this.#unsubscribe();
    await this.#store.close();
  }

  #checkNew(origin: string): void {
    if (origin.startsWith('file://')) {
      const roots = [...this.#configured.keys()].filter((one) => one.startsWith('file://'));
      const known = roots.length === 0 ? 'there are none' : `they are ${roots.join(', ')}`;
      throw new PrimedError('REQUEST_INVALID', `path: ${origin} is no folder of a [[ufs]] entry; ${known}.`, {
        field: 'path',
      });
    }
    if (this.rows().length >= mostOriginLimits) throw tooManyLimits();
  }

  #changed(): void {
    for (const listener of this.#listeners) listener();
  }
}

function byOrigin(limits: readonly OriginLimit[]): ReadonlyMap<string, OriginLimit> {
  return new Map(limits.map((limit) => [limit.origin, limit]));
}
