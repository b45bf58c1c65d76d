/** What an ended load says of one file: exactly what its figures say, and no more. */
import { expect, test } from 'vitest';
import type { JobSnapshot } from '../../../src/core/job.ts';
import { defaultLoadOptions } from '../../../src/core/load-options.ts';
import { outcomeOf } from '../../../src/core/load-outcome.ts';
import { newSnapshot } from '../../support/snapshot.ts';

const path = 's3://b/dir/a';
const ended = { state: 'FAILED', endedAtMs: 9, startedAtMs: 1 } as const;
const denied = 'ORIGIN_DENIED: s3://b/dir/: 403 AccessDenied';
const failure = { path, code: 'ORIGIN_RESET' as const, message: `${path}: reset` };
const other = { ...failure, path: 's3://b/dir/b' };
const whole = { listingDone: true, scannedFiles: 4, totalFiles: 4, loadedFiles: 3, skippedFiles: 1, processedFiles: 4 };

test.each<[string, Partial<JobSnapshot>, string, RegExp]>([
  [
    'the listing failed before anything was loaded',
    { ...ended, reason: denied },
    'not-reached',
    /^it ended before its listing did, after 0 keys, and no file was loaded by it: ORIGIN_DENIED: .*403 AccessDenied$/,
  ],
  [
    'the listing failed after some files',
    { ...ended, reason: denied, scannedFiles: 2000, processedFiles: 700, loadedFiles: 600, skippedFiles: 100 },
    'not-known',
    /after 2000 keys and 700 files \(600 loaded, 100 there already\); whether this one was among them is not kept: ORIGIN/,
  ],
  [
    'there was no room',
    { ...ended, ...whole, processedFiles: 0, loadedFiles: 0, skippedFiles: 0, reason: 'STORE_NO_ROOM: full' },
    'not-reached',
    /^it ended before any of the 4 files of its listing was loaded: STORE_NO_ROOM: full$/,
  ],
  [
    'it was stopped in the middle',
    { ...ended, ...whole, state: 'STOPPED', processedFiles: 3, skippedFiles: 0 },
    'not-known',
    /^it ended after 3 of the 4 files of its listing \(3 loaded, 0 there already\); whether this one .* not kept$/,
  ],
  [
    'it was stopped while it waited',
    { state: 'STOPPED', endedAtMs: 9, reason: 'waits for its turn' },
    'not-reached',
    /^it ended before it began: waits for its turn$/,
  ],
  [
    'it succeeded',
    { ...ended, ...whole, state: 'SUCCEEDED' },
    'settled',
    /accounted for \(3 loaded, 1 there already, 0 failed\).*: it was loaded or there already, if the origin listed it$/,
  ],
  [
    'it succeeded with a filter',
    {
      ...{ ...ended, ...whole, state: 'SUCCEEDED' },
      options: { ...defaultLoadOptions, fileFilterRegex: '.*b', loadMetadataOnly: true },
    },
    'settled',
    /what the origin says of it, and none of its bytes, was loaded .*, or the filter \.\*b left it out$/,
  ],
  [
    'another file failed, and this one is not among the failed ones',
    {
      ...ended,
      ...whole,
      loadedFiles: 2,
      failedFiles: 1,
      failures: [other],
      reason: '1 of 4 files failed; the first: …',
    },
    'settled',
    /\(2 loaded, 1 there already, 1 failed\) and it did not fail/,
  ],
  [
    'it failed',
    { ...ended, ...whole, failedFiles: 1, failures: [other, failure] },
    'failed',
    /^the file FAILED: reset$/,
  ],
  ['more failed than are named', { ...ended, ...whole, failedFiles: 2, failures: [other] }, 'not-kept', /not kept$/],
])('where %s', (_, more, outcome, text) => {
  expect(outcomeOf(newSnapshot('s3://b/dir/', more), path, false)).toMatchObject({
    outcome,
    text: expect.stringMatching(text),
  });
});
