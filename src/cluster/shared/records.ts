/** What lies in etcd of a job, a claim and a coordinator, as JSON. */
import { PrimedError } from '../../core/errors.ts';
import type { FileFailure, JobSnapshot } from '../../core/job.ts';
import { limitedTo } from '../../core/load-options.ts';
import type { OriginLimit } from '../../core/origin-limits.ts';
import type { Pin } from '../../core/retention.ts';
import { progressOf } from '../job-orders.ts';
import type { JobClaim, JobDefinition, JobRecord } from '../job-store.ts';

export const sharedVersion = 1;

export interface SharedDefinition {
  readonly version: typeof sharedVersion;
  /** The number is the revision that made the job. */
  readonly definition: Omit<JobDefinition, 'number'>;
}

/** What a snapshot has of the definition. */
type Defined = 'jobId' | 'type' | 'alias' | 'runId' | 'loadId' | 'source' | 'options';

export interface SharedState {
  readonly version: typeof sharedVersion;
  /** Of the claim that was made last; a coordinator whose manifest is of this claim may go on with it. */
  readonly claimId: string;
  /** A repair run was started: its ledger belongs to the job. */
  readonly repairs: boolean;
  /** As the coordinator that runs it last said. */
  readonly snapshot: Omit<JobSnapshot, Defined>;
}

/** A job as it stands. */
export interface SharedJob {
  readonly definition: SharedDefinition['definition'];
  readonly claimId: string;
  readonly repairs: boolean;
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

/** The bandwidth that a load has by now, in place of the one that it was submitted with. */
export interface SharedBandwidth {
  readonly version: typeof sharedVersion;
  /** Null: it has no limit. */
  readonly bytesPerSecond: number | null;
}

/** Limits of origins that were set while the cluster ran. */
export interface SharedLimits {
  readonly version: typeof sharedVersion;
  readonly limits: readonly OriginLimit[];
}

export interface SharedPins {
  readonly version: typeof sharedVersion;
  readonly paths: readonly string[];
}

/** etcd takes requests of 1.5 MB. */
const mostDefinitionBytes = 1_000_000;
/** A state is written each second while the job runs. */
const mostFailures = 100;
const mostFailureBytes = 64 * 1024;
const mostMessageLength = 500;

/** Throws REQUEST_INVALID for one that etcd would not take. */
export function encodeDefinition(definition: SharedDefinition['definition']): string {
  const encoded = JSON.stringify({ version: sharedVersion, definition });
  const bytes = Buffer.byteLength(encoded);
  if (bytes <= mostDefinitionBytes) return encoded;
  const message = `What is asked for takes ${bytes} bytes, and etcd has room for ${mostDefinitionBytes}; name the paths in an index file.`;
  throw new PrimedError('REQUEST_INVALID', message, { bytes });
}

export function encodeState({ claimId, repairs, snapshot }: Omit<SharedJob, 'definition'>): string {
  const { jobId: _1, type: _2, alias: _3, runId: _4, loadId: _5, source: _6, options: _7, ...state } = snapshot;
  const failures = boundedFailures(snapshot.failures);
  return JSON.stringify({ version: sharedVersion, claimId, repairs, snapshot: { ...state, failures } });
}

export function jobOf({ definition }: SharedDefinition, { claimId, repairs, snapshot }: SharedState): SharedJob {
  const { jobId, type, alias, runId, loadId, source, options } = definition;
  const named = alias === undefined ? {} : { alias };
  return {
    definition,
    claimId,
    repairs,
    snapshot: { ...snapshot, jobId, type, ...named, runId, loadId, source, options },
  };
}

/** A job with the bandwidth that it has by now; undefined: the one that it was submitted with. */
export function withBandwidth<T extends SharedJob>(job: T, bandwidth: SharedBandwidth | undefined): T {
  if (bandwidth === undefined) return job;
  const options = limitedTo(job.definition.options, bandwidth.bytesPerSecond ?? undefined);
  return { ...job, definition: { ...job.definition, options }, snapshot: { ...job.snapshot, options } };
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

export function encodeBandwidth(bytesPerSecond: number | undefined): string {
  return JSON.stringify({ version: sharedVersion, bytesPerSecond: bytesPerSecond ?? null });
}

export function encodeLimits(limits: readonly OriginLimit[]): string {
  return JSON.stringify({ version: sharedVersion, limits });
}

/** Throws REQUEST_INVALID where they would be more than etcd takes. */
export function encodePins(pins: readonly Pin[]): string {
  const value = JSON.stringify({ version: sharedVersion, paths: pins.map(({ path }) => path) });
  if (Buffer.byteLength(value) <= mostDefinitionBytes) return value;
  const message = 'path: the pinned paths have more than a megabyte together; unpin some, or pin a folder.';
  throw new PrimedError('REQUEST_INVALID', message, { field: 'path' });
}

/** Throws a TypeError for what another version, or somebody else, has written. */
export function decodeShared<T extends { readonly version: typeof sharedVersion }>(value: Buffer): T {
  const decoded: unknown = JSON.parse(value.toString('utf8'));
  const version = typeof decoded === 'object' && decoded !== null && 'version' in decoded ? decoded.version : undefined;
  if (version !== sharedVersion)
    throw new TypeError(`version ${String(version)} is not read here, but ${sharedVersion}`);
  return decoded as T;
}

/** How a job begins at a coordinator that knows nothing of it but what lies in etcd: it is listed anew. */
export function freshRecord(job: SharedJob, number: number, claim: JobClaim): Omit<JobRecord, 'version'> {
  const { definition, snapshot, repairs } = job;
  const { submittedAtMs, startedAtMs, activeMs, retries, evictedBytes = 0, free } = snapshot;
  const progress = {
    ...progressOf(definition, submittedAtMs),
    ...(free === undefined ? {} : { free }),
    ...(startedAtMs === undefined ? {} : { startedAtMs }),
    activeMs,
  };
  return { definition: { ...definition, number }, claim, progress, chunks: 0, repairs, retries, evictedBytes };
}
