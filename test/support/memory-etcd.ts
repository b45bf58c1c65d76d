/**
 * etcd in memory: keys with revisions, transactions, leases on a virtual clock, watches. It can be away for all of its clients
 * or for one of them, and can do what it was asked for without an answer.
 */
import type {
  Compare,
  Etcd,
  EtcdEntry,
  Lease,
  Operation,
  OperationResult,
  Revision,
  Transaction,
  TransactionResult,
  Watch,
  WatchEvent,
  WatchOptions,
} from '../../src/cluster/etcd/types.ts';
import { PrimedError } from '../../src/core/errors.ts';
import type { VirtualProcess, VirtualTime } from './virtual-time.ts';

type Change = { readonly revision: Revision; readonly events: readonly WatchEvent[] };

interface ServerLease {
  readonly ttlMs: number;
  cancel: () => void;
}

export class MemoryEtcd {
  readonly entries = new Map<string, EtcdEntry>();
  revision = 1;
  /** What each transaction that changed something has done, in order. */
  readonly history: Change[] = [];
  readonly clients = new Set<MemoryEtcdClient>();
  readonly #leases = new Map<string, ServerLease>();
  readonly #process: VirtualProcess;
  #lastLease = 0;
  #down = false;

  constructor(time: VirtualTime) {
    this.#process = time.process();
  }

  client(process: VirtualProcess): MemoryEtcdClient {
    const client = new MemoryEtcdClient(this, process);
    this.clients.add(client);
    return client;
  }

  get down(): boolean {
    return this.#down;
  }

  /** All that a watch has not heard. */
  tell(watch: { readonly options: WatchOptions; next: Revision | undefined }): void {
    const { prefix, onReset, onEvents } = watch.options;
    if (watch.next === undefined) {
      watch.next = this.revision + 1;
      const entries = this.keys(prefix).map((key) => this.entries.get(key)!);
      onReset(entries, this.revision);
      return;
    }
    for (const { revision, events } of this.history) {
      if (revision < watch.next) continue;
      watch.next = revision + 1;
      const ours = events.filter((event) => (event.type === 'put' ? event.entry.key : event.key).startsWith(prefix));
      if (ours.length > 0) onEvents(ours, revision);
    }
  }

  /** Leases do not end while nobody counts; after it each has its whole time, as after a change of the leader. */
  setDown(down: boolean): void {
    this.#down = down;
    for (const [id, lease] of this.#leases) {
      lease.cancel();
      if (!down) this.#count(id, lease);
    }
    if (!down) for (const client of this.clients) client.deliver();
  }

  keys(prefix: string): string[] {
    return [...this.entries.keys()].filter((key) => key.startsWith(prefix)).sort();
  }

  grant(ttlMs: number): string {
    this.#lastLease += 1;
    const id = String(this.#lastLease);
    const lease = { ttlMs, cancel: () => undefined };
    this.#leases.set(id, lease);
    this.#count(id, lease);
    return id;
  }

  /** False: it has ended. */
  keepAlive(id: string): boolean {
    const lease = this.#leases.get(id);
    if (lease === undefined) return false;
    lease.cancel();
    this.#count(id, lease);
    return true;
  }

  ttlOf(id: string): number {
    return this.#leases.get(id)!.ttlMs;
  }

  end(id: string): void {
    this.#leases.get(id)?.cancel();
    this.#leases.delete(id);
    const gone = [...this.entries.values()].filter(({ lease }) => lease === id).map(({ key }) => key);
    if (gone.length > 0) this.txn({ compare: [], success: gone.map((key) => ({ delete: key })) });
  }

  txn({ compare, success = [], failure = [] }: Transaction): TransactionResult {
    const succeeded = compare.every((one) => this.#holds(one));
    const events: WatchEvent[] = [];
    const revision = this.revision + 1;
    const results = (succeeded ? success : failure).map((one) => this.#do(one, revision, events));
    if (events.length > 0) {
      this.revision = revision;
      this.history.push({ revision, events });
      for (const client of this.clients) client.deliver();
    }
    return { succeeded, revision: this.revision, results };
  }

  #count(id: string, lease: ServerLease): void {
    lease.cancel = this.#down ? () => undefined : this.#process.after(lease.ttlMs, () => this.end(id));
  }

  #holds(compare: Compare): boolean {
    const entry = this.entries.get(compare.key);
    if ('exists' in compare) return (entry !== undefined) === compare.exists;
    if ('modRevision' in compare) return (entry?.modRevision ?? 0) === compare.modRevision;
    if ('createRevision' in compare) return (entry?.createRevision ?? 0) === compare.createRevision;
    if ('lease' in compare) return entry?.lease === compare.lease;
    return entry !== undefined && entry.value.equals(Buffer.from(compare.value as string));
  }

  #do(operation: Operation, revision: Revision, events: WatchEvent[]): OperationResult {
    if ('put' in operation) {
      const { put: key, value, lease } = operation;
      if (lease !== undefined && !this.#leases.has(lease))
        throw new PrimedError('ETCD_LEASE_ENDED', 'requested lease not found');
      const before = this.entries.get(key);
      const entry = {
        ...{ key, value: Buffer.from(value as string), modRevision: revision, lease },
        createRevision: before?.createRevision ?? revision,
        version: (before?.version ?? 0) + 1,
      };
      this.entries.set(key, entry);
      events.push({ type: 'put', entry });
      return { entries: [], deleted: 0 };
    }
    if ('delete' in operation) {
      const deleted = this.entries.delete(operation.delete);
      if (deleted) events.push({ type: 'delete', key: operation.delete, modRevision: revision });
      return { entries: [], deleted: deleted ? 1 : 0 };
    }
    if ('get' in operation) {
      const entry = this.entries.get(operation.get);
      return { entries: entry === undefined ? [] : [entry], deleted: 0 };
    }
    throw new Error('not part of these tests');
  }
}

export class MemoryEtcdClient implements Pick<Etcd, 'grantLease' | 'put' | 'txn' | 'watchPrefix'> {
  /** This client does not reach etcd. */
  cut = false;
  /** Its watches hear nothing. */
  deaf = false;
  /** So many transactions are done without an answer. */
  mute = 0;
  /** Told of each transaction before it is on its way. */
  onTransaction: (transaction: Transaction) => void = () => undefined;
  readonly #server: MemoryEtcd;
  readonly #process: VirtualProcess;
  readonly #watches = new Set<{ next: Revision | undefined; options: WatchOptions; scheduled: boolean }>();

  constructor(server: MemoryEtcd, process: VirtualProcess) {
    this.#server = server;
    this.#process = process;
  }

  setCut(cut: boolean): void {
    this.cut = cut;
    this.deliver();
  }

  async txn(transaction: Transaction): Promise<TransactionResult> {
    this.onTransaction(transaction);
    await this.#reach();
    const result = this.#server.txn(transaction);
    if (this.mute > 0) {
      this.mute -= 1;
      throw new PrimedError('ETCD_UNAVAILABLE', 'the answer was lost', { maybeDone: true });
    }
    await this.#reach();
    return result;
  }

  async put(key: string, value: string | Uint8Array, { lease }: { lease?: string } = {}): Promise<Revision> {
    const put = { put: key, value, ...(lease === undefined ? {} : { lease }) };
    return (await this.txn({ compare: [], success: [put] })).revision;
  }

  async grantLease(ttlMs: number): Promise<Lease> {
    await this.#reach();
    return this.#leaseOf(this.#server.grant(ttlMs), ttlMs);
  }

  watchPrefix(options: WatchOptions): Watch {
    const watch = { next: options.fromRevision, options, scheduled: false };
    this.#watches.add(watch);
    this.deliver();
    return {
      problem: () => (this.#away ? this.#unavailable() : undefined),
      close: () => void this.#watches.delete(watch),
    };
  }

  /** What watches have not heard comes in a later turn of the loop, if etcd is reached then. */
  deliver(): void {
    for (const watch of this.#watches) {
      if (watch.scheduled) continue;
      watch.scheduled = true;
      setImmediate(() => {
        watch.scheduled = false;
        if (this.#away || this.deaf || this.#process.frozen || !this.#watches.has(watch)) return;
        this.#server.tell(watch);
      });
    }
  }

  get #away(): boolean {
    return this.cut || this.#server.down;
  }

  #unavailable(): PrimedError {
    return new PrimedError('ETCD_UNAVAILABLE', 'etcd cannot be reached');
  }

  async #reach(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
    await this.#process.goesOn();
    if (this.#away) throw this.#unavailable();
  }

  #leaseOf(id: string, ttlMs: number): Lease {
    const process = this.#process;
    const server = this.#server;
    const listeners = new Set<(reason: string) => void>();
    let cancel: () => void = () => undefined;
    let ended = false;
    const abandon = (): void => {
      ended = true;
      cancel();
      listeners.clear();
    };
    const lost = (reason: string): void => {
      const told = [...listeners];
      abandon();
      for (const listener of told) listener(reason);
    };
    const lease = {
      id,
      ttlMs,
      validUntilMs: process.monotonicMs() + ttlMs,
      valid: () => !ended && process.monotonicMs() < lease.validUntilMs,
      onLost(listener: (reason: string) => void) {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
      async revoke() {
        abandon();
        if (!isAway()) server.end(id);
      },
      abandon,
    };
    const isAway = (): boolean => this.#away;
    const renew = (): void => {
      if (ended) return;
      if (process.monotonicMs() >= lease.validUntilMs) {
        lost('it could not be renewed in time');
        return;
      }
      if (!this.#away) {
        if (!server.keepAlive(id)) {
          lost('etcd does not know it');
          return;
        }
        lease.validUntilMs = process.monotonicMs() + ttlMs;
      }
      cancel = process.after(this.#away ? ttlMs / 20 : ttlMs / 3, renew);
    };
    cancel = process.after(ttlMs / 3, renew);
    return lease;
  }
}
