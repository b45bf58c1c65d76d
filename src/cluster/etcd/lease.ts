/**
 * One lease of etcd: the loop that renews it, and the clock that ends it.
 *
 *   granted ──▶ renew every third of its time ──▶ … ──▶ revoked, abandoned
 *                 │ not answered: again soon        └──▶ lost: etcd does not know it, or `validUntilMs` is over
 *
 * etcd counts from when it got a renewal, this clock from when it was sent: so it is over here before it is over there.
 * After a change of its leader etcd gives every lease its whole time again, which errs on the same side.
 */
import { setTimeout as wait } from 'node:timers/promises';
import { PrimedError, reportOf } from '../../core/errors.ts';
import type { Clock, Log } from '../../core/types.ts';
import type { Gateway } from './gateway.ts';
import type { Lease } from './types.ts';

export interface LeaseOptions {
  readonly gateway: Gateway;
  readonly clock: Clock;
  readonly log: Log;
}

const renewShare = 1 / 3;
const retryMs = 250;
/** Of the lease, what one renewal may take over all endpoints: it begins with two thirds of the lease left. */
const callShare = 1 / 2;

interface Grant {
  readonly ID?: string;
  readonly TTL?: string;
}

export class LeaseLoop implements Lease {
  readonly id: string;
  readonly ttlMs: number;
  validUntilMs: number;
  readonly #options: LeaseOptions;
  readonly #ended = new AbortController();
  readonly #listeners = new Set<(reason: string) => void>();
  #lost: string | undefined;
  /** Fires when the lease is over, whatever the renewals do meanwhile. */
  #timer: NodeJS.Timeout | undefined;

  private constructor(options: LeaseOptions, { id, ttlMs, sentMs }: { id: string; ttlMs: number; sentMs: number }) {
    this.#options = options;
    this.id = id;
    this.ttlMs = ttlMs;
    this.validUntilMs = sentMs + ttlMs;
    this.#watchClock();
    void this.#run();
  }

  /** Rejects as calls do. A lease that was granted though nobody heard of it ends by itself. */
  static async grant(options: LeaseOptions, ttlMs: number, signal: AbortSignal | undefined): Promise<LeaseLoop> {
    const { gateway, clock } = options;
    const sentMs = clock.monotonicMs();
    const granted = await gateway.call<Grant>({
      path: 'lease/grant',
      body: { TTL: String(Math.ceil(ttlMs / 1000)) },
      idempotent: true,
      ...(signal && { signal }),
    });
    return new LeaseLoop(options, { id: granted.ID ?? '0', ttlMs: ttlOf(granted), sentMs });
  }

  /** Rejects with ETCD_LEASE_ENDED, and as calls do. */
  static async adopt(options: LeaseOptions, id: string, signal: AbortSignal | undefined): Promise<LeaseLoop> {
    const sentMs = options.clock.monotonicMs();
    const ttlMs = await renew(options.gateway, id, options.gateway.timeoutMs, signal);
    if (ttlMs > 0) return new LeaseLoop(options, { id, ttlMs, sentMs });
    throw new PrimedError('ETCD_LEASE_ENDED', `etcd does not know the lease ${id} any more.`, { id });
  }

  valid(): boolean {
    return !this.#ended.signal.aborted && this.#options.clock.monotonicMs() < this.validUntilMs;
  }

  onLost(listener: (reason: string) => void): () => void {
    if (this.#lost !== undefined) listener(this.#lost);
    else this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** When no renewals are sent any more, for whatever reason. */
  onEnd(listener: () => void): void {
    this.#ended.signal.addEventListener('abort', listener, { once: true });
  }

  async revoke(): Promise<void> {
    this.abandon();
    try {
      await this.#options.gateway.call({ path: 'lease/revoke', body: { ID: this.id }, idempotent: true });
    } catch (error) {
      if (!(error instanceof PrimedError) || error.code !== 'ETCD_LEASE_ENDED') throw error;
    }
  }

  abandon(): void {
    clearTimeout(this.#timer);
    this.#listeners.clear();
    this.#ended.abort();
  }

  async #run(): Promise<void> {
    const { signal } = this.#ended;
    let pauseMs = this.ttlMs * renewShare;
    while (!signal.aborted) {
      try {
        await wait(pauseMs, undefined, { signal, ref: false });
      } catch {
        return;
      }
      pauseMs = await this.#renew(signal);
    }
  }

  /** Milliseconds to the next renewal. */
  async #renew(signal: AbortSignal): Promise<number> {
    const { gateway, clock, log } = this.#options;
    const sentMs = clock.monotonicMs();
    try {
      const ttlMs = await renew(gateway, this.id, Math.min(gateway.timeoutMs, this.ttlMs * callShare), signal);
      if (signal.aborted) return 0;
      if (ttlMs <= 0) {
        this.#end('etcd does not know the lease any more');
        return 0;
      }
      this.validUntilMs = Math.max(this.validUntilMs, sentMs + ttlMs);
      this.#watchClock();
      return Math.max(0, this.ttlMs * renewShare - (clock.monotonicMs() - sentMs));
    } catch (error) {
      if (signal.aborted) return 0;
      const { code, message } = reportOf(error);
      if (code === 'ETCD_LEASE_ENDED') this.#end(message);
      else log.debug({ lease: this.id, code, reason: message }, 'a lease of etcd was not renewed; it is tried again');
      return Math.min(retryMs, this.ttlMs * renewShare);
    }
  }

  #watchClock(): void {
    clearTimeout(this.#timer);
    const leftMs = this.validUntilMs - this.#options.clock.monotonicMs();
    this.#timer = setTimeout(
      () => {
        // A timer may be a little early.
        if (this.#options.clock.monotonicMs() < this.validUntilMs) this.#watchClock();
        else this.#end(`it could not be renewed within ${this.ttlMs} ms`);
      },
      Math.max(1, leftMs),
    );
    this.#timer.unref();
  }

  #end(reason: string): void {
    if (this.#ended.signal.aborted) return;
    this.#lost = reason;
    const listeners = [...this.#listeners];
    this.abandon();
    for (const listener of listeners) listener(reason);
  }
}

/** For how long it is renewed, in milliseconds; 0 when etcd does not know it. */
async function renew(gateway: Gateway, id: string, timeoutMs: number, signal?: AbortSignal): Promise<number> {
  const { result = {} } = await gateway.call<{ result?: Grant }>({
    path: 'lease/keepalive',
    body: { ID: id },
    idempotent: true,
    timeoutMs,
    ...(signal && { signal }),
  });
  return ttlOf(result);
}

function ttlOf({ TTL: seconds = '0' }: Grant): number {
  return Number(seconds) * 1000;
}
