/**
 * The workers of a cluster as etcd has them: one watch, and core/member-entries, which understands what it says.
 *
 * Who waits for whom: what the operator says is answered when etcd has it and this watch has heard it. What survives a crash:
 * everything, in etcd. A worker is lost when its entry goes, which etcd does when its lease ends, and nobody else: while etcd
 * cannot be reached all stays as it was heard last.
 */
import { EventEmitter, once } from 'node:events';
import { PrimedError, reportOf } from '../core/errors.ts';
import { discoveryKey, MemberEntries, memberKeys } from '../core/member-entries.ts';
import { addressOf, isMember, protocolsOf, type WorkerRow } from '../core/membership.ts';
import type { PeerOrder } from '../core/peers.ts';
import { clusterProtocol, protocolsApart } from '../core/protocol.ts';
import type { Clock, Log, WorkerId } from '../core/types.ts';
import type { Etcd, EtcdEntry, Operation, Revision, Watch, WatchEvent } from './etcd/index.ts';
import type { Registry } from './registry.ts';

export interface EtcdRegistryOptions {
  readonly etcd: Etcd;
  /** Of the keys of workers; ends with a slash. */
  readonly prefix: string;
  /** Name of the cluster, for those who look workers up below /ServiceDiscovery/. */
  readonly cluster: string;
  readonly leaseMs: number;
  /** How long what is written may take to be heard. */
  readonly timeoutMs: number;
  readonly clock: Clock;
  readonly log: Log;
}

export interface EtcdRegistry extends Registry {
  /** Why etcd is not heard; undefined while it is. */
  problem(): string | undefined;
  /** Resolves when all workers have been read once. Never rejects. */
  readonly loaded: Promise<void>;
  /** Which state of etcd `workers` shows; coordinators that have heard as much say the same. */
  order(): PeerOrder;
}

export function openEtcdRegistry(options: EtcdRegistryOptions): EtcdRegistry {
  return new WatchedRegistry(options);
}

/** Entries that make no sense, and are remembered so as to be logged once. */
const mostOddKeys = 1000;

class WatchedRegistry implements EtcdRegistry {
  readonly leaseMs: number;
  readonly loaded: Promise<void>;
  readonly #options: EtcdRegistryOptions;
  readonly #entries = new MemberEntries();
  readonly #watch: Watch;
  readonly #listeners = new Set<() => void>();
  readonly #heard = new EventEmitter();
  readonly #odd = new Set<string>();
  /** As they were when listeners were told last. */
  #told: readonly WorkerRow[] = [];
  #revision: Revision | undefined;
  /** Which etcd that counts: one that was set up anew, or from a backup, counts anew. */
  #etcdId = '';
  /** When etcd was heard last; undefined: it is heard now. */
  #silentSinceMs: number | undefined;
  #pruning = false;
  #closed = false;

  constructor(options: EtcdRegistryOptions) {
    this.#options = options;
    this.leaseMs = options.leaseMs;
    this.#heard.setMaxListeners(0);
    this.loaded = once(this.#heard, 'revision').then(() => undefined);
    this.#watch = options.etcd.watchPrefix({
      prefix: options.prefix,
      onReset: (entries, revision, etcdId = '') => {
        this.#etcdId = etcdId;
        this.#reset(entries, revision);
      },
      onEvents: (events, revision) => this.#apply(events, revision),
      onHealth: (problem) => this.#health(problem),
    });
  }

  problem(): string | undefined {
    const problem = this.#watch.problem();
    if (problem !== undefined) return problem.message;
    return this.#revision === undefined ? 'etcd has not been read yet' : undefined;
  }

  order(): PeerOrder {
    return { from: `etcd ${this.#etcdId} ${this.#options.prefix}`, version: this.#revision ?? 0 };
  }

  drain(id: WorkerId): Promise<WorkerRow> {
    return this.#change(id, [{ put: this.#key('drains', id), value: '' }]);
  }

  undrain(id: WorkerId): Promise<WorkerRow> {
    return this.#change(id, [{ delete: this.#key('drains', id) }]);
  }

  async remove(id: WorkerId): Promise<void> {
    const kinds = ['known', 'drains', 'members', 'figures'] as const;
    const deletes = kinds.map((kind) => ({ delete: this.#key(kind, id) }));
    await this.#write(id, [...deletes, { delete: discoveryKey(this.#options.cluster, id) }]);
    this.#options.log.info({ worker: id }, 'a worker was removed');
  }

  workers(): readonly WorkerRow[] {
    return this.#entries.rows(this.#silentSinceMs ?? this.#nowMs());
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#listeners.clear();
    this.#watch.close();
  }

  async #change(id: WorkerId, operations: readonly Operation[]): Promise<WorkerRow> {
    await this.#write(id, operations);
    const row = this.#entries.row(id, this.#nowMs());
    // It may have been removed by another coordinator since.
    if (row === undefined) throw unknown(id);
    return row;
  }

  /** Of a worker that is known; heard when resolved. Rejects with WORKER_UNKNOWN, ETCD_*. */
  async #write(id: WorkerId, success: readonly Operation[]): Promise<void> {
    if (this.#closed) throw new PrimedError('STOPPING', 'The coordinator is shutting down.');
    const compare = [{ key: this.#key('known', id), exists: true }];
    const { succeeded, revision, results } = await this.#options.etcd.txn({ compare, success });
    if (!succeeded) throw unknown(id);
    const changed = success.some((operation, at) => !('delete' in operation) || results[at]!.deleted > 0);
    if (changed) await this.#reached(revision);
  }

  async #reached(revision: Revision): Promise<void> {
    const limit = AbortSignal.timeout(this.#options.timeoutMs);
    while ((this.#revision ?? 0) < revision) {
      try {
        await once(this.#heard, 'revision', { signal: limit });
      } catch {
        throw new PrimedError(
          'ETCD_UNAVAILABLE',
          `etcd has taken the change, but does not tell of it: ${this.problem() ?? 'its watch is late'}. It will count when etcd is heard again.`,
          { revision, maybeDone: true },
        );
      }
    }
  }

  #reset(entries: readonly EtcdEntry[], revision: Revision): void {
    this.#entries.clear();
    for (const entry of entries) this.#put(entry);
    this.#changed(revision, true);
  }

  #apply(events: readonly WatchEvent[], revision: Revision): void {
    let matters = false;
    for (const event of events) {
      const key = this.#relative(event.type === 'put' ? event.entry.key : event.key);
      if (event.type === 'put') this.#put(event.entry);
      else this.#entries.delete(key, this.#nowMs());
      matters ||= !/^(?:figures|addresses)\//.test(key);
    }
    this.#changed(revision, matters);
  }

  #put(entry: EtcdEntry): void {
    const { key, value, modRevision } = entry;
    if (this.#entries.put(this.#relative(key), value.toString('utf8'), modRevision, this.#nowMs())) return;
    if (this.#odd.has(key) || this.#odd.size >= mostOddKeys) return;
    this.#odd.add(key);
    this.#options.log.warn(
      { key, bytes: value.length },
      'an entry of etcd is none that primed understands; it is ignored',
    );
  }

  #changed(revision: Revision, matters: boolean): void {
    this.#revision = revision;
    if (matters) this.#tell();
    this.#heard.emit('revision');
  }

  #tell(): void {
    const before = new Map(this.#told.map((row) => [row.id, row]));
    const after = this.workers();
    const changed = after.filter((row) => !sameMember(before.get(row.id), row));
    const gone = this.#told.length + changed.filter(({ id }) => !before.has(id)).length - after.length;
    this.#told = after;
    if (changed.length === 0 && gone === 0) return;
    for (const row of changed) this.#log(before.get(row.id), row);
    for (const id of this.#entries.strangers()) this.#refuse(id);
    for (const listener of [...this.#listeners]) listener();
    void this.#prune();
  }

  #log(before: WorkerRow | undefined, row: WorkerRow): void {
    const { log } = this.#options;
    const { id: worker, epoch, state, version } = row;
    if (isMember(row) && (before === undefined || before.epoch !== epoch || !isMember(before))) {
      const facts = { worker, address: addressOf(row), epoch, state, version };
      log.info(facts, before === undefined ? 'a worker has joined' : 'a worker has registered again');
    } else if (!isMember(row) && before !== undefined && isMember(before)) {
      log.warn({ worker, epoch }, 'a worker is lost: it has left, or its lease has ended');
    }
    if (before !== undefined && before.drains !== row.drains)
      log.info({ worker }, row.drains ? 'a worker drains' : 'a worker does not drain any more');
  }

  /** Logged once for each registration: only then something has changed. */
  #refuse(worker: WorkerId): void {
    const row = this.#entries.row(worker, this.#nowMs());
    const key = `${worker} ${row?.epoch}`;
    if (row === undefined || this.#odd.has(key) || this.#odd.size >= mostOddKeys) return;
    this.#odd.add(key);
    const { protocol, version } = row;
    const reason = protocolsApart(
      { name: `worker '${worker}'`, release: version, range: protocolsOf(row) },
      { name: 'this coordinator', release: PRIMED_VERSION, range: clusterProtocol },
    );
    this.#options.log.warn(
      { worker, address: addressOf(row), protocol, version, code: 'WORKER_REFUSED', reason },
      'a worker is refused: it speaks another version of the protocol',
    );
  }

  /** Forgets lost workers beyond those that are kept. Several coordinators may do so at once. */
  async #prune(): Promise<void> {
    if (this.#pruning) return;
    this.#pruning = true;
    try {
      for (const { id, epoch } of this.#entries.beyondKept()) {
        if (this.#closed) break;
        await this.#options.etcd.txn({
          compare: [
            { key: this.#key('known', id), modRevision: epoch },
            { key: this.#key('members', id), exists: false },
          ],
          success: [{ delete: this.#key('known', id) }, { delete: this.#key('drains', id) }],
        });
      }
    } catch (error) {
      this.#options.log.debug({ reason: reportOf(error).message }, 'lost workers are forgotten later');
    } finally {
      this.#pruning = false;
    }
  }

  #health(problem: Error | undefined): void {
    const { log } = this.#options;
    this.#silentSinceMs = problem === undefined ? undefined : this.#nowMs();
    if (problem === undefined) log.info({}, 'etcd is heard again');
    else
      log.warn(
        { reason: problem.message },
        'etcd is not heard: workers count as they were heard last, and nothing new is decided',
      );
  }

  #key(kind: 'known' | 'drains' | 'members' | 'figures', id: WorkerId): string {
    return this.#options.prefix + memberKeys[kind](id);
  }

  #relative(key: string): string {
    return key.slice(this.#options.prefix.length);
  }

  #nowMs(): number {
    return Math.round(this.#options.clock.wallMs());
  }
}

function sameMember(before: WorkerRow | undefined, { epoch, state, drains }: WorkerRow): boolean {
  return before?.epoch === epoch && before.state === state && before.drains === drains;
}

function unknown(id: WorkerId): PrimedError {
  return new PrimedError(
    'WORKER_UNKNOWN',
    `Worker '${id}' is not known here; 'primed worker list' shows those that are.`,
    { id },
  );
}
