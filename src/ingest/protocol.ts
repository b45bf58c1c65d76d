/** What crosses between the worker's main thread and a lane, by a message port. Plain data, columns rather than rows. */
import type { LaneCredentials, LaneOrigin, OriginFailure, OriginTimeouts } from '../origin/types.ts';
import type { ThreadId } from '../platform/thread-priority.ts';
import type { ReadKind } from './whole-object.ts';

export interface LaneStart {
  readonly port: import('node:worker_threads').MessagePort;
  readonly laneIndex: number;
  readonly slotBytes: number;
  readonly slotCount: number;
  readonly maxSockets: number;
  readonly timeouts: OriginTimeouts;
  readonly diskEngine: 'auto' | 'io_uring' | 'threads';
  readonly storePaths: readonly string[];
  /** Rows for all lanes; this lane writes its own. */
  readonly counters: SharedArrayBuffer;
  readonly runBoard: SharedArrayBuffer;
  readonly limitBoard: SharedArrayBuffer;
}

/** A piece of a slot and its place in a store. */
export interface Transfer {
  readonly store: number;
  readonly fileOffset: number;
  readonly slotOffset: number;
  readonly length: number;
}

/** Parts that land in one slot and leave it in one write (several only where the store is fragmented). */
export interface WriteUnit {
  readonly kind: 'write';
  readonly id: number;
  readonly run: number;
  readonly originIndex: number;
  /** It comes from another worker. */
  readonly copied: boolean;
  /** Its requests are given up after a fraction of the timeouts (core/silence). */
  readonly hasty: boolean;
  /** It is told how those of its parts were answered that arrive: one of them was tried before. */
  readonly retried: boolean;
  readonly writes: readonly Transfer[];
  // one element a part
  readonly keys: readonly string[];
  readonly etags: readonly string[];
  readonly versionIds: readonly (string | undefined)[];
  readonly objectBytes: readonly number[];
  readonly lastModifiedMs: readonly number[];
  readonly offsets: readonly number[];
  readonly lengths: readonly number[];
  readonly slotOffsets: readonly number[];
}

/** Pages to read from a store and check. */
export interface CheckUnit {
  readonly kind: 'check';
  readonly id: number;
  readonly run: number;
  readonly reads: readonly Transfer[];
  // one element a page
  readonly slotOffsets: readonly number[];
  readonly lengths: readonly number[];
  readonly checksums: readonly number[];
  /** One element a file: where its first page of this unit lies, and how its digest is made. */
  readonly digests: readonly {
    readonly firstPage: number;
    readonly pages: number;
    readonly kind: 'md5' | ReadKind;
  }[];
}

export type ToLane =
  | { readonly type: 'unit'; readonly unit: WriteUnit | CheckUnit }
  | { readonly type: 'origin'; readonly origin: LaneOrigin }
  /** Nothing more comes of an origin. */
  | { readonly type: 'forget'; readonly originIndex: number }
  | { readonly type: 'credentials'; readonly originIndex: number; readonly credentials: LaneCredentials | undefined }
  | { readonly type: 'timeouts'; readonly timeouts: OriginTimeouts }
  | { readonly type: 'concurrency'; readonly limit: number }
  | { readonly type: 'cancel'; readonly run: number }
  | { readonly type: 'close' };

/**
 * Some or all parts of a unit. A unit whose last parts are late is reported in several pieces, so that one slow part
 * does not hold back the others; the slot is free after the piece with `final`.
 */
export interface WriteDone {
  readonly type: 'written';
  readonly id: number;
  readonly final: boolean;
  /** Indexes of the parts that arrived and are written. */
  readonly arrived: readonly number[];
  /** CRC32C by page of the parts that arrived, in the order of `arrived`. */
  readonly checksums: Uint32Array;
  /** What the answers said of the objects (core/attributes), in the order of `arrived`; one text where all said the same. */
  readonly attributes: string | readonly string[];
  /** How those were answered that arrived, in the order of `arrived`, where one of the unit was tried before. */
  readonly answers?: readonly PartAnswer[];
  /** Parts that did not arrive. */
  readonly failed: readonly FailedPart[];
  /** Bytes received beyond the length of the parts that arrived: an answer that had to be asked for again. */
  readonly surplusBytes: number;
  /** From asking to the first byte, of the parts that arrived, together. */
  readonly firstByteMs: number;
  /** errno of a failed write: then nothing of this piece is on disk. */
  readonly writeError?: number;
}

export interface PartAnswer {
  readonly httpStatus: number | undefined;
  readonly requestId: string | undefined;
  readonly durationMs: number;
}

export interface FailedPart {
  readonly part: number;
  readonly failure: OriginFailure;
  readonly receivedBytes: number;
  /** From its turn on a socket until it failed. */
  readonly durationMs: number;
}

export interface CheckDone {
  readonly type: 'checked';
  readonly id: number;
  /** Indexes of pages whose checksum was wrong. */
  readonly badPages: readonly number[];
  /** Hexadecimal, one for each entry of `digests`. */
  readonly digests: readonly string[];
  readonly readError?: number;
}

export type FromLane =
  | {
      readonly type: 'ready';
      readonly engine: string;
      readonly direct: readonly boolean[];
      readonly thread: ThreadId;
    }
  | WriteDone
  | CheckDone;
