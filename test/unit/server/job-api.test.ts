import { connect } from 'node:net';
import Fastify, { type FastifyInstance } from 'fastify';
import { afterEach, describe, expect, it } from 'vitest';
import type { JobService } from '../../../src/cluster/types.ts';
import { PrimedError } from '../../../src/core/errors.ts';
import {
  countStates,
  type JobSnapshot,
  type JobSource,
  type JobState,
  type LoadOptions,
} from '../../../src/core/job.ts';
import { defaultLoadOptions } from '../../../src/core/load-options.ts';
import { textReport } from '../../../src/core/report.ts';
import { emptyLedger, type JobId, type LoadId, type RunId } from '../../../src/core/types.ts';
import { installErrorHandler } from '../../../src/server/errors.ts';
import { jobApi } from '../../../src/server/job-api.ts';
import { plannedLoad } from '../../support/plan.ts';
import { silent } from '../../support/silent.ts';

const snapshot: JobSnapshot = {
  jobId: 'id-1' as JobId,
  type: 'LOAD',
  runId: 'run-1' as RunId,
  loadId: 'load-1' as LoadId,
  source: { kind: 'path', path: 's3://bucket/dir/' },
  options: defaultLoadOptions,
  state: 'FAILED',
  reason: '1 of 2 files failed',
  submittedAtMs: 1_700_000_000_000,
  activeMs: 10,
  listingDone: true,
  scannedFiles: 2,
  processedFiles: 2,
  totalFiles: 2,
  totalBytes: 10,
  loadedFiles: 1,
  loadedEmptyFiles: 0,
  loadedBytes: 5,
  skippedFiles: 0,
  skippedBytes: 0,
  failedFiles: 1,
  failures: [{ path: 's3://bucket/dir/x', code: 'ORIGIN_NOT_FOUND', message: '404 NoSuchKey' }],
  retries: 0,
  verifiedFiles: 0,
  verifiedBytes: 0,
  ledger: emptyLedger(),
};

class FakeJobs implements JobService {
  readonly submitted: { source: JobSource; options: LoadOptions }[] = [];
  readonly stoppedPaths: string[] = [];
  readonly freed: { path: string; dryRun: boolean }[] = [];
  readonly filters: { states?: readonly JobState[] }[] = [];
  failure: Error | undefined;

  async submit(source: JobSource, options: LoadOptions) {
    if (this.failure !== undefined) throw this.failure;
    this.submitted.push({ source, options });
    return { jobId: 'id-1', started: true, message: `Load '${source.path}' is successfully submitted. JobId: id-1` };
  }
  async plan(source: JobSource) {
    if (this.failure !== undefined) throw this.failure;
    return plannedLoad({ path: source.path });
  }
  async free(path: string, { dryRun }: { dryRun: boolean }) {
    if (this.failure !== undefined) throw this.failure;
    this.freed.push({ path, dryRun });
    return { jobId: 'id-2', started: true, message: `Free '${path}' is successfully submitted. JobId: id-2` };
  }
  async limit(path: string) {
    return path === snapshot.source.path;
  }
  async stop(path: string) {
    this.stoppedPaths.push(path);
    return path === snapshot.source.path;
  }
  snapshot(path: string) {
    return path === snapshot.source.path ? snapshot : undefined;
  }
  byId() {
    return undefined;
  }
  list(filter: { states?: readonly JobState[] }) {
    this.filters.push(filter);
    return [snapshot];
  }
  counts() {
    return countStates([snapshot.state]);
  }
  async ended() {
    return snapshot;
  }
  trouble(): undefined {}
  async caughtUp() {}
  async close() {}
}

const apps: FastifyInstance[] = [];
afterEach(async () => {
  await Promise.all(apps.splice(0).map((app) => app.close()));
});

async function open(): Promise<{ app: FastifyInstance; jobs: FakeJobs }> {
  const jobs = new FakeJobs();
  const app = Fastify();
  apps.push(app);
  installErrorHandler(app, silent);
  await app.register(jobApi, { jobs });
  app.get('/beside', async () => 'fine');
  app.post('/beside', async () => 'fine');
  app.get('/defect', async () => {
    throw new TypeError('secret detail');
  });
  await app.ready();
  return { app, jobs };
}

const submitUrl = '/api/v1/master/submit_job/load';
const progressUrl = '/api/v1/master/progress_job/load';
const stopUrl = '/api/v1/master/stop_job/load';
const listUrl = '/api/v1/master/list_job';
const path = 's3://bucket/dir/';

describe('submit', () => {
  it('takes the documented body', async () => {
    const { app, jobs } = await open();
    const payload = {
      path,
      options: {
        replicas: '1',
        batchSize: '300',
        segmentSize: '8MB',
        partialListing: 'true',
        loadMetadataOnly: 'true',
        skipIfExists: 'true',
        bandwidth: '200MB',
      },
    };
    const answer = await app.inject({ method: 'POST', url: submitUrl, payload });
    expect(answer.statusCode).toBe(200);
    expect(answer.json()).toEqual({
      success: true,
      jobId: 'id-1',
      path,
      message: `Load '${path}' is successfully submitted. JobId: id-1`,
    });
    expect(jobs.submitted).toEqual([
      {
        source: { kind: 'path', path },
        options: {
          ...defaultLoadOptions,
          batchSize: 300,
          segmentBytes: 8 * 1024 * 1024,
          partialListing: true,
          loadMetadataOnly: true,
          skipIfExists: true,
          bandwidthBytesPerSecond: 200 * 1024 * 1024,
        },
      },
    ]);
  });

  it.each([
    ['path', 'path'],
    ['path or indexFile', 'path'],
    ['path || indexFile', 'path'],
    ['indexFile', 'index'],
  ])('understands the source under the key %s', async (key, kind) => {
    const { app, jobs } = await open();
    expect((await app.inject({ method: 'POST', url: submitUrl, payload: { [key]: path } })).statusCode).toBe(200);
    expect(jobs.submitted[0]?.source).toEqual({ kind, path });
  });

  it('understands JSON that curl -d sends as a form', async () => {
    const { app, jobs } = await open();
    const headers = { 'content-type': 'application/x-www-form-urlencoded' };
    expect(
      (await app.inject({ method: 'POST', url: submitUrl, headers, payload: JSON.stringify({ path }) })).statusCode,
    ).toBe(200);
    expect(jobs.submitted).toHaveLength(1);
  });

  it.each<[string, unknown, string]>([
    ['no body', undefined, 'path: is missing'],
    ['an empty object', {}, 'path: is missing'],
    ['two sources', { path, indexFile: '/x' }, 'indexFile: is given together with path'],
    ['an unknown field', { path, optoins: {} }, "unknown field 'optoins'"],
    [
      'an unknown option',
      { path, options: { skipIfExist: 'true' } },
      'skipIfExist: the option is unknown; known are replicas, ',
    ],
    ['an unknown option that is null', { path, options: { skipIfExist: null } }, 'skipIfExist: the option is unknown'],
    ['a path that is no string', { path: 7 }, 'path: must be a string.'],
    ['an empty path', { path: '' }, 'path: must not be empty.'],
    ['options that are no object', { path, options: 'all' }, 'options: must be an object.'],
    ['a count that is a list', { path, options: { replicas: {} } }, 'options.replicas: must be a string or a number.'],
    ['a flag that is a number', { path, options: { verify: 1 } }, 'options.verify: must be a string or a boolean.'],
    ['a wrong value', { path, options: { batchSize: 'many' } }, 'batchSize: must be a whole number'],
    ['a wrong boolean', { path, options: { verify: 'perhaps' } }, 'verify: must be true or false'],
    ['a list', [path], 'The body must be an object.'],
    ['a string', '"x"', 'The body must be an object.'],
    ['no JSON', '{"path":', 'The body is not JSON'],
    ['a prototype', `{"path":"x","__proto__":{}}`, '__proto__'],
  ])('answers 400 to %s, naming the field', async (_, payload, message) => {
    const { app, jobs } = await open();
    const body = typeof payload === 'string' ? payload : payload === undefined ? undefined : JSON.stringify(payload);
    const answer = await app.inject({
      method: 'POST',
      url: submitUrl,
      headers: { 'content-type': 'application/json' },
      ...(body === undefined ? {} : { payload: body }),
    });
    expect(answer.statusCode).toBe(400);
    expect(answer.json()).toEqual({
      statusCode: 'INVALID_ARGUMENT',
      message: expect.stringContaining(message),
      code: expect.stringMatching(/^[A-Z_]+$/),
    });
    expect(jobs.submitted).toEqual([]);
  });

  it('answers 413 to a body beyond the limit', async () => {
    const { app } = await open();
    const answer = await app.inject({ method: 'POST', url: submitUrl, payload: { path: 'x'.repeat(70_000) } });
    expect(answer.statusCode).toBe(413);
    expect(answer.json()).toMatchObject({
      statusCode: 'PAYLOAD_TOO_LARGE',
      message: 'The body of the request is larger than 64.00KB, the most that is read here.',
    });
  });

  it.each([
    ['JOB_CONFLICT', 409, 'ALREADY_EXISTS'],
    ['OPTION_UNSUPPORTED', 400, 'INVALID_ARGUMENT'],
    ['PATH_WILDCARD', 400, 'INVALID_ARGUMENT'],
    ['JOB_LIMIT', 429, 'RESOURCE_EXHAUSTED'],
    ['STOPPING', 503, 'UNAVAILABLE'],
  ] as const)('answers %s with %d', async (code, status, statusCode) => {
    const { app, jobs } = await open();
    jobs.failure = new PrimedError(code, 'why, exactly');
    const answer = await app.inject({ method: 'POST', url: submitUrl, payload: { path } });
    expect(answer.statusCode).toBe(status);
    expect(answer.json()).toEqual({ statusCode, message: 'why, exactly', code });
    expect(answer.headers['retry-after']).toBe(
      jobs.failure instanceof PrimedError && jobs.failure.retryable ? '1' : undefined,
    );
  });
});

describe('progress', () => {
  it('answers TEXT to a GET with a JSON body, over a real socket', async () => {
    const { app } = await open();
    const port = Number(new URL(await app.listen({ host: '127.0.0.1', port: 0 })).port);
    const body = JSON.stringify({ path, format: 'TEXT', verbose: 'true' });
    const answer = await new Promise<string>((resolve, reject) => {
      let text = '';
      const socket = connect(port, '127.0.0.1', () => {
        socket.write(
          `GET ${progressUrl} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
        );
      });
      socket.on('data', (chunk) => {
        text += String(chunk);
      });
      socket.on('end', () => resolve(text));
      socket.on('error', reject);
    });
    expect(answer).toMatch(/^HTTP\/1.1 200 /);
    expect(answer).toMatch(/content-type: text\/plain/i);
    expect(answer.split('\r\n\r\n')[1]).toBe(textReport(snapshot, { verbose: true }));
  });

  it.each(['GET', 'POST'] as const)('takes the fields of a %s as query parameters too', async (method) => {
    const { app } = await open();
    const url = `${progressUrl}?path=${encodeURIComponent(path)}&format=json&verbose=true`;
    const answer = await app.inject({ method, url });
    expect(answer.statusCode).toBe(200);
    expect(answer.headers['content-type']).toMatch(/^application\/json/);
    expect(answer.json()).toMatchObject({
      mJobState: 'FAILED',
      mVerbose: true,
      mFailedFilesWithReasons: { 's3://bucket/dir/x': '404 NoSuchKey' },
    });
  });

  it('is not disturbed by a content type without a body', async () => {
    const { app } = await open();
    const headers = { 'content-type': 'application/json' };
    const url = `${progressUrl}?path=${encodeURIComponent(path)}`;
    expect((await app.inject({ method: 'GET', url, headers })).statusCode).toBe(200);
    expect((await app.inject({ method: 'GET', url: '/beside', headers })).body).toBe('fine');
  });

  it('of an unknown job is 404 with the text of the contract', async () => {
    const { app } = await open();
    const answer = await app.inject({ method: 'POST', url: progressUrl, payload: { path: 's3://bucket/none' } });
    expect(answer.statusCode).toBe(404);
    expect(answer.json()).toEqual({
      statusCode: 'NOT_FOUND',
      code: 'JOB_NOT_FOUND',
      message: "Load for path 's3://bucket/none' cannot be found.",
    });
  });

  it.each([
    [{ path, format: 'XML' }, 'format: must be one of TEXT, JSON'],
    [{ path, verbose: 'very' }, 'verbose: must be true or false'],
    [{ path, colour: 'red' }, "unknown field 'colour'"],
    [{}, 'path: is missing'],
  ])('answers 400 to %j', async (fields, message) => {
    const { app } = await open();
    const byBody = await app.inject({ method: 'POST', url: progressUrl, payload: fields });
    const byQuery = await app.inject({ method: 'GET', url: `${progressUrl}?${new URLSearchParams(fields)}` });
    for (const answer of [byBody, byQuery]) {
      expect(answer.statusCode).toBe(400);
      expect(answer.json()).toEqual({
        statusCode: 'INVALID_ARGUMENT',
        message: expect.stringContaining(message),
        code: expect.stringMatching(/^[A-Z_]+$/),
      });
    }
  });

  it('refuses a field that is given in the body and in the query', async () => {
    const { app } = await open();
    const answer = await app.inject({ method: 'POST', url: `${progressUrl}?path=a`, payload: { path: 'b' } });
    expect(answer.json()).toMatchObject({
      statusCode: 'INVALID_ARGUMENT',
      message: expect.stringContaining('path: is given twice'),
    });
  });
});

describe('stop', () => {
  it('answers when the job is stopped', async () => {
    const { app, jobs } = await open();
    const answer = await app.inject({ method: 'POST', url: stopUrl, payload: { path } });
    expect(answer.statusCode).toBe(200);
    expect(answer.json()).toEqual({
      success: true,
      jobId: 'id-1',
      path,
      message: `Load '${path}' is successfully stopped.`,
    });
    expect(jobs.stoppedPaths).toEqual([path]);
  });

  it('of what does not run is 404 with the text of the contract', async () => {
    const { app } = await open();
    const answer = await app.inject({ method: 'POST', url: stopUrl, payload: { indexFile: '/none' } });
    expect(answer.statusCode).toBe(404);
    expect(answer.json()).toEqual({
      statusCode: 'NOT_FOUND',
      code: 'JOB_NOT_FOUND',
      message: 'Cannot find load job for path /none, it might have already been stopped or finished',
    });
  });
});

describe('list', () => {
  it.each(['GET', 'POST'] as const)('by %s answers rows', async (method) => {
    const { app, jobs } = await open();
    const answer = await app.inject({ method, url: `${listUrl}?job-type=LOAD&job-state=FAILED` });
    expect(answer.statusCode).toBe(200);
    expect(answer.json()).toEqual([
      expect.objectContaining({ jobId: 'id-1', type: 'LOAD', path, state: 'FAILED', files: 2, bytes: 10, failures: 1 }),
    ]);
    expect(jobs.filters).toEqual([{ types: ['LOAD'], states: ['FAILED'] }]);
  });

  it('without a state, or with ALL, has all', async () => {
    const { app, jobs } = await open();
    await app.inject({ method: 'GET', url: listUrl });
    await app.inject({ method: 'POST', url: listUrl, payload: { 'job-state': 'all' } });
    expect(jobs.filters).toEqual([{}, {}]);
  });

  it('with ACTIVE has those that have not ended', async () => {
    const { app, jobs } = await open();
    await app.inject({ method: 'GET', url: `${listUrl}?job-state=ACTIVE` });
    expect(jobs.filters).toEqual([{ states: ['WAITING', 'RUNNING', 'VERIFYING'] }]);
  });

  it.each([
    ['job-type=COPY', 'job-type: must be one of'],
    ['job-state=DONE', 'job-state: must be one of'],
    ['state=DONE', "unknown field 'state'"],
  ])('refuses %s', async (query, message) => {
    const { app } = await open();
    const answer = await app.inject({ method: 'GET', url: `${listUrl}?${query}` });
    expect(answer.statusCode).toBe(400);
    expect(answer.json()).toMatchObject({ message: expect.stringContaining(message) });
  });
});

describe('the error handler', () => {
  it('answers unknown routes in the same form', async () => {
    const { app } = await open();
    const answer = await app.inject({ method: 'GET', url: '/api/v1/master/submit_job/copy?x=1' });
    expect(answer.statusCode).toBe(404);
    expect(answer.json()).toEqual({
      statusCode: 'NOT_FOUND',
      message: 'There is no /api/v1/master/submit_job/copy here.',
    });
  });

  it.each([
    ['PUT', listUrl, 'GET, POST', 'GET or POST'],
    ['GET', submitUrl, 'POST', 'POST'],
  ] as const)('says which methods a route has (%s %s)', async (method, url, allow, words) => {
    const { app } = await open();
    const answer = await app.inject({ method, url: `${url}?x=1` });
    expect(answer.statusCode).toBe(405);
    expect(answer.headers.allow).toBe(allow);
    expect(answer.json()).toEqual({
      statusCode: 'UNIMPLEMENTED',
      message: `${url} is not asked with ${method}, but with ${words}.`,
    });
  });

  it('does not show the inside of a defect', async () => {
    const { app } = await open();
    const answer = await app.inject({ method: 'GET', url: '/defect' });
    expect(answer.statusCode).toBe(500);
    expect(answer.json()).toMatchObject({ statusCode: 'INTERNAL' });
    expect(answer.body).not.toContain('secret');
  });

  it('leaves the content types of other routes alone', async () => {
    const { app } = await open();
    const headers = { 'content-type': 'application/x-unknown' };
    expect((await app.inject({ method: 'POST', url: '/beside', headers, payload: 'x' })).statusCode).toBe(400);
  });
});
