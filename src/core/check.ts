/** What a check of cached pages has found: said by the server, read by its clients. */

export interface BadPage {
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

export interface CheckSummary extends CheckProgress {
  readonly path: string;
  /** Every page of every complete file had its checksum, and nothing was in the way of reading it. */
  readonly ok: boolean;
  /** The first ones in order of discovery; `badPageCount` has all. */
  readonly badPages: readonly BadPage[];
  /** Files with no data to check: metadata only, or still being loaded. */
  readonly uncheckedFiles: number;
  /** Files that were replaced or removed while the check ran. */
  readonly goneFiles: number;
}
