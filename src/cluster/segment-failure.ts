/** What the failure of a segment on one worker means for the others. Pure. */
import { type ErrorReport, PrimedError, reportOf } from '../core/errors.ts';
import type { Member } from './members.ts';
import type { SegmentOutcome } from './worker-link.ts';

/**
 * `source`: it is to be copied from somewhere else. `worker`: another worker may do better, for it is this one's disk or process.
 * `network`: the same, for this one may not reach the origin where others do. `origin`: this one reaches the origin no more at
 * all. `object`: no other worker would do better.
 */
export type FailureOf = 'source' | 'worker' | 'network' | 'origin' | 'object';

const ofNetwork: ReadonlySet<string> = new Set(['ORIGIN_UNREACHABLE', 'ORIGIN_TIMEOUT', 'ORIGIN_RESET']);
const ofWorker: ReadonlySet<string> = new Set(['INTERNAL', 'STOPPING', 'WORKER_REFUSED']);
const ofSource: ReadonlySet<string> = new Set(['PEER_FAILED', 'PEER_CORRUPT']);

export function failureOf({ result, error }: SegmentOutcome): FailureOf {
  if (result !== 'failed' || error === undefined) return 'object';
  const { code } = error;
  if (ofSource.has(code)) return 'source';
  if (code === 'ORIGIN_LOST') return 'origin';
  if (ofNetwork.has(code)) return 'network';
  return ofWorker.has(code) || code.startsWith('STORE_') ? 'worker' : 'object';
}

/** With the name of the worker, where there are several to look for it on: its message may speak of its disk. */
export function saidBy({ id, url }: Pick<Member, 'id' | 'url'>, { code, message }: ErrorReport): ErrorReport {
  return { code, message: url === '' ? message : `worker ${id}: ${message}` };
}

export function isBad({ result }: SegmentOutcome): boolean {
  return result !== 'loaded' && result !== 'skipped';
}

export function failedOutcome(error: ErrorReport): SegmentOutcome {
  return { result: 'failed', loadedBytes: 0, skippedBytes: 0, error };
}

export function workersShort(path: string, replicas: number, there: number): SegmentOutcome {
  const message = `${path}: ${replicas} replicas are asked for and ${there} workers can take one`;
  return failedOutcome(reportOf(new PrimedError('WORKERS_SHORT', message, { path })));
}
