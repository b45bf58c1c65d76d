/** Generation 1, on a worker's port: before jobs of the same process, and before a coordinator that is asked for them. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import Fastify, { type FastifyInstance } from 'fastify';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { coordinatorDesk, type LoadDesk, localDesk } from '../../../src/cluster/load-desk.ts';
import { PrimedError } from '../../../src/core/errors.ts';
import type { JobState } from '../../../src/core/job.ts';
import { defaultLoadOptions } from '../../../src/core/load-options.ts';
import { textReport } from '../../../src/core/report.ts';
import { installErrorHandler } from '../../../src/server/errors.ts';
import { workerLoadApi } from '../../../src/server/worker-load-api.ts';
import { type ScriptedCoordinator, startScriptedCoordinator } from '../../support/scripted-coordinator.ts';
import { silent } from '../../support/silent.ts';
import { snapshotOf } from '../../support/snapshot.ts';

const path = 's3://b/dir/';
let coordinator: ScriptedCoordinator;
const closing: (() => unknown)[] = [];
beforeEach(async () => {
  coordinator = await startScriptedCoordinator();
});
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
  await coordinator.close();
});

let nowMs = 0;
async function worker(desk: LoadDesk): Promise<FastifyInstance> {
  const app = Fastify();
  installErrorHandler(app, silent);
  await app.register(workerLoadApi, { desk, now: () => nowMs });
  closing.push(
    () => desk.close(),
    () => app.close(),
  );
  return app;
}

const local = () => worker(localDesk(() => coordinator.jobs, defaultLoadOptions));
const forwarding = (...coordinators: string[]) =>
  worker(
    coordinatorDesk({
      coordinators: () => coordinators,
      connectTimeoutMs: 1000,
      answerTimeoutMs: 300,
      stopTimeoutMs: 1000,
    }),
  );

it.each(['STOPPING', 'ETCD_UNAVAILABLE'] as const)(
  'what one coordinator refuses with %s is asked of the next',
  async (code) => {
    const other = await startScriptedCoordinator();
    closing.push(() => other.close());
    other.jobs.answer = new PrimedError(code, 'not now');
    const answer = await ask(await forwarding(other.url, coordinator.url), { opType: 'submit' });
    expect(answer.json()).toMatchObject({ success: true, jobId: 'job-1' });
  },
);

it('a stop that is written down at one coordinator is not asked of the next, where it could meet a later load', async () => {
  const other = await startScriptedCoordinator();
  closing.push(() => other.close());
  other.jobs.stop = async () => {
    throw new PrimedError('STOP_PENDING', 'it is written down');
  };
  coordinator.jobs.active.add(path);
  const answer = await ask(await forwarding(other.url, coordinator.url), { opType: 'stop' });
  expect(answer.json()).toMatchObject({ message: expect.stringContaining('it is written down') });
  expect(coordinator.jobs.stops).toEqual([]);
});

const ask = (app: FastifyInstance, fields: Record<string, string>, method: 'GET' | 'POST' = 'GET') =>
  app.inject({ method, url: `/v1/load?${new URLSearchParams({ path, ...fields })}` });

describe.each([
  ['jobs of this process', local],
  ['a coordinator', () => forwarding(coordinator.url)],
])('over %s', (_, open) => {
  it.each(['GET', 'POST'] as const)('submit by %s answers as the contract has it', async (method) => {
    const app = await open();
    const options = { partialListing: 'true', verify: 'false', bandwidth: '10MB', fileFilterRegex: 'x.*' };
    const answer = await ask(app, { opType: 'submit', ...options }, method);
    expect([answer.statusCode, answer.json()]).toEqual([
      200,
      {
        success: true,
        jobId: 'job-1',
        path,
        message: `Load '${path}' is successfully submitted. JobId: job-1`,
      },
    ]);
    expect(coordinator.jobs.submissions).toMatchObject([
      {
        source: { kind: 'path', path },
        options: {
          partialListing: true,
          verify: false,
          bandwidthBytesPerSecond: 10 * 1024 * 1024,
          fileFilterRegex: 'x.*',
        },
      },
    ]);
  });

  it.each<[string, Record<string, string>, PrimedError | undefined, string]>([
    ['an unknown option', { partialListin: 'true' }, undefined, 'partialListin: the option is unknown'],
    ['a wrong value', { verify: 'perhaps' }, undefined, 'verify: must be true or false'],
    ['a conflict', {}, new PrimedError('JOB_CONFLICT', 'other options'), 'other options'],
  ])('a submission with %s has failed, and says why', async (__, fields, error, message) => {
    if (error !== undefined) coordinator.jobs.answer = error;
    const answer = await ask(await open(), { opType: 'submit', ...fields });
    expect([answer.statusCode, answer.json()]).toMatchObject([
      200,
      { success: false, jobId: 'NONE', path, message: expect.stringContaining(message) },
    ]);
  });

  it.each<[JobState, string]>([
    ['WAITING', 'RUNNING'],
    ['RUNNING', 'RUNNING'],
    ['VERIFYING', 'VERIFYING'],
    ['STOPPED', 'STOPPED'],
    ['SUCCEEDED', 'SUCCEEDED'],
    ['FAILED', 'FAILED'],
  ])('progress of a job that is %s has the state %s', async (state, jobState) => {
    const job = snapshotOf(path, { state, reason: 'because: of it' });
    coordinator.jobs.onSnapshot = () => job;
    const app = await open();
    const text = (await ask(app, { opType: 'progress', progressFormat: 'TEXT', verbose: 'false' })).json();
    expect(text).toEqual({
      jobState,
      path,
      message: textReport(job, { verbose: false }),
      respProperties: expect.objectContaining({
        'Job State': jobState,
        'Files Failed': '0',
        Settings: 'bandwidth: unlimited verify: false',
      }),
    });
    const json = (await ask(app, { opType: 'progress', progressFormat: 'JSON' })).json();
    expect(json).toMatchObject({ jobState, path, respProperties: { 'Job State': jobState, mProcessedFileCount: '0' } });
    expect(JSON.parse(json.message).mJobState).toBe(state);
  });

  it('progress of what is not known is FAILED, and stop of it has not succeeded', async () => {
    const app = await open();
    const progress = await ask(app, { opType: 'progress' });
    const message = `Load for path '${path}' cannot be found.`;
    expect([progress.statusCode, progress.json()]).toEqual([
      200,
      { jobState: 'FAILED', path, message, respProperties: { 'Job State': 'FAILED' } },
    ]);
    const stop = await ask(app, { opType: 'stop' });
    expect([stop.statusCode, stop.json()]).toMatchObject([
      200,
      {
        success: false,
        path,
        message: `Cannot find load job for path ${path}, it might have already been stopped or finished`,
      },
    ]);
  });

  it('stop stops', async () => {
    coordinator.jobs.active.add(path);
    coordinator.jobs.onSnapshot = () => snapshotOf(path, { state: 'STOPPED' });
    const answer = await ask(await open(), { opType: 'stop' }, 'POST');
    expect(answer.json()).toEqual({ success: true, path, message: `Load '${path}' is successfully stopped.` });
    expect(coordinator.jobs.stops).toEqual([path]);
  });
});

it.each([
  [{ opType: 'submit', path: '' }, 'path'],
  [{ opType: 'erase' }, 'opType: must be one of SUBMIT, PROGRESS, STOP'],
  [{ opType: 'progress', progressFormat: 'XML' }, 'progressFormat'],
  [{ opType: 'progress', verify: 'true' }, 'verify: means nothing for this opType'],
])('%j is not understood: 400, naming the field', async (fields, message) => {
  const answer = await ask(await local(), fields);
  expect([answer.statusCode, answer.json()]).toMatchObject([
    400,
    { success: false, code: 'REQUEST_INVALID', message: expect.stringContaining(message) },
  ]);
});

it('without opType the answer is 400; a submission whose body is not JSON has failed', async () => {
  const app = await local();
  expect((await ask(app, {})).statusCode).toBe(400);
  const url = `/v1/load?path=${path}&opType=submit`;
  expect((await app.inject({ method: 'POST', url, payload: 'x=1' })).json()).toMatchObject({
    success: false,
    message: expect.stringContaining('The body is not JSON'),
  });
  // An empty body of whatever type is none.
  const headers = { 'content-type': 'application/x-www-form-urlencoded' };
  expect((await app.inject({ method: 'POST', url, headers, payload: '' })).json().success).toBe(true);
});

it('a field that has no text is refused by name', async () => {
  const app = await local();
  const noText = { toString: null, valueOf: null };
  for (const [field, status, fields] of [
    ['path', 400, { path: noText, opType: 'submit' }],
    ['opType', 400, { path, opType: noText }],
    ['bandwidth', 200, { path, opType: 'submit', bandwidth: noText }],
  ] as const) {
    const answer = await app.inject({ method: 'POST', url: '/v1/load', payload: fields });
    expect([answer.statusCode, answer.json()]).toMatchObject([
      status,
      { success: false, message: expect.stringContaining(`${field}:`), code: 'REQUEST_INVALID' },
    ]);
  }
});

describe('questions in a tight loop', () => {
  it('share one answer while it is under way, and for a moment after it while the load runs', async () => {
    let asked = 0;
    let state: JobState = 'RUNNING';
    coordinator.jobs.onSnapshot = () => {
      asked += 1;
      return snapshotOf(path, { state });
    };
    const app = await forwarding(coordinator.url);
    const progress = async (fields = {}) => (await ask(app, { opType: 'progress', ...fields })).json().jobState;
    await Promise.all(Array.from({ length: 50 }, () => progress()));
    expect(asked).toBe(1);
    nowMs += 99;
    await progress();
    expect(asked).toBe(1);
    await progress({ verbose: 'true' });
    expect(asked).toBe(2);
    nowMs += 2;
    state = 'SUCCEEDED';
    expect(await progress()).toBe('SUCCEEDED');
    expect(asked).toBe(3);
    // An end is not kept: another load may have begun.
    state = 'RUNNING';
    expect(await progress()).toBe('RUNNING');
    expect(asked).toBe(4);
    await ask(app, { opType: 'submit' });
    await progress();
    expect(asked).toBe(5);
  });

  it('go over connections that are kept', async () => {
    coordinator.jobs.onSnapshot = () => snapshotOf(path);
    let connections = 0;
    coordinator.app.server.on('connection', () => (connections += 1));
    const app = await forwarding(coordinator.url);
    for (let i = 0; i < 20; i += 1) {
      nowMs += 1000;
      await ask(app, { opType: 'progress' });
    }
    // The next question may come before the connection of the last one is known to be idle.
    expect(connections).toBeLessThanOrEqual(2);
  });
});

describe('a coordinator that cannot be reached', () => {
  const gone = 'http://127.0.0.1:9';

  it('is an answer without success; of progress, which has none, 503', async () => {
    const app = await forwarding(gone);
    for (const opType of ['submit', 'stop']) {
      const answer = await ask(app, { opType });
      expect([answer.statusCode, answer.json()]).toMatchObject([
        200,
        { success: false, path, code: 'COORDINATOR_UNREACHABLE', message: expect.stringContaining(gone) },
      ]);
    }
    const progress = await ask(app, { opType: 'progress' });
    expect([progress.statusCode, progress.json()]).toMatchObject([
      503,
      { success: false, code: 'COORDINATOR_UNREACHABLE' },
    ]);
    expect(progress.json()).not.toHaveProperty('jobState');
  });

  it('that takes requests and never answers is given up in time', async () => {
    const silent: Server = createServer(() => undefined);
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    closing.push(() => {
      silent.closeAllConnections();
      silent.close();
    });
    const app = await forwarding(`http://127.0.0.1:${(silent.address() as AddressInfo).port}`);
    expect((await ask(app, { opType: 'submit' })).json()).toMatchObject({
      success: false,
      code: 'COORDINATOR_UNREACHABLE',
    });
  });

  it('leaves it to the next one', async () => {
    const app = await forwarding(gone, coordinator.url);
    expect((await ask(app, { opType: 'submit' })).json()).toMatchObject({ success: true, jobId: 'job-1' });
  });

  it('of which there is none is said so', async () => {
    expect((await ask(await forwarding(), { opType: 'submit' })).json()).toMatchObject({
      success: false,
      message: 'No coordinator is known to this worker.',
    });
  });
});

it('jobs that are not open yet are an answer without success', async () => {
  const app = await worker(localDesk(() => undefined, defaultLoadOptions));
  expect((await ask(app, { opType: 'submit' })).json()).toMatchObject({ success: false, code: 'STOPPING' });
});
