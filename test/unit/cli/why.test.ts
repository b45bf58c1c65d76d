/** What is kept of a file's story, and that nothing more is said. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { runCli } from '../../../src/cli/run.ts';
import { storyIn } from '../../../src/cli/why.ts';
import type { FileEntry, JobProgress, JobRow } from '../../../src/client/types.ts';
import type { JobId } from '../../../src/core/types.ts';
import { type ScriptedCoordinator, startScriptedCoordinator } from '../../support/scripted-coordinator.ts';
import { snapshotOf } from '../../support/snapshot.ts';
import { makeWorld } from './world.ts';

const path = 's3://b/dir/a';
const row: JobRow = { jobId: 'j', type: 'LOAD', path: 's3://b/dir/', state: 'FAILED', endedAt: 'then' };
const progress = (more: object): JobProgress => ({
  ...{ jobId: 'j', mJobState: 'FAILED', mProcessedFileCount: 1, mLoadedByteCount: 1, mSkippedByteCount: 0 },
  ...{ mFailedFileCount: 0, loadId: 'load-1' },
  ...more,
});

test.each<[string, JobRow, JobProgress | undefined, string | undefined, object]>([
  [
    'failed',
    row,
    progress({ mFailedFileCount: 1, mFailedFilesWithReasons: { [path]: '403' } }),
    'load-1',
    { failure: '403' },
  ],
  ['cached', row, progress({}), 'load-1', {}],
  ['no-failure', row, progress({}), 'load-2', {}],
  ['no-failure', row, progress({ mFailedFileCount: 1, mFailedFilesWithReasons: { other: '403' } }), undefined, {}],
  ['not-kept', row, progress({ mFailedFileCount: 2, mFailedFilesWithReasons: { other: '403' } }), undefined, {}],
  ['not-kept', row, undefined, 'load-1', {}],
  ['not-ended', { jobId: 'j', type: 'LOAD', state: 'RUNNING' }, progress({}), undefined, {}],
])('of a load in which it is %s', (outcome, job, told, loadId, more) => {
  const file = loadId === undefined ? undefined : ({ loadId } as FileEntry);
  expect(storyIn(job, told, { path, file })).toMatchObject({ outcome, ...more });
});

let coordinator: ScriptedCoordinator;
beforeEach(async () => {
  coordinator = await startScriptedCoordinator();
});
afterEach(() => coordinator.close());

async function why(...args: string[]) {
  const io = makeWorld({ env: { PRIMED_COORDINATOR: coordinator.url } });
  return { code: await runCli(['why', ...args], io), out: io.out(), err: io.err() };
}

test('loads of the path and above it are told, those of others are not', async () => {
  const failures = [{ path, code: 'ORIGIN_DENIED' as const, message: `${path}: 403 \u001b[2J` }];
  const ended = { state: 'FAILED' as const, endedAtMs: Date.UTC(2026, 0, 3) };
  coordinator.jobs.jobs = [
    snapshotOf(path, { jobId: 'itself' as JobId }),
    snapshotOf('s3://b/dir/', { jobId: 'above' as JobId, ...ended, failedFiles: 1, failures }),
    snapshotOf('', {
      jobId: 'list' as JobId,
      ...ended,
      source: { kind: 'paths', path: 'x', paths: ['s3://c/', 's3://b/'] },
    }),
    snapshotOf('', { jobId: 'index' as JobId, ...ended, source: { kind: 'index', path: '/lists/x' } }),
    snapshotOf('s3://b/di', { jobId: 'other' as JobId, ...ended }),
  ];
  const { code, out } = await why(path);
  expect(code).toBe(0);
  expect(out.split('\n').map((line) => line.replace(/^2026\S+ {2}/, '').slice(0, 78))).toEqual([
    'load itself of s3://b/dir/a, RUNNING: it has not ended',
    'load above of s3://b/dir/, FAILED: the file FAILED: 403 \\u001b[2J',
    expect.stringMatching(/^load list of - \(2 paths\), FAILED: no failure of the file/),
    expect.stringMatching(/^1 from index files/),
    '',
    'Path:          s3://b/dir/a',
    'Nothing of it is cached.',
    '',
    expect.stringMatching(/^Not kept: /),
    '',
  ]);
  coordinator.files.put(path, 'xyz');
  const json = JSON.parse((await why(path, '--format', 'json')).out);
  expect(json).toMatchObject({ path, olderLoads: 0, indexLoads: 1, stat: { type: 'file', cachedBytes: 3 } });
  expect(json.loads.map(({ outcome }: { outcome: string }) => outcome)).toEqual(['not-ended', 'failed', 'no-failure']);
});

test('so many loads are asked and no more; of a directory fs stat tells', async () => {
  coordinator.jobs.jobs = Array.from({ length: 23 }, (_, n) => snapshotOf(path, { jobId: `${n}` as JobId }));
  const { out } = await why(path);
  expect(out.split('\n').filter((line) => line.includes('it has not ended'))).toHaveLength(20);
  expect(out).toContain('3 older loads were not looked at.');
  expect(await why('s3://b/dir/')).toMatchObject({ code: 2, err: expect.stringContaining('primed fs stat') });
  coordinator.jobs.jobs = [];
  expect((await why(path)).out).toMatch(/^No load of it is kept\.\n/);
});
