/**
 * What this program uses of etcd: keys, transactions, leases and watches, over etcd's JSON gateway (`/v3/…`, etcd 3.4 and later).
 *
 *   caller ──▶ Etcd ──▶ Gateway ──▶ endpoint, else the next one
 *               │ ▲
 *               │ └── Lease    a loop that renews it, and a clock that ends it
 *               └──── Watch    a loop that reads, watches, and goes on from where it was
 *
 * Who waits for whom: each call has a deadline; loops of leases and watches try on until they are closed. Nothing here
 * survives a crash, nor has to: a lease ends by itself in etcd, and a watch begins by reading.
 *
 * Errors: ETCD_UNAVAILABLE when no endpoint answered, or etcd has no leader; its fact `maybeDone` is true when a write may
 * have been done all the same, so that the caller has to look. ETCD_REFUSED when etcd does not want the request: credentials,
 * permissions, its own limits. ETCD_LEASE_ENDED for a write under a lease that etcd does not know any more.
 */
import type { Clock, Log } from '../../core/types.ts';

/** A revision counts the writes of one etcd cluster: it is never given twice, and orders all of them. */
export type Revision = number;

export interface EtcdEntry {
  readonly key: string;
  readonly value: Buffer;
  readonly createRevision: Revision;
  readonly modRevision: Revision;
  /** How often it was written since it was made; 1 for a new one. */
  readonly version: number;
  /** The lease that it goes with; undefined without one. */
  readonly lease: string | undefined;
}

export interface RangeOptions {
  /** Entries at most; 100,000 by default. */
  readonly limit?: number;
  /** As it was at this revision. Rejects with ETCD_COMPACTED where etcd has forgotten that. */
  readonly revision?: Revision;
  /** Entries come without their values. */
  readonly keysOnly?: boolean;
  readonly signal?: AbortSignal;
}

export interface EtcdRange {
  /** By key. */
  readonly entries: readonly EtcdEntry[];
  /** Which state this was. */
  readonly revision: Revision;
  /** Of the etcd cluster, as its JSON has it: two that were set up apart, also of one backup, have two. */
  readonly etcdId?: string;
  /** There are more than `limit`. */
  readonly more: boolean;
}

/** What must hold of a key. */
export type Compare =
  | { readonly key: string; readonly exists: boolean }
  | { readonly key: string; readonly modRevision: Revision }
  | { readonly key: string; readonly createRevision: Revision }
  | { readonly key: string; readonly value: string | Uint8Array }
  | { readonly key: string; readonly lease: string };

export type Operation =
  | { readonly put: string; readonly value: string | Uint8Array; readonly lease?: string }
  | { readonly delete: string }
  | { readonly deletePrefix: string }
  | { readonly get: string }
  | { readonly range: string; readonly limit?: number };

export interface Transaction {
  /** All have to hold. */
  readonly compare: readonly Compare[];
  readonly success?: readonly Operation[];
  readonly failure?: readonly Operation[];
  readonly signal?: AbortSignal;
}

export interface TransactionResult {
  /** Whether the comparisons held, and `success` was done; else `failure` was. */
  readonly succeeded: boolean;
  /** Of etcd when it was done: that of all keys that it wrote. */
  readonly revision: Revision;
  /** One for each operation that was done, in their order. */
  readonly results: readonly OperationResult[];
}

export interface OperationResult {
  /** What `get` and `range` found; empty for others. */
  readonly entries: readonly EtcdEntry[];
  /** How many keys were deleted. */
  readonly deleted: number;
}

export interface CallOptions {
  readonly signal?: AbortSignal;
}

export interface Lease {
  /** As etcd writes it in its JSON: a decimal number of up to 63 bits. */
  readonly id: string;
  /** As etcd granted it: whole seconds, and no less than it allows. */
  readonly ttlMs: number;
  /**
   * On the monotonic clock: until then etcd gives nobody what is held under the lease, as it counts from the last renewal
   * that it answered, and from when that was sent. Work that must not be done twice is begun only before.
   */
  readonly validUntilMs: number;
  /** False as soon as `validUntilMs` is over, also before `onLost` was called. */
  valid(): boolean;
  /**
   * Calls `listener` once, with the reason, when etcd says that it does not know the lease, or when it could not be renewed
   * in time; at once if that was before. Not after `revoke` or `abandon`. Returns how to end that.
   */
  onLost(listener: (reason: string) => void): () => void;
  /** Ends the renewals, and the lease with all of its keys. Rejects as calls do; the lease then ends by itself. */
  revoke(): Promise<void>;
  /** Ends the renewals only: the lease ends by itself. */
  abandon(): void;
}

export type WatchEvent =
  | { readonly type: 'put'; readonly entry: EtcdEntry }
  | { readonly type: 'delete'; readonly key: string; readonly modRevision: Revision };

export interface WatchOptions {
  readonly prefix: string;
  /** Events from this one on; without it the watch begins with `onReset`. */
  readonly fromRevision?: Revision;
  /** All that there is: at the beginning, and whenever etcd has forgotten what came after what was last heard. */
  readonly onReset: (entries: readonly EtcdEntry[], revision: Revision, etcdId?: string) => void;
  /** Changes, in their order, none left out or told twice; those of one revision come together. `revision`: of the last. */
  readonly onEvents: (events: readonly WatchEvent[], revision: Revision) => void;
  /** With undefined when etcd is heard, with an error when it is not; each time that changes. */
  readonly onHealth?: (problem: Error | undefined) => void;
}

export interface Watch {
  /** Why etcd is not heard; undefined while it is. */
  problem(): Error | undefined;
  close(): void;
}

export interface Etcd {
  get(key: string, options?: CallOptions): Promise<EtcdEntry | undefined>;
  /** Keys that begin with `prefix`, all of one revision. */
  range(prefix: string, options?: RangeOptions): Promise<EtcdRange>;
  put(key: string, value: string | Uint8Array, options?: CallOptions & { lease?: string }): Promise<Revision>;
  /** Whether it was there. */
  delete(key: string, options?: CallOptions): Promise<boolean>;
  txn(transaction: Transaction): Promise<TransactionResult>;
  /** A lease, and the loop that renews it every third of its time. `ttlMs` is rounded up to seconds. */
  grantLease(ttlMs: number, options?: CallOptions): Promise<Lease>;
  /** The loop for a lease that was granted before, and may live on in etcd. Rejects with ETCD_LEASE_ENDED if it does not. */
  adoptLease(id: string, options?: CallOptions): Promise<Lease>;
  watchPrefix(options: WatchOptions): Watch;
  /** Ends watches, renewals and connections; leases end by themselves. */
  close(): Promise<void>;
}

export interface EtcdOptions {
  /** `http://host:port` or `https://host:port`, at least one. */
  readonly endpoints: readonly string[];
  readonly username?: string;
  readonly password?: string;
  /** PEM texts. */
  readonly tls?: { readonly ca?: string; readonly cert?: string; readonly key?: string };
  /** Longest time of a call, over all endpoints. */
  readonly timeoutMs: number;
  readonly clock: Clock;
  readonly log: Log;
  /** How long a watch may be silent before it is begun anew; 3 s by default. */
  readonly watchSilenceMs?: number;
}
