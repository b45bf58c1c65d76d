/**
 * A limit on bytes per second. Tokens are bytes; receiving may run the bucket into debt (what the kernel hands over is
 * not known before), and the debt is paid before anything more is granted: so the long-run rate is exact, and the
 * error of one second is at most the burst plus the debt.
 */
export interface TokenBucket {
  readonly bytesPerSecond: number;
  readonly burstBytes: number;
  readonly tokens: number;
  readonly atMs: number;
}

/** 20 ms of the rate: far below 5% of a 1 s window, far above the 5 ms at which it is refilled. */
const burstSeconds = 0.02;
const smallestBurstBytes = 4096;
/** The tokens of a run are shared as an Int32; a rate that needs more is none that any machine has. */
const largestBurstBytes = 2 ** 30;

export function makeBucket(bytesPerSecond: number, nowMs: number): TokenBucket {
  const burstBytes = Math.min(largestBurstBytes, Math.max(smallestBurstBytes, bytesPerSecond * burstSeconds));
  return { bytesPerSecond, burstBytes, tokens: burstBytes, atMs: nowMs };
}

export function refill(bucket: TokenBucket, nowMs: number): TokenBucket {
  const elapsedMs = Math.max(0, nowMs - bucket.atMs);
  const tokens = Math.min(bucket.burstBytes, bucket.tokens + (bucket.bytesPerSecond * elapsedMs) / 1000);
  return { ...bucket, tokens, atMs: nowMs };
}

export function spend(bucket: TokenBucket, bytes: number): TokenBucket {
  return { ...bucket, tokens: bucket.tokens - bytes };
}
