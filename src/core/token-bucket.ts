/**
 * A limit on something a second: bytes, or requests. Receiving may run the bucket into debt (what the kernel hands over is
 * not known before), and the debt is paid before anything more is granted: so the long-run rate is exact, and the
 * error of one second is at most the burst plus the debt.
 */
export interface TokenBucket {
  readonly perSecond: number;
  readonly burst: number;
  readonly tokens: number;
  readonly atMs: number;
}

/** 20 ms of the rate: far below 5% of a 1 s window, far above the 5 ms at which it is refilled. */
const burstSeconds = 0.02;
/** Of bytes: what comes with the head of an answer. */
export const leastBurstBytes = 4096;
/** Tokens are shared as an Int32; a rate that needs more is none that any machine has. */
const largestBurst = 2 ** 30;

/** A rate of 0 grants nothing, ever. */
export function makeBucket(perSecond: number, nowMs: number, leastBurst: number = leastBurstBytes): TokenBucket {
  const burst = perSecond === 0 ? 0 : Math.min(largestBurst, Math.max(leastBurst, perSecond * burstSeconds));
  return { perSecond, burst, tokens: burst, atMs: nowMs };
}

export function refill(bucket: TokenBucket, nowMs: number): TokenBucket {
  const elapsedMs = Math.max(0, nowMs - bucket.atMs);
  const tokens = Math.min(bucket.burst, bucket.tokens + (bucket.perSecond * elapsedMs) / 1000);
  return { ...bucket, tokens, atMs: nowMs };
}

export function spend(bucket: TokenBucket, count: number): TokenBucket {
  return { ...bucket, tokens: bucket.tokens - count };
}
