/**
 * serving: threads that answer on the S3 port what is whole on this worker, as fast as the machine can.
 *
 *   client ---> serving thread i (node:http, SO_REUSEPORT) -- is it a GET or HEAD of a file that is whole here?
 *                 | yes: head by JavaScript, body by native/src/page_sender: cache -> sendfile, else O_DIRECT -> cache
 *                 |   where the origin is asked at each read: the main thread is asked first which version that is (`questions`)
 *                 | no, or a page is bad: over a Unix socket to the S3 server of the main thread, streamed both ways
 *
 * Who is in it: `pool` starts and ends the threads, for the main thread; `thread` is where one begins; `answers` decides
 * about a request, `body` sends what was decided (`borrowers`: to whom without a copy), `pass-on` hands over.
 *
 * Who waits for whom: a body waits for the disk and for its client, and holds neither a page nor a thread meanwhile. What a
 * thread reads keeps its extents by store/shared-reads. Nothing survives a crash, and nothing needs to.
 */

import type { ServerTls } from '../core/node-tls.ts';
import type { ReadRules } from '../core/read-policy.ts';
import type { FileId, ObjectVersion, UfsPath } from '../core/types.ts';
import type { DiskEngine, PageCacheAddress } from '../platform/index.ts';
import type { S3AccessOptions } from '../server/s3/access.ts';

export interface ServingStart {
  readonly index: number;
  /** Listens already. */
  readonly listenFd: number;
  /** Undefined: plain HTTP. */
  readonly tls?: ServerTls;
  readonly access: Changing<S3AccessOptions>;
  /** Files that have to be asked for at their origin are the main thread's. */
  readonly reading: ReadRules;
  readonly domains: readonly string[];
  readonly indexDir: string;
  readonly storePaths: readonly string[];
  readonly cache: PageCacheAddress;
  readonly engine: DiskEngine;
  /** Pages that this thread reads at once at most. */
  readonly loads: number;
  readonly maxConnections: number;
  /** Connections that pages are lent to, at most. */
  readonly borrowers: number;
  /** Longest time that a client may take over a page. */
  readonly stallMs: number;
  /** How long bodies may go on after the stop. */
  readonly graceMs: number;
  /** Where the main thread listens, and what it knows us by. */
  readonly mainPath: string;
  readonly inside: string;
  /** To it, at most. */
  readonly mainConnections: number;
  /** Whether callers who trace are told of. */
  readonly traced: boolean;
  /** telemetry/serving-columns, store/shared-reads. */
  readonly counters: SharedArrayBuffer;
  readonly reads: SharedArrayBuffer;
}

type Changing<T> = { -readonly [K in keyof T]: T[K] };

/** What has the origin at a path now? */
export interface Question {
  readonly id: number;
  readonly path: UfsPath;
}

export interface QuestionAnswer {
  readonly id: number;
  /** Undefined: nothing, or it could not be asked. */
  readonly version: ObjectVersion | undefined;
}

export type ToServing =
  | { readonly type: 'close' }
  | { readonly type: 'versions'; readonly answers: readonly QuestionAnswer[] }
  /** In place of those before; connections that are open stay as they are. */
  | { readonly type: 'access'; readonly access: S3AccessOptions }
  | { readonly type: 'reading'; readonly reading: ReadRules }
  | { readonly type: 'tls'; readonly tls: ServerTls };

/** An answer of a thread: a span is made of it on the main thread. */
export interface TracedAnswer {
  readonly method: string;
  /** Without its query. */
  readonly path: string;
  readonly status: number;
  readonly traceparent: string;
  /** By Date.now(). */
  readonly startMs: number;
  readonly endMs: number;
}

export type FromServing =
  | { readonly type: 'ready' }
  | { readonly type: 'questions'; readonly questions: readonly Question[] }
  /** Distinct files, read since the last message. */
  | { readonly type: 'touched'; readonly files: readonly FileId[] }
  /** Answers to callers whose traces are sent, since the last message. */
  | { readonly type: 'answered'; readonly answers: readonly TracedAnswer[] }
  | {
      readonly type: 'log';
      readonly level: 'error' | 'debug';
      readonly facts: Readonly<Record<string, unknown>>;
      readonly text: string;
    };
