import { describe, expect, it } from 'vitest';
import { PrimedError } from '../../../src/core/errors.ts';
import { formatDuration, formatSize, formatTimeLeft, parseDuration, parseSize } from '../../../src/core/sizes.ts';

describe('formatSize', () => {
  it.each([
    [0, '0B'],
    [1, '1B'],
    [5120, '5120B'],
    [5121, '5.00KB'],
    [3145728, '3072.00KB'],
    [5242880, '5120.00KB'],
    [5242881, '5.00MB'],
    [131072000, '125.00MB'],
    [2 ** 40, '1024.00GB'],
    [2 ** 43, '8.00TB'],
    [6 * 2 ** 60, '6.00EB'],
    [2 ** 70, '1024.00EB'],
  ])('writes %d as %s', (bytes, text) => {
    expect(formatSize(bytes)).toBe(text);
  });

  it('never writes NaN, Infinity or a negative size', () => {
    for (const bytes of [Number.NaN, Number.POSITIVE_INFINITY, -1]) expect(formatSize(bytes)).toBe('0B');
  });

  it('writes whole bytes for a rate that is a fraction', () => {
    expect(formatSize(12.6)).toBe('13B');
  });
});

describe('parseSize', () => {
  it.each([
    ['0', 0],
    ['4096', 4096],
    ['1b', 1],
    ['1k', 1024],
    ['1K', 1024],
    ['1kb', 1024],
    ['1Ki', 1024],
    ['1KiB', 1024],
    ['200MB', 200 * 1024 ** 2],
    ['1.5g', 1.5 * 1024 ** 3],
    ['.5t', 0.5 * 1024 ** 4],
    [' 2 PB ', 2 * 1024 ** 5],
    ['0.0001k', 0],
  ])('reads %s as %d bytes', (text, bytes) => {
    expect(parseSize(text)).toBe(bytes);
  });

  it.each(['', 'MB', '1x', '-1', '1e3', '1 000', '0x10', '1.2.3', 'NaN', '1kbb', '9999999p'])('refuses %s', (text) => {
    expect(() => parseSize(text)).toThrow(PrimedError);
  });
});

describe('durations', () => {
  it.each([
    ['7d', 7 * 86_400_000],
    ['500', 500],
    ['500ms', 500],
    ['1.5s', 1500],
    ['2min', 120_000],
    ['1h 30m', 5_400_000],
    ['1w', 604_800_000],
  ])('reads %s as %d ms', (text, ms) => {
    expect(parseDuration(text)).toBe(ms);
  });

  it.each(['', 'd', '1y', '-1s', '1 2', '1s,2s'])('refuses %s', (text) => {
    expect(() => parseDuration(text)).toThrow(PrimedError);
  });

  it.each([
    [0, '0s'],
    [Number.NaN, '0s'],
    [850, '850ms'],
    [42_000, '42s'],
    [80_000, '1m 20s'],
    [119_999, '2m 0s'],
    [11_100_000, '3h 5m'],
    [187_200_000, '2d 4h'],
  ])('writes %d ms as %s', (ms, text) => {
    expect(formatDuration(ms)).toBe(text);
  });

  it.each([
    [0, '0s'],
    [142, '1s'],
    [1001, '2s'],
    [59_001, '1m 0s'],
  ])('writes %d ms that are left as %s', (ms, text) => {
    expect(formatTimeLeft(ms)).toBe(text);
  });
});
