/** The words of the domain, as types. Branded so that an id, an index and an offset are not exchanged by accident. */

/** A full UFS path as the user writes it: `s3://bucket/key` or `file:///dir/name`. Keys are not percent-encoded. */
export type UfsPath = string & { readonly __brand: 'UfsPath' };
/** One submission that started work (UUID). */
export type JobId = string & { readonly __brand: 'JobId' };
/** One run of one job (UUID); a restart of the daemon continues the run, a resumption is a new run. */
export type RunId = string & { readonly __brand: 'RunId' };
/**
 * What a cached file belongs to: the job that began the load. A job that resumes a stopped one inherits its load
 * id, so that "loaded anew" and "already loaded by this very load" can be told apart after any crash.
 */
export type LoadId = string & { readonly __brand: 'LoadId' };
/** One version of one file in one worker's store; never reused. */
export type FileId = number & { readonly __brand: 'FileId' };
/** Which of a worker's stores. */
export type StoreIndex = number & { readonly __brand: 'StoreIndex' };

/** A worker over restarts: its host, or what its configuration says. */
export type WorkerId = string & { readonly __brand: 'WorkerId' };

/** What identifies the bytes of an object: two objects with equal versions have equal bytes. */
export interface ObjectVersion {
  /** As the origin sends it, without the surrounding quotes. */
  readonly etag: string;
  readonly sizeBytes: number;
  /** Milliseconds since the epoch. */
  readonly lastModifiedMs: number;
  readonly versionId?: string;
}

/** One line of a manifest: a file and the version that every later step is pinned to. */
export interface ManifestEntry extends ObjectVersion {
  readonly path: UfsPath;
}

/** A half-open range of bytes of a file. */
export interface ByteRange {
  readonly offset: number;
  readonly length: number;
}

/** A part of an object, as it was uploaded. */
export interface ObjectPart {
  /** Not empty. */
  readonly range: ByteRange;
  /** Parts of the object. */
  readonly parts: number;
}

/** A contiguous run of a store file; offset and length are multiples of `alignBytes`. */
export interface Extent {
  readonly store: StoreIndex;
  readonly offset: number;
  readonly length: number;
}

/** Version ids are compared where both sides know one: HEAD says them, a listing does not. */
export function sameVersion(a: ObjectVersion, b: ObjectVersion): boolean {
  if (a.etag !== b.etag || a.sizeBytes !== b.sizeBytes) return false;
  return a.versionId === undefined || b.versionId === undefined || a.versionId === b.versionId;
}

/** `lost`: durable on a worker that is gone. */
export type DiscardReason = 'failed' | 'changed' | 'stopped' | 'crash' | 'replaced' | 'lost';
export const discardReasons: readonly DiscardReason[] = ['failed', 'changed', 'stopped', 'crash', 'replaced', 'lost'];

/**
 * The durable account of one run on one worker. At rest
 * `originBytes + peerBytes = cachedBytes + sum(discardedBytes)`; while parts are in flight the left side is larger.
 */
export interface Ledger {
  originBytes: number;
  /** Copied from other workers. */
  peerBytes: number;
  cachedBytes: number;
  discardedBytes: Record<DiscardReason, number>;
}

export function emptyLedger(): Ledger {
  return {
    originBytes: 0,
    peerBytes: 0,
    cachedBytes: 0,
    discardedBytes: { failed: 0, changed: 0, stopped: 0, crash: 0, replaced: 0, lost: 0 },
  };
}

export function addLedgers(a: Ledger, b: Ledger): Ledger {
  const sum = emptyLedger();
  sum.originBytes = a.originBytes + b.originBytes;
  sum.peerBytes = a.peerBytes + b.peerBytes;
  sum.cachedBytes = a.cachedBytes + b.cachedBytes;
  for (const reason of discardReasons) sum.discardedBytes[reason] = a.discardedBytes[reason] + b.discardedBytes[reason];
  return sum;
}

export function ledgerDifference(ledger: Ledger): number {
  const discarded = discardReasons.reduce((sum, reason) => sum + ledger.discardedBytes[reason], 0);
  return ledger.originBytes + ledger.peerBytes - ledger.cachedBytes - discarded;
}

/** The ledger when nothing is in flight any more: what was is dropped, as by a stop. */
export function ledgerAtRest(ledger: Ledger): Ledger {
  const { discardedBytes } = ledger;
  const inFlightBytes = ledgerDifference(ledger);
  return { ...ledger, discardedBytes: { ...discardedBytes, stopped: discardedBytes.stopped + inFlightBytes } };
}

/** Milliseconds of a monotonic clock, and of the wall clock; passed in wherever a decision depends on time. */
export interface Clock {
  monotonicMs(): number;
  wallMs(): number;
}

/** Uniform in [0, 1); passed in wherever a decision depends on chance. */
export type Random = () => number;

/** What rooms log through; pino fits it. */
export interface Log {
  debug(facts: object, message: string): void;
  info(facts: object, message: string): void;
  warn(facts: object, message: string): void;
  error(facts: object, message: string): void;
}
