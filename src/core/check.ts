/** What a check of cached pages has found: said by the server, read by its clients. */

export interface BadPage {
  /** Where it lies, of several. */
  readonly worker?: string;
  readonly path: string;
  /** Number of the page in the file. */
  readonly page: number;
  readonly offset: number;
  readonly lengthBytes: number;
  readonly code: string;
  readonly message: string;
}

export interface CheckProgress {
  readonly checkedFiles: number;
  readonly checkedBytes: number;
  readonly badPageCount: number;
}

/** Whoever listens is told now and then, and is waited for by nobody. */
export interface CheckEvents {
  readonly onBadPage?: (page: BadPage) => void;
  readonly onProgress?: (progress: CheckProgress) => void;
}

/** A worker whose word is missing. */
export interface Unanswered {
  readonly id: string;
  readonly reason: string;
}

export interface CheckSummary extends CheckProgress {
  readonly path: string;
  /** Every page that is cached had its checksum, nothing was in the way of reading it, and no worker was silent. */
  readonly ok: boolean;
  /** The first ones in order of discovery; `badPageCount` has all. */
  readonly badPages: readonly BadPage[];
  /** Files with no data to check: metadata only, or still being loaded. */
  readonly uncheckedFiles: number;
  /** Files that were replaced or removed while the check ran. */
  readonly goneFiles: number;
  /** Of a cluster, where each copy of a file counts: workers whose pages were not checked. */
  readonly unanswered?: readonly Unanswered[];
}
