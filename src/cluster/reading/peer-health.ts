/**
 * Which other workers do not answer at the moment. The first who meets one waits for it as long as its limits say; all others ask
 * it only where nobody else will do, until a probe that nobody waits for has found it well again (core/breaker).
 */
import { answeredAt, type Breaker, closedBreaker, failedAt, wantedAt } from '../../core/breaker.ts';
import type { Peer } from '../../core/peers.ts';
import type { Log, Random } from '../../core/types.ts';

export interface PeerHealthOptions {
  /** Asks for a sign of life. What becomes of it is told by `failed` or `answered`; does not reject. */
  readonly probe: (peer: Peer) => Promise<void>;
  readonly now: () => number;
  readonly random: Random;
  readonly log?: Pick<Log, 'info' | 'warn'>;
  /** One that had answered does not. */
  readonly onBroke?: () => void;
}

interface Known {
  breaker: Breaker;
  /** Since when it is avoided, where it is. */
  sinceMs: number | undefined;
}

/** Those that have failed; the one that did so first is forgotten first, and would be met anew. */
const mostKnown = 4096;

export class PeerHealth {
  readonly #options: PeerHealthOptions;
  readonly #known = new Map<string, Known>();

  constructor(options: PeerHealthOptions) {
    this.#options = options;
  }

  /** Whether others are to be asked first. */
  avoids(peer: Peer): boolean {
    const known = this.#known.get(keyOf(peer));
    if (known === undefined) return false;
    const { breaker, avoid, probe } = wantedAt(known.breaker, this.#options.now());
    known.breaker = breaker;
    if (probe) void this.#options.probe(peer);
    return avoid;
  }

  /** @param why of the log */
  failed(peer: Peer, why: string): void {
    const { now, random, log, onBroke } = this.#options;
    const nowMs = now();
    const known = this.#known.get(keyOf(peer)) ?? this.#add(peer);
    known.breaker = failedAt(known.breaker, nowMs, random);
    if (known.sinceMs !== undefined) return;
    known.sinceMs = nowMs;
    onBroke?.();
    const facts = { worker: peer.id, url: peer.url, error: why };
    log?.warn(facts, 'a worker does not answer: until it does, it is asked only for what nobody else has');
  }

  answered(peer: Peer): void {
    const known = this.#known.get(keyOf(peer));
    if (known?.sinceMs === undefined) return;
    const { now, log } = this.#options;
    const nowMs = now();
    const seconds = Math.round((nowMs - known.sinceMs) / 1000);
    known.breaker = answeredAt(known.breaker, nowMs);
    known.sinceMs = undefined;
    log?.info({ worker: peer.id, url: peer.url, seconds }, 'a worker answers again');
  }

  #add(peer: Peer): Known {
    const known: Known = { breaker: closedBreaker, sinceMs: undefined };
    this.#known.set(keyOf(peer), known);
    if (this.#known.size > mostKnown) this.#known.delete(this.#known.keys().next().value!);
    return known;
  }
}

/** One that has come back elsewhere is another one. */
function keyOf({ id, url }: Peer): string {
  return `${id} ${url}`;
}
