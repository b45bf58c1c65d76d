/** The story of a file, as people and programs are told it. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { runCli } from '../../../src/cli/run.ts';
import type { JobId } from '../../../src/core/types.ts';
import { noHistory } from '../../support/no-history.ts';
import { type ScriptedCoordinator, startScriptedCoordinator } from '../../support/scripted-coordinator.ts';
import { snapshotOf } from '../../support/snapshot.ts';
import { makeWorld } from './world.ts';

const path = 's3://b/dir/a';
let coordinator: ScriptedCoordinator;
beforeEach(async () => {
  coordinator = await startScriptedCoordinator();
});
afterEach(() => coordinator.close());

async function why(...args: string[]) {
  const io = makeWorld({ env: { PRIMED_COORDINATOR: coordinator.url } });
  return { code: await runCli(['why', ...args], io), out: io.out(), err: io.err() };
}

test('what is told is in the order in which it happened, with who, and is no control sequence', async () => {
  coordinator.jobs.jobs = [
    snapshotOf(path, { jobId: 'j' as JobId, state: 'FAILED', submittedAtMs: 1_000, endedAtMs: 4_000 }),
  ];
  const attempt = {
    kind: 'attempt',
    path,
    offset: 0,
    length: 9,
    job: 'j',
    etag: 'v1',
    attempt: 1,
    durationMs: 3,
  } as const;
  const events = [
    {
      ...attempt,
      atMs: 2_000,
      result: 'throttled',
      httpStatus: 503,
      requestId: 'ID\u001b[2J',
      next: 'again',
      delayMs: 7,
    },
    { ...attempt, atMs: 3_000, attempt: 2, result: 'arrived', httpStatus: 200, requestId: 'ID2' },
  ] as const;
  coordinator.past = {
    told: [{ worker: 'w1', history: { ...noHistory, events, dropped: 3, keptSinceMs: 500 } }],
    unanswered: [{ id: 'w2', reason: 'lost' }],
  };
  const { code, out } = await why(path);
  expect(code).toBe(0);
  expect(out.split('\n')).toEqual([
    expect.stringMatching(/^s3:\/\/b\/dir\/a: Nothing of it is cached, and no worker .* Not heard: w2\.$/),
    '',
    '1970-01-01T00:00:01.000Z  load j of s3://b/dir/a was submitted',
    '1970-01-01T00:00:02.000Z  w1: attempt 1 of load j to get bytes 0-8 of version v1 from the origin FAILED (HTTP 503, throttled, request id ID\\u001b[2J, after 3 ms); tried again after 7 ms',
    '1970-01-01T00:00:03.000Z  w1: attempt 2 of load j to get bytes 0-8 of version v1 from the origin ARRIVED (HTTP 200, request id ID2, after 3 ms)',
    expect.stringMatching(/^1970-01-01T00:00:04.000Z {2}load j of s3:\/\/b\/dir\/a ended, FAILED: it ended before/),
    '3 older events of the file made way for these.',
    'NOT HEARD: w2: lost',
    '',
    expect.stringMatching(/keep .* for 7d 0h, 20 events a file at most, and all of it since 1970-01-01T00:00:00.500Z/),
    '',
  ]);
  coordinator.files.put(path, 'xyz');
  const json = JSON.parse((await why(path, '--format', 'json')).out);
  expect(json).toMatchObject({ path, now: { state: 'complete', dropped: 3, unanswered: [{ id: 'w2' }] } });
  expect(json.story.map(({ kind }: { kind: string }) => kind)).toEqual([
    'cached',
    'load',
    'attempt',
    'arrived',
    'load-ended',
  ]);
});

test('of a directory fs stat tells; a path is one', async () => {
  expect(await why('s3://b/dir/')).toMatchObject({ code: 2, err: expect.stringContaining('primed fs stat') });
  expect(await why('nowhere')).toMatchObject({ code: 2, err: expect.stringContaining('not a UFS path') });
});

test('of one there is one: loads, events', async () => {
  coordinator.jobs.jobs = [
    snapshotOf('', { jobId: 'index' as JobId, source: { kind: 'index', path: '/lists/x' } }),
    ...Array.from({ length: 21 }, (_, n) => snapshotOf('s3://b/dir/', { jobId: `${n}` as JobId })),
  ];
  coordinator.past = { told: [{ worker: 'w1', history: { ...noHistory, dropped: 1 } }], unanswered: [] };
  const { out } = await why(path);
  expect(out.split('\n').filter((line) => /^\d+ /.test(line))).toEqual([
    '1 older event of the file made way for these.',
    '1 load from index files, in which no failure of it is kept; whether it was in them is not.',
    '1 older load is left out.',
  ]);
});
