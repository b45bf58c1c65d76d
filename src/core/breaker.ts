/**
 * Whether somebody who may be unreachable is asked, so that his silence is paid for once and not by everybody. Pure.
 *
 * ```
 *   closed ── he fails ──▶ open ── its time is over, somebody would ask ──▶ half-open: one probe, by nobody who waits
 *     ▲                     ▲  └───────────── he answers ──────────────┐       │
 *     └─────────────────────┼──────────────────────────────────────────┴───────┤
 *                           └───────────────────── he fails, for longer ───────┘
 * ```
 *
 * Who fails again soon after he has answered is left alone for longer than before: one who answers what is small, and nothing
 * else, would be tried at full price again and again.
 */
import type { Random } from './types.ts';

export interface Breaker {
  readonly state: 'closed' | 'open' | 'half-open';
  /** How long it was open, or is to be; 0: it never was. */
  readonly backoffMs: number;
  /** Of one that is open when that ends; else when it became what it is. */
  readonly atMs: number;
}

export const closedBreaker: Breaker = { state: 'closed', backoffMs: 0, atMs: Number.NEGATIVE_INFINITY };

export const firstBackoffMs = 3_000;
export const longestBackoffMs = 15_000;
/** Each time is between 3/4 and 5/4 of it: those who saw him fail together do not probe together. */
const jitterShare = 0.5;
/** Who has answered for so long is as good as new. */
export const steadyMs = 60_000;
/** A probe that says nothing for so long is none. */
export const probeLimitMs = 10_000;

/** He did not answer. What fails while it is open had begun before, and says nothing new. */
export function failedAt(breaker: Breaker, nowMs: number, random: Random): Breaker {
  const { state, backoffMs, atMs } = breaker;
  if (state === 'open' && nowMs < atMs) return breaker;
  const isNew = backoffMs === 0 || (state === 'closed' && nowMs - atMs >= steadyMs);
  const next = isNew ? firstBackoffMs : Math.min(longestBackoffMs, backoffMs * 2);
  const factor = 1 - jitterShare / 2 + random() * jitterShare;
  return { state: 'open', backoffMs: next, atMs: nowMs + next * factor };
}

/** He answered, whoever had asked. */
export function answeredAt(breaker: Breaker, nowMs: number): Breaker {
  return breaker.state === 'closed' ? breaker : { state: 'closed', backoffMs: breaker.backoffMs, atMs: nowMs };
}

/** Somebody would ask him: whether he had better ask others first, and whether a probe is due, which the answer counts as begun. */
export function wantedAt(
  breaker: Breaker,
  nowMs: number,
): { readonly breaker: Breaker; readonly avoid: boolean; readonly probe: boolean } {
  const { state, backoffMs, atMs } = breaker;
  if (state === 'closed') return { breaker, avoid: false, probe: false };
  const isDue = nowMs >= (state === 'open' ? atMs : atMs + probeLimitMs);
  if (!isDue) return { breaker, avoid: true, probe: false };
  return { breaker: { state: 'half-open', backoffMs, atMs: nowMs }, avoid: true, probe: true };
}
