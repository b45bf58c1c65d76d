/** What was asked of each origin and how it answered, since this process began: what parts of files that end are counted into. */
import { type OriginTrouble, originTroubles } from '../core/origin-use.ts';
import type { FailureCause } from '../origin/types.ts';

/** Every one only grows. */
export interface OriginTotals {
  requests: number;
  bytes: number;
  /** Of the requests that were answered with what was asked for. */
  answers: number;
  /** Of those, together. */
  firstByteMs: number;
  readonly failures: Record<OriginTrouble, number>;
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

/** There are no more than a process opens (`limitedOrigins`), each of them for good. */
export class OriginCounts {
  readonly totals = new Map<string, OriginTotals>();

  answered(origin: string, { parts, bytes, firstByteMs }: { parts: number; bytes: number; firstByteMs: number }): void {
    if (parts === 0) return;
    const totals = this.#of(origin);
    totals.requests += parts;
    totals.answers += parts;
    totals.bytes += bytes;
    totals.firstByteMs += firstByteMs;
  }

  failed(origin: string, cause: FailureCause): void {
    const trouble = troubleOf[cause];
    if (trouble === undefined) return;
    const totals = this.#of(origin);
    totals.requests += 1;
    totals.failures[trouble] += 1;
  }

  #of(origin: string): OriginTotals {
    let totals = this.totals.get(origin);
    if (totals === undefined) {
      const failures = Object.fromEntries(originTroubles.map((one) => [one, 0])) as Record<OriginTrouble, number>;
      totals = { requests: 0, bytes: 0, answers: 0, firstByteMs: 0, failures };
      this.totals.set(origin, totals);
    }
    return totals;
  }
}
