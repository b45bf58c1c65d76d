/**
 * Whether and when a failed part is tried again. Pure: the caller passes the state of the budget and the random source.
 *
 * Two limits hold at once. A part has `maxAttempts`. A run has a budget: retries may not exceed a share of the requests
 * that succeeded, plus a floor; so an origin that is gone ends the run soon, however many files wait for it. Throttling
 * is exempt from the budget (the origin is well and asks for patience) and has its own, larger number of attempts.
 */
import type { Random } from './types.ts';

export interface RetrySettings {
  readonly maxAttempts: number;
  readonly maxThrottledAttempts: number;
  readonly baseMs: number;
  readonly maxMs: number;
  /** Retries allowed for each request that succeeded. */
  readonly budgetRatio: number;
  readonly budgetFloor: number;
}

export const defaultRetry: RetrySettings = {
  maxAttempts: 8,
  maxThrottledAttempts: 30,
  baseMs: 100,
  maxMs: 20_000,
  budgetRatio: 0.5,
  budgetFloor: 200,
};

/** Counted per run. */
export interface RetryBudget {
  succeeded: number;
  spent: number;
}

const hopeless = new Set(['changed', 'missing', 'denied', 'client', 'cancelled']);
/** A server that asks for more than this is answered with an attempt all the same. */
const longestRetryAfterMs = 60_000;

export type RetryDecision =
  | { readonly retry: true; readonly delayMs: number }
  | { readonly retry: false; readonly why: 'hopeless' | 'attempts' | 'budget' };

/** `attempt` counts from 1: the attempt that has just failed. Spends from the budget when it says retry. */
export function decideRetry(
  failure: { readonly cause: string; readonly attempt: number; readonly retryAfterMs?: number | undefined },
  settings: RetrySettings,
  budget: RetryBudget,
  random: Random,
): RetryDecision {
  if (hopeless.has(failure.cause)) return { retry: false, why: 'hopeless' };
  const throttled = failure.cause === 'throttled';
  if (failure.attempt >= (throttled ? settings.maxThrottledAttempts : settings.maxAttempts))
    return { retry: false, why: 'attempts' };
  if (!throttled) {
    if (budget.spent >= settings.budgetFloor + settings.budgetRatio * budget.succeeded)
      return { retry: false, why: 'budget' };
    budget.spent += 1;
  }
  const ceilingMs = Math.min(settings.maxMs, settings.baseMs * 2 ** (failure.attempt - 1));
  // half fixed, half random: never at once, never all together
  const jitteredMs = ceilingMs / 2 + (random() * ceilingMs) / 2;
  const askedMs = Math.min(failure.retryAfterMs ?? 0, longestRetryAfterMs);
  return { retry: true, delayMs: Math.max(jitteredMs, askedMs) };
}
