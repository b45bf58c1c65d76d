/** One process's way to the etcd of a world: calls and watches over the network, and leases that have to be renewed. */
import type {
  Etcd,
  EtcdEntry,
  Lease,
  Transaction,
  TransactionResult,
  Watch,
  WatchOptions,
} from '../../src/cluster/etcd/types.ts';
import { abortable } from '../../src/core/abortable.ts';
import { PrimedError } from '../../src/core/errors.ts';
import type { MemoryEtcd, MemoryEtcdClient } from '../support/memory-etcd.ts';
import type { Network } from './network.ts';
import { here, type Machine, type Process, type World } from './world.ts';

/** A call without an answer is given up. */
const callLimitMs = 1500;
/** So often a watch that hears nothing looks whether etcd is there. */
const lookMs = 500;

export class SimEtcd implements Etcd {
  readonly #world: World = here();
  readonly #server: MemoryEtcd;
  readonly #machine: Machine;
  readonly #network: Network;
  readonly #process: Process;
  readonly #watches = new Set<SimWatch>();

  constructor(options: { server: MemoryEtcd; machine: Machine; network: Network; process: Process }) {
    this.#server = options.server;
    this.#machine = options.machine;
    this.#network = options.network;
    this.#process = options.process;
    const listener = { deliver: () => this.#deliver() } as unknown as MemoryEtcdClient;
    this.#server.clients.add(listener);
    this.#process.onDeath.push(() => this.#server.clients.delete(listener));
  }

  txn(transaction: Transaction): Promise<TransactionResult> {
    return this.#call(() => this.#server.txn(transaction), transaction.signal);
  }

  async put(key: string, value: string | Uint8Array, { lease }: { lease?: string } = {}): Promise<number> {
    const put = { put: key, value, ...(lease === undefined ? {} : { lease }) };
    return (await this.txn({ compare: [], success: [put] })).revision;
  }

  async get(key: string): Promise<EtcdEntry | undefined> {
    return (await this.txn({ compare: [], success: [{ get: key }] })).results[0]?.entries[0];
  }

  range(): never {
    throw new Error('nobody asks for a range here');
  }

  async delete(key: string): Promise<boolean> {
    return (await this.txn({ compare: [], success: [{ delete: key }] })).results[0]!.deleted > 0;
  }

  async grantLease(ttlMs: number, { signal }: { signal?: AbortSignal } = {}): Promise<Lease> {
    const sentMs = this.#world.nowMs;
    const id = await this.#call(() => this.#server.grant(ttlMs), signal);
    return this.#leaseOf(id, ttlMs, sentMs + ttlMs);
  }

  async adoptLease(id: string, { signal }: { signal?: AbortSignal } = {}): Promise<Lease> {
    const sentMs = this.#world.nowMs;
    const ttlMs = await this.#call(() => {
      if (!this.#server.keepAlive(id)) throw new PrimedError('ETCD_LEASE_ENDED', 'etcd does not know the lease');
      return this.#server.ttlOf(id);
    }, signal);
    return this.#leaseOf(id, ttlMs, sentMs + ttlMs);
  }

  watchPrefix(options: WatchOptions): Watch {
    const watch: SimWatch = { options, next: options.fromRevision, problem: undefined };
    this.#watches.add(watch);
    const look = setInterval(() => this.#look(watch), lookMs);
    this.#hear(watch);
    return {
      problem: () => watch.problem,
      close: () => {
        clearInterval(look);
        this.#watches.delete(watch);
      },
    };
  }

  async close(): Promise<void> {
    this.#watches.clear();
  }

  get #away(): boolean {
    const { machine } = this.#process;
    return this.#network.isCut(machine, this.#machine) || this.#network.isCut(this.#machine, machine);
  }

  #call<T>(act: () => T, signal?: AbortSignal): Promise<T> {
    const world = this.#world;
    const { machine } = this.#process;
    const answered = new Promise<T>((resolve, reject) => {
      const late = (): void => reject(new PrimedError('ETCD_UNAVAILABLE', 'etcd gave no answer', { maybeDone: true }));
      const timer = setTimeout(late, callLimitMs);
      if (this.#network.isCut(machine, this.#machine)) return;
      world.after(this.#network.latencyMs(), undefined, () => {
        let answer: () => void;
        try {
          const value = act();
          answer = () => resolve(value);
        } catch (error) {
          answer = () => reject(error);
        }
        if (this.#network.isCut(this.#machine, machine)) return;
        world.after(this.#network.latencyMs(), this.#process, () => {
          clearTimeout(timer);
          answer();
        });
      });
    });
    return signal === undefined ? answered : abortable(answered, signal);
  }

  #deliver(): void {
    for (const watch of this.#watches) this.#hear(watch);
  }

  #hear(watch: SimWatch): void {
    if (this.#away) return;
    this.#world.after(this.#network.latencyMs(), this.#process, () => {
      if (this.#watches.has(watch)) this.#server.tell(watch);
    });
  }

  #look(watch: SimWatch): void {
    if (this.#away === (watch.problem !== undefined)) return;
    watch.problem = this.#away ? new PrimedError('ETCD_UNAVAILABLE', 'etcd is not heard') : undefined;
    watch.options.onHealth?.(watch.problem);
    this.#hear(watch);
  }

  #leaseOf(id: string, ttlMs: number, validUntilMs: number): Lease {
    const world = this.#world;
    const listeners = new Set<(reason: string) => void>();
    let ended = false;
    const lost = (reason: string): void => {
      if (ended) return;
      ended = true;
      for (const listener of listeners) listener(reason);
    };
    const lease = {
      ...{ id, ttlMs, validUntilMs },
      valid: () => !ended && world.nowMs < lease.validUntilMs,
      onLost(listener: (reason: string) => void) {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
      revoke: async () => {
        ended = true;
        await this.#call(() => this.#server.end(id));
      },
      abandon() {
        ended = true;
      },
    };
    const renew = (): void => {
      if (ended) return;
      if (!lease.valid()) {
        lost('it could not be renewed in time');
        return;
      }
      const sentMs = world.nowMs;
      this.#call(() => this.#server.keepAlive(id)).then(
        (known) => {
          if (!known) lost('etcd does not know it');
          else lease.validUntilMs = sentMs + ttlMs;
          setTimeout(renew, ttlMs / 3);
        },
        () => setTimeout(renew, ttlMs / 20),
      );
    };
    setTimeout(renew, ttlMs / 3);
    return lease;
  }
}

interface SimWatch {
  readonly options: WatchOptions;
  next: number | undefined;
  problem: Error | undefined;
}
