/** Tokens with roles, and the audit log. */
import Fastify, { type FastifyInstance } from 'fastify';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { NamedToken } from '../../../src/core/roles.ts';
import { auditLog } from '../../../src/server/audit.ts';
import { bearerAuth } from '../../../src/server/auth.ts';
import { installErrorHandler } from '../../../src/server/errors.ts';
import { jobApi } from '../../../src/server/job-api.ts';
import { workerLoadApi } from '../../../src/server/worker-load-api.ts';
import { ScriptedJobs } from '../../support/scripted-coordinator.ts';
import { silent } from '../../support/silent.ts';

const path = 's3://b/dir/';
const tokens = (...names: string[]): NamedToken[] =>
  names.map((name) => ({ name, role: name.split('-')[0] as NamedToken['role'], token: `hush-${name}` }));
const others = { now: tokens('read', 'submit', 'admin') };
let app: FastifyInstance;
let jobs: ScriptedJobs;
let lines: object[];

beforeEach(async () => {
  others.now = tokens('read', 'submit', 'admin');
  [jobs, lines] = [new ScriptedJobs(), []];
  const log = { debug() {}, info: (facts: object) => void lines.push(facts), warn() {}, error() {} };
  app = Fastify();
  installErrorHandler(app, silent);
  app.register(auditLog, { log });
  app.register(bearerAuth, { token: 'hush-first', others });
  app.register(jobApi, { jobs });
  const desk = {
    submit: async () => ({ jobId: 'job-7', message: 'yes' }),
    stop: async () => undefined,
    report: async () => '',
  };
  app.register(workerLoadApi, { desk: desk as never });
  app.get('/forgotten', () => 'x');
  await app.ready();
});
afterEach(() => app.close());

async function ask(who: string, method: 'GET' | 'POST' | 'DELETE', url: string, payload?: object) {
  const answer = await app.inject({
    ...{ method, url, headers: { authorization: `Bearer hush-${who}` } },
    ...(payload === undefined ? {} : { payload }),
  });
  return { status: answer.statusCode, body: answer.json() };
}

const listed = ['GET', '/api/v1/master/list_job'] as const;
const submitted = ['POST', '/api/v1/master/submit_job/load', { path }] as const;
const freed = ['POST', '/api/v1/master/submit_job/free', { path }] as const;
const first = ['POST', '/v1/load', { path, opType: 'submit' }] as const;

test.each([
  ['read', [200, 403, 403, 403]],
  ['submit', [200, 200, 403, 200]],
  ['admin', [200, 200, 200, 200]],
  ['first', [200, 200, 200, 200]],
  ['nobody', [401, 401, 401, 401]],
])('a token of the role %s may list, submit, free, and submit as generation 1 does: %j', async (who, wanted) => {
  const got = [];
  for (const [method, url, body] of [listed, submitted, freed, first])
    got.push((await ask(who, method, url, body)).status);
  expect(got).toEqual(wanted);
  expect(jobs.submissions).toHaveLength(wanted[1] === 200 ? 1 : 0);
  expect(jobs.frees).toHaveLength(wanted[2] === 200 ? 1 : 0);
});

test('a refusal names the role that is needed, and a route that nobody gave a role is for admins', async () => {
  expect((await ask('read', ...submitted)).body).toEqual({
    ...{ statusCode: 'PERMISSION_DENIED', code: 'FORBIDDEN' },
    message: "The token 'read' has the role read; this needs the role submit.",
  });
  expect((await ask('submit', 'GET', '/forgotten')).status).toBe(403);
  expect((await app.inject({ url: '/forgotten', headers: { authorization: 'Bearer hush-admin' } })).statusCode).toBe(
    200,
  );
});

test('two tokens of one role count side by side, and one that is taken away counts no more', async () => {
  others.now = tokens('submit-old', 'submit-new');
  for (const who of ['submit-old', 'submit-new']) expect((await ask(who, ...submitted)).status).toBe(200);
  others.now = tokens('submit-new');
  expect((await ask('submit-old', ...submitted)).status).toBe(401);
});

test('a call of which nobody can make a text is refused, and audited like every other', async () => {
  const noText = { toString: null, valueOf: null };
  expect((await ask('submit', 'POST', submitted[1], { path: noText })).status).toBe(400);
  expect((await ask('admin', 'DELETE', '/api/v1/load', { paths: ['s3://b/1', noText, 2] })).status).toBe(400);
  const audited = { event: 'audit', result: 'failed', status: 400 };
  expect(lines).toMatchObject([
    { ...audited, action: 'submit load', what: '' },
    { ...audited, action: 'stop load', what: 's3://b/1 2' },
  ]);
});

test('the audit log has who, from where, what and the result of each call that changes something; no token', async () => {
  await ask('read', ...listed);
  await ask('submit', ...submitted);
  await ask('submit', ...first);
  await ask('submit', ...freed);
  await ask('nobody', ...submitted);
  await ask('admin', 'DELETE', '/api/v1/load', { target: 'none' });
  const from = { event: 'audit', from: '127.0.0.1', requestId: expect.any(String) };
  expect(lines).toEqual([
    { ...from, action: 'submit load', who: 'submit', what: path, result: 'done', status: 200 },
    { ...from, action: 'submit load', who: 'submit', what: path, result: 'done', status: 200 },
    { ...from, action: 'submit free', who: 'submit', what: '', result: 'refused', status: 403 },
    { ...from, action: 'submit load', who: '-', what: '', result: 'refused', status: 401 },
    { ...from, action: 'stop load', who: 'admin', what: 'none', result: 'failed', status: 404 },
  ]);
  expect(JSON.stringify(lines)).not.toContain('hush');
});

test.each([
  [200, {}],
  [200, { origin: 'http://node:19998', host: 'node:19998' }],
  [200, { 'sec-fetch-site': 'same-origin', origin: 'https://primed.example', host: 'node:19998' }],
  [200, { 'sec-fetch-site': 'none' }],
  [403, { origin: 'https://evil.example', host: 'node:19998' }],
  [403, { origin: 'null', host: 'node:19998' }],
  [403, { 'sec-fetch-site': 'cross-site' }],
  [403, { 'sec-fetch-site': 'same-site', origin: 'http://node:80', host: 'node:19998' }],
])('%i for what a browser asks with %j, token or not', async (status, headers) => {
  const open = Fastify();
  installErrorHandler(open, silent);
  open.register(bearerAuth, {});
  open.register(jobApi, { jobs });
  const [method, url, payload] = submitted;
  for (const server of [app, open]) {
    const authorization = 'Bearer hush-admin';
    const answer = await server.inject({ method, url, payload, headers: { ...headers, authorization } });
    expect(answer.statusCode).toBe(status);
  }
  expect(jobs.submissions).toHaveLength(status === 200 ? 2 : 0);
  // Generation 1 submits and stops by GET too, which a browser sends for any page.
  for (const opType of ['submit', 'stop', 'progress']) {
    const url = `/v1/load?path=${path}&opType=${opType}`;
    const answer = await app.inject({ url, headers: { ...headers, authorization: 'Bearer hush-admin' } });
    expect(answer.statusCode).toBe(opType === 'progress' ? 200 : status);
  }
  // Reading is what the browser itself keeps from other sites.
  expect((await open.inject({ url: '/api/v1/master/list_job', headers })).statusCode).toBe(200);
  await open.close();
});
