/** Tells the lanes how to reach each origin and with which credentials, once per origin, and keeps credentials fresh. */
import type { Log, UfsPath } from '../core/types.ts';
import type { LaneOrigin, Origins } from '../origin/types.ts';
import type { LanePool } from './lanes.ts';

export interface ObjectAddress {
  readonly originIndex: number;
  readonly key: string;
}

/** Credentials are renewed this long before they end. */
const renewAheadMs = 5 * 60_000;
/** However many requests say "expired", the chain is asked at most this often. */
const renewAtMostEveryMs = 5_000;

export class OriginLinks {
  readonly #origins: Origins;
  readonly #lanes: LanePool;
  readonly #log: Log;
  /** Origins that the lanes know, with the name that a person knows them by. */
  readonly #ready = new Map<number, string>();
  /** Of each of them, one that lies there. */
  readonly #paths = new Map<number, UfsPath>();
  readonly #preparing = new Map<number, Promise<void>>();
  readonly #timers = new Map<number, NodeJS.Timeout>();
  readonly #renewedAtMs = new Map<number, number>();

  constructor(origins: Origins, lanes: LanePool, log: Log) {
    this.#origins = origins;
    this.#lanes = lanes;
    this.#log = log;
  }

  /** Where a path lies. A promise only the first time that its origin is met. Throws PATH_INVALID, ORIGIN_*. */
  address(path: UfsPath): ObjectAddress | Promise<ObjectAddress> {
    const { originIndex, key } = this.#origins.resolve(path);
    if (this.#ready.has(originIndex)) return { originIndex, key };
    let preparing = this.#preparing.get(originIndex);
    if (preparing === undefined) {
      preparing = this.#prepare(path, originIndex).finally(() => this.#preparing.delete(originIndex));
      this.#preparing.set(originIndex, preparing);
    }
    return preparing.then(() => ({ originIndex, key }));
  }

  /** The endpoint, or the folder, of an origin that files were loaded from. */
  nameOf(originIndex: number): string {
    return this.#ready.get(originIndex) ?? `origin ${originIndex}`;
  }

  /** After an answer that says the credentials have expired. */
  expired(originIndex: number): void {
    const now = Date.now();
    if (now - (this.#renewedAtMs.get(originIndex) ?? 0) < renewAtMostEveryMs) return;
    this.#renew(originIndex);
  }

  /** They are reached in another way by now: the lanes that know them are told, and go on with what they know until then. */
  reopen(originIndexes: readonly number[]): void {
    for (const originIndex of originIndexes) {
      const again = (): void => this.#reopen(originIndex);
      const preparing = this.#preparing.get(originIndex);
      if (preparing === undefined) again();
      else preparing.then(again, () => undefined);
    }
  }

  #reopen(originIndex: number): void {
    const path = this.#paths.get(originIndex);
    if (path === undefined) return;
    clearTimeout(this.#timers.get(originIndex));
    this.#prepare(path, originIndex).catch((error: unknown) => {
      this.#log.warn(
        { originIndex, error: String(error) },
        'an origin whose configuration has changed could not be opened; loads go on as before until it can',
      );
      const timer = setTimeout(() => this.#reopen(originIndex), renewAtMostEveryMs);
      timer.unref();
      this.#timers.set(originIndex, timer);
    });
  }

  close(): void {
    for (const timer of this.#timers.values()) clearTimeout(timer);
  }

  async #prepare(path: UfsPath, originIndex: number): Promise<void> {
    const origin = await this.#origins.laneOrigin(path);
    this.#lanes.broadcast({ type: 'origin', origin: { ...origin, originIndex } });
    await this.#sendCredentials(originIndex);
    this.#ready.set(originIndex, nameOf(origin));
    this.#paths.set(originIndex, path);
  }

  async #sendCredentials(originIndex: number): Promise<void> {
    this.#renewedAtMs.set(originIndex, Date.now());
    const found = await this.#origins.credentials(originIndex);
    this.#lanes.broadcast({ type: 'credentials', originIndex, credentials: found?.credentials });
    if (found?.expiresAtMs === undefined) return;
    const waitMs = Math.max(renewAtMostEveryMs, Math.min(found.expiresAtMs - Date.now() - renewAheadMs, 2 ** 31 - 1));
    clearTimeout(this.#timers.get(originIndex));
    const timer = setTimeout(() => this.#renew(originIndex), waitMs);
    timer.unref();
    this.#timers.set(originIndex, timer);
  }

  #renew(originIndex: number): void {
    this.#sendCredentials(originIndex).catch((error: unknown) => {
      this.#log.warn(
        { originIndex, error: String(error) },
        'credentials could not be renewed; requests will say so if they have expired',
      );
      const timer = setTimeout(() => this.#renew(originIndex), renewAtMostEveryMs);
      timer.unref();
      this.#timers.set(originIndex, timer);
    });
  }
}

function nameOf(origin: LaneOrigin): string {
  if (origin.kind === 'file') return origin.root;
  return `${origin.tls ? 'https' : 'http'}://${origin.hostHeader} (bucket ${origin.bucket})`;
}
