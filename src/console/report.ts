/** What the page reads of a job's report beyond its row. */
import { sizeText } from './format.ts';

export interface JobReport {
  readonly jobId: string;
  readonly mJobState: string;
  readonly mFailedFileCount?: number;
  readonly mFailedFilesWithReasons?: unknown;
  readonly mTimeElapsed?: number;
  readonly loadId?: string;
  readonly paths?: readonly string[];
  readonly absentWorkers?: readonly string[];
  readonly evictedBytes?: number;
  readonly ledger?: {
    readonly originBytes: number;
    readonly peerBytes: number;
    readonly cachedBytes: number;
    readonly discardedBytes: Readonly<Record<string, number>>;
    readonly inFlightBytes: number;
  };
}

export function isFailureMap(value: unknown): value is Readonly<Record<string, string>> {
  return typeof value === 'object' && value !== null;
}

const reasons: Readonly<Record<string, string>> = {
  failed: 'of parts that failed',
  changed: 'of objects that changed',
  stopped: 'dropped by a stop',
  crash: 'lost by a crash',
  replaced: 'replaced since',
  lost: 'lost with a worker',
};

/** Where its bytes came from, and what became of them. */
export function ledgerFacts({ ledger, evictedBytes }: JobReport): (readonly [string, string | undefined])[] {
  if (ledger === undefined) return [];
  const { originBytes, peerBytes, cachedBytes, discardedBytes, inFlightBytes } = ledger;
  const some = (bytes: number | undefined): string | undefined =>
    bytes === undefined || bytes === 0 ? undefined : sizeText(bytes);
  return [
    ['From the origin', sizeText(originBytes)],
    ['From other workers', some(peerBytes)],
    ['Cached', sizeText(cachedBytes)],
    ...Object.entries(discardedBytes).map(
      ([why, bytes]) => [`Discarded, ${reasons[why] ?? why}`, some(bytes)] as const,
    ),
    ['In flight', some(inFlightBytes)],
    ['Evicted for it', some(evictedBytes)],
  ];
}
