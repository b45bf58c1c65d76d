/** The console's routes: what everybody may have, what only a token gives, and what no browser may do with it. */

import type { AddressInfo } from 'node:net';
import { gunzipSync } from 'node:zlib';
import Fastify, { type FastifyInstance } from 'fastify';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { madeJob, madeWorker, partsOf } from '../../../bench/support/made-cluster.ts';
import { PrimedError } from '../../../src/core/errors.ts';
import type { RateRecord } from '../../../src/core/rate-history.ts';
import type { NamedToken } from '../../../src/core/roles.ts';
import { bearerAuth } from '../../../src/server/auth.ts';
import { takesGzip } from '../../../src/server/console/assets.ts';
import { consoleRoutes } from '../../../src/server/console/index.ts';
import { RateKeeper } from '../../../src/server/console/rates.ts';
import { installErrorHandler } from '../../../src/server/errors.ts';
import { silent } from '../../support/silent.ts';

const others: { now: NamedToken[] } = { now: [] };
let app: FastifyInstance;
beforeEach(async () => {
  others.now = [{ name: 'viewer', role: 'read', token: 'hush-viewer' }];
  app = Fastify({ forceCloseConnections: 'idle' });
  installErrorHandler(app, silent);
  app.register(bearerAuth, { token: 'hush-first', others });
  app.register(consoleRoutes, partsOf({ jobs: [madeJob(1, 1)], workers: [madeWorker(1)] }));
  await app.listen({ host: '127.0.0.1', port: 0 });
});
afterEach(() => app.close());

const feed = '/api/v1/console/feed';

test.each(['/console/', '/console/app.js', '/console/style.css', '/console/icon.svg'])(
  'everybody may have %s, which may load nothing from elsewhere',
  async (url) => {
    const plain = await app.inject({ url });
    expect([plain.statusCode, plain.headers['x-content-type-options']]).toEqual([200, 'nosniff']);
    const policy = plain.headers['content-security-policy'] as string;
    expect(policy).toContain("default-src 'none'");
    expect(policy).toContain("script-src 'self'");
    expect(policy).toContain("require-trusted-types-for 'script'");
    expect(policy).not.toMatch(/unsafe|https?:|data:|\*/);
    expect(plain.body).not.toMatch(/https?:\/\/(?!www\.w3\.org\/(2000\/svg|1999))/);
    const packed = await app.inject({ url, headers: { 'accept-encoding': 'gzip, br' } });
    expect(packed.headers['content-encoding']).toBe('gzip');
    expect(gunzipSync(packed.rawPayload).toString()).toBe(plain.body);
    const again = await app.inject({ url, headers: { 'if-none-match': plain.headers.etag as string } });
    expect([again.statusCode, again.body]).toEqual([304, '']);
  },
);

test('while nothing was heard of the jobs yet a console is told why, and of everything else', async () => {
  const parts = partsOf({ jobs: [], workers: [madeWorker(1)] });
  const why = 'etcd has not told of the jobs yet';
  const list = () => {
    throw new PrimedError('ETCD_UNAVAILABLE', why);
  };
  // Nobody catches what a timer throws.
  expect(() => new RateKeeper({ jobs: { ...parts.jobs, list } }).sample()).not.toThrow();
  const deaf = Fastify({ forceCloseConnections: 'idle' });
  deaf.register(bearerAuth, {});
  deaf.register(consoleRoutes, { ...parts, jobs: { ...parts.jobs, list, trouble: () => why } });
  await deaf.listen({ host: '127.0.0.1', port: 0 });
  const { text, close } = await listen('hush-viewer', deaf);
  expect(text).toContain(why);
  expect(text).toContain('"id":"w0001"');
  close();
  await deaf.close();
});

test('the root leads to the console', async () => {
  for (const url of ['/', '/console']) {
    const { statusCode, headers } = await app.inject({ url });
    expect([statusCode, headers.location]).toEqual([302, '/console/']);
  }
});

test('what the page is told needs a token, and says who has it', async () => {
  expect((await app.inject({ url: feed })).statusCode).toBe(401);
  expect((await app.inject({ url: feed, headers: { authorization: 'Bearer wrong' } })).statusCode).toBe(401);
  expect((await app.inject({ url: `${feed}?token=hush-first` })).statusCode).toBe(401);
  const { text, close } = await listen('hush-viewer');
  expect(text).toContain('event: hello\ndata: {"caller":{"name":"viewer","role":"read"}}\n\n');
  expect(text).toMatch(/data: \{"whole":true,.*"id":"job-1".*"id":"w0001"/);
  close();
});

test('who listens hears no more when his token is taken away', async () => {
  const { rest } = await listen('hush-viewer');
  others.now = [];
  await rest;
});

test('a server that is closed ends those who listen', async () => {
  const { rest } = await listen('hush-first');
  await app.close();
  await rest;
});

test('who takes gzip', () => {
  const given = ['gzip', 'br, gzip', 'gzip;q=0.5', 'deflate,gzip ;q=1.0', 'gzip;q=0', 'br', '', undefined];
  expect(given.map(takesGzip)).toEqual([true, true, true, true, false, false, false, false]);
});

/** Resolves with what is said until all rows are there; `rest` when the server has ended it. */
async function listen(token: string, server = app): Promise<{ text: string; rest: Promise<void>; close(): void }> {
  const { port } = server.server.address() as AddressInfo;
  const left = new AbortController();
  const headers = { authorization: `Bearer ${token}` };
  const answer = await fetch(`http://127.0.0.1:${port}${feed}`, { headers, signal: left.signal });
  expect([answer.status, answer.headers.get('content-type')]).toEqual([200, 'text/event-stream; charset=utf-8']);
  const pieces = answer.body!.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  while (!text.includes('"origins"')) text += (await pieces.read()).value;
  const rest = (async () => {
    while (!(await pieces.read()).done);
  })();
  rest.catch(() => undefined);
  return { text, rest, close: () => left.abort() };
}

test('how fast it was is told of the time before anybody asked, and of one job', async () => {
  const url = '/api/v1/console/rates';
  expect((await app.inject({ url })).statusCode).toBe(401);
  const headers = { authorization: 'Bearer hush-viewer' };
  const ask = async (query = ''): Promise<{ loading?: RateRecord; jobs: Record<string, RateRecord> }> =>
    (await app.inject({ url: url + query, headers })).json();
  // It counts by itself, from when it has begun.
  await expect.poll(async () => (await ask()).loading!.fine.values.at(-1), { timeout: 10_000 }).toBe(100_000_000);
  const one = await ask('?job=job-1');
  expect(one.jobs['job-1']!.fine.values.at(-1)).toBe(100_000_000);
  expect(await ask('?sketch=job-1&sketch=none')).toMatchObject({
    jobs: { 'job-1': { fine: { values: [] }, coarse: { values: [100_000_000] } } },
  });
  expect(await ask('?job=none')).toEqual({ jobs: {} });
  const many = Array.from({ length: 51 }, (_, n) => `sketch=${n}`).join('&');
  expect((await app.inject({ url: `${url}?${many}`, headers })).statusCode).toBe(400);
  const packed = await app.inject({ url, headers: { ...headers, 'accept-encoding': 'gzip' } });
  expect(JSON.parse(gunzipSync(packed.rawPayload).toString())).toHaveProperty('serving');
});
