/** What servers see of files, whoever has them. */
import type { ListingOrder } from '../../core/listing.ts';
import type { Peer } from '../../core/peers.ts';
import type { ByteRange, ObjectPart, ObjectVersion, UfsPath } from '../../core/types.ts';

/** What is known of a file before its bytes are. */
export interface FoundFile extends ObjectVersion {
  readonly path: UfsPath;
  /** `partial`: not every byte of it is anywhere; while it is not asked for, that some may be elsewhere. */
  readonly state: 'complete' | 'partial' | 'metadata' | 'loading';
  /** What the origin says of it beside its version: core/attributes. */
  readonly attributes: string;
  /** Distinct bytes, as far as they were asked for. */
  readonly cachedBytes: number;
}

export interface Found {
  readonly file: FoundFile;
  /** What is known when all that may have a part of it were asked. Rejects with PEER_FAILED when one did not answer. */
  settled(): FoundFile | Promise<FoundFile>;
  /** Throws FILE_NOT_CACHED when it has gone. */
  open(): OpenedFile;
}

/** A file that is being read: what is read of it stays until `close`. */
export interface OpenedFile {
  /** Another one after `prepare` has said that it changed. */
  readonly file: FoundFile;
  /**
   * Makes sure that the range is somewhere. False: `file` is another version by now, which has to be looked at again.
   * Rejects with FILE_NOT_CACHED, and with PEER_FAILED when a worker did not answer.
   */
  prepare(range: ByteRange): true | Promise<boolean>;
  /** After `prepare`: another worker that has all of the range, of which this one has nothing. */
  elsewhere?(range: ByteRange): Peer | undefined;
  /** Exactly the bytes of the range of this one version, each checked where it lies. */
  read(range: ByteRange): AsyncIterable<Uint8Array>;
  close(): void;
}

export interface ListedPage {
  readonly files: readonly { readonly key: string; readonly record: FoundFile }[];
  readonly commonPrefixes: readonly string[];
  readonly next?: string;
}

/** What servers need of it. */
export interface ReadableFiles {
  find(path: UfsPath): Found | undefined | Promise<Found | undefined>;
  /** Whole files, and those of which only metadata are cached. Rejects with PEER_FAILED rather than leave any out. */
  list(order: ListingOrder): Promise<ListedPage>;
  /** Whether anything is known below a prefix, what is loading included. */
  knows(prefix: string): boolean | Promise<boolean>;
  /**
   * Where a part of an object lies that was uploaded in parts. Undefined, or absent: nobody says. Rejects with ORIGIN_*.
   */
  part?(file: FoundFile, number: number): Promise<ObjectPart | undefined>;
  /** Buckets that configuration names as readable, cached or not; of others it is known when something of them is cached. */
  readonly namedBuckets: readonly string[];
}
