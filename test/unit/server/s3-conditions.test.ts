import { describe, expect, it } from 'vitest';
import { judge, parseRange } from '../../../src/server/s3/conditions.ts';

const version = { etag: 'abc', sizeBytes: 1000, lastModifiedMs: Date.UTC(2026, 5, 1, 12, 0, 0, 700) };
const same = 'Mon, 01 Jun 2026 12:00:00 GMT';
const earlier = 'Mon, 01 Jun 2026 11:59:59 GMT';
const later = 'Mon, 01 Jun 2026 12:00:01 GMT';

describe('a range', () => {
  it.each([
    ['bytes=0-0', { offset: 0, length: 1 }],
    ['bytes=10-19', { offset: 10, length: 10 }],
    ['bytes=990-2000', { offset: 990, length: 10 }],
    ['bytes=999-', { offset: 999, length: 1 }],
    ['bytes=-1', { offset: 999, length: 1 }],
    ['bytes=-5000', { offset: 0, length: 1000 }],
    ['BYTES = 1 - 2', { offset: 1, length: 2 }],
    ['bytes=0-99999999999999999999', { offset: 0, length: 1000 }],
    ['bytes=1000-', 'unsatisfiable'],
    ['bytes=1000-1001', 'unsatisfiable'],
    ['bytes=-0', 'unsatisfiable'],
    ['bytes=5-4', 'ignored'],
    ['bytes=-', 'ignored'],
    ['bytes=a-b', 'ignored'],
    ['bytes=0-1,5-6', 'ignored'],
    ['lines=0-1', 'ignored'],
  ])('%s of 1000 bytes', (text, expected) => {
    expect(parseRange(text, 1000)).toEqual(expected);
  });

  it('of an empty object is never satisfiable', () => {
    for (const text of ['bytes=0-', 'bytes=0-0', 'bytes=-1']) expect(parseRange(text, 0)).toBe('unsatisfiable');
  });
});

describe('conditions', () => {
  it.each<[Record<string, string>, string]>([
    [{}, 'whole'],
    [{ 'if-match': '"abc"' }, 'whole'],
    [{ 'if-match': 'abc' }, 'whole'],
    [{ 'if-match': '*' }, 'whole'],
    [{ 'if-match': '"x", "abc"' }, 'whole'],
    [{ 'if-match': '"x"' }, 'precondition-failed'],
    [{ 'if-match': '"x"', 'if-none-match': '"abc"' }, 'precondition-failed'],
    [{ 'if-none-match': '"abc"' }, 'not-modified'],
    [{ 'if-none-match': '*' }, 'not-modified'],
    [{ 'if-none-match': '"x"' }, 'whole'],
    [{ 'if-modified-since': same }, 'not-modified'],
    [{ 'if-modified-since': later }, 'not-modified'],
    [{ 'if-modified-since': earlier }, 'whole'],
    [{ 'if-modified-since': 'yesterday or so' }, 'whole'],
    [{ 'if-unmodified-since': same }, 'whole'],
    [{ 'if-unmodified-since': later }, 'whole'],
    [{ 'if-unmodified-since': earlier }, 'precondition-failed'],
    [{ 'if-match': '"abc"', 'if-unmodified-since': earlier }, 'whole'],
    [{ 'if-none-match': '"x"', 'if-modified-since': later }, 'whole'],
    [{ range: 'bytes=0-1' }, 'part'],
    [{ range: 'bytes=0-1', 'if-range': '"abc"' }, 'part'],
    [{ range: 'bytes=0-1', 'if-range': '"old"' }, 'whole'],
    [{ range: 'bytes=0-1', 'if-range': same }, 'part'],
    [{ range: 'bytes=0-1', 'if-range': earlier }, 'whole'],
    [{ range: 'bytes=2000-', 'if-none-match': '"abc"' }, 'not-modified'],
    [{ range: 'bytes=2000-' }, 'range-not-satisfiable'],
  ])('%j', (headers, kind) => {
    expect(judge(headers, version).kind).toBe(kind);
  });
});
