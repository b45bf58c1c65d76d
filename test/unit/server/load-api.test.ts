/** Generation 3: one resource for loads, found by alias, path, index or id. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { PrimedError } from '../../../src/core/errors.ts';
import type { JobId } from '../../../src/core/types.ts';
import { call } from '../../support/api.ts';
import { type ScriptedCoordinator, startScriptedCoordinator } from '../../support/scripted-coordinator.ts';
import { snapshotOf } from '../../support/snapshot.ts';

let coordinator: ScriptedCoordinator;
beforeEach(async () => {
  coordinator = await startScriptedCoordinator();
});
afterEach(() => coordinator.close());

const url = '/api/v1/load';
const path = 's3://b/dir/';
const post = (body?: object | string) => call(coordinator.url, 'POST', url, body);
const get = (query: string) => call(coordinator.url, 'GET', `${url}${query}`);
const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

describe('submit', () => {
  it('of one path is a load of it, with a random alias that is returned', async () => {
    const answer = await post({ paths: [path], options: { replicas: 2, skipIfExists: true } });
    expect(answer.status).toBe(200);
    const { id, alias, status } = answer.json();
    expect([id, status]).toEqual(['job-1', `Load '${path}' is successfully submitted. JobId: job-1`]);
    expect(alias).toMatch(uuid);
    expect(coordinator.jobs.submissions).toMatchObject([
      { source: { kind: 'path', path }, alias, options: { replicas: 2, skipIfExists: true } },
    ]);
  });

  it('of several paths is called by its alias', async () => {
    const paths = [path, 's3://b/x'];
    expect((await post({ paths, alias: 'today' })).json()).toMatchObject({ alias: 'today' });
    expect(coordinator.jobs.submissions[0]?.source).toEqual({ kind: 'paths', path: 'today', paths });
  });

  it('of an index file, with every option that other generations have', async () => {
    const options = {
      batchSize: '7',
      loadMetadataOnly: 'true',
      fileFilterRegex: 'x.*',
      bandwidth: '1MB',
      verify: true,
    };
    expect((await post({ index: 's3://b/list', alias: 'i', options })).status).toBe(200);
    expect(coordinator.jobs.submissions).toMatchObject([
      {
        source: { kind: 'index', path: 's3://b/list' },
        alias: 'i',
        options: { batchSize: 7, loadMetadataOnly: true, fileFilterRegex: 'x.*', verify: true },
      },
    ]);
  });

  it('with loadPolicy IF_CHANGED fetches what is missing or has changed', async () => {
    expect((await post({ paths: [path], options: { loadPolicy: 'IF_CHANGED' } })).status).toBe(200);
    expect((await post({ paths: [path], options: { loadPolicy: 'if_changed', skipIfExists: 'true' } })).status).toBe(
      200,
    );
    for (const { options } of coordinator.jobs.submissions) expect(options.skipIfExists).toBe(true);
  });

  it.each<[string, object | string | undefined, string]>([
    ['no body', undefined, 'paths: is missing: give either paths or index'],
    ['neither', {}, 'paths: is missing'],
    ['both', { paths: [path], index: 's3://b/i' }, 'index: is given together with paths'],
    ['no paths', { paths: [] }, 'paths'],
    ['a path that is none', { paths: [7] }, 'paths.0: must be a string.'],
    ['too many paths', { paths: Array.from({ length: 1001 }, (_, i) => `s3://b/${i}`) }, '1000'],
    ['an alias that looks like a path', { paths: [path], alias: 's3://b/' }, 'alias: must not look like a path'],
    ['an empty alias', { paths: [path], alias: '' }, 'alias: must not be empty.'],
    ['an unknown field', { paths: [path], path }, "unknown field 'path'"],
    ['an unknown option', { paths: [path], options: { replica: 1 } }, 'replica: the option is unknown'],
    ['another policy', { paths: [path], options: { loadPolicy: 'NEVER' } }, 'loadPolicy: must be one of IF_CHANGED'],
    [
      'a policy and its opposite',
      { paths: [path], options: { loadPolicy: 'IF_CHANGED', skipIfExists: 'false' } },
      'skipIfExists: must not be false',
    ],
    ['no JSON', '{"paths":', 'The body is not JSON'],
  ])('answers 400 to %s, in the form of this generation', async (_, body, message) => {
    const answer = await post(body);
    expect(answer.status).toBe(400);
    const said = expect.stringContaining(message);
    expect(answer.json()).toEqual({
      status: said,
      message: said,
      statusCode: 'INVALID_ARGUMENT',
      code: 'REQUEST_INVALID',
    });
    expect(coordinator.jobs.submissions).toEqual([]);
  });

  it('answers 409 when an identical job is scheduled, or another one is in the way', async () => {
    coordinator.jobs.answer = { jobId: 'job-9', started: false, message: `Load already running for path '${path}'` };
    const identical = await post({ paths: [path] });
    expect([identical.status, identical.json().status]).toEqual([409, expect.stringContaining('job-9')]);
    coordinator.jobs.answer = new PrimedError('JOB_CONFLICT', 'busy');
    const other = await post({ paths: [path] });
    expect([other.status, other.json()]).toEqual([
      409,
      { status: 'busy', statusCode: 'ALREADY_EXISTS', message: 'busy', code: 'JOB_CONFLICT' },
    ]);
  });
});

describe('progress', () => {
  it('is the whole object', async () => {
    const job = snapshotOf(path, {
      state: 'FAILED',
      reason: '1 of 4 files failed',
      alias: 'today',
      startedAtMs: Date.UTC(2026, 0, 2, 3, 4, 5, 6),
      activeMs: 1234.5,
      loadedFiles: 3,
      loadedEmptyFiles: 1,
      loadedBytes: 10,
      failedFiles: 1,
      failures: [{ path: 's3://b/dir/x', code: 'ORIGIN_DENIED', message: 's3://b/dir/x: 403' }],
    });
    coordinator.jobs.jobs = [job];
    for (const query of ['?target=today', '?target=job-1', '?alias=today', '?id=job-1']) {
      const answer = await get(query);
      expect([query, answer.status]).toEqual([query, 200]);
      expect(answer.json()).toEqual({
        id: 'job-1',
        startTime: '2026-01-02T03:04:05.006+00:00',
        state: 'FAILED',
        runningState: '',
        errorMessage: { job: '1 of 4 files failed', 's3://b/dir/x': '403' },
        failedFileListPath: '',
        paths: [path],
        index: '',
        skipIfExists: false,
        loadMetadataOnly: false,
        verify: false,
        bandwidth: 0,
        timeElapsedMilliseconds: 1235,
        loadedBytes: 10,
        skippedBytes: 0,
        totalBytes: 400 * 1024 * 1024,
        loadedNonEmptyFiles: 2,
        failedFiles: 1,
        scannedFiles: 4,
        quota: { totalBytes: 0, remaining: 0, unlimited: true },
        quotaCheckError: '',
        alias: 'today',
        replicas: 1,
        processedFiles: 0,
        totalFiles: 4,
      });
    }
  });

  it('is found by a path of a list too, and of a running load says what it is at', async () => {
    const source = { kind: 'paths', path: 'two', paths: ['s3://b/1', 's3://b/2'] } as const;
    coordinator.jobs.jobs = [snapshotOf('', { source, alias: 'two', listingDone: false })];
    const found = (await get('?target=s3://b/2')).json();
    expect(found).toMatchObject({ paths: source.paths, runningState: 'LISTING' });
  });

  it('of what is not known is 404 with the text of the contract', async () => {
    const answer = await get('?target=nothing');
    expect([answer.status, answer.json()]).toMatchObject([404, { status: 'No job found...', code: 'JOB_NOT_FOUND' }]);
  });

  it.each(['?target=a&alias=b', '?path=x', '?target='])('refuses %s', async (query) => {
    expect((await get(query)).status).toBe(400);
  });

  it('without a target is the list', async () => {
    coordinator.jobs.jobs = [snapshotOf(path), snapshotOf('s3://b/2', { jobId: 'job-2' as JobId })];
    const { results } = (await get('')).json();
    expect(results.map(({ id }: { id: string }) => id)).toEqual(['job-1', 'job-2']);
  });
});

describe('stop', () => {
  const del = (body?: object) => call(coordinator.url, 'DELETE', url, body);

  it('by whatever finds the job', async () => {
    const source = { kind: 'paths', path: 'two', paths: ['s3://b/1', 's3://b/2'] } as const;
    coordinator.jobs.jobs = [snapshotOf('', { source, alias: 'two' })];
    for (const body of [{ target: 'two' }, { alias: 'two' }, { id: 'job-1' }, { paths: ['s3://b/2', 's3://b/1'] }]) {
      coordinator.jobs.active.add('job-1');
      const answer = await del(body);
      expect([body, answer.status, answer.json()]).toEqual([
        body,
        200,
        { status: "Load 'two' is successfully stopped.", id: 'job-1', alias: 'two' },
      ]);
    }
  });

  it('of what has ended or is not known is 404, and without a body 400', async () => {
    coordinator.jobs.jobs = [snapshotOf(path, { state: 'SUCCEEDED' })];
    expect((await del({ id: 'job-1' })).json()).toMatchObject({ status: 'No job found...' });
    expect((await del({ paths: ['s3://b/1', 's3://b/3'] })).status).toBe(404);
    expect((await del()).status).toBe(400);
  });
});

it('without the token it is 401, in the form of this generation', async () => {
  const guarded = await startScriptedCoordinator({ token: 'secret' });
  try {
    const answer = await call(guarded.url, 'GET', url);
    expect([answer.status, answer.json()]).toMatchObject([
      401,
      { status: expect.stringContaining('no token'), code: 'UNAUTHENTICATED', statusCode: 'UNAUTHENTICATED' },
    ]);
  } finally {
    await guarded.close();
  }
});

it('other methods are 405', async () => {
  const answer = await call(coordinator.url, 'PUT', url, {});
  expect([answer.status, answer.json().message]).toEqual([405, expect.stringContaining('GET or POST or DELETE')]);
});
