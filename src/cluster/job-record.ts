/** A job as the store keeps it, and the figures that it has once it has ended. */
import { emptyTally, type JobProgress } from '../core/job-machine.ts';
import { totalOf } from '../core/limit-account.ts';
import { type LimitSums, limitsOf } from '../core/limit-causes.ts';
import { emptyLedger } from '../core/types.ts';
import type { JobClaim, JobDefinition, JobRecord } from './job-store.ts';
import type { JobMarks } from './run-context.ts';
import type { Figures } from './run-figures.ts';

export type StoredJob = Omit<JobRecord, 'version'>;

/** @param final those of its end; undefined: it goes on, and `live` has what it has come to */
export function recordOf(
  { definition, claim }: { readonly definition: JobDefinition; readonly claim: JobClaim | undefined },
  progress: JobProgress,
  { cursor, sourceVersion, verifyCursor, verifyPass, chunks, repairs }: JobMarks,
  { live, final }: { readonly live: () => Figures; readonly final: Figures | undefined },
): StoredJob {
  const { retries, evictedBytes, limitedMs } = final ?? live();
  const { ledger, bytesPerSecond }: Partial<Figures> = final ?? {};
  return {
    definition,
    ...(claim === undefined ? {} : { claim }),
    progress: progress.state === 'RUNNING' ? { ...progress, tally: emptyTally } : progress,
    chunks,
    repairs,
    retries,
    ...(evictedBytes === 0 ? {} : { evictedBytes }),
    ...(totalOf(limitedMs) === 0 ? {} : { limitedMs }),
    ...(cursor === undefined ? {} : { cursor }),
    ...(sourceVersion === undefined ? {} : { sourceVersion }),
    ...(verifyCursor === undefined ? {} : { verifyCursor }),
    ...(verifyPass === 0 ? {} : { verifyPass }),
    ...(ledger === undefined ? {} : { ledger }),
    ...(bytesPerSecond === undefined ? {} : { bytesPerSecond }),
  };
}

/** Of a job that had ended when it was stored. */
export function storedFigures({
  ledger,
  retries,
  evictedBytes = 0,
  limitedMs = {},
  bytesPerSecond,
}: StoredJob): Figures {
  return {
    ledger: ledger ?? emptyLedger(),
    retries,
    evictedBytes,
    limitedMs,
    ...limitedInAll(limitedMs),
    ...(bytesPerSecond === undefined ? {} : { bytesPerSecond }),
  };
}

/** Of a job that ends now: the rate is the average over its active time. */
export function figuresAtEnd(
  { ledger, retries, evictedBytes, limitedMs }: Figures,
  { activeMs, tally }: JobProgress,
): Figures {
  return {
    ledger,
    retries,
    evictedBytes,
    limitedMs,
    ...limitedInAll(limitedMs),
    ...(activeMs > 0 ? { bytesPerSecond: (tally.loadedBytes * 1000) / activeMs } : {}),
  };
}

function limitedInAll(limitedMs: LimitSums): Pick<Figures, 'limitedBy'> {
  const limitedBy = limitsOf(limitedMs);
  return limitedBy === undefined ? {} : { limitedBy };
}
