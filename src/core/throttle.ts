/**
 * How many requests a worker keeps in flight against one origin: additive increase, multiplicative decrease, as TCP
 * does it. One 503 SlowDown or 429 halves the limit for the whole worker; a burst of them counts once, because they
 * answer requests that were sent before the first one was heard.
 */
export interface Throttle {
  /** Fractional, so that growth by less than one request is not lost. */
  readonly limit: number;
  readonly max: number;
  readonly cutAtMs: number;
  /** No new request before this. */
  readonly holdUntilMs: number;
}

const cutFactor = 0.5;
const longestHoldMs = 10_000;

export function makeThrottle(max: number): Throttle {
  return { limit: max, max, cutAtMs: Number.NEGATIVE_INFINITY, holdUntilMs: Number.NEGATIVE_INFINITY };
}

export function throttled(
  state: Throttle,
  nowMs: number,
  options: { cooldownMs: number; retryAfterMs?: number | undefined },
): Throttle {
  const holdUntilMs = Math.max(state.holdUntilMs, nowMs + Math.min(options.retryAfterMs ?? 0, longestHoldMs));
  if (nowMs - state.cutAtMs < options.cooldownMs) return { ...state, holdUntilMs };
  return { ...state, limit: Math.max(1, state.limit * cutFactor), cutAtMs: nowMs, holdUntilMs };
}

/** After `count` requests succeeded: about one more in flight for each round of `limit` answers. */
export function succeeded(state: Throttle, count: number): Throttle {
  if (state.limit >= state.max) return state;
  return { ...state, limit: Math.min(state.max, state.limit + count / state.limit) };
}

/** Whole requests allowed in flight. */
export function allowed(state: Throttle): number {
  return Math.max(1, Math.floor(state.limit));
}
