/** Jobs that have ended, and loading again what failed. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { runCli } from '../../../src/cli/run.ts';
import type { JobId } from '../../../src/core/types.ts';
import { type ScriptedCoordinator, startScriptedCoordinator } from '../../support/scripted-coordinator.ts';
import { snapshotOf } from '../../support/snapshot.ts';
import { makeWorld } from './world.ts';

let coordinator: ScriptedCoordinator;
beforeEach(async () => {
  coordinator = await startScriptedCoordinator();
});
afterEach(() => coordinator.close());

async function job(...args: string[]) {
  const io = makeWorld({ env: { PRIMED_COORDINATOR: coordinator.url } });
  return { code: await runCli(['job', ...args], io), out: io.out(), err: io.err() };
}

const failures = ['s3://b/old/1', 's3://b/old/2'].map((path) => ({
  path,
  code: 'ORIGIN_DENIED' as const,
  message: 'no',
}));
const old = snapshotOf('s3://b/old/', {
  ...{ jobId: 'job-3' as JobId, state: 'FAILED', failedFiles: 2, failures, processedFiles: 4 },
  ...{ startedAtMs: Date.UTC(2026, 0, 2), endedAtMs: Date.UTC(2026, 0, 2, 0, 1) },
});

test('history has what has ended, by path, state and number', async () => {
  coordinator.jobs.jobs = [
    snapshotOf('s3://b/runs/', { jobId: 'job-1' as JobId }),
    snapshotOf('s3://b/new/', { jobId: 'job-2' as JobId, state: 'SUCCEEDED' }),
    old,
  ];
  const ids = async (...args: string[]): Promise<string[]> => {
    const { out } = await job('history', ...args, '--format', 'json');
    return (JSON.parse(out) as { jobId: string }[]).map(({ jobId }) => jobId);
  };
  expect(await ids()).toEqual(['job-2', 'job-3']);
  expect(await ids('--state', 'failed')).toEqual(['job-3']);
  expect(await ids('s3://b/new')).toEqual(['job-2']);
  expect(await ids('--limit', '1')).toEqual(['job-2']);
  const { out } = await job('history', '--state', 'failed');
  expect(out).toMatch(/^JOB ID .* ENDED .* TOOK .*\njob-3 .*2026-01-02T00:01:00.000Z {2}1m.* s3:\/\/b\/old\/\n$/);
});

test('retry-failed submits exactly what failed; what is not there, or did not fail, is said', async () => {
  coordinator.jobs.jobs = [old, snapshotOf('s3://b/new/', { jobId: 'job-2' as JobId, state: 'SUCCEEDED' })];
  const said = await job('retry-failed', 'job-3');
  expect(said).toMatchObject({ code: 0, out: expect.stringContaining('is successfully submitted. JobId: job-1') });
  expect(coordinator.jobs.submissions).toEqual([
    {
      ...{ source: { kind: 'paths', path: 'retry-job-3', paths: ['s3://b/old/1', 's3://b/old/2'] } },
      ...{ options: old.options, alias: 'retry-job-3' },
    },
  ]);
  expect(await job('retry-failed', 'job-2')).toMatchObject({
    code: 2,
    err: expect.stringContaining('No file of load'),
  });
  expect(await job('retry-failed', 'job-9')).toMatchObject({ code: 4 });
  expect(coordinator.jobs.submissions).toHaveLength(1);
});
