import { once } from 'node:events';
import { type AddressInfo, connect } from 'node:net';
import Fastify, { type FastifyInstance } from 'fastify';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MiB } from '../../../src/core/units.ts';
import { installErrorHandler } from '../../../src/server/errors.ts';
import { fsApi } from '../../../src/server/fs-api.ts';
import { fsHere } from '../../../src/server/fs-here.ts';
import { patterned } from '../../support/bytes.ts';
import { MemoryFiles } from '../../support/memory-files.ts';
import { rawRequest } from '../../support/raw-http.ts';
import { silent } from '../../support/silent.ts';

let files: MemoryFiles;
let app: FastifyInstance;

beforeEach(() => {
  files = new MemoryFiles();
  app = Fastify();
  installErrorHandler(app, silent);
  app.register(fsApi, { source: fsHere(files, files.alone), log: silent, progressEveryMs: 0, closeGraceMs: 50 });
});
afterEach(async () => {
  await app.close();
  if (files.openFiles !== 0) throw new Error(`${files.openFiles} files are still open`);
});

async function get(url: string, query: Record<string, string>, method: 'GET' | 'POST' = 'GET', headers = {}) {
  return await app.inject({ method, url: `/api/v1/fs/${url}`, query, headers });
}
const listen = async () => {
  await app.listen({ host: '127.0.0.1', port: 0 });
  return (app.server.address() as AddressInfo).port;
};

describe('ls', () => {
  beforeEach(() => {
    for (const name of ['a', 'dir/x', 'dir/y', 'dir/z/deep', 'dirt']) files.put(`s3://b/${name}`, name);
    files.put('s3://b/dir/meta', 'meta', { state: 'metadata' });
    files.put('s3://b/dir/soon', 'soon', { state: 'loading', cachedBytes: 1 });
  });

  it('shows one level of a directory, with or without its slash, whatever the state of the files', async () => {
    for (const path of ['s3://b/dir', 's3://b/dir/']) {
      const { entries } = (await get('ls', { path })).json();
      expect(entries.map((one: { path: string }) => one.path)).toEqual([
        's3://b/dir/meta',
        's3://b/dir/soon',
        's3://b/dir/x',
        's3://b/dir/y',
        's3://b/dir/z/',
      ]);
      expect(entries[1]).toMatchObject({
        type: 'file',
        state: 'loading',
        sizeBytes: 4,
        cachedBytes: 1,
        missingBytes: 3,
      });
      expect(entries[4]).toEqual({ path: 's3://b/dir/z/', type: 'directory' });
    }
  });

  it('shows every file below it, by pages', async () => {
    const seen: string[] = [];
    let after: string | undefined;
    do {
      const page = (
        await get('ls', { path: 's3://b', recursive: 'true', limit: '2', ...(after ? { after } : {}) })
      ).json();
      expect(page.entries.length).toBeLessThanOrEqual(2);
      seen.push(...page.entries.map((one: { path: string }) => one.path));
      after = page.next;
    } while (after !== undefined);
    expect(seen).toHaveLength(7);
    expect(new Set(seen).size).toBe(7);
  });

  it('shows the file that has exactly this name, and the buckets', async () => {
    files.put('s3://b/dir', 'a file named as the directory');
    expect((await get('ls', { path: 's3://b/dir' })).json().entries).toHaveLength(1);
    expect((await get('ls', { path: 's3://' })).json().entries).toEqual([{ path: 's3://b/', type: 'directory' }]);
  });

  it('refuses what it does not know, by name', async () => {
    const missing = await get('ls', { path: 's3://b/none' });
    expect([missing.statusCode, missing.json().message]).toEqual([404, expect.stringContaining('s3://b/none')]);
    const unknown = await get('ls', { path: 's3://b', recursiv: 'true' });
    expect([unknown.statusCode, unknown.json().message]).toEqual([400, expect.stringContaining("'recursiv'")]);
    for (const bad of [
      {},
      { path: '' },
      { path: '/b' },
      { path: 's3://b', limit: '0' },
      { path: 's3://b', limit: 'many' },
    ]) {
      expect((await get('ls', bad)).statusCode).toBe(400);
    }
  });
});

describe('stat', () => {
  it('says how much of a directory is cached', async () => {
    files.put('s3://b/dir/x', 'four');
    files.put('s3://b/dir/soon', 'twelve bytes', { state: 'loading', cachedBytes: 5 });
    files.put('s3://b/dirt', 'not below it');
    expect((await get('stat', { path: 's3://b/dir' })).json()).toEqual({
      path: 's3://b/dir',
      type: 'directory',
      files: 2,
      bytes: 16,
      cachedFiles: 1,
      cachedBytes: 9,
    });
  });

  it('says of a file which version, and what is missing', async () => {
    files.put('s3://b/soon', 'twelve bytes', { state: 'loading', cachedBytes: 5, etag: 'e' });
    expect((await get('stat', { path: 's3://b/soon' })).json()).toMatchObject({
      type: 'file',
      cachedFiles: 0,
      cachedBytes: 5,
      file: { etag: 'e', state: 'loading', missingBytes: 7, lastModified: '2026-01-02T03:04:05.678Z' },
    });
    expect((await get('stat', { path: 's3://b/none' })).statusCode).toBe(404);
  });
});

describe('cat', () => {
  const bytes = patterned(2 * MiB + 5, 3);
  beforeEach(() => files.put('s3://b/a+b c', bytes));

  it('gives the bytes, whole and in part', async () => {
    const path = 's3://b/a+b c';
    expect((await get('cat', { path })).rawPayload.equals(bytes)).toBe(true);
    const part = await get('cat', { path, offset: String(MiB - 1), length: '3' });
    expect(part.rawPayload.equals(bytes.subarray(MiB - 1, MiB + 2))).toBe(true);
    expect((await get('cat', { path, offset: String(bytes.length), length: '3' })).rawPayload).toHaveLength(0);
    expect((await get('cat', { path, offset: String(bytes.length + 1) })).statusCode).toBe(416);
    expect((await get('cat', { path, offset: '-1' })).statusCode).toBe(400);
  });

  it('names what is not cached', async () => {
    files.put('s3://b/meta', 'meta', { state: 'metadata' });
    const answer = await get('cat', { path: 's3://b/meta' });
    expect([answer.statusCode, answer.json()]).toEqual([
      404,
      { statusCode: 'NOT_FOUND', message: expect.stringContaining('0 of 4 bytes'), code: 'FILE_NOT_CACHED' },
    ]);
  });

  it('is cut short by a bad page, never wrong', async () => {
    files.spoilPage('s3://b/a+b c', 1);
    const port = await listen();
    const answer = await rawRequest(port, '/api/v1/fs/cat?path=s3://b/a%2Bb%20c');
    expect(answer.promisedBytes).toBe(bytes.length);
    expect(answer.body.equals(bytes.subarray(0, MiB))).toBe(true);
    files.spoilPage('s3://b/a+b c', 0);
    expect((await rawRequest(port, '/api/v1/fs/cat?path=s3://b/a%2Bb%20c')).status).toBe(500);
  });
});

describe('check', () => {
  beforeEach(() => {
    files.put('s3://b/dir/large', patterned(130 * MiB, 4));
    for (let index = 0; index < 20; index += 1) files.put(`s3://b/dir/small-${index}`, patterned(100 + index, index));
    files.put('s3://b/dir/empty', '');
    files.put('s3://b/dir/meta', 'meta', { state: 'metadata' });
    files.put('s3://b/other', 'x');
  });

  it('reads every page once and sums up', async () => {
    const answer = await get('check', { path: 's3://b/dir' }, 'POST');
    expect(answer.json()).toEqual({
      path: 's3://b/dir',
      ok: true,
      checkedFiles: 22,
      checkedBytes: 130 * MiB + 20 * 100 + 190,
      badPageCount: 0,
      uncheckedFiles: 1,
      goneFiles: 0,
      badPages: [],
    });
    expect(files.piecesRead).toBe(130 + 20);
  });

  it('names every bad page and goes on behind it', async () => {
    files.spoilPage('s3://b/dir/large', 0);
    files.spoilPage('s3://b/dir/large', 129);
    files.spoilPage('s3://b/dir/small-7', 0);
    const summary = (await get('check', { path: 's3://b/dir/' }, 'POST')).json();
    expect(summary).toMatchObject({
      ok: false,
      badPageCount: 3,
      checkedFiles: 22,
      checkedBytes: 128 * MiB + 20 * 100 + 190 - 107,
    });
    const named = summary.badPages.map((one: { path: string; page: number; code: string }) => [
      one.path,
      one.page,
      one.code,
    ]);
    expect(named.sort()).toEqual([
      ['s3://b/dir/large', 0, 'STORE_CORRUPT'],
      ['s3://b/dir/large', 129, 'STORE_CORRUPT'],
      ['s3://b/dir/small-7', 0, 'STORE_CORRUPT'],
    ]);
  });

  it('tells its progress in lines, the summary last', async () => {
    files.spoilPage('s3://b/dir/large', 3);
    const answer = await get('check', { path: 's3://b/dir/large' }, 'POST', { accept: 'application/x-ndjson' });
    const lines = answer.payload
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(lines.at(-1)).toMatchObject({ type: 'summary', ok: false, checkedBytes: 129 * MiB });
    expect(lines.filter((line) => line.type === 'bad-page')).toMatchObject([
      { page: 3, offset: 3 * MiB, lengthBytes: MiB },
    ]);
    const progress = lines.filter((line) => line.type === 'progress').map((line) => line.checkedBytes);
    expect(progress.length).toBeGreaterThan(2);
    expect(progress).toEqual([...progress].sort((a, b) => a - b));
  });

  it('ends when its client leaves', async () => {
    const port = await listen();
    const socket = connect(port, '127.0.0.1');
    socket.write(
      'POST /api/v1/fs/check?path=s3://b/dir HTTP/1.1\r\nhost: x\r\naccept: application/x-ndjson\r\ncontent-length: 0\r\n\r\n',
    );
    await once(socket, 'data');
    socket.destroy();
    await expect.poll(() => files.openFiles, { timeout: 5_000 }).toBe(0);
    expect(files.piecesRead).toBeLessThan(150);
  });

  it('of what is not there is 404', async () => {
    expect((await get('check', { path: 's3://none/' }, 'POST')).statusCode).toBe(404);
  });
});
