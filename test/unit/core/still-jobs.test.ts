import { expect, test } from 'vitest';
import type { JobSnapshot } from '../../../src/core/job.ts';
import { StillJobs } from '../../../src/core/still-jobs.ts';
import { emptyLedger } from '../../../src/core/types.ts';

function job(jobId: string, more: Partial<JobSnapshot> = {}): JobSnapshot {
  return {
    jobId,
    state: 'RUNNING',
    ...{ scannedFiles: 0, processedFiles: 0, loadedBytes: 0, verifiedFiles: 0, verifiedBytes: 0 },
    ledger: emptyLedger(),
    ...more,
  } as JobSnapshot;
}

test('a job that does not move is still for as long as it was looked at', () => {
  const still = new StillJobs();
  expect(still.look([job('a')], 5_000)).toBe(0);
  expect(still.look([job('a')], 8_000)).toBe(3_000);
  expect(still.look([job('a')], 65_000)).toBe(60_000);
});

test.each<Partial<JobSnapshot>>([
  { scannedFiles: 1 },
  { processedFiles: 1 },
  { loadedBytes: 1 },
  { verifiedBytes: 1 },
  { state: 'VERIFYING' },
  { ledger: { ...emptyLedger(), originBytes: 1 } },
])('%j is progress', (change) => {
  const still = new StillJobs();
  still.look([job('a')], 0);
  expect(still.look([job('a', change)], 10_000)).toBe(0);
  expect(still.look([job('a', change)], 11_000)).toBe(1_000);
});

test('the stillest one counts, and only those that run', () => {
  const still = new StillJobs();
  still.look([job('a'), job('b'), job('c', { state: 'WAITING' })], 0);
  const moved = [job('a'), job('b', { loadedBytes: 7 }), job('c', { state: 'WAITING' })];
  expect(still.look(moved, 4_000)).toBe(4_000);
  expect(still.look([job('a', { state: 'SUCCEEDED' }), job('b', { loadedBytes: 7 })], 6_000)).toBe(2_000);
  expect(still.look([], 9_000)).toBe(0);
  // It ran again after a pause in which it was not looked at.
  expect(still.look([job('a')], 20_000)).toBe(0);
});
