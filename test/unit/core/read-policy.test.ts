import { expect, it } from 'vitest';
import { isYoung, ReadPolicies } from '../../../src/core/read-policy.ts';

const policies = new ReadPolicies({
  base: { readThrough: 'never', maxAgeMs: undefined },
  origins: [
    { prefix: 's3://data/', readThrough: 'always', maxAgeMs: 1000 },
    { prefix: 's3://other', readThrough: 'pass' },
  ],
  rules: [
    { prefix: 's3://data/tmp', readThrough: 'never' },
    { prefix: 's3://data/tmp/live/', maxAgeMs: 0, readThrough: 'pass' },
  ],
});

it.each([
  ['s3://none/a', { readThrough: 'never', maxAgeMs: undefined }],
  ['s3://data/a', { readThrough: 'always', maxAgeMs: 1000 }],
  // Each setting by itself: the age is that of the origin.
  ['s3://data/tmp/a', { readThrough: 'never', maxAgeMs: 1000 }],
  ['s3://data/tmp', { readThrough: 'never', maxAgeMs: 1000 }],
  // A prefix ends where a name ends.
  ['s3://data/tmpfile', { readThrough: 'always', maxAgeMs: 1000 }],
  ['s3://data/tmp/live/x', { readThrough: 'pass', maxAgeMs: 0 }],
  ['s3://other/x', { readThrough: 'pass', maxAgeMs: undefined }],
  ['s3://others/x', { readThrough: 'never', maxAgeMs: undefined }],
])('the longest prefix decides about %s', (path, policy) => {
  expect(policies.of(path)).toEqual(policy);
});

it('a list is of the origin where something below it may be read there', () => {
  const listed = ['s3://', 's3://data/', 's3://data/tmp/', 's3://data/tmp/x/', 's3://none/'];
  expect(listed.map((prefix) => policies.mayReadBelow(prefix))).toEqual([true, true, true, false, false]);
  const none = new ReadPolicies({ base: { readThrough: 'never', maxAgeMs: 5 }, origins: [], rules: [] });
  expect([none.readsAny, none.mayReadBelow('s3://')]).toEqual([false, false]);
});

it('names the buckets of which something may be read at the origin', () => {
  const base = { readThrough: 'never', maxAgeMs: undefined } as const;
  const named = (
    rules: { prefix: string; readThrough?: 'never' | 'always' }[],
    readThrough: 'never' | 'always' = 'never',
  ) => new ReadPolicies({ base: { ...base, readThrough }, origins: rules, rules: [] }).namedBuckets.toSorted();
  const some = [
    { prefix: 's3://a/deep/er/' },
    { prefix: 's3://b' },
    { prefix: 's3://b/c' },
    { prefix: 's3://' },
    { prefix: 'file:///x/' },
  ];
  expect(named(some)).toEqual([]);
  expect(named(some, 'always')).toEqual(['a', 'b']);
  expect(
    named([
      { prefix: 's3://a/x/', readThrough: 'always' },
      { prefix: 's3://b/', readThrough: 'never' },
    ]),
  ).toEqual(['a']);
});

it('an answer is as old as its request', () => {
  expect([isYoung(100, undefined, 1e9), isYoung(100, 50, 149), isYoung(100, 50, 150), isYoung(100, 0, 100)]).toEqual([
    ...[true, true, false, false],
  ]);
});

it('other rules count from the moment in which they are given', () => {
  const base = { readThrough: 'never', maxAgeMs: undefined } as const;
  const changing = new ReadPolicies({ base, origins: [], rules: [] });
  expect(changing.of('s3://b/k').readThrough).toBe('never');
  changing.configure({ base, origins: [], rules: [{ prefix: 's3://b', readThrough: 'always', maxAgeMs: 5 }] });
  expect(changing.of('s3://b/k')).toEqual({ readThrough: 'always', maxAgeMs: 5 });
  changing.configure({ base, origins: [], rules: [] });
  expect([changing.of('s3://b/k').readThrough, changing.readsAny]).toEqual(['never', false]);
});
