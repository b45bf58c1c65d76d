/**
 * What the console is told, as plain data: rows of jobs, workers and origins, at first all of them, then those that changed.
 * Both ends are here: `newsOf` says what differs between two states, `withNews` brings the one to the other. Pure.
 */
import type { JobState, JobType } from './job.ts';
import type { Limit } from './limit-causes.ts';
import type { WorkerState } from './membership.ts';
import type { OriginUse } from './origin-use.ts';
import type { TokenRole } from './roles.ts';
import type { WorkerUse } from './worker-use.ts';

/** Unknown values are absent, in every row. */
export interface ConsoleJob {
  readonly id: string;
  readonly type: JobType;
  readonly state: JobState;
  /** What the job is called: its path, its index file, or the alias of a list. */
  readonly path: string;
  readonly kind: 'path' | 'index' | 'paths';
  readonly alias?: string;
  readonly reason?: string;
  readonly submittedAtMs: number;
  readonly startedAtMs?: number;
  readonly endedAtMs?: number;
  readonly files?: number;
  readonly bytes?: number;
  /** Of a load that is still being listed: keys so far. */
  readonly scannedFiles?: number;
  /** Of what the state is about: cached, verified or freed. */
  readonly doneFiles: number;
  readonly doneBytes: number;
  readonly skippedBytes?: number;
  readonly failures: number;
  readonly retries?: number;
  /** From the origin, of late. */
  readonly bytesPerSecond?: number;
  readonly etaMs?: number;
  readonly replicas?: number;
  /** Of each worker. */
  readonly bandwidthBytesPerSecond?: number;
  readonly metadataOnly?: true;
  readonly dryRun?: true;
  /** Largest first. */
  readonly limitedBy?: readonly Limit[];
}

export interface ConsoleWorker extends Partial<WorkerUse> {
  readonly id: string;
  /** REFUSED: it has a lease, and does not let this coordinator in. */
  readonly state: WorkerState | 'REFUSED';
  readonly reason?: string;
  readonly drains?: true;
  readonly address?: string;
  readonly zone?: string;
  readonly version: string;
  readonly capacityBytes: number;
  readonly freeBytes: number;
  readonly files: number;
  readonly origins?: readonly OriginUse[];
  /** Of one that is lost. */
  readonly lastSeenMs?: number;
}

export interface ConsoleOrigin {
  /** `s3://bucket/`, `s3://` or `file:///dir/`. */
  readonly id: string;
  readonly bytesPerSecond?: number;
  readonly requestsPerSecond?: number;
  readonly source: 'configuration' | 'set';
  /** How many share the limit. */
  readonly takers: number;
}

/** Beside the rows. */
export interface ConsoleHead {
  readonly version: string;
  /** One process is coordinator and worker. */
  readonly standalone: boolean;
  /** How many jobs are in which state, those that are not in the rows too. */
  readonly jobs: Readonly<Partial<Record<JobState, number>>>;
  /** How origins answer the coordinator, which lists them; absent: it asked none of late, or a worker says it. */
  readonly origins?: readonly OriginUse[];
  /** Why no job can be submitted or stopped now. */
  readonly trouble?: string;
}

/** Who is listening; the first thing that is said. */
export interface ConsoleHello {
  /** Absent: nobody is asked who he is, and everybody may everything. */
  readonly caller?: { readonly name: string; readonly role: TokenRole };
}

export const feedTables = ['jobs', 'workers', 'origins'] as const;
export type FeedTable = (typeof feedTables)[number];

export interface TableNews<R> {
  readonly put: readonly R[];
  readonly gone: readonly string[];
}

/** One message. */
export interface ConsoleNews {
  /** Nothing that was said before counts any more. */
  readonly whole: boolean;
  readonly atMs: number;
  /** Absent: as before. */
  readonly head?: ConsoleHead;
  readonly jobs?: TableNews<ConsoleJob>;
  readonly workers?: TableNews<ConsoleWorker>;
  readonly origins?: TableNews<ConsoleOrigin>;
}

/** What differs, row by row; undefined: nothing. Rows are compared as they are (`===`): texts, or objects that are kept. */
export function newsOf<R>(
  before: ReadonlyMap<string, R>,
  after: ReadonlyMap<string, R>,
): { readonly put: R[]; readonly gone: string[] } | undefined {
  const put: R[] = [];
  for (const [id, row] of after) if (before.get(id) !== row) put.push(row);
  const gone: string[] = [];
  // Where nothing is gone, counting says so without looking at each.
  if (before.size + put.length > after.size) for (const id of before.keys()) if (!after.has(id)) gone.push(id);
  return put.length + gone.length === 0 ? undefined : { put, gone };
}

/** Changes `rows`. */
export function withNews<R extends { readonly id: string }>(
  rows: Map<string, R>,
  news: TableNews<R> | undefined,
  whole: boolean,
): void {
  if (whole) rows.clear();
  for (const id of news?.gone ?? []) rows.delete(id);
  for (const row of news?.put ?? []) rows.set(row.id, row);
}
