/** What is submitted to load what failed. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { JobSnapshot } from '../../../src/core/job.ts';
import { failedOf } from '../../../src/core/retry-failed.ts';
import { freeSnapshot, snapshotOf } from '../../support/snapshot.ts';

const failure = (path: string) => ({ path, code: 'ORIGIN_DENIED' as const, message: 'no' });
const failed = (paths: readonly string[], more: Partial<JobSnapshot> = {}): JobSnapshot =>
  snapshotOf('s3://b/', { state: 'FAILED', failedFiles: paths.length, failures: paths.map(failure), ...more });

test('the source names exactly the files that failed, under an alias of the job', () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.stringMatching(/^[a-z]{1,8}$/), { minLength: 1, maxLength: 30 }), (keys) => {
      const paths = keys.map((key) => `s3://b/${key}`);
      const { source, alias } = failedOf(failed(paths));
      expect(alias).toBe('retry-job-1');
      expect(source.kind === 'paths' ? source.paths : [source.path]).toEqual(paths);
    }),
  );
});

test.each<[string, JobSnapshot, string]>([
  ['a free', freeSnapshot('s3://b/'), 'REQUEST_INVALID'],
  ['a load that runs', failed(['s3://b/a'], { state: 'RUNNING' }), 'JOB_CONFLICT'],
  ['a load of which nothing failed', failed([], { state: 'SUCCEEDED' }), 'REQUEST_INVALID'],
  ['more than are kept by name', failed(['s3://b/a'], { failedFiles: 2 }), 'REQUEST_INVALID'],
  ['a name that would mean a folder', failed(['s3://b/a/']), 'REQUEST_INVALID'],
])('%s is refused', (_name, job, code) => {
  expect(() => failedOf(job)).toThrow(expect.objectContaining({ code }));
});
