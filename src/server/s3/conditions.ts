/** What a GET or HEAD of an object answers: decided from headers and the object's version alone. */
import type { ByteRange, ObjectVersion } from '../../core/types.ts';

export type Verdict =
  | { readonly kind: 'whole' }
  | { readonly kind: 'part'; readonly range: ByteRange }
  | { readonly kind: 'not-modified' }
  | { readonly kind: 'precondition-failed'; readonly condition: string }
  | { readonly kind: 'range-not-satisfiable'; readonly asked: string };

export type RequestHeaders = Readonly<Record<string, string | readonly string[] | undefined>>;

/**
 * Conditions first, range after, in the order of RFC 9110 section 13.2.2: If-Match wins over If-Unmodified-Since,
 * If-None-Match over If-Modified-Since, and a failed If-Range turns a range into the whole.
 */
export function judge(headers: RequestHeaders, version: ObjectVersion): Verdict {
  const ifMatch = headerOf(headers, 'if-match');
  const ifNoneMatch = headerOf(headers, 'if-none-match');
  const unmodifiedSince = dateOf(headers, 'if-unmodified-since');
  const modifiedSince = dateOf(headers, 'if-modified-since');
  // HTTP dates have whole seconds: the fraction of the object's time must not make it newer than itself.
  const modifiedSeconds = Math.floor(version.lastModifiedMs / 1000);

  if (ifMatch !== undefined) {
    if (!matches(ifMatch, version.etag)) return { kind: 'precondition-failed', condition: 'If-Match' };
  } else if (unmodifiedSince !== undefined && modifiedSeconds > unmodifiedSince) {
    return { kind: 'precondition-failed', condition: 'If-Unmodified-Since' };
  }
  if (ifNoneMatch !== undefined) {
    if (matches(ifNoneMatch, version.etag)) return { kind: 'not-modified' };
  } else if (modifiedSince !== undefined && modifiedSeconds <= modifiedSince) {
    return { kind: 'not-modified' };
  }

  const asked = headerOf(headers, 'range');
  if (asked === undefined || !rangeStillApplies(headers, version)) return { kind: 'whole' };
  const range = parseRange(asked, version.sizeBytes);
  if (range === 'ignored') return { kind: 'whole' };
  if (range === 'unsatisfiable') return { kind: 'range-not-satisfiable', asked };
  return { kind: 'part', range };
}

/**
 * `bytes=a-b`, `bytes=a-`, `bytes=-n`. Several ranges, other units and what is not a range are ignored (RFC 9110
 * section 14.2; Amazon answers the whole object too); a range that begins behind the end cannot be satisfied.
 */
export function parseRange(text: string, sizeBytes: number): ByteRange | 'ignored' | 'unsatisfiable' {
  const found = /^\s*bytes\s*=\s*(\d*)\s*-\s*(\d*)\s*$/i.exec(text);
  const [first, last] = [found?.[1] ?? '', found?.[2] ?? ''];
  if (first === '' && last === '') return 'ignored';
  if (first === '') {
    const length = Math.min(Number(last), sizeBytes);
    return length === 0 ? 'unsatisfiable' : { offset: sizeBytes - length, length };
  }
  const offset = Number(first);
  if (last !== '' && Number(last) < offset) return 'ignored';
  if (offset >= sizeBytes) return 'unsatisfiable';
  const end = last === '' ? sizeBytes : Math.min(Number(last) + 1, sizeBytes);
  return { offset, length: end - offset };
}

function rangeStillApplies(headers: RequestHeaders, version: ObjectVersion): boolean {
  const validator = headerOf(headers, 'if-range');
  if (validator === undefined) return true;
  const date = Date.parse(validator);
  if (/^(W\/)?"/.test(validator) || Number.isNaN(date)) return matches(validator, version.etag);
  return Math.floor(version.lastModifiedMs / 1000) === Math.floor(date / 1000);
}

/** A list of entity tags, or `*`. Tags without quotes are taken too: several SDKs send them so. */
function matches(list: string, etag: string): boolean {
  return list.split(',').some((one) => {
    const tag = one.trim();
    return tag === '*' || tag === etag || tag === `"${etag}"`;
  });
}

function headerOf(headers: RequestHeaders, name: string): string | undefined {
  const value = headers[name];
  const text = Array.isArray(value) ? value.join(',') : (value as string | undefined);
  return text === undefined || text === '' ? undefined : text;
}

/** Seconds since the epoch; a date that cannot be read is as good as absent (RFC 9110 section 13.1.3). */
function dateOf(headers: RequestHeaders, name: string): number | undefined {
  const ms = Date.parse(headerOf(headers, name) ?? '');
  return Number.isNaN(ms) ? undefined : Math.floor(ms / 1000);
}
