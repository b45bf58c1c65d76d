import { describe, expect, it } from 'vitest';
import { PrimedError } from '../../../src/core/errors.ts';
import { baseName, compileFileFilter, hasWildcard, maxPatternLength } from '../../../src/core/file-filter.ts';
import {
  checkReplicas,
  defaultLoadOptions,
  maxBatchSize,
  optionDifferences,
  parseLoadOptions,
} from '../../../src/core/load-options.ts';

function failureOf(act: () => unknown): PrimedError {
  try {
    act();
  } catch (error) {
    if (error instanceof PrimedError) return error;
    throw error;
  }
  throw new Error('expected a PrimedError');
}

describe('parseLoadOptions', () => {
  it('takes JSON strings, as the documented curl call sends them', () => {
    const options = parseLoadOptions({
      replicas: '2',
      batchSize: '300',
      segmentSize: '8MB',
      partialListing: 'true',
      loadMetadataOnly: 'true',
      skipIfExists: 'TRUE',
      verify: 'false',
      bandwidth: '200MB',
      priority: '40',
      fileFilterRegx: '.*\\.parquet',
    });
    expect(options).toEqual({
      replicas: 2,
      batchSize: 300,
      segmentBytes: 8 * 1024 * 1024,
      partialListing: true,
      loadMetadataOnly: true,
      skipIfExists: true,
      verify: false,
      bandwidthBytesPerSecond: 200 * 1024 * 1024,
      priority: 40,
      fileFilterRegex: '.*\\.parquet',
    });
  });

  it('takes native numbers and booleans, and the other spelling of the filter', () => {
    const options = parseLoadOptions({
      replicas: 1,
      batchSize: 5,
      verify: true,
      bandwidth: 1000,
      fileFilterRegex: 'a',
    });
    expect(options).toEqual({
      ...defaultLoadOptions,
      batchSize: 5,
      verify: true,
      bandwidthBytesPerSecond: 1000,
      fileFilterRegex: 'a',
    });
  });

  it('has defaults for what is absent or null', () => {
    expect(parseLoadOptions({ verify: null, bandwidth: undefined })).toEqual(defaultLoadOptions);
  });

  it.each([
    ['replicas', '0'],
    ['replicas', 1.5],
    ['replicas', 'two'],
    ['replicas', true],
    ['batchSize', '0'],
    ['priority', 0],
    ['priority', '101'],
    ['priority', 'high'],
    ['batchSize', maxBatchSize + 1],
    ['batchSize', ''],
    ['segmentSize', '0'],
    ['segmentSize', '1.5MB'],
    ['segmentSize', '2GB'],
    ['segmentSize', true],
    ['partialListing', 'yes'],
    ['loadMetadataOnly', 1],
    ['skipIfExists', ''],
    ['verify', {}],
    ['bandwidth', '0'],
    ['bandwidth', 'fast'],
    ['bandwidth', -5],
    ['bandwidth', []],
    ['fileFilterRegx', '('],
    ['fileFilterRegx', ''],
    ['fileFilterRegx', 7],
    ['fileFilterRegex', 'a'.repeat(maxPatternLength + 1)],
    ['loadPolicy', 'IF_CHANGED'],
    ['__proto__x', '1'],
  ])('refuses %s = %j and names it', (field, value) => {
    const error = failureOf(() => parseLoadOptions({ [field]: value }));
    expect(error.code).toBe('REQUEST_INVALID');
    expect(error.message.startsWith(`${field}: `)).toBe(true);
    expect(error.facts).toMatchObject({ field });
  });

  it('refuses two different patterns under the two spellings', () => {
    expect(failureOf(() => parseLoadOptions({ fileFilterRegx: 'a', fileFilterRegex: 'b' })).code).toBe(
      'REQUEST_INVALID',
    );
    expect(parseLoadOptions({ fileFilterRegx: 'a', fileFilterRegex: 'a' }).fileFilterRegex).toBe('a');
  });
});

describe('checkReplicas', () => {
  it('refuses more replicas than live workers, with both numbers', () => {
    const error = failureOf(() => checkReplicas({ ...defaultLoadOptions, replicas: 3 }, 1));
    expect(error.code).toBe('OPTION_UNSUPPORTED');
    expect(error.message).toContain('3 replicas');
    expect(error.message).toContain('1 live worker');
  });

  it('accepts as many as there are', () => {
    expect(() => checkReplicas({ ...defaultLoadOptions, replicas: 2 }, 2)).not.toThrow();
  });
});

describe('optionDifferences', () => {
  it('says nothing about equal options', () => {
    expect(optionDifferences(defaultLoadOptions, parseLoadOptions({ replicas: '1' }))).toEqual([]);
  });

  it('names every option that differs, with both values', () => {
    const asked = parseLoadOptions({
      replicas: 2,
      batchSize: 7,
      segmentSize: '8MB',
      partialListing: true,
      loadMetadataOnly: true,
      skipIfExists: true,
      verify: true,
      bandwidth: '10MB',
      fileFilterRegx: 'x',
    });
    expect(optionDifferences(defaultLoadOptions, asked)).toEqual([
      'replicas is 1, asked for 2',
      'batchSize is 200, asked for 7',
      'segmentSize is 64.00MB, asked for 8.00MB',
      'partialListing is false, asked for true',
      'loadMetadataOnly is false, asked for true',
      'skipIfExists is false, asked for true',
      'verify is false, asked for true',
      'bandwidth is unlimited, asked for 10.00MB/s',
      'fileFilterRegx is not set, asked for x',
    ]);
  });

  it('tells limits apart that are written alike', () => {
    const running = { ...defaultLoadOptions, bandwidthBytesPerSecond: 10 * 1024 ** 2 };
    expect(optionDifferences(running, { ...running, bandwidthBytesPerSecond: 10 * 1024 ** 2 + 1 })).toHaveLength(1);
  });
});

describe('the file filter', () => {
  it('must match the whole base name', () => {
    const filter = compileFileFilter('a|part-[0-9]+');
    expect(['a', 'part-12', 'ab', 'xpart-1', 'part-', ''].map((name) => filter.test(name))).toEqual([
      true,
      true,
      false,
      false,
      false,
      false,
    ]);
  });

  it('refuses a pattern that is only right inside of a group', () => {
    expect(failureOf(() => compileFileFilter('a)|(b')).code).toBe('REQUEST_INVALID');
  });

  it('looks at the last part of a path', () => {
    expect(baseName('s3://b/dir/name.txt')).toBe('name.txt');
    expect(baseName('name')).toBe('name');
  });

  it('knows a wildcard from other special characters of keys', () => {
    expect(hasWildcard('s3://b/dir/*.txt')).toBe(true);
    expect(hasWildcard('s3://b/dir/[a]{b}?')).toBe(false);
  });
});
