/** The calls of etcd that types.ts describes, on a Gateway. */
import assert from 'node:assert';
import { PrimedError } from '../../core/errors.ts';
import { Gateway } from './gateway.ts';
import { LeaseLoop } from './lease.ts';
import type {
  CallOptions,
  Etcd,
  EtcdEntry,
  EtcdOptions,
  EtcdRange,
  Lease,
  RangeOptions,
  Revision,
  Transaction,
  TransactionResult,
  Watch,
  WatchOptions,
} from './types.ts';
import { WatchLoop } from './watch.ts';
import {
  type DeleteJson,
  encode,
  endOf,
  entryOf,
  type Header,
  putBody,
  type RangeJson,
  resultsOf,
  revisionOf,
  type TxnJson,
  txnBody,
} from './wire.ts';

const mostEntries = 100_000;
/** Keys of one answer: with values of 1 KiB it has about 1.5 MB. */
const firstPageKeys = 1_000;
const defaultWatchSilenceMs = 3_000;

/** Throws ETCD_REFUSED for an endpoint that is no URL; whether etcd is there, the first call says. */
export function openEtcd(options: EtcdOptions): Etcd {
  return new EtcdClient(options);
}

class EtcdClient implements Etcd {
  readonly #options: EtcdOptions;
  readonly #gateway: Gateway;
  readonly #watches = new Set<WatchLoop>();
  readonly #leases = new Set<LeaseLoop>();

  constructor(options: EtcdOptions) {
    assert(options.endpoints.length > 0, 'a client of etcd needs an endpoint');
    this.#options = options;
    this.#gateway = new Gateway(options);
  }

  async get(key: string, { signal }: CallOptions = {}): Promise<EtcdEntry | undefined> {
    const answer = await this.#read<RangeJson>({ key: encode(key) }, signal);
    const [found] = answer.kvs ?? [];
    return found && entryOf(found);
  }

  async range(
    prefix: string,
    { limit = mostEntries, revision, keysOnly = false, signal }: RangeOptions = {},
  ): Promise<EtcdRange> {
    const end = encode(endOf(prefix));
    const entries: EtcdEntry[] = [];
    let key = encode(prefix);
    let at = revision;
    let etcdId: string | undefined;
    for (let pageKeys = firstPageKeys; ; ) {
      const body = {
        key,
        range_end: end,
        limit: String(Math.min(pageKeys, limit - entries.length)),
        ...(at === undefined ? {} : { revision: String(at) }),
        ...(keysOnly ? { keys_only: true } : {}),
      };
      let page: RangeJson;
      try {
        page = await this.#read<RangeJson>(body, signal);
      } catch (error) {
        const tooLarge = error instanceof PrimedError && error.facts.tooLarge === true;
        if (!tooLarge || pageKeys === 1) throw error;
        pageKeys = Math.ceil(pageKeys / 4);
        continue;
      }
      at ??= revisionOf(page.header);
      etcdId ??= page.header?.cluster_id;
      for (const kv of page.kvs ?? []) entries.push(entryOf(kv));
      const more = page.more === true;
      if (!more || entries.length >= limit)
        return { entries, revision: at, more, ...(etcdId === undefined ? {} : { etcdId }) };
      // The first key after the last one.
      key = encode(`${entries.at(-1)!.key}\0`);
    }
  }

  async put(
    key: string,
    value: string | Uint8Array,
    { lease, signal }: CallOptions & { lease?: string } = {},
  ): Promise<Revision> {
    const body = putBody(key, value, lease);
    const { header } = await this.#write<{ header?: Header }>('kv/put', body, signal);
    return revisionOf(header);
  }

  async delete(key: string, { signal }: CallOptions = {}): Promise<boolean> {
    const { deleted } = await this.#write<DeleteJson>('kv/deleterange', { key: encode(key) }, signal);
    return deleted === '1';
  }

  async txn(transaction: Transaction): Promise<TransactionResult> {
    const answer = await this.#write<TxnJson>('kv/txn', txnBody(transaction), transaction.signal);
    return {
      succeeded: answer.succeeded === true,
      revision: revisionOf(answer.header),
      results: resultsOf(answer),
    };
  }

  async grantLease(ttlMs: number, { signal }: CallOptions = {}): Promise<Lease> {
    return this.#held(await LeaseLoop.grant({ ...this.#options, gateway: this.#gateway }, ttlMs, signal));
  }

  async adoptLease(id: string, { signal }: CallOptions = {}): Promise<Lease> {
    return this.#held(await LeaseLoop.adopt({ ...this.#options, gateway: this.#gateway }, id, signal));
  }

  watchPrefix(options: WatchOptions): Watch {
    const { log, watchSilenceMs: silenceMs = defaultWatchSilenceMs } = this.#options;
    const read = (signal: AbortSignal): Promise<EtcdRange> =>
      this.range(options.prefix, { limit: Number.MAX_SAFE_INTEGER, signal });
    const watch = new WatchLoop({ ...options, gateway: this.#gateway, read, silenceMs, log });
    this.#watches.add(watch);
    watch.onEnd(() => this.#watches.delete(watch));
    return watch;
  }

  async close(): Promise<void> {
    for (const watch of [...this.#watches]) watch.close();
    for (const lease of [...this.#leases]) lease.abandon();
    await this.#gateway.close();
  }

  #held(lease: LeaseLoop): Lease {
    this.#leases.add(lease);
    lease.onEnd(() => this.#leases.delete(lease));
    return lease;
  }

  #read<T>(body: object, signal: AbortSignal | undefined): Promise<T> {
    return this.#gateway.call({ path: 'kv/range', body, idempotent: true, ...(signal && { signal }) });
  }

  #write<T>(path: string, body: object, signal: AbortSignal | undefined): Promise<T> {
    return this.#gateway.call({ path, body, idempotent: false, ...(signal && { signal }) });
  }
}
