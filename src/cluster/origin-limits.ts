/**
 * The limits that hold: those of the configuration, and above them those that were set while the cluster ran, until they are
 * given back to the configuration.
 */
import { PrimedError } from '../core/errors.ts';
import { makeLimit, mostOriginLimits, type OriginLimit } from '../core/origin-limits.ts';
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
  readonly #configured: ReadonlyMap<string, OriginLimit>;
  readonly #store: LimitsStore;
  readonly #log: Log;
  readonly #listeners = new Set<() => void>();
  readonly #unsubscribe: () => void;

  constructor(options: { configured: readonly OriginLimit[]; store: LimitsStore; log: Log }) {
    this.#configured = new Map(options.configured.map((limit) => [limit.origin, limit]));
    this.#store = options.store;
    this.#log = options.log;
    this.#unsubscribe = options.store.onChange(() => this.#changed());
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

  /** Durable when resolved. Throws REQUEST_INVALID for a root that is not configured, and when there are too many. */
  async set(origin: string, { bytesPerSecond, requestsPerSecond }: LimitChange): Promise<LimitRow> {
    const known = this.rows().find((row) => row.origin === origin);
    if (known === undefined) this.#checkNew(origin);
    const next = makeLimit(origin, {
      bytesPerSecond: bytesPerSecond === undefined ? known?.bytesPerSecond : (bytesPerSecond ?? undefined),
      requestsPerSecond: requestsPerSecond === undefined ? known?.requestsPerSecond : (requestsPerSecond ?? undefined),
    });
    await this.#store.put(next);
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
    if (this.rows().length < mostOriginLimits) return;
    const message = `path: there are limits of ${mostOriginLimits} origins already, as many as there may be; give one back with reset.`;
    throw new PrimedError('REQUEST_INVALID', message, { field: 'path' });
  }

  #changed(): void {
    for (const listener of this.#listeners) listener();
  }
}
