/**
 * A worker's side of membership: registers with the coordinator, renews the lease, and says goodbye.
 *
 *            accepted                   STALE, UNKNOWN
 *   register ────────▶ renew every third of the lease ────────▶ register
 *      │ ▲                  │  ▲
 *      ▼ │ refused          ▼  │ not reachable: the same call again, a little later each time
 *     wait                 wait
 *
 * One call is under way at a time, and none lasts as long as the time between two. Whether a lease still holds is for the
 * coordinator to say: while it is away, the epoch stays.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as wait } from 'node:timers/promises';
import { Transport } from '../client/transport.ts';
import { type ErrorCode, PrimedError } from '../core/errors.ts';
import type { LiveText } from '../core/live.ts';
import type { WorkerFigures, WorkerProtocols, WorkerReport } from '../core/membership.ts';
import type { ClientTls } from '../core/node-tls.ts';
import { originsHeader, originsText } from '../core/origin-use.ts';
import { clusterProtocol, protocolsHeader, rangeHeader } from '../core/protocol.ts';
import type { Log, Random, WorkerId } from '../core/types.ts';
import { useHeader, useText } from '../core/worker-use.ts';

export interface RegistrarOptions {
  /** `http://host:port` of the coordinator. */
  readonly coordinator: string;
  /** The cluster's. */
  readonly token?: LiveText;
  readonly tls?: ClientTls;
  readonly id: WorkerId;
  readonly address: Omit<WorkerReport, keyof WorkerProtocols | keyof WorkerFigures>;
  /** Asked at each call; must be cheap. */
  readonly figures: () => WorkerFigures;
  /** Why this worker must not be a member now; undefined: it may. Asked at each call; must be cheap. */
  readonly holdBack?: () => string | undefined;
  readonly log: Log;
  readonly random?: Random;
  readonly observe?: LeaseObserver;
}

/** Told about what only the metrics want to know. */
export interface LeaseObserver {
  /** What became of a call that registers or renews. */
  renewed(result: 'accepted' | 'refused' | 'unanswered'): void;
  /** A registration was accepted. */
  registered(): void;
}

export interface Registrar {
  /** The epoch that the coordinator gave last; undefined before the first one, and from a refusal to the next one. */
  epoch(): number | undefined;
  /** Why there is no epoch; undefined while there is one. For the health of the worker. */
  problem(): string | undefined;
  /** Calls `listener` with each new epoch, and with undefined when one was refused. Returns how to end that. */
  onEpoch(listener: (epoch: number | undefined) => void): () => void;
  /** Ends the calls and says goodbye, if there is someone to say it to. */
  close(): Promise<void>;
}

/** Until the coordinator has said what its lease is. */
const firstLeaseMs = 10_000;
const firstRetryMs = 200;
/** Shares of the lease: so often it is renewed, and so long a call may last. */
const renewShare = 1 / 3;
const callShare = 1 / 4;
const goodbyeLimitMs = 2_000;

/** What a registration can be refused for; trying again is of use only because someone may mend it. */
const refusals: ReadonlySet<ErrorCode> = new Set([
  'WORKER_CONFLICT',
  'WORKER_REFUSED',
  'UNAUTHENTICATED',
  'REQUEST_INVALID',
]);

/** Begins to register; `epoch()` says when that has succeeded. Throws REQUEST_INVALID for an address that is none. */
export function openRegistrar(options: RegistrarOptions): Registrar {
  return new HttpRegistrar(options);
}

class HttpRegistrar implements Registrar {
  readonly #options: RegistrarOptions;
  readonly #transport: Transport;
  /** One for each process: two processes of one worker are told apart by it. */
  readonly #instance = randomUUID();
  readonly #listeners = new Set<(epoch: number | undefined) => void>();
  readonly #ended = new AbortController();
  readonly #running: Promise<void>;
  #epoch: number | undefined;
  #problem: string | undefined = 'not registered yet';
  #leaseMs = firstLeaseMs;
  /** What the log has heard of: the code of a refusal, or that the coordinator is away. */
  #trouble: ErrorCode | undefined;
  #failures = 0;

  constructor(options: RegistrarOptions) {
    this.#options = options;
    this.#transport = new Transport({
      coordinator: options.coordinator,
      ...(options.token === undefined ? {} : { token: options.token }),
      ...(options.tls === undefined ? {} : { tls: options.tls }),
    });
    this.#running = this.#run();
  }

  epoch(): number | undefined {
    return this.#epoch;
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
    await this.#running;
    if (this.#epoch !== undefined) await this.#goodbye(this.#epoch);
    await this.#transport.close();
  }

  async #run(): Promise<void> {
    const { signal } = this.#ended;
    while (!signal.aborted) {
      const delayMs = await this.#call();
      await wait(delayMs, undefined, { signal }).catch(() => undefined);
    }
  }

  /** Registers or renews. Resolves with the time to the next call. */
  async #call(): Promise<number> {
    const startedMs = performance.now();
    const epoch = this.#epoch;
    const { address, figures, holdBack } = this.#options;
    const reason = holdBack?.();
    if (reason !== undefined) {
      await this.#leave(reason);
      return this.#leaseMs * renewShare;
    }
    try {
      const { use, origins = [], ...known } = figures();
      const answer = await this.#transport.json<{ epoch: number; leaseMs: number }>({
        method: 'PUT',
        path: this.#path,
        headers: {
          [protocolsHeader]: rangeHeader(clusterProtocol),
          ...(use && { [useHeader]: useText(use) }),
          ...(origins.length > 0 && { [originsHeader]: originsText(origins) }),
        },
        body: {
          ...address,
          ...known,
          instance: this.#instance,
          protocol: clusterProtocol.oldest,
          ...(epoch === undefined ? {} : { epoch }),
        },
        notFound: 'WORKER_REFUSED',
        signal: AbortSignal.any([this.#ended.signal, AbortSignal.timeout(this.#leaseMs * callShare)]),
      });
      this.#accepted(answer);
      return Math.max(0, this.#leaseMs * renewShare - (performance.now() - startedMs));
    } catch (error) {
      if (this.#ended.signal.aborted) return 0;
      return this.#failed(error, epoch);
    }
  }

  #accepted({ epoch, leaseMs }: { epoch: number; leaseMs: number }): void {
    this.#leaseMs = leaseMs;
    this.#failures = 0;
    this.#problem = undefined;
    this.#options.observe?.renewed('accepted');
    if (this.#trouble !== undefined) this.#options.log.info({ ...this.#facts, epoch }, 'the coordinator is back');
    this.#trouble = undefined;
    if (epoch === this.#epoch) return;
    this.#options.log.info({ ...this.#facts, epoch, leaseMs }, 'registered with the coordinator');
    this.#options.observe?.registered();
    this.#setEpoch(epoch);
  }

  /** Resolves as `#call` does. `epoch`: what the call that failed spoke for. */
  #failed(error: unknown, epoch: number | undefined): number {
    const { code, message } = troubleOf(error, this.#transport.url);
    const stale = code === 'WORKER_STALE' || code === 'WORKER_UNKNOWN';
    const refused = stale || refusals.has(code);
    this.#options.observe?.renewed(refused ? 'refused' : 'unanswered');
    if (refused && epoch !== undefined) {
      this.#options.log.warn({ ...this.#facts, epoch, code, reason: message }, 'the registration has ended');
      this.#setEpoch(undefined);
    }
    if (this.#epoch === undefined) this.#problem = message;
    if (stale && epoch !== undefined) return 0;
    const trouble = refused ? code : 'COORDINATOR_UNREACHABLE';
    if (this.#trouble !== trouble) {
      this.#trouble = trouble;
      const said = refused
        ? 'the coordinator refuses this worker; it tries on'
        : 'the coordinator is lost; it tries on';
      this.#options.log.warn({ ...this.#facts, code, reason: message }, said);
    }
    return this.#backOff();
  }

  /** Doubles up to the time between two renewals; half of it is random, so that workers do not come back all together. */
  #backOff(): number {
    const ceilingMs = Math.min(this.#leaseMs * renewShare, firstRetryMs * 2 ** this.#failures);
    this.#failures = Math.min(this.#failures + 1, 30);
    return ceilingMs / 2 + ((this.#options.random ?? Math.random)() * ceilingMs) / 2;
  }

  /** Until the next call that finds it may be a member: then it registers as after a loss. */
  async #leave(reason: string): Promise<void> {
    this.#problem = reason;
    const epoch = this.#epoch;
    if (epoch === undefined) return;
    this.#options.log.error({ ...this.#facts, epoch, reason }, 'this worker leaves the cluster until it may return');
    this.#setEpoch(undefined);
    await this.#goodbye(epoch);
  }

  async #goodbye(epoch: number): Promise<void> {
    try {
      await this.#transport.text({
        method: 'DELETE',
        path: this.#path,
        query: { instance: this.#instance, epoch },
        notFound: 'WORKER_UNKNOWN',
        signal: AbortSignal.timeout(Math.min(goodbyeLimitMs, this.#leaseMs)),
      });
    } catch (error) {
      // The lease says it as well, a little later.
      const { message } = troubleOf(error, this.#transport.url);
      this.#options.log.debug({ ...this.#facts, reason: message }, 'left without a goodbye');
    }
  }

  #setEpoch(epoch: number | undefined): void {
    this.#epoch = epoch;
    for (const listener of [...this.#listeners]) listener(epoch);
  }

  get #path(): string {
    return `/internal/v1/workers/${this.#options.id}`;
  }

  get #facts(): object {
    return { worker: this.#options.id, coordinator: this.#transport.url };
  }
}

/** A call that took too long ends without an error of the catalogue. */
function troubleOf(error: unknown, url: string): { code: ErrorCode; message: string } {
  if (error instanceof PrimedError) return error;
  const reason = error instanceof Error ? error.message : String(error);
  return { code: 'COORDINATOR_UNREACHABLE', message: `The coordinator at ${url} did not answer in time: ${reason}` };
}
