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
  /** Sent behind the body; for origins of which `keepsChecksums` says that they take it. */
  readonly trailer?: PassedTrailer;
  readonly signal: AbortSignal;
}

/** A checksum that is known when the last piece of a body has come. */
export interface PassedTrailer {
  /** `x-amz-checksum-…` */
  readonly name: string;
  readonly value: () => string;
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
  /**
   * Whether the origin takes checksums behind bodies and of parts, and keeps them; found out before the first byte of a body is sent,
   * about once an hour for each bucket. False where that could not be found out. Rejects with the signal's reason.
   */
  keepsChecksums(path: UfsPath, signal: AbortSignal): Promise<boolean>;
  /** Whether both lie at the same endpoint, under the same credentials. */
  isSameOrigin(one: UfsPath, other: UfsPath): boolean;
}
