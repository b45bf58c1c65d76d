/**
 * A worker's side of membership in etcd: writes itself down under a lease, looks after it, and takes itself out at the end.
 *
 *   grant a lease, write ──▶ look every third of it: is it still I? ──▶ revoke
 *        ▲ │ refused              │ no: somebody has the place, or the operator removed it
 *        └─┴──────────────────────┘ lease ended
 *
 * While etcd is away the epoch stays: nobody can be told of the loss of a worker then, and etcd gives every lease its whole
 * time again when it is back. What the worker held then is taken up under the same lease, if that still lives.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as wait } from 'node:timers/promises';
import { type ErrorCode, PrimedError, reportOf } from '../core/errors.ts';
import {
  discoveryEntry,
  discoveryKey,
  type Found,
  figuresText,
  memberKeys,
  parseRegistered,
  placeTaken,
  type Registered,
} from '../core/member-entries.ts';
import { workerIdPattern } from '../core/membership.ts';
import { clusterProtocol } from '../core/protocol.ts';
import type { Clock, Log, Random, WorkerId } from '../core/types.ts';
import type { Compare, Etcd, EtcdEntry, Lease, Operation } from './etcd/index.ts';
import type { Registrar, RegistrarOptions } from './registrar.ts';

export interface EtcdRegistrarOptions
  extends Pick<RegistrarOptions, 'id' | 'address' | 'figures' | 'holdBack' | 'observe'> {
  readonly etcd: Etcd;
  /** Of the keys of workers; ends with a slash. */
  readonly prefix: string;
  /** Name of the cluster, for those who look workers up below /ServiceDiscovery/. */
  readonly cluster: string;
  readonly leaseMs: number;
  readonly clock: Clock;
  readonly log: Log;
  readonly random?: Random;
}

const lookShare = 1 / 3;
const firstRetryMs = 200;
/** A write to etcd is a write to the disks of all of its members: 1,000 workers are 100 of them a second. */
const figuresEveryMs = 10_000;
/** Others that register at the same moment; each try means that one of them has. */
const mostTries = 5;
const goodbyeLimitMs = 2_000;

/** Where etcd is away the epoch stays; these end it. */
const endings: ReadonlySet<ErrorCode> = new Set(['WORKER_STALE', 'ETCD_LEASE_ENDED']);

/** Begins to register; `epoch()` says when that has succeeded. */
export function openEtcdRegistrar(options: EtcdRegistrarOptions): Registrar {
  return new EtcdRegistrar(options);
}

interface Held {
  lease: Lease;
  readonly epoch: number;
  figures: string;
  figuresMs: number;
}

class EtcdRegistrar implements Registrar {
  readonly #options: EtcdRegistrarOptions;
  readonly #keys: Readonly<Record<keyof typeof memberKeys | 'discovery', string>>;
  readonly #instance = randomUUID();
  readonly #listeners = new Set<(epoch: number | undefined) => void>();
  readonly #ended = new AbortController();
  readonly #running: Promise<void>;
  #held: Held | undefined;
  #problem: string | undefined = 'not registered yet';
  /** What the log has heard of. */
  #trouble: ErrorCode | undefined;
  #failures = 0;
  #wake = new AbortController();

  constructor(options: EtcdRegistrarOptions) {
    this.#options = options;
    const { prefix, cluster, id, address } = options;
    this.#keys = {
      known: prefix + memberKeys.known(id),
      drains: prefix + memberKeys.drains(id),
      members: prefix + memberKeys.members(id),
      figures: prefix + memberKeys.figures(id),
      addresses: prefix + memberKeys.addresses(address),
      discovery: discoveryKey(cluster, id),
    };
    this.#running = this.#run();
  }

  epoch(): number | undefined {
    return this.#held?.epoch;
  }

  problem(): string | undefined {
    return this.#problem;
  }

  onEpoch(listener: (epoch: number | undefined) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async close(): Promise<void> {
    if (this.#ended.signal.aborted) return;
    this.#listeners.clear();
    this.#ended.abort();
    this.#wake.abort();
    await this.#running;
    if (this.#held === undefined) return;
    const revoked = this.#held.lease.revoke().catch((error: unknown) => {
      // The lease says it as well, a little later.
      this.#options.log.debug({ ...this.#facts, reason: reportOf(error).message }, 'left without a goodbye');
    });
    await Promise.race([revoked, wait(goodbyeLimitMs, undefined, { ref: false })]);
  }

  async #run(): Promise<void> {
    const { signal } = this.#ended;
    while (!signal.aborted) {
      const delayMs = await this.#step(signal);
      if (signal.aborted) return;
      await wait(delayMs, undefined, { signal: this.#wake.signal }).catch(() => undefined);
      this.#wake = new AbortController();
    }
  }

  /** Registers, or looks after the registration. Resolves with the time to the next step. */
  async #step(signal: AbortSignal): Promise<number> {
    const { leaseMs, log, holdBack } = this.#options;
    const reason = holdBack?.();
    if (reason !== undefined) {
      this.#leave(reason);
      return leaseMs * lookShare;
    }
    try {
      if (this.#held === undefined) await this.#register(signal);
      else await this.#look(this.#held, signal);
    } catch (error) {
      return signal.aborted ? 0 : this.#failed(error);
    }
    this.#options.observe?.renewed('accepted');
    if (this.#trouble !== undefined) log.info(this.#facts, 'etcd is reached again');
    this.#trouble = undefined;
    this.#problem = undefined;
    this.#failures = 0;
    return leaseMs * lookShare;
  }

  /** Until the next step that finds it may be a member: then it registers as after a loss. */
  #leave(reason: string): void {
    this.#problem = reason;
    if (this.#held === undefined) return;
    const { epoch } = this.#held;
    this.#options.log.error({ ...this.#facts, epoch, reason }, 'this worker leaves the cluster until it may return');
    this.#end();
  }

  async #register(signal: AbortSignal): Promise<void> {
    const { etcd, leaseMs, clock, log } = this.#options;
    const lease = await etcd.grantLease(leaseMs, { signal });
    try {
      const figures = figuresText(this.#options.figures());
      const epoch = await this.#write(lease, figures, signal);
      this.#held = { lease, epoch, figures, figuresMs: clock.monotonicMs() };
    } catch (error) {
      // If it was written after all, it goes with the lease.
      void lease.revoke().catch(() => {});
      throw error;
    }
    lease.onLost(() => this.#wake.abort());
    log.info({ ...this.#facts, epoch: this.#held.epoch, leaseMs: lease.ttlMs }, 'registered in etcd');
    this.#options.observe?.registered();
    this.#tell(this.#held.epoch);
  }

  /** The epoch. Rejects with WORKER_CONFLICT. */
  async #write({ id: lease, ttlMs: leaseMs }: Lease, figures: string, signal: AbortSignal): Promise<number> {
    const { etcd, id, address, clock } = this.#options;
    const { known, members, addresses, discovery, figures: figuresKey } = this.#keys;
    const registered: Registered = {
      ...address,
      instance: this.#instance,
      protocol: clusterProtocol.oldest,
      newestProtocol: clusterProtocol.newest,
      registeredAtMs: Math.round(clock.wallMs()),
      leaseMs,
    };
    const value = JSON.stringify(registered);
    for (let tries = 0; tries < mostTries; tries++) {
      const { results } = await etcd.txn({ compare: [], success: [{ get: members }, { get: addresses }], signal });
      const [[member], [holder]] = results.map(({ entries }) => entries) as [EtcdEntry[], EtcdEntry[]];
      const taken = placeTaken(id, address, { member: foundOf(member), holder: holderOf(holder) });
      const done = await etcd.txn({
        compare: [asRead(members, member), asRead(addresses, holder)],
        success: [
          { put: known, value },
          { put: members, value, lease },
          { put: figuresKey, value: figures, lease },
          { put: addresses, value: id, lease },
          { put: discovery, value: discoveryEntry(id, address), lease },
          ...(taken === undefined ? [] : this.#without(taken)),
        ],
        signal,
      });
      if (done.succeeded) {
        if (taken !== undefined)
          this.#options.log.warn({ worker: taken, by: id }, 'another worker had this address; it is lost');
        return done.revision;
      }
    }
    throw new PrimedError(
      'WORKER_CONFLICT',
      `Others register as '${id}', or at its address, at the same time; it is tried again.`,
      {
        id,
      },
    );
  }

  #without(other: WorkerId): Operation[] {
    const { prefix, cluster } = this.#options;
    return [
      { delete: prefix + memberKeys.members(other) },
      { delete: prefix + memberKeys.figures(other) },
      { delete: discoveryKey(cluster, other) },
    ];
  }

  /** Whether it is still this registration that counts. Rejects with WORKER_STALE or ETCD_LEASE_ENDED if not. */
  async #look(held: Held, signal: AbortSignal): Promise<void> {
    const { etcd, id, clock } = this.#options;
    const { members, figures: key } = this.#keys;
    if (!held.lease.valid()) {
      held.lease = await etcd.adoptLease(held.lease.id, { signal });
      held.lease.onLost(() => this.#wake.abort());
    }
    const value = figuresText(this.#options.figures());
    const due = value !== held.figures && clock.monotonicMs() - held.figuresMs >= figuresEveryMs;
    const { succeeded } = await etcd.txn({
      compare: [{ key: members, modRevision: held.epoch }],
      success: due ? [{ put: key, value, lease: held.lease.id }] : [],
      signal,
    });
    if (!succeeded) {
      throw new PrimedError(
        'WORKER_STALE',
        `Epoch ${held.epoch} of worker '${id}' does not hold any more: it was removed, or another process has its id or its address.`,
        { id, epoch: held.epoch },
      );
    }
    if (!due) return;
    held.figures = value;
    held.figuresMs = clock.monotonicMs();
  }

  /** What became of a step, for the log and for `problem`. Resolves with the time to the next one. */
  #failed(error: unknown): number {
    const { log } = this.#options;
    const { code, message: reason } = reportOf(error);
    this.#problem = reason;
    this.#options.observe?.renewed(code === 'ETCD_UNAVAILABLE' ? 'unanswered' : 'refused');
    if (this.#held !== undefined && endings.has(code)) {
      log.warn({ ...this.#facts, epoch: this.#held.epoch, code, reason }, 'the registration has ended');
      this.#end();
      return 0;
    }
    if (this.#trouble !== code) {
      this.#trouble = code;
      const away = code === 'ETCD_UNAVAILABLE';
      log.warn(
        { ...this.#facts, code, reason },
        away ? 'etcd is lost; it tries on' : 'this worker is refused; it tries on',
      );
    }
    return this.#backOff();
  }

  #end(): void {
    const lease = this.#held?.lease;
    this.#held = undefined;
    void lease?.revoke().catch(() => {});
    this.#tell(undefined);
  }

  /** Doubles up to the time between two looks; half of it is random, so that workers do not come back all together. */
  #backOff(): number {
    const ceilingMs = Math.min(this.#options.leaseMs * lookShare, firstRetryMs * 2 ** this.#failures);
    this.#failures = Math.min(this.#failures + 1, 30);
    return ceilingMs / 2 + ((this.#options.random ?? Math.random)() * ceilingMs) / 2;
  }

  #tell(epoch: number | undefined): void {
    for (const listener of [...this.#listeners]) listener(epoch);
  }

  get #facts(): object {
    return { worker: this.#options.id };
  }
}

/** That a key is as it was read. */
function asRead(key: string, entry: EtcdEntry | undefined): Compare {
  return entry === undefined ? { key, exists: false } : { key, modRevision: entry.modRevision };
}

/** What does not parse is nobody's. */
function foundOf(entry: EtcdEntry | undefined): Found<Registered> | undefined {
  const value = entry && parseRegistered(entry.value.toString('utf8'));
  return value && entry && { value, revision: entry.modRevision };
}

function holderOf(entry: EtcdEntry | undefined): WorkerId | undefined {
  const id = entry?.value.toString('utf8') ?? '';
  return new RegExp(workerIdPattern).test(id) ? (id as WorkerId) : undefined;
}
