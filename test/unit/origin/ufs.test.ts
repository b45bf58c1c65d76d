import { describe, expect, test } from 'vitest';
import { PrimedError } from '../../../src/core/errors.ts';
import { locate, type UfsEntry } from '../../../src/origin/ufs.ts';

const entries: readonly UfsEntry[] = [
  { prefix: 's3://special/', region: 'special' },
  { prefix: 's3://', region: 'any' },
  { prefix: 'file:///data/' },
  { prefix: 'file:///data/inner', region: 'inner' },
];

test.each([
  ['s3://bucket', 's3://bucket/', ''],
  ['s3://bucket/', 's3://bucket/', ''],
  ['s3://bucket/a//b/../c?x#y%20 +', 's3://bucket/a//b/../c?x#y%20 +', 'a//b/../c?x#y%20 +'],
  ['file:///data', 'file:///data', ''],
  ['file:///data/', 'file:///data/', ''],
  ['file:///data/a//./b', 'file:///data/a/b', 'a/b'],
  ['file:///data/a/', 'file:///data/a/', 'a/'],
  ['file:///data/a/.', 'file:///data/a/', 'a/'],
  ['file:///data/a..b/...', 'file:///data/a..b/...', 'a..b/...'],
])('%s is %s', (given, path, key) => {
  expect(locate(given, entries)).toMatchObject({ path, key });
});

test('the longest prefix decides', () => {
  expect(locate('s3://special/x', entries).entry.region).toBe('special');
  expect(locate('s3://specials/x', entries).entry.region).toBe('any');
  expect(locate('file:///data/inner/x', entries)).toMatchObject({ root: '/data/inner', key: 'x' });
  expect(locate('file:///data/innerx', entries)).toMatchObject({ root: '/data', key: 'innerx' });
});

test('s3:// without an entry is the environment of AWS', () => {
  expect(locate('s3://b/k', []).entry).toEqual({ prefix: 's3://' });
});

describe('refused with PATH_INVALID, saying why', () => {
  test.each([
    ['', /starts with s3:\/\/ or file:/],
    ['/data/x', /starts with s3:\/\/ or file:/],
    ['hdfs://x/y', /hdfs/],
    ['S3://b/k', /S3/],
    ['s3://', /bucket name/],
    ['s3:///key', /bucket name/],
    ['s3://b ad/key', /bucket name/],
    ['s3://-b/key', /bucket name/],
    [`s3://b/${'é'.repeat(513)}`, /longer than 1024/],
    ['s3://b/a\0b', /NUL/],
    ['s3://b/\ud800', /Unicode/],
    ['file://host/data/x', /without a host/],
    ['file:///data/../etc/passwd', /'\.\.'/],
    ['file:///data/a/..', /'\.\.'/],
    ['file:///data/a\0', /NUL/],
    ['file:///etc/passwd', /none of the configured roots/],
    ['file:///database', /none of the configured roots/],
    [`file:///data/${'a/'.repeat(3000)}`, /longer than 4095/],
  ])('%j', (path, why) => {
    const refuse = (): unknown => locate(path, entries);
    expect(refuse).toThrow(PrimedError);
    expect(refuse).toThrow(why);
    try {
      refuse();
    } catch (error) {
      expect((error as PrimedError).code).toBe('PATH_INVALID');
    }
  });
});
