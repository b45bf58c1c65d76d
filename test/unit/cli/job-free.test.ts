import { afterEach, beforeEach, expect, test } from 'vitest';
import { runCli } from '../../../src/cli/run.ts';
import { PrimedError } from '../../../src/core/errors.ts';
import type { FreeProgress } from '../../../src/core/free-job.ts';
import type { JobState } from '../../../src/core/job.ts';
import { MiB } from '../../../src/core/units.ts';
import { type ScriptedCoordinator, startScriptedCoordinator } from '../../support/scripted-coordinator.ts';
import { freeSnapshot } from '../../support/snapshot.ts';
import { makeWorld } from './world.ts';

const path = 's3://b/dir/';
let coordinator: ScriptedCoordinator;
beforeEach(async () => {
  coordinator = await startScriptedCoordinator();
});
afterEach(() => coordinator.close());

async function free(...args: string[]) {
  const io = makeWorld({ env: { PRIMED_COORDINATOR: coordinator.url } });
  return { code: await runCli(['job', 'free', ...args], io), out: io.out(), err: io.err() };
}

/** One state after the other; the last one stays. */
function script(...states: JobState[]): void {
  let step = 0;
  coordinator.jobs.onSnapshot = (asked) => freeSnapshot(asked, { state: states[Math.min(step++, states.length - 1)]! });
}

test('it is followed to its end, and reported', async () => {
  script('RUNNING', 'SUCCEEDED');
  const { code, out, err } = await free(path);
  expect(code).toBe(0);
  expect(coordinator.jobs.frees).toEqual([{ path, dryRun: false }]);
  expect(out).toContain(
    `Free '${path}' is successfully submitted. JobId: job-1\nProgress for freeing path '${path}':\n`,
  );
  expect(out).toContain('\tFiles Freed: 3 out of 4\n');
  expect(err).toContain('RUNNING 75.0%  3072.00KB of 4096.00KB, 3 of 4 files\n');
});

test('a dry run says so to the coordinator, and what it has found', async () => {
  const found: FreeProgress = {
    dryRun: true,
    workers: [{ worker: 'w1', files: 4, bytes: 4 * MiB, freedFiles: 0, freedBytes: 0, done: true }],
    absent: [],
  };
  coordinator.jobs.onSnapshot = (asked) => freeSnapshot(asked, { state: 'SUCCEEDED', free: found });
  const { code, out } = await free(path, '--dry-run', '--format', 'JSON');
  expect(code).toBe(0);
  expect(coordinator.jobs.frees).toEqual([{ path, dryRun: true }]);
  expect(JSON.parse(out)).toMatchObject({ dryRun: true, files: 4, bytes: 4 * MiB, freedFiles: 0 });
});

test('one that ends FAILED or STOPPED is a failure', async () => {
  for (const state of ['FAILED', 'STOPPED'] as const) {
    script(state);
    expect((await free(path)).code).toBe(1);
  }
});

test('--submit does not wait, --progress shows, --stop stops; exit 4 where there is none', async () => {
  expect(await free('--submit', '--path', path)).toMatchObject({
    code: 0,
    out: `Free '${path}' is successfully submitted. JobId: job-1\n`,
  });
  expect(await free(path, '--progress')).toMatchObject({ code: 4, out: `Free for path '${path}' cannot be found.\n` });
  expect(await free(path, '--stop')).toMatchObject({
    code: 4,
    out: `Cannot find free job for path ${path}, it might have already been stopped or finished\n`,
  });
  script('RUNNING');
  coordinator.jobs.active.add(path);
  expect((await free(path, '--progress')).out).toContain('\tJob State: RUNNING\n');
  expect(await free(path, '--stop')).toMatchObject({ code: 0, out: `Free '${path}' is successfully stopped.\n` });
});

test('a load in the way is said, with its code', async () => {
  coordinator.jobs.answer = new PrimedError('JOB_CONFLICT', 'the load is under way');
  expect(await free(path)).toMatchObject({ code: 1, err: 'primed: JOB_CONFLICT: the load is under way\n' });
});

test.each([
  [[], 'exactly one of <path> and --path'],
  [[path, '--path', path], 'exactly one of <path> and --path'],
  [[path, '--submit', '--stop'], '--submit and --stop exclude each other'],
  [[path, '--stop', '--dry-run'], '--dry-run means nothing together with --stop'],
])('%j is bad usage', async (args, message) => {
  expect(await free(...args)).toMatchObject({ code: 2, err: expect.stringContaining(message) });
});

test('with JSON asked for, submitting and stopping answer one document, and a missing job leaves none', async () => {
  const submitted = await free(path, '--submit', '--format', 'json');
  expect(JSON.parse(submitted.out)).toMatchObject({ success: true, jobId: expect.any(String) });
  script('RUNNING');
  coordinator.jobs.active.add(path);
  const stopped = await free(path, '--stop', '--format', 'json');
  expect(JSON.parse(stopped.out)).toMatchObject({ success: true });
  coordinator.jobs.onSnapshot = () => undefined;
  expect(await free('s3://b/none/', '--progress', '--format', 'json')).toMatchObject({
    code: 4,
    out: '',
    err: expect.stringContaining('cannot be found'),
  });
});
