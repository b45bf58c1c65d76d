/**
 * Limits on what all workers together ask of an origin. A limit is of a bucket (`s3://bucket/`), of all buckets that have
 * none of their own (`s3://`), or of a file root (`file:///dir/`); of those that an origin lies below the longest counts.
 */
import { PrimedError } from './errors.ts';
import { parseSize } from './sizes.ts';

export interface OriginLimit {
  /** As `limitedOrigin` writes it. */
  readonly origin: string;
  /** Body bytes; undefined: no limit, 0: nothing at all. */
  readonly bytesPerSecond?: number;
  /** Requests of all kinds; undefined and 0 as above. May have a fraction, where it is a share. */
  readonly requestsPerSecond?: number;
}

/** What somebody would use of an origin, were there no limit; Infinity: more than there was. Absent: not limited, or idle. */
export interface OriginDemand {
  readonly origin: string;
  readonly bytesPerSecond?: number;
  readonly requestsPerSecond?: number;
}

/** Limits that one cluster has at most: each costs its workers a little at every request. */
export const mostOriginLimits = 100;
export const mostRequestsPerSecond = 1_000_000;

export function tooManyLimits(): PrimedError {
  const message = `path: there are limits of ${mostOriginLimits} origins already, as many as there may be; give one back with reset.`;
  return new PrimedError('REQUEST_INVALID', message, { field: 'path' });
}

/** The normal form of what a limit is for. Throws REQUEST_INVALID for a path that is no whole origin. */
export function limitedOrigin(path: string): string {
  if (path === 's3://') return path;
  const bucket = /^s3:\/\/([^/]+)\/?$/.exec(path)?.[1];
  if (bucket !== undefined) return `s3://${bucket}/`;
  const root = /^file:\/\/(\/.*?)\/*$/.exec(path)?.[1];
  if (root !== undefined) return root === '/' ? 'file:///' : `file://${root}/`;
  throw new PrimedError(
    'REQUEST_INVALID',
    `path: a limit is for a whole origin, s3://bucket, s3:// or file:///dir, not for '${path.slice(0, 200)}'.`,
    { field: 'path' },
  );
}

/** The limit of an origin (`s3://bucket/`, `file:///root/`): the longest that it lies below. */
export function limitOf<T extends { readonly origin: string }>(origin: string, limits: readonly T[]): T | undefined {
  let best: T | undefined;
  for (const limit of limits)
    if (origin.startsWith(limit.origin) && limit.origin.length > (best?.origin.length ?? -1)) best = limit;
  return best;
}

/** What keeps to all of several lists of limits: of each limit the least. */
export function strictest(lists: Iterable<readonly OriginLimit[]>): OriginLimit[] {
  const found = new Map<string, OriginLimit>();
  for (const list of lists) {
    for (const limit of list) {
      const known = found.get(limit.origin);
      found.set(limit.origin, known === undefined ? limit : both(known, limit));
    }
  }
  return [...found.values()];
}

function both(a: OriginLimit, b: OriginLimit): OriginLimit {
  return makeLimit(a.origin, {
    bytesPerSecond: least(a.bytesPerSecond, b.bytesPerSecond),
    requestsPerSecond: least(a.requestsPerSecond, b.requestsPerSecond),
  });
}

function least(a: number | undefined, b: number | undefined): number | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return Math.min(a, b);
}

export function makeLimit(
  origin: string,
  rates: { readonly bytesPerSecond?: number | undefined; readonly requestsPerSecond?: number | undefined },
): OriginLimit {
  const { bytesPerSecond, requestsPerSecond } = rates;
  return {
    origin,
    ...(bytesPerSecond === undefined ? {} : { bytesPerSecond }),
    ...(requestsPerSecond === undefined ? {} : { requestsPerSecond }),
  };
}

/** A rate as clients write it: `2GB`, 500, or `none` for no limit. Throws REQUEST_INVALID naming `field`. */
export function rateOf(field: 'bandwidth' | 'requests', value: unknown): number | undefined {
  if (typeof value === 'string' && value.trim().toLowerCase() === 'none') return undefined;
  const rate = field === 'bandwidth' ? bytesOf(value) : countOf(value);
  if (rate !== undefined) return rate;
  const wanted =
    field === 'bandwidth'
      ? 'a size a second above zero, such as 2GB'
      : `a whole number a second from 1 to ${mostRequestsPerSecond}`;
  const shown = typeof value === 'string' ? `'${value.slice(0, 60)}'` : String(value);
  throw new PrimedError('REQUEST_INVALID', `${field}: must be ${wanted}, or none, not ${shown}.`, { field });
}

function bytesOf(value: unknown): number | undefined {
  if (typeof value !== 'string' && typeof value !== 'number') return undefined;
  try {
    const bytes = parseSize(String(value));
    return bytes >= 1 ? bytes : undefined;
  } catch {
    return undefined;
  }
}

function countOf(value: unknown): number | undefined {
  const count = typeof value === 'string' && /^\s*\d{1,9}\s*$/.test(value) ? Number(value) : value;
  const fits = typeof count === 'number' && Number.isInteger(count) && count >= 1 && count <= mostRequestsPerSecond;
  return fits ? count : undefined;
}
