/**
 * The workers of the embedded backend: core/membership with a clock, a disk and listeners around it.
 *
 *   workers  id → row (msgpack), as it was when something about it changed that must survive
 *   meta     "format", "lastEpoch"
 *
 * Who waits for whom: a registration, and what the operator says, are answered when they are durable; a renewal touches
 * nothing but memory. What survives a crash: ids, drain flags, where each worker was, and the highest epoch. Leases do not:
 * after a start all workers are lost until they register again, which takes them a third of a lease.
 */
import { mkdirSync } from 'node:fs';
import { type Database, open, type RootDatabase } from 'lmdb';
import { PrimedError } from '../core/errors.ts';
import {
  addressOf,
  isMember,
  type MembersEvent,
  type MembersState,
  nextMembers,
  noMembers,
  type WorkerFigures,
  type WorkerReport,
  type WorkerRow,
} from '../core/membership.ts';
import type { Clock, Log, WorkerId } from '../core/types.ts';
import { committing, kept } from '../store/committed.ts';
import { prepareDatabase } from '../store/new-database.ts';

const format = 1;
/** So often a lease is looked at, as a share of it. */
const ticksPerLease = 10;
/** A tick that is later than this many of its intervals means that this process stood still. */
const stoodStillTicks = 2;

export interface RegistryOptions {
  /** Folder of the database; made if it is not there. */
  readonly dir: string;
  readonly leaseMs: number;
  readonly clock: Clock;
  readonly log: Log;
}

/** Which registration a worker speaks for. */
export interface Registration {
  readonly id: WorkerId;
  readonly instance: string;
  readonly epoch: number;
}

/** What workers say over HTTP, where the coordinator keeps their leases itself. */
export interface Registrations {
  /** A new epoch, durable. Rejects with WORKER_CONFLICT. */
  register(worker: { id: WorkerId; instance: string; report: WorkerReport }): Promise<WorkerRow>;
  /** Prolongs the lease. Throws WORKER_UNKNOWN and WORKER_STALE: then the worker has to register. */
  renew(registration: Registration, figures: WorkerFigures): WorkerRow;
  /** The worker ends, and is lost at once. Rejects as `renew` throws. */
  goodbye(registration: Registration): Promise<void>;
}

/** Who the workers are, and what the operator says of them; whoever keeps that. */
export interface Registry {
  readonly leaseMs: number;
  /** Rejects with WORKER_UNKNOWN, as the two that follow, and with ETCD_*; durable when resolved. */
  drain(id: WorkerId): Promise<WorkerRow>;
  undrain(id: WorkerId): Promise<WorkerRow>;
  /** Forgets the worker, and that it drained, until it registers again: one that lives does so soon. */
  remove(id: WorkerId): Promise<void>;
  /** All that are known, by id; lost ones too. Times are milliseconds since the epoch. */
  workers(): readonly WorkerRow[];
  /**
   * Calls `listener` after each change of who is a member, of an epoch or of a drain flag; not after renewals. The worker of
   * a new epoch may not have heard of it yet. Returns how to end that.
   */
  onChange(listener: () => void): () => void;
  close(): Promise<void>;
}

/** Opens or creates it. Throws STORE_VERSION for a database of another format, STORE_FOREIGN, STORE_CORRUPT. */
export function openRegistry(options: RegistryOptions): Registry & Registrations {
  return new EmbeddedRegistry(options);
}

class EmbeddedRegistry implements Registry, Registrations {
  readonly leaseMs: number;
  readonly #dir: string;
  readonly #root: RootDatabase;
  readonly #rows: Database<WorkerRow, string>;
  readonly #meta: Database<number, string>;
  readonly #log: Log;
  readonly #now: () => number;
  readonly #tickMs: number;
  readonly #timer: NodeJS.Timeout;
  readonly #listeners = new Set<() => void>();
  #state: MembersState;
  /** What listeners were told last: nobody is shown more, or a worker would be listed that segments are not yet placed on. */
  #told: MembersState;
  /** Whose rows may be other on the disk than here, each with the number of its last change. */
  readonly #unsaved = new Map<WorkerId, number>();
  #changes = 0;
  #tickedMs: number;
  #closed = false;

  constructor({ dir, leaseMs, clock, log }: RegistryOptions) {
    mkdirSync(dir, { recursive: true });
    prepareDatabase(dir, 'workers');
    this.#dir = dir;
    this.leaseMs = leaseMs;
    this.#log = log;
    this.#root = open({ path: dir, maxDbs: 2, noSubdir: false, ...committing });
    this.#rows = this.#root.openDB({ name: 'workers', encoding: 'msgpack' });
    this.#meta = this.#root.openDB({ name: 'meta', encoding: 'msgpack' });
    this.#state = this.#restore();
    this.#told = this.#state;
    // Times that people can read, of a clock that nobody can set: a lease does not end because of the time of day.
    const startedMs = clock.wallMs() - clock.monotonicMs();
    this.#now = () => startedMs + clock.monotonicMs();
    this.#tickedMs = this.#now();
    this.#tickMs = leaseMs / ticksPerLease;
    this.#timer = setInterval(() => this.#tick(), this.#tickMs);
    this.#timer.unref();
  }

  async register({ id, instance, report }: Parameters<Registrations['register']>[0]): Promise<WorkerRow> {
    this.#tick();
    const before = this.#state;
    const decided = this.#decide({ type: 'register', id, instance, report, leaseMs: this.leaseMs });
    const row = this.#row(id);
    const gone = membersGone(before, this.#state);
    await decided;
    this.#log.info(
      { worker: id, address: addressOf(row), epoch: row.epoch, state: row.state, version: row.version },
      before.workers.has(id) ? 'a worker has registered again' : 'a worker has joined',
    );
    for (const { id: other } of gone)
      this.#log.warn({ worker: other, by: id }, 'a worker is lost: another has its address');
    return row;
  }

  renew(registration: Registration, figures: WorkerFigures): WorkerRow {
    this.#tick();
    const event = { type: 'renew', ...registration, figures, leaseMs: this.leaseMs } as const;
    this.#state = nextMembers(this.#state, event, this.#now());
    return this.#row(registration.id);
  }

  async goodbye(registration: Registration): Promise<void> {
    await this.#decide({ type: 'goodbye', ...registration });
    this.#log.info({ worker: registration.id, epoch: registration.epoch }, 'a worker has left');
  }

  drain(id: WorkerId): Promise<WorkerRow> {
    return this.#setDrains('drain', id);
  }

  undrain(id: WorkerId): Promise<WorkerRow> {
    return this.#setDrains('undrain', id);
  }

  async remove(id: WorkerId): Promise<void> {
    await this.#decide({ type: 'remove', id });
    this.#log.info({ worker: id }, 'a worker was removed');
  }

  workers(): readonly WorkerRow[] {
    return Array.from(this.#told.workers.values(), (told) => {
      const now = this.#state.workers.get(told.id);
      // Renewals change nothing that anyone is told of, and are shown at once.
      return now !== undefined && sameMember(now, told) ? now : told;
    }).sort((a, b) => (a.id < b.id ? -1 : 1));
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Also writes down when each worker was heard last. */
  async close(): Promise<void> {
    if (this.#closed) return;
    clearInterval(this.#timer);
    this.#listeners.clear();
    this.#changed(noMembers, this.#state);
    const saved = this.#save();
    this.#closed = true;
    try {
      await saved;
    } finally {
      await this.#root.close();
    }
  }

  async #setDrains(type: 'drain' | 'undrain', id: WorkerId): Promise<WorkerRow> {
    await this.#decide({ type, id });
    this.#log.info({ worker: id }, type === 'drain' ? 'a worker drains' : 'a worker does not drain any more');
    return this.#row(id);
  }

  /**
   * What was decided counts in memory at once, for decisions that follow; others hear of it when it is durable. One that could not be
   * written down is written with the next, and is not answered for before: it may be that one again.
   */
  async #decide(event: MembersEvent): Promise<void> {
    if (this.#closed) throw new PrimedError('STOPPING', 'The coordinator is shutting down.');
    this.#tick();
    const before = this.#state;
    if (!this.#isUnsavedRemoval(event)) this.#state = nextMembers(before, event, this.#now());
    this.#changed(before, this.#state);
    if (this.#unsaved.size === 0) return;
    await this.#save();
    this.#notify();
  }

  #isUnsavedRemoval({ type, ...event }: MembersEvent): boolean {
    return type === 'remove' && 'id' in event && !this.#state.workers.has(event.id) && this.#unsaved.has(event.id);
  }

  #tick(): void {
    const nowMs = this.#now();
    const passedMs = nowMs - this.#tickedMs;
    this.#tickedMs = nowMs;
    // Renewals may lie in the sockets of a process that stood still: what it did not hear is not their silence.
    const unheardMs = passedMs > stoodStillTicks * this.#tickMs ? passedMs : 0;
    const before = this.#state;
    this.#state = nextMembers(before, { type: 'tick', unheardMs }, nowMs);
    const gone = membersGone(before, this.#state);
    if (gone.length === 0) return;
    for (const { id, epoch, lastSeenMs } of gone) {
      const silentMs = Math.round(nowMs - lastSeenMs);
      this.#log.warn({ worker: id, epoch, silentMs, leaseMs: this.leaseMs }, 'a worker is lost: its lease has ended');
    }
    this.#changed(before, this.#state);
    this.#save().catch((error: unknown) =>
      this.#log.error({ error: String(error) }, 'that a worker is lost could not be written down'),
    );
    this.#notify();
  }

  #row(id: WorkerId): WorkerRow {
    return this.#state.workers.get(id)!;
  }

  #notify(): void {
    this.#told = this.#state;
    for (const listener of [...this.#listeners]) listener();
  }

  /** What must survive of this is for the next `#save`. */
  #changed(before: MembersState, after: MembersState): void {
    if (after === before) return;
    this.#changes += 1;
    for (const id of new Set([...before.workers.keys(), ...after.workers.keys()])) {
      const [was, is] = [before.workers.get(id), after.workers.get(id)];
      if (was === undefined || is === undefined || !sameMember(was, is)) this.#unsaved.set(id, this.#changes);
    }
  }

  /** Resolves when all that has changed by now is durable. Rejects with STORE_IO: then it is for the next one. */
  async #save(): Promise<void> {
    if (this.#closed) return;
    const { workers, lastEpoch } = this.#state;
    const unsaved = [...this.#unsaved];
    const written = this.#root.batch(() => {
      for (const [id] of unsaved) {
        const row = workers.get(id);
        void (row === undefined ? this.#rows.remove(id) : this.#rows.put(id, row));
      }
      void this.#meta.put('format', format);
      void this.#meta.put('lastEpoch', lastEpoch);
    });
    await kept(written, { dir: this.#dir, kind: 'workers' });
    for (const [id, change] of unsaved) if (this.#unsaved.get(id) === change) this.#unsaved.delete(id);
  }

  /** All are lost: who was a member before this start has no lease of this process. */
  #restore(): MembersState {
    const found = this.#meta.get('format');
    if (found !== undefined && found !== format) {
      throw new PrimedError(
        'STORE_VERSION',
        `The list of workers is of format ${found}, this primed reads format ${format}; nothing was touched.`,
      );
    }
    const rows = Array.from(this.#rows.getRange(), ({ value }): [WorkerId, WorkerRow] => [
      value.id,
      { ...value, state: 'LOST' },
    ]);
    return { lastEpoch: this.#meta.get('lastEpoch') ?? 0, workers: new Map(rows) };
  }
}

/** But for its figures and its lease. */
function sameMember(a: WorkerRow, b: WorkerRow): boolean {
  return a.epoch === b.epoch && a.state === b.state && a.drains === b.drains;
}

function membersGone(before: MembersState, after: MembersState): WorkerRow[] {
  return [...before.workers.values()].filter((row) => {
    const now = after.workers.get(row.id);
    return isMember(row) && (now === undefined || !isMember(now));
  });
}
