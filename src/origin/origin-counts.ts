/**
 * What was asked of each origin and how it answered, since this process began, by operation: parts of files that end in lanes, and
 * each request of the control plane (listings, looks, reads and writes that are passed through), those included that are tried again.
 */
import {
  type AnswerClass,
  answerClasses,
  type OriginOperation,
  type OriginTrouble,
  originTroubles,
} from '../core/origin-use.ts';
import type { FailureCause } from './types.ts';

/** Every one only grows. */
export interface OriginTotals {
  requests: number;
  bytes: number;
  /** Of the requests that were answered with what was asked for, or with the word that there is no such thing. */
  answers: number;
  /** Of those, together. */
  firstByteMs: number;
  /** Requests that were sent because the one before had failed. */
  retries: number;
  readonly failures: Record<OriginTrouble, number>;
  readonly classes: Record<AnswerClass, number>;
}

/** Undefined: not the doing of the origin. */
const troubleOf: Readonly<Record<FailureCause, OriginTrouble | undefined>> = {
  connect: 'unreachable',
  'connect-timeout': 'unreachable',
  'first-byte-timeout': 'slow',
  stall: 'slow',
  reset: 'broken',
  short: 'broken',
  protocol: 'broken',
  range: 'broken',
  client: 'broken',
  changed: 'changed',
  missing: 'changed',
  denied: 'refused',
  expired: 'refused',
  throttled: 'throttled',
  server: 'server',
  cancelled: undefined,
};

/** Whoever looks for something may hear that it is not there, or is another one: an answer, where of a part it is a failure. */
const answerToLook: ReadonlySet<FailureCause> = new Set(['missing', 'changed', 'range', 'client']);

/** There are no more origins than a process opens, each of them for good. */
export class OriginCounts {
  readonly totals = new Map<string, Map<OriginOperation, OriginTotals>>();

  /** Parts that are whole. */
  answered(origin: string, { parts, bytes, firstByteMs }: { parts: number; bytes: number; firstByteMs: number }): void {
    if (parts === 0) return;
    const totals = this.#of(origin, 'GET');
    totals.requests += parts;
    totals.answers += parts;
    totals.bytes += bytes;
    totals.firstByteMs += firstByteMs;
    totals.classes['2xx'] += parts;
  }

  /** A part that is not. */
  failed(origin: string, { cause, httpStatus }: { cause: FailureCause; httpStatus?: number | undefined }): void {
    const trouble = troubleOf[cause];
    if (trouble === undefined) return;
    const totals = this.#of(origin, 'GET');
    totals.requests += 1;
    totals.failures[trouble] += 1;
    totals.classes[classOf(httpStatus)] += 1;
  }

  /** A request of the control plane. @param outcome.cause absent: it was answered with what was asked for */
  asked(
    origin: string,
    operation: OriginOperation,
    outcome: { cause?: FailureCause | undefined; httpStatus?: number | undefined; firstByteMs: number },
  ): void {
    const { cause, httpStatus, firstByteMs } = outcome;
    const trouble = cause === undefined || answerToLook.has(cause) ? undefined : troubleOf[cause];
    if (cause === 'cancelled') return;
    const totals = this.#of(origin, operation);
    totals.requests += 1;
    totals.classes[classOf(httpStatus)] += 1;
    if (trouble === undefined) {
      totals.answers += 1;
      totals.firstByteMs += firstByteMs;
    } else totals.failures[trouble] += 1;
  }

  retried(origin: string, operation: OriginOperation): void {
    this.#of(origin, operation).retries += 1;
  }

  #of(origin: string, operation: OriginOperation): OriginTotals {
    const operations = this.totals.get(origin) ?? new Map<OriginOperation, OriginTotals>();
    this.totals.set(origin, operations);
    const totals = operations.get(operation) ?? noTotals();
    operations.set(operation, totals);
    return totals;
  }
}

function noTotals(): OriginTotals {
  const failures = Object.fromEntries(originTroubles.map((one) => [one, 0])) as Record<OriginTrouble, number>;
  const classes = Object.fromEntries(answerClasses.map((one) => [one, 0])) as Record<AnswerClass, number>;
  return { requests: 0, bytes: 0, answers: 0, firstByteMs: 0, retries: 0, failures, classes };
}

/** Of a status that HTTP does not have: something has answered, and it was no server of S3. */
function classOf(httpStatus: number | undefined): AnswerClass {
  if (httpStatus === undefined) return 'none';
  const known = `${Math.floor(httpStatus / 100)}xx` as AnswerClass;
  return answerClasses.includes(known) ? known : 'none';
}
