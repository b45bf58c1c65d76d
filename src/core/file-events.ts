/** What is kept of what happened to a file on one worker: plain data, as it lies in the journal and as it is told. */
import type { FileFailure } from './job.ts';
import { failureReason } from './job-machine.ts';
import { cutInMiddle } from './text.ts';
import type { ByteRange } from './types.ts';

interface Happened {
  /** Wall clock, ms. */
  readonly atMs: number;
  readonly path: string;
}

/** One attempt at a part of a file: each that failed, and those that succeeded after one that had. */
export interface AttemptEvent extends Happened, ByteRange {
  readonly kind: 'attempt';
  readonly job: string;
  /** Of the version that the job has listed. */
  readonly etag: string;
  /** Of this part; counts from 1. */
  readonly attempt: number;
  /** The worker that was asked in place of the origin, by its URL. */
  readonly from?: string;
  /** `arrived`, or what went wrong in one word. */
  readonly result: string;
  readonly message?: string;
  readonly httpStatus?: number;
  readonly s3Code?: string;
  readonly requestId?: string;
  readonly durationMs: number;
  readonly next?: 'again' | 'given-up' | 'set-aside' | 'loaded-anew';
  /** Before it is tried again. */
  readonly delayMs?: number;
}

/** A load of a file, or of a segment of it, in which something failed, has ended. */
export interface LoadEndEvent extends Happened {
  readonly kind: 'loaded' | 'given-up';
  readonly job: string;
  readonly etag: string;
  /** Of a segment. */
  readonly range?: ByteRange;
  readonly code?: string;
  readonly message?: string;
}

/**
 * Why something of a file left the store. `space`, `quota`, `ttl`: evicted. `leftover`: it was half loaded by a load that was
 * stopped, and made room. `outdated`: the origin has another version, or none. `written`: something was written to the origin through a
 * worker. `replaced`: another version took its place. `corrupt`: its bytes were wrong.
 */
export type GoneReason =
  | 'space'
  | 'quota'
  | 'ttl'
  | 'leftover'
  | 'freed'
  | 'outdated'
  | 'written'
  | 'replaced'
  | 'corrupt';

export interface GoneEvent extends Happened {
  readonly kind: 'gone';
  readonly reason: GoneReason;
  /** For whom room was made; who freed it. */
  readonly run?: string;
  readonly job?: string;
  readonly bytes: number;
  readonly etag?: string;
  /** Of what took its place. */
  readonly newEtag?: string;
  /** So many files at and below the path went. */
  readonly files?: number;
}

export type FileEvent = AttemptEvent | LoadEndEvent | GoneEvent;

/** Without its time, which whoever keeps it knows. */
export type Untimed<E extends FileEvent> = E extends FileEvent ? Omit<E, 'atMs'> : never;

/** A stretch of time of which something may be missing. */
export interface Gap {
  readonly fromMs: number;
  readonly toMs: number;
  readonly why: 'crash' | 'unwritten';
}

/** What a worker tells of a path. */
export interface FileHistory {
  /** The oldest first. */
  readonly events: readonly FileEvent[];
  /** Of the path, older ones that made way for these. */
  readonly dropped: number;
  /** Of all files, nothing that is younger has made way. */
  readonly keptSinceMs: number;
  readonly gaps: readonly Gap[];
  readonly bounds: { readonly ageMs: number; readonly perFile: number; readonly bytes: number };
}

/** Told of what happens to files. Cheap, and never throws. */
export interface FileTeller {
  happened(event: Untimed<FileEvent>): void;
  /** Whether an attempt at the file has failed lately. */
  hasFailed(path: string): boolean;
  /** A file was loaded, and no attempt at it had failed. */
  wentWell(): void;
}

export const noTeller: FileTeller = { happened() {}, hasFailed: () => false, wentWell() {} };

const longestMessage = 500;
/** Of a text that is looked at. */
const longestHeard = 8192;

/** Why a file was given up, as it is kept: whose story it is needs not be said again, and a name may be longer than all that is kept. */
export function keptReason(failure: Pick<FileFailure, 'path' | 'message'>): string {
  return keptMessage(failureReason(failure));
}

/** A text of somebody else, as it is kept: of bounded length, and without what signs a URL. */
export function keptMessage(text: string): string {
  // Before the middle goes, behind which nobody would know the rest of a URL.
  const unsigned = text.slice(0, longestHeard).replace(/(https?:\/\/[^\s?"'<>]*)\?[^\s"'<>]*/gi, '$1?...');
  return cutInMiddle(unsigned, longestMessage);
}
