/** Writes of clients that are passed to the origin: what the S3 port and the control plane of the origins say to each other. */
import type { UfsPath } from './types.ts';

/** A write of a client, for the origin of its path, under the credentials of that origin. */
export interface PassedWrite {
  readonly method: string;
  readonly query: Readonly<Record<string, string>>;
  /** In lower case, without those of the connection and of the signature. */
  readonly headers: Readonly<Record<string, string>>;
  /** In hex, where it was said; it is said to the origin too. */
  readonly sha256?: string;
  /** Exactly `length` bytes. Where it throws, nothing has become of the write. */
  readonly body: AsyncIterable<Uint8Array>;
  readonly length: number;
  readonly signal: AbortSignal;
}

export interface PassedAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: AsyncIterable<Uint8Array>;
}

export interface WritableOrigins {
  /**
   * The origin's answer, whatever it is. Sent once: a body that went by cannot be sent again. Rejects with what the body throws,
   * and with ORIGIN_*.
   * @param path of the key, or of the bucket
   */
  write(path: UfsPath, write: PassedWrite): Promise<PassedAnswer>;
  /** Whether both lie at the same endpoint, under the same credentials. */
  isSameOrigin(one: UfsPath, other: UfsPath): boolean;
}
