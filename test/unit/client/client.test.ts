import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { PrimedClient } from '../../../src/client/client.ts';
import { PrimedError } from '../../../src/core/errors.ts';
import { defaultLoadOptions } from '../../../src/core/load-options.ts';
import { MiB, pageBytes } from '../../../src/core/units.ts';
import { patterned } from '../../support/bytes.ts';
import { type ScriptedCoordinator, startScriptedCoordinator } from '../../support/scripted-coordinator.ts';
import { snapshotOf } from '../../support/snapshot.ts';

let coordinator: ScriptedCoordinator;
let client: PrimedClient;
const cleanups: (() => unknown)[] = [];
beforeEach(async () => {
  coordinator = await startScriptedCoordinator();
  client = new PrimedClient({ coordinator: coordinator.url });
});
afterEach(async () => {
  await client.close();
  await coordinator.close();
  for (const clean of cleanups.splice(0)) await clean();
});

async function rejection(promise: Promise<unknown>): Promise<PrimedError> {
  const error = await promise.then(
    () => new Error('it was fulfilled'),
    (reason: unknown) => reason,
  );
  if (!(error instanceof PrimedError)) throw error;
  return error;
}

/** A server of plain node:http, for answers that ours never gives. */
async function strange(listener: RequestListener): Promise<string> {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanups.push(() => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function clientOf(url: string, more: Partial<ConstructorParameters<typeof PrimedClient>[0]> = {}): PrimedClient {
  const made = new PrimedClient({ coordinator: url, ...more });
  cleanups.push(() => made.close());
  return made;
}

test('a submission carries path and options, strings or native', async () => {
  const submitted = await client.submit({ path: 's3://b/dir/' }, { verify: true, bandwidth: '200MB', replicas: '1' });
  expect(submitted).toEqual({
    success: true,
    jobId: 'job-1',
    path: 's3://b/dir/',
    message: "Load 's3://b/dir/' is successfully submitted. JobId: job-1",
  });
  expect(coordinator.jobs.submissions).toEqual([
    {
      source: { kind: 'path', path: 's3://b/dir/' },
      options: { ...defaultLoadOptions, verify: true, bandwidthBytesPerSecond: 200 * MiB },
    },
  ]);
  await client.submit({ indexFile: '/tmp/index' });
  expect(coordinator.jobs.submissions[1]!.source).toEqual({ kind: 'index', path: '/tmp/index' });
});

test('progress as text and as an object, for paths that need escaping', async () => {
  const path = 's3://b/a b+c%&=ü/';
  coordinator.jobs.onSnapshot = (asked) => (asked === path ? snapshotOf(path, { loadedBytes: 5 }) : undefined);
  expect(await client.progressText(path)).toContain(`Progress for loading path '${path}':\n`);
  expect(await client.progress(path)).toMatchObject({
    jobId: 'job-1',
    mJobState: 'RUNNING',
    mLoadedByteCount: 5,
    mVerbose: false,
  });
  expect(await client.progress(path, { verbose: true })).toMatchObject({ mVerbose: true });
});

test('what the server refuses is a PrimedError with its message and code', async () => {
  const missing = await rejection(client.progress('s3://b/none'));
  expect([missing.code, missing.message]).toEqual(['JOB_NOT_FOUND', "Load for path 's3://b/none' cannot be found."]);
  const bad = await rejection(client.submit({ path: 's3://b/' }, { replicas: 'many' }));
  expect([bad.code, bad.facts.httpStatus]).toEqual(['REQUEST_INVALID', 400]);
  expect(bad.message).toContain('replicas');
  coordinator.jobs.answer = new PrimedError('JOB_CONFLICT', 'verify is false, asked for true');
  const conflict = await rejection(client.submit({ path: 's3://b/' }));
  expect([conflict.code, conflict.message]).toEqual(['JOB_CONFLICT', 'verify is false, asked for true']);
  const uncached = await rejection(client.stat('s3://b/none'));
  expect(uncached.code).toBe('FILE_NOT_CACHED');
});

test.each([
  ['UNIMPLEMENTED', 405, 'REQUEST_INVALID'],
  ['OUT_OF_RANGE', 416, 'RANGE_INVALID'],
  ['RESOURCE_EXHAUSTED', 429, 'JOB_LIMIT'],
  ['UNAVAILABLE', 503, 'STOPPING'],
  ['DATA_LOSS', 500, 'STORE_CORRUPT'],
  ['UNHEARD_OF', 500, 'INTERNAL'],
])('a status %s without a code of the catalogue is read as %i means it: %s', async (statusCode, httpStatus, code) => {
  const url = await strange((_request, response) =>
    response.writeHead(httpStatus).end(JSON.stringify({ statusCode, message: 'as it is' })),
  );
  const refused = await rejection(clientOf(url).list());
  expect([refused.code, refused.message, refused.facts.httpStatus]).toEqual([code, 'as it is', httpStatus]);
});

test('stop says which path, and that there was none', async () => {
  coordinator.jobs.active.add('s3://b/');
  coordinator.jobs.onSnapshot = (path) => snapshotOf(path);
  expect((await client.stop('s3://b/')).success).toBe(true);
  expect((await rejection(client.stop('s3://b/'))).code).toBe('JOB_NOT_FOUND');
  expect(coordinator.jobs.stops).toEqual(['s3://b/', 's3://b/']);
});

test('list filters by state', async () => {
  coordinator.jobs.jobs = [snapshotOf('s3://a/'), snapshotOf('s3://b/', { state: 'FAILED', reason: 'no' })];
  expect((await client.list()).map(({ path }) => path)).toEqual(['s3://a/', 's3://b/']);
  expect(await client.list({ state: 'FAILED' })).toMatchObject([
    { type: 'LOAD', path: 's3://b/', state: 'FAILED', reason: 'no' },
  ]);
});

test('ls pages, stat sums, cat gives the bytes of a range', async () => {
  for (const name of ['a', 'b', 'c']) coordinator.files.put(`s3://b/${name}`, name);
  const bytes = patterned(3 * pageBytes + 17, 1);
  coordinator.files.put('s3://b/large', bytes);
  const first = await client.ls('s3://b/', { limit: 2 });
  expect(first.entries.map(({ path }) => path)).toEqual(['s3://b/a', 's3://b/b']);
  const second = await client.ls('s3://b/', { limit: 2, after: first.next! });
  expect(second.entries.map(({ path }) => path)).toEqual(['s3://b/c', 's3://b/large']);
  expect(await client.stat('s3://b/')).toMatchObject({ type: 'directory', files: 4, cachedFiles: 4 });
  const pieces: Buffer[] = [];
  for await (const piece of client.cat('s3://b/large', { offset: 100, length: 2 * pageBytes })) pieces.push(piece);
  expect(Buffer.concat(pieces).equals(Buffer.from(bytes).subarray(100, 100 + 2 * pageBytes))).toBe(true);
});

test('a cat that meets a bad page fails, and does not end early in silence', async () => {
  coordinator.files.put('s3://b/large', patterned(4 * pageBytes, 1));
  coordinator.files.spoilPage('s3://b/large', 2);
  let received = 0;
  const reading = (async () => {
    for await (const piece of client.cat('s3://b/large')) received += piece.length;
  })();
  const error = await rejection(reading);
  expect(error.code).toBe('ANSWER_INCOMPLETE');
  expect(received).toBeLessThan(4 * pageBytes);
  expect(error.message).toContain(`of ${4 * pageBytes} bytes`);
});

test('a check tells its progress, and names bad pages', async () => {
  coordinator.files.put('s3://b/one', patterned(2 * pageBytes, 1));
  coordinator.files.put('s3://b/two', patterned(pageBytes, 1));
  const progress: number[] = [];
  const good = await client.check('s3://b/', { onProgress: ({ checkedBytes }) => progress.push(checkedBytes) });
  expect(good).toMatchObject({ ok: true, checkedFiles: 2, checkedBytes: 3 * pageBytes });
  expect(progress.length).toBeGreaterThan(0);
  coordinator.files.spoilPage('s3://b/one', 1);
  const named: string[] = [];
  const bad = await client.check('s3://b/', { onBadPage: ({ path, page }) => named.push(`${path} ${page}`) });
  expect(bad).toMatchObject({ ok: false, badPageCount: 1 });
  expect(named).toEqual(['s3://b/one 1']);
});

test('the token is sent, and its lack is said', async () => {
  const guarded = await startScriptedCoordinator({ token: 'secret' });
  cleanups.push(() => guarded.close());
  expect((await rejection(clientOf(guarded.url).list())).code).toBe('UNAUTHENTICATED');
  expect(await clientOf(guarded.url, { token: 'secret' }).list()).toEqual([]);
});

test('nobody listens: COORDINATOR_UNREACHABLE names the address and the reason', async () => {
  await coordinator.close();
  const error = await rejection(client.list());
  expect(error.code).toBe('COORDINATOR_UNREACHABLE');
  expect(error.message).toContain(coordinator.url);
  expect(error.message).toContain('ECONNREFUSED');
});

test('a coordinator that accepts and stays silent is given up', async () => {
  let asked = 0;
  const silent = await strange(() => {
    asked += 1;
  });
  const error = await rejection(clientOf(silent, { answerTimeoutMs: 100 }).list());
  expect(asked).toBe(1);
  expect(error.code).toBe('COORDINATOR_UNREACHABLE');
});

test('something else on the port is recognised', async () => {
  const page = await strange((_request, response) =>
    response.writeHead(200, { 'content-type': 'text/html' }).end('<h1>hi'),
  );
  expect((await rejection(clientOf(page).list())).message).toContain('is not a coordinator of primed');
  const errors = await strange((_request, response) => response.writeHead(502).end('Bad Gateway'));
  const error = await rejection(clientOf(errors).list());
  expect([error.code, error.message]).toEqual(['COORDINATOR_UNREACHABLE', expect.stringContaining('with 502')]);
});

test('an answer that breaks off is an error', async () => {
  const cut = await strange((_request, response) => {
    response.writeHead(200, { 'content-length': 100, 'content-type': 'application/json' });
    response.write('[', () => response.destroy());
  });
  expect((await rejection(clientOf(cut).list())).code).toBe('ANSWER_INCOMPLETE');
});

test('the address may lack its scheme, and must be one', () => {
  expect(clientOf('localhost:19999').url).toBe('http://localhost:19999');
  expect(clientOf('http://h:1/base/').url).toBe('http://h:1/base');
  for (const wrong of ['', 'ftp://h', 'http://', 'a b']) {
    expect(() => new PrimedClient({ coordinator: wrong })).toThrow(/not the address of a coordinator/);
  }
});
