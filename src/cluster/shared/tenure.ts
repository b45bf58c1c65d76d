/**
 * The lease of this coordinator, under which its claims lie, and whether it may still decide anything. By its own monotonic
 * clock it stops a quarter of the lease before etcd could give the claims away, so that what it has under way has ended by
 * then; a process that stood still finds out in the same way, when it goes on.
 */
import { reportOf } from '../../core/errors.ts';
import type { Clock, Log } from '../../core/types.ts';
import type { Etcd, Lease } from '../etcd/types.ts';
import { pause, type Timers } from './timers.ts';

export interface TenureOptions {
  readonly etcd: Pick<Etcd, 'grantLease' | 'put'>;
  /** The key that says that this coordinator lives, and its value. */
  readonly key: string;
  readonly value: string;
  readonly leaseMs: number;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly log: Log;
  /** After each change of `held` or of the lease. */
  readonly onChange: () => void;
}

/** So much of a lease is left when decisions stop. */
const marginShare = 1 / 4;
/** How often the clock is looked at, as a share of the lease. */
const looksPerLease = 20;
/** Time to the next attempt to get a lease: doubles from the first to the second. */
const firstRetryMs = 100;
const longestRetryMs = 2000;

export class Tenure {
  readonly #options: TenureOptions;
  readonly #abort = new AbortController();
  #lease: Lease | undefined;
  #why = 'etcd has not been heard yet';
  #known = false;

  /** Begins at once. */
  constructor(options: TenureOptions) {
    this.#options = options;
    void this.#obtain();
    void this.#look();
  }

  /** The lease, while decisions may be made. */
  get lease(): Lease | undefined {
    const lease = this.#lease;
    if (lease === undefined || !lease.valid()) return undefined;
    const leftMs = lease.validUntilMs - this.#options.clock.monotonicMs();
    return leftMs > lease.ttlMs * marginShare ? lease : undefined;
  }

  get held(): boolean {
    return this.lease !== undefined;
  }

  /** Why not. */
  get why(): string {
    return this.#why;
  }

  /** Ends the lease, and with it all claims. Never rejects. */
  async close(): Promise<void> {
    this.#abort.abort();
    const lease = this.#lease;
    this.#lease = undefined;
    await lease?.revoke().catch(() => undefined);
  }

  async #obtain(): Promise<void> {
    const { etcd, key, value, leaseMs, timers, log } = this.#options;
    const { signal } = this.#abort;
    for (let waitMs = firstRetryMs; !signal.aborted; waitMs = Math.min(waitMs * 2, longestRetryMs)) {
      try {
        const lease = await etcd.grantLease(leaseMs, { signal });
        if (signal.aborted) {
          await lease.revoke().catch(() => undefined);
          return;
        }
        try {
          await etcd.put(key, value, { lease: lease.id, signal });
        } catch (error) {
          lease.abandon();
          throw error;
        }
        this.#lease = lease;
        lease.onLost((reason) => this.#lost(lease, reason));
        log.info({ lease: lease.id, ttlMs: lease.ttlMs }, 'this coordinator holds a lease in etcd');
        this.#compare();
        this.#options.onChange();
        return;
      } catch (error) {
        this.#why = reportOf(error).message;
      }
      await pause(timers, waitMs, signal);
    }
  }

  #lost(lease: Lease, reason: string): void {
    if (this.#lease !== lease || this.#abort.signal.aborted) return;
    this.#lease = undefined;
    this.#why = reason;
    this.#options.log.warn({ lease: lease.id, reason }, 'the lease of this coordinator is lost');
    this.#compare();
    void this.#obtain();
  }

  /** A lease that is not renewed says nothing before it is over. */
  async #look(): Promise<void> {
    const { timers, leaseMs } = this.#options;
    const { signal } = this.#abort;
    while (!signal.aborted) {
      this.#compare();
      await pause(timers, leaseMs / looksPerLease, signal);
    }
  }

  #compare(): void {
    const { held } = this;
    if (held === this.#known) return;
    this.#known = held;
    if (!held && this.#lease !== undefined) this.#why = 'the lease of this coordinator could not be renewed in time';
    this.#options.onChange();
  }
}
