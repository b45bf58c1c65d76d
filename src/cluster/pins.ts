/**
 * What somebody has pinned, in the whole cluster: durable with the coordinator (or in etcd, where several share it), and told to
 * each worker, which keeps it as well. A worker that was not there is told when it is back; until then it goes by what it knew.
 */
import { PrimedError } from '../core/errors.ts';
import { mostPins, type PinList, Pins, pinOf } from '../core/retention.ts';
import type { Log } from '../core/types.ts';
import type { PinsStore } from './limits-store.ts';
import type { WorkerId } from './worker-link.ts';

/** Whom to tell. */
export interface PinTakers {
  live(): readonly { readonly id: WorkerId; readonly link: { setPins(list: PinList): Promise<void> } }[];
  onChange(listener: () => void): () => void;
}

export interface PinRow {
  readonly path: string;
  readonly pinned: boolean;
  /** Live workers that have not said yet that they know. */
  readonly pending: readonly WorkerId[];
}

/** How long a change waits for the workers to say that they know. */
const tellMs = 2000;

export class ClusterPins {
  readonly #store: PinsStore;
  readonly #takers: PinTakers;
  readonly #from: string;
  readonly #log: Log;
  readonly #unsubscribe: readonly (() => void)[];
  /** What each link has heard. */
  readonly #heard = new WeakMap<object, string>();
  #covering: { readonly version: number; readonly pins: Pins } | undefined;
  readonly #telling = new Map<object, Promise<void>>();

  /** @param options.from whose list it is: versions of one are compared. */
  constructor(options: { store: PinsStore; takers: PinTakers; from: string; log: Log }) {
    this.#store = options.store;
    this.#takers = options.takers;
    this.#from = options.from;
    this.#log = options.log;
    const tell = (): void => this.#tell();
    this.#unsubscribe = [this.#store.onChange(tell), this.#takers.onChange(tell)];
    this.#tell();
  }

  /** Throws ETCD_UNAVAILABLE while they are not known. */
  rows(): readonly PinRow[] {
    this.#checkKnown();
    const pending = this.#pending();
    return this.#paths().map((path) => ({ path, pinned: true, pending }));
  }

  covers(path: string): boolean {
    const { version } = this.#store;
    if (this.#covering?.version !== version) this.#covering = { version, pins: new Pins(this.#paths()) };
    return this.#covering.pins.covers(path);
  }

  /** Durable when resolved. Throws REQUEST_INVALID for what is no path, and when there are too many. */
  async pin(asked: string): Promise<PinRow> {
    const path = pinOf(asked);
    this.#checkKnown();
    const known = this.#paths();
    if (!known.includes(path) && known.length >= mostPins)
      throw new PrimedError(
        'REQUEST_INVALID',
        `path: ${mostPins} paths are pinned, as many as may be; unpin one, or pin a folder.`,
        {
          field: 'path',
        },
      );
    await this.#store.update(path, () => ({ path }));
    this.#log.info({ path }, 'a path was pinned');
    return this.#told(path, true);
  }

  /** Durable when resolved. */
  async unpin(asked: string): Promise<PinRow> {
    const path = pinOf(asked);
    await this.#store.remove(path);
    this.#log.info({ path }, 'a path was unpinned');
    return this.#told(path, false);
  }

  async close(): Promise<void> {
    for (const end of this.#unsubscribe) end();
    await this.#store.close();
  }

  #paths(): string[] {
    return this.#store.all().map(({ path }) => path);
  }

  #checkKnown(): void {
    if (this.#store.known) return;
    throw new PrimedError('ETCD_UNAVAILABLE', 'Pins lie in etcd, which has not told of them yet.');
  }

  async #told(path: string, pinned: boolean): Promise<PinRow> {
    this.#tell();
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, tellMs);
    });
    await Promise.race([Promise.allSettled(this.#telling.values()), late]);
    clearTimeout(timer);
    return { path, pinned, pending: this.#pending() };
  }

  /** Nobody is told that there are none because they are not known yet. */
  #tell(): void {
    if (!this.#store.known) return;
    const list: PinList = { from: this.#from, version: this.#store.version, paths: this.#paths() };
    for (const { id, link } of this.#takers.live()) {
      const of = `${list.version}`;
      if (this.#heard.get(link) === of) continue;
      const told = link
        .setPins(list)
        .then(
          () => void this.#heard.set(link, of),
          (error: unknown) =>
            this.#log.debug({ worker: id, error: String(error) }, 'a worker was not told what is pinned'),
        )
        .finally(() => {
          if (this.#telling.get(link) === told) this.#telling.delete(link);
        });
      this.#telling.set(link, told);
    }
  }

  #pending(): WorkerId[] {
    const now = `${this.#store.version}`;
    return this.#takers
      .live()
      .filter(({ link }) => this.#heard.get(link) !== now)
      .map(({ id }) => id);
  }
}
