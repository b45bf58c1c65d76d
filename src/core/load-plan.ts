/** What a load would do: the answer of a plan, as the REST API gives it. Plain data. */
import type { FileFailure } from './job.ts';
import type { TimeRange } from './plan-time.ts';
import type { Price, RequestCounts } from './price.ts';

export interface PlannedFiles {
  readonly files: number;
  readonly bytes: number;
}

export interface LoadPlan {
  readonly path?: string;
  readonly indexFile?: string;
  /** A load of this path is under way: a submission begins none. */
  readonly runningJobId?: string;
  /** It goes on with what a stopped load has left. */
  readonly resumed: boolean;
  readonly listing: {
    /** Keys read, before filters. */
    readonly scannedFiles: number;
    /** What the load is of. */
    readonly files: number;
    readonly bytes: number;
    readonly elapsedMs: number;
  };
  /** What the origin does not give, or an index names wrongly: the load would end as FAILED. */
  readonly refused: { readonly files: number; readonly named: readonly FileFailure[] };
  /** What the load leaves as it is; of files that are cached in part, those bytes. */
  readonly cached: PlannedFiles;
  /** What the load fetches: each byte counts once, however many workers are to have it. */
  readonly load: PlannedFiles;
  /** From the origin: of lists, of files, and of index files. */
  readonly requests: RequestCounts & {
    readonly total: number;
    /** Ranged GETs between workers, which no origin sees. */
    readonly copies: number;
  };
  readonly originBytes: number;
  readonly copiedBytes: number;
  /** Absent: the configuration has no prices. */
  readonly price?: Price;
  readonly workers: readonly PlannedWorker[];
  /** On every worker. */
  readonly fits: boolean;
  /** Absent: nothing of the kind was measured here yet. */
  readonly time?: TimeRange;
  /** What a reader has to know about these figures. */
  readonly notes: readonly string[];
}

export interface PlannedWorker {
  readonly id: string;
  /** What is fetched to it, from the origin or from other workers. */
  readonly bytes: number;
  readonly originBytes: number;
  /** What the load reserves there, rounding included. */
  readonly roomBytes: number;
  readonly freeBytes: number;
  readonly capacityBytes: number;
  readonly fits: boolean;
  readonly evicted: PlannedFiles & {
    /** Those that go first. */
    readonly paths: readonly string[];
    /** False: the number of files is worked out from their average size. */
    readonly counted: boolean;
  };
}
