/** What callers say to an embedded origin and hear from it, whether it lives in their process or in another. */

import type { S3Credentials } from '../../server/s3/signature.ts';
import type { DatasetSpec } from '../dataset.ts';
import type { FaultReport, FaultRule } from './faults.ts';
import type { ChecksumName, HashLimits, ObjectSpec } from './objects.ts';
import type { OriginStats, RequestRecord } from './records.ts';

export interface OriginKnobs {
  /** Before every answer. */
  readonly latencyMs?: number;
  /**
   * Body bytes over all connections together; 0: no limit. Another limit holds for answers under way too; where there is none any
   * more they keep the last one.
   */
  readonly bytesPerSecond?: number;
  /** Body bytes of each connection; 0: no limit. */
  readonly connectionBytesPerSecond?: number;
}

/** Plain data: the same options start an origin here or in another process. */
export interface OriginOptions extends HashLimits {
  readonly objects?: readonly ObjectSpec[];
  readonly dataset?: DatasetSpec;
  /** The bucket of objects that name none, and of the dataset. Default `demo`. */
  readonly bucket?: string;
  /** More buckets, empty ones. */
  readonly buckets?: readonly string[];
  /** Requests must be signed with one of these. Absent: anonymous, and signatures are not looked at. */
  readonly credentials?: readonly S3Credentials[];
  readonly region?: string;
  /** Default 127.0.0.1. */
  readonly host?: string;
  /** Default: one that is free. */
  readonly port?: number;
  /** PEM texts; with them the origin speaks TLS only. */
  readonly tls?: { readonly key: string; readonly cert: string };
  /** Answers carry version ids, and older versions stay readable by them. */
  readonly versioned?: boolean;
  /** Whole-object checksums that are stated when asked for; default CRC64NVME. */
  readonly checksums?: readonly ChecksumName[];
  /** Requests that the log keeps; default 10,000. */
  readonly logLimit?: number;
  readonly knobs?: OriginKnobs;
}

export interface PutSpec {
  readonly key: string;
  readonly body: Uint8Array | string;
  readonly bucket?: string;
  readonly contentType?: string;
  readonly lastModifiedMs?: number;
}

/** A key, with its bucket where that is not the default one. */
export interface ObjectName {
  readonly key: string;
  readonly bucket?: string;
}

/** What can be told to a running origin. */
export interface OriginCommands {
  /** From now on; the id is for `fired`. */
  setFault(rule: FaultRule): number;
  /** Rules stop firing; their counts stay. */
  clearFaults(): void;
  fired(id: number): number;
  faults(): FaultReport[];
  setKnobs(knobs: OriginKnobs): void;
  setCredentials(credentials: readonly S3Credentials[]): void;
  stats(): OriginStats;
  /** The last requests, in order of their ends. */
  requestLog(): RequestRecord[];
  /** Empties log and counters. */
  resetStats(): void;
  /** Adds a generated object, or replaces one. */
  add(spec: ObjectSpec): void;
  put(spec: PutSpec): void;
  /** The object's next version takes its place; returns the version's number, undefined where there is no object. */
  bump(name: ObjectName & { readonly sizeBytes?: number }): number | undefined;
  remove(name: ObjectName): boolean;
  /** Computes every ETag now, so that the first listing does not wait for them. Returns the number of objects. */
  prepareEtags(): number;
  /** Closes every connection as it stands; new ones are welcome. */
  dropConnections(): void;
}

export interface OriginAddress {
  /** `http://127.0.0.1:port`, without a slash at the end. */
  readonly endpoint: string;
  readonly host: string;
  readonly port: number;
  readonly bucket: string;
}

/** An origin in this process. */
export interface EmbeddedOrigin extends OriginAddress, OriginCommands {
  readonly requests: readonly RequestRecord[];
  /** Ends all connections; resolves when the port is closed. */
  close(): Promise<void>;
}

type Remote<T> = T extends (...args: infer A) => infer R ? (...args: A) => Promise<Awaited<R>> : never;

/** An origin in a process of its own: the same commands, each answered by a promise. */
export type SpawnedOrigin = OriginAddress & {
  readonly [name in keyof OriginCommands]: Remote<OriginCommands[name]>;
} & {
  readonly pid: number;
  /** CPU time of the process so far, user and system. */
  cpuSeconds(): Promise<number>;
  close(): Promise<void>;
};
