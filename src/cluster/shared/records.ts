/** What lies in etcd of a job, a claim and a coordinator, as JSON. */
import type { FileFailure, JobSnapshot } from '../../core/job.ts';
import { newJob } from '../../core/job-machine.ts';
import type { JobClaim, JobDefinition, JobRecord } from '../job-store.ts';

export const sharedVersion = 1;

export interface SharedJob {
  readonly version: typeof sharedVersion;
  /** The number is the revision that made the record. */
  readonly definition: Omit<JobDefinition, 'number'>;
  /** Of the claim that was made last; a coordinator whose manifest is of this claim may go on with it. */
  readonly claimId: string;
  /** A repair run was started: its ledger belongs to the job. */
  readonly repairs: boolean;
  /** As the coordinator that runs it last said. */
  readonly snapshot: JobSnapshot;
}

export interface SharedClaim {
  readonly version: typeof sharedVersion;
  /** That of the coordinator. */
  readonly coordinator: string;
  /** Of the coordinator, for people. */
  readonly url: string;
  /** Of this claim, and of the one before it. */
  readonly id: string;
  readonly before?: string;
}

export interface SharedCoordinator {
  readonly version: typeof sharedVersion;
  readonly url: string;
  /** Of primed. */
  readonly release: string;
}

/** etcd takes values of 1.5 MB; a record is written each second while the job runs. */
const mostFailures = 100;
const mostFailureBytes = 64 * 1024;
const mostMessageLength = 500;

export function encodeJob({ definition, claimId, repairs, snapshot }: Omit<SharedJob, 'version'>): string {
  const failures = boundedFailures(snapshot.failures);
  return JSON.stringify({
    ...{ version: sharedVersion, definition, claimId, repairs },
    snapshot: { ...snapshot, failures },
  });
}

function boundedFailures(failures: readonly FileFailure[]): FileFailure[] {
  const kept: FileFailure[] = [];
  let bytes = 0;
  for (const failure of failures.slice(0, mostFailures)) {
    const one = { ...failure, message: failure.message.slice(0, mostMessageLength) };
    bytes += Buffer.byteLength(one.path) + Buffer.byteLength(one.message);
    if (bytes > mostFailureBytes) break;
    kept.push(one);
  }
  return kept;
}

export function encodeClaim(claim: Omit<SharedClaim, 'version'>): string {
  return JSON.stringify({ version: sharedVersion, ...claim });
}

export function encodeCoordinator(coordinator: Omit<SharedCoordinator, 'version'>): string {
  return JSON.stringify({ version: sharedVersion, ...coordinator });
}

/** Throws a TypeError for what another version, or somebody else, has written. */
export function decodeShared<T extends SharedJob | SharedClaim | SharedCoordinator>(value: Buffer): T {
  const decoded: unknown = JSON.parse(value.toString('utf8'));
  const version = typeof decoded === 'object' && decoded !== null && 'version' in decoded ? decoded.version : undefined;
  if (version !== sharedVersion)
    throw new TypeError(`version ${String(version)} is not read here, but ${sharedVersion}`);
  return decoded as T;
}

/** How a job begins at a coordinator that knows nothing of it but what lies in etcd: it is listed anew. */
export function freshRecord(job: SharedJob, number: number, claim: JobClaim): Omit<JobRecord, 'version'> {
  const { definition, snapshot, repairs } = job;
  const { submittedAtMs, startedAtMs, activeMs, retries } = snapshot;
  const progress = {
    ...newJob({ verify: definition.options.verify }, submittedAtMs),
    ...(startedAtMs === undefined ? {} : { startedAtMs }),
    activeMs,
  };
  return { definition: { ...definition, number }, claim, progress, chunks: 0, repairs, retries };
}
