/** Frees over REST, in the manner of generation 2. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { PrimedError } from '../../../src/core/errors.ts';
import { call } from '../../support/api.ts';
import { type ScriptedCoordinator, startScriptedCoordinator } from '../../support/scripted-coordinator.ts';
import { freeSnapshot } from '../../support/snapshot.ts';

let coordinator: ScriptedCoordinator;
beforeEach(async () => {
  coordinator = await startScriptedCoordinator();
});
afterEach(() => coordinator.close());

const path = 's3://b/dir/';
const ask = (method: string, verb: string, body?: object, query = '') =>
  call(coordinator.url, method, `/api/v1/master/${verb}_job/free${query}`, body);

test('submit takes the path, and dryRun as a string or a boolean', async () => {
  for (const options of [undefined, { dryRun: 'false' }, { dryRun: true }]) {
    const answer = await ask('POST', 'submit', options === undefined ? { path } : { path, options });
    expect([answer.status, answer.json()]).toEqual([
      200,
      { success: true, jobId: 'job-1', path, message: `Free '${path}' is successfully submitted. JobId: job-1` },
    ]);
  }
  expect(coordinator.jobs.frees).toEqual([false, false, true].map((dryRun) => ({ path, dryRun })));
});

test.each<[object | undefined, string]>([
  [undefined, 'path'],
  [{ path, options: { force: true } }, "unknown field 'force'"],
  [{ path, options: { dryRun: 'maybe' } }, 'dryRun: must be true or false'],
  [{ indexFile: '/x' }, "unknown field 'indexFile'"],
])('submit answers 400 to %j', async (body, message) => {
  const answer = await ask('POST', 'submit', body);
  expect([answer.status, answer.json()]).toMatchObject([
    400,
    { code: 'REQUEST_INVALID', message: expect.stringContaining(message) },
  ]);
});

test('a load in the way is 409', async () => {
  coordinator.jobs.answer = new PrimedError('JOB_CONFLICT', 'a load is under way');
  expect((await ask('POST', 'submit', { path })).status).toBe(409);
});

test('progress is TEXT or JSON, by GET with body or query and by POST', async () => {
  coordinator.jobs.onSnapshot = (asked) => freeSnapshot(asked);
  const text = await ask('GET', 'progress', { path });
  expect([text.type, text.text]).toEqual([
    expect.stringContaining('text/plain'),
    expect.stringContaining('\tFiles Freed: 3 out of 4\n'),
  ]);
  const byQuery = await ask('GET', 'progress', undefined, `?path=${path}&format=JSON`);
  expect(byQuery.json()).toMatchObject({ type: 'FREE', mJobState: 'RUNNING', files: 4, freedFiles: 3, dryRun: false });
  expect((await ask('POST', 'progress', { path, format: 'json' })).json()).toEqual(byQuery.json());
});

test('of an unknown path progress and stop are 404 with the texts of loads', async () => {
  const progress = await ask('POST', 'progress', { path });
  expect([progress.status, progress.json().message]).toEqual([404, `Free for path '${path}' cannot be found.`]);
  const stop = await ask('POST', 'stop', { path });
  expect([stop.status, stop.json().message]).toEqual([
    404,
    `Cannot find free job for path ${path}, it might have already been stopped or finished`,
  ]);
});

test('stop stops', async () => {
  coordinator.jobs.active.add(path);
  coordinator.jobs.onSnapshot = (asked) => freeSnapshot(asked);
  const answer = await ask('POST', 'stop', { path });
  expect([answer.status, answer.json().message]).toEqual([200, `Free '${path}' is successfully stopped.`]);
});

test('frees are listed by their type, and in the list of all', async () => {
  coordinator.jobs.jobs = [freeSnapshot(path)];
  for (const query of ['', '?job-type=ALL', '?job-type=free']) {
    const rows = (await call(coordinator.url, 'GET', `/api/v1/master/list_job${query}`)).json();
    expect([query, rows]).toMatchObject([query, [{ type: 'FREE', path, options: { dryRun: false }, files: 4 }]]);
  }
  expect((await call(coordinator.url, 'GET', '/api/v1/master/list_job?job-type=LOAD')).json()).toEqual([]);
});
