/** The page API and the file API, as clients of Alluxio's workers ask them. */
import type { AddressInfo } from 'node:net';
import Fastify, { type FastifyInstance } from 'fastify';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { pathId } from '../../../src/core/path-id.ts';
import { MiB } from '../../../src/core/units.ts';
import { bearerAuth } from '../../../src/server/auth.ts';
import { installErrorHandler } from '../../../src/server/errors.ts';
import { pageApi } from '../../../src/server/pages/index.ts';
import { ufsInfoOf } from '../../../src/server/pages/ufs-info.ts';
import type { Json } from '../../support/api.ts';
import { patterned } from '../../support/bytes.ts';
import { MemoryFiles } from '../../support/memory-files.ts';
import { MemoryIds } from '../../support/memory-ids.ts';
import { memoryPages } from '../../support/memory-pages.ts';
import { rawRequest } from '../../support/raw-http.ts';
import { silent } from '../../support/silent.ts';

let files: MemoryFiles;
let ids: MemoryIds;
let app: FastifyInstance;
let port: number;
let firstBytes: [what: string, afterMs: number][];

async function serve(token?: string): Promise<void> {
  app = Fastify();
  installErrorHandler(app, silent);
  app.register(bearerAuth, token === undefined ? {} : { token });
  app.register(pageApi, {
    ...memoryPages(files, ids),
    log: silent,
    closeGraceMs: 50,
    onFirstByte: (...told) => firstBytes.push(told),
  });
  await app.listen({ host: '127.0.0.1', port: 0 });
  port = (app.server.address() as AddressInfo).port;
}

beforeEach(async () => {
  firstBytes = [];
  files = new MemoryFiles();
  ids = new MemoryIds();
  await serve();
});
afterEach(async () => {
  await app.close();
  if (files.openFiles !== 0) throw new Error(`${files.openFiles} files are still open`);
});

const ask = (target: string, options = {}) => rawRequest(port, target, options);
const json = async (target: string): Promise<[number, Json]> => {
  const answer = await fetch(`http://127.0.0.1:${port}${target}`);
  return [answer.status, await answer.json()];
};
const asForm = (path: string) => new URLSearchParams({ path }).toString();
const url = (path: string) => `/v1/file/${pathId(path)}/page`;
const whole = 's3://b/dir/whole.bin';

describe('status', () => {
  beforeEach(() => {
    files.put('s3://b/dir/a file+.txt', 'twelve bytes', { etag: 'tag', lastModifiedMs: 1234 });
    files.put('s3://b/dir/', '');
    files.put('s3://b/dir/meta', 'four', { state: 'metadata' });
    files.put('s3://b/dir/soon', 'twelve bytes', { state: 'loading', cachedBytes: 5 });
    files.put('s3://b/dir/sub/deep', 'x');
  });

  it('of a file has all fields, in an array', async () => {
    const path = 's3://b/dir/a file+.txt';
    const status = {
      mType: 'file',
      mName: 'a file+.txt',
      mPath: path,
      mUfsPath: path,
      mLastModificationTimeMs: 1234,
      mCreationTimeMs: 1234,
      mLength: 12,
      mHumanReadableFileSize: '12B',
      mCompleted: true,
      mOwner: '',
      mGroup: '',
      mMode: 0o444,
      mPersisted: true,
      mInAlluxioPercentage: 100,
      mContentHash: 'tag',
    };
    expect(await json(`/v1/info?${asForm(path)}`)).toEqual([200, [status]]);
    expect(await json(`/v1/files?${asForm(path)}`)).toEqual([200, [status]]);
    expect(await json('/v1/info?path=s3://b/dir/a%20file+.txt')).toEqual([200, [status]]);
  });

  it('says how much of a file is there', async () => {
    expect(await json('/v1/info?path=s3://b/dir/meta')).toMatchObject([200, [{ mInAlluxioPercentage: 0 }]]);
    expect(await json('/v1/info?path=s3://b/dir/soon')).toMatchObject([
      200,
      [{ mInAlluxioPercentage: 41, mCompleted: false }],
    ]);
  });

  it('of a directory is one level, in order, without itself', async () => {
    for (const path of ['s3://b/dir', 's3://b/dir/']) {
      const [code, rows] = await json(`/v1/files?${asForm(path)}`);
      expect([code, rows.map((row: { mName: string }) => row.mName)]).toEqual([200, ['a file+.txt', 'meta', 'sub']]);
      expect(rows[2]).toMatchObject({ mType: 'directory', mPath: 's3://b/dir/sub', mLength: 0 });
      expect(await json(`/v1/info?${asForm(path)}`)).toMatchObject([200, [{ mType: 'directory', mName: 'dir' }]]);
    }
    expect(await json('/v1/files?path=s3://b')).toMatchObject([200, [{ mName: 'dir', mPath: 's3://b/dir' }]]);
  });

  it('of a directory of thousands is whole', async () => {
    for (let n = 0; n < 2500; n += 1) files.put(`s3://b/many/${n}`, '');
    const [, rows] = await json('/v1/files?path=s3://b/many');
    expect(new Set(rows.map((row: { mPath: string }) => row.mPath)).size).toBe(2500);
  });

  it('is 404 where there is nothing, and 400 for what is no path, each with a message', async () => {
    expect(await json('/v1/info?path=s3://b/none')).toEqual([404, { message: expect.stringContaining('s3://b/none') }]);
    expect(await json('/v1/files?path=s3://b/di')).toEqual([404, { message: expect.any(String) }]);
    for (const query of ['', '?path=', '?path=/b/dir', '?path=%ff'])
      expect([query, await json(`/v1/files${query}`)]).toEqual([query, [400, { message: expect.any(String) }]]);
  });
});

describe('pages', () => {
  const content = patterned(2 * MiB + 100, 1);
  beforeEach(() => {
    files.put(whole, content);
    files.put('s3://b/even', content.subarray(0, MiB));
    files.put('s3://b/empty', '');
  });
  const page = async (path: string, tail: string) => {
    ids.add(path);
    const { status, body, promisedBytes } = await ask(`${url(path)}/${tail}`);
    expect(body.length).toBe(promisedBytes);
    return [status, body] as const;
  };
  const same = ([status, body]: readonly [number, Buffer], from: number, to: number) =>
    status === 200 && body.equals(content.subarray(from, to));

  it('are a MiB, and shorter at the end', async () => {
    for (const [n, from, to] of [
      [0, 0, MiB],
      [1, MiB, 2 * MiB],
      [2, 2 * MiB, content.length],
    ] as const)
      expect(same(await page(whole, String(n)), from, to)).toBe(true);
  });

  it('give ranges inside them, cut at the end of the page and of the file', async () => {
    const at = 2 * MiB;
    for (const [tail, from, to] of [
      ['0?offset=5&length=7', 5, 12],
      ['0?offset=1048570&length=100', MiB - 6, MiB],
      [`0?offset=${MiB}&length=1`, MiB, MiB],
      ['2?offset=90&length=100', at + 90, at + 100],
      ['2?offset=100&length=1', at + 100, at + 100],
      ['1?length=3', MiB, MiB + 3],
    ] as const)
      expect([tail, same(await page(whole, tail), from, to)]).toEqual([tail, true]);
  });

  it('end with nothing exactly at the end, and with 416 behind it', async () => {
    expect(await page('s3://b/even', '1')).toEqual([200, Buffer.alloc(0)]);
    expect(await page('s3://b/empty', '0')).toEqual([200, Buffer.alloc(0)]);
    for (const [path, tail] of [
      [whole, '3'],
      [whole, '2?offset=101&length=1'],
      ['s3://b/empty', '1'],
    ] as const) {
      const [status, body] = await page(path, tail);
      expect([tail, status, JSON.parse(body.toString())]).toEqual([tail, 416, { message: expect.any(String) }]);
    }
  });

  it('refuse what is no page, no offset, no id', async () => {
    for (const tail of [
      '-1',
      'x',
      '99999999999999999999',
      '0?offset=-1',
      '0?offset=1048577',
      '0?length=x',
      '0?offset=',
    ])
      expect([tail, (await page(whole, tail))[0]]).toEqual([tail, 400]);
    expect((await ask(`/v1/file/${pathId(whole).toUpperCase()}/page/0`)).status).toBe(400);
  });

  it('that are bad are an error before the head, never a short page', async () => {
    files.spoilPage(whole, 1);
    expect((await page(whole, '0'))[0]).toBe(200);
    const [status, body] = await page(whole, '1');
    expect([status, JSON.parse(body.toString())]).toEqual([500, { message: expect.any(String) }]);
    files.put('s3://b/short', content);
    files.endEarly('s3://b/short', MiB + 10);
    expect((await page('s3://b/short', '1'))[0]).toBe(500);
  });

  it('of what is not cached whole are 404', async () => {
    files.put('s3://b/meta', 'four', { state: 'metadata' });
    files.put('s3://b/soon', 'four', { state: 'loading' });
    for (const path of ['s3://b/meta', 's3://b/soon', 's3://b/none']) expect((await page(path, '0'))[0]).toBe(404);
  });
});

describe('ids', () => {
  it('are known with the path, from files and info, and else 404', async () => {
    const path = 's3://b/a+b%41&c=ü';
    files.put(path, 'content');
    expect((await ask(`${url(path)}/0`)).status).toBe(404);
    expect((await ask(`${url(path)}/0?ufsFullPath=${encodeURIComponent(path)}`)).body.toString()).toBe('content');
    expect((await ask(`${url(path)}/0?ufsFullPath=s3://b/other`)).status).toBe(404);
    await json(`/v1/info?${asForm(path)}`);
    expect((await ask(`${url(path)}/0`)).body.toString()).toBe('content');
    // Whatever was made of the path on the way, the id decides.
    expect((await ask(`${url(path)}/0?ufsFullPath=s3://b/a+bA`)).body.toString()).toBe('content');
  });

  it('of another way to write the path of a file are those that the client used', async () => {
    files.put('file:///data/x', 'content');
    const asked = 'file:////data/x';
    expect((await ask(`${url(asked)}/0?ufsFullPath=${asked}`)).body.toString()).toBe('content');
    await json(`/v1/info?path=${asked}`);
    for (const path of [asked, 'file:///data/x']) expect((await ask(`${url(path)}/0`)).body.toString()).toBe('content');
  });

  it('are 503 while not all are known', async () => {
    ids.whole = false;
    const { status, headers, body } = await ask(`${url(whole)}/0`);
    expect([status, headers['retry-after'], JSON.parse(body.toString())]).toEqual([
      503,
      '1',
      { message: expect.stringContaining('ufsFullPath') },
    ]);
  });
});

describe('other ways to the bytes', () => {
  const content = patterned(3 * MiB + 5, 2);
  const id = pathId(whole);
  beforeEach(() => files.put(whole, content));

  it('ranges, chunks, heads and tails', async () => {
    const end = content.length;
    for (const [target, from, to] of [
      [`range/${id}?ufsFullPath=${whole}&offset=10&length=${2 * MiB}`, 10, 10 + 2 * MiB],
      [`range/${id}?ufsFullPath=${whole}&offset=10&length=-1`, 10, end],
      [`range/${id}?ufsFullPath=${whole}&offset=${end - 1}&length=100`, end - 1, end],
      [`range/${id}?ufsFullPath=${whole}&offset=${end}&length=100`, end, end],
      [`chunk/${id}?ufsFullPath=${whole}&chunkSize=1048576`, 0, end],
      [`head/${id}?ufsFullPath=${whole}`, 0, 1024],
      [`head/${id}?ufsFullPath=${whole}&numOfBytes=5`, 0, 5],
      [`tail/${id}?ufsFullPath=${whole}&numOfBytes=1kb`, end - 1024, end],
      [`tail/${id}?ufsFullPath=${whole}&numOfBytes=100mb`, 0, end],
    ] as const) {
      const { status, body } = await ask(`/v1/${target}`);
      expect([target, status, body.equals(content.subarray(from, to))]).toEqual([target, 200, true]);
    }
  });

  it('are timed to their head, apart from pages, where there is one', async () => {
    for (const target of [`chunk/${id}`, `file/${id}/page/0`, `range/${id}`, `file/${id}/page/9`, `head/${id}x`])
      await ask(`/v1/${target}?ufsFullPath=${whole}`);
    expect(firstBytes).toEqual(['file', 'page', 'file'].map((what) => [what, expect.any(Number)]));
    for (const [, afterMs] of firstBytes) expect(afterMs).toBeGreaterThan(0);
  });

  it('are 416 behind the end, 400 for what is no number', async () => {
    expect((await ask(`/v1/range/${id}?ufsFullPath=${whole}&offset=${content.length + 1}&length=1`)).status).toBe(416);
    for (const bad of [`range/${id}?length=-2`, `head/${id}?numOfBytes=x`, `chunk/${id}?chunkSize=0`])
      expect((await ask(`/v1/${bad}`)).status).toBe(400);
  });

  it('that meet a bad page are cut off, and not short', async () => {
    files.spoilPage(whole, 2);
    const { body, promisedBytes } = await ask(`/v1/chunk/${id}?ufsFullPath=${whole}`);
    expect([promisedBytes, body.length < promisedBytes]).toEqual([content.length, true]);
  });
});

it('refuses to write, with a body of any size', async () => {
  for (const verb of ['mkdir', 'touch', 'rm', 'mv', 'copy', 'chunk', 'file']) {
    const target = verb === 'file' ? `/v1/file/x/page/0?ufsFullPath=y` : `/v1/${verb}/x?ufsFullPath=y`;
    const headers = { 'content-length': String(10 * MiB), 'content-type': 'application/octet-stream' };
    const { status, headers: answered, body } = await ask(target, { method: 'POST', headers });
    expect([verb, status, JSON.parse(body.toString())]).toEqual([verb, 405, { message: expect.any(String) }]);
    expect(answered.allow).toBe(verb === 'chunk' || verb === 'file' ? 'GET' : '');
  }
});

it('names the owner of a path, and itself as the client called it', async () => {
  expect(await json('/v1/node?path=s3://b/elsewhere')).toEqual([200, { Host: 'other', HttpServerPort: 1 }]);
  const { body } = await ask('/v1/node?path=s3://b/a&b+c', { headers: { host: 'node-1:28080' } });
  expect(JSON.parse(body.toString())).toEqual({ Host: 'node-1', HttpServerPort: port });
});

it('is behind the token of the port', async () => {
  await app.close();
  await serve('secret');
  files.put(whole, 'x');
  const id = pathId(whole);
  const targets = ['info?path=s3://b/', `chunk/${id}?ufsFullPath=${whole}`, 'ufsInfo', 'node?path=s3://b/x'];
  for (const target of targets) {
    expect(await json(`/v1/${target}`)).toEqual([401, { message: expect.any(String) }]);
    expect((await ask(`/v1/${target}`, { headers: { authorization: 'Bearer secret' } })).status).toBe(200);
  }
  expect((await ask(`/v1/rm/${id}`, { method: 'POST' })).status).toBe(401);
});

it('tells buckets, never credentials', async () => {
  files.put('s3://cached/x', 'x');
  files.put('file:///data/x', 'x');
  const configured = [
    { prefix: 's3://' },
    { prefix: 's3://own/', endpoint: 'http://user:secret@own:9000/' },
    { prefix: 's3://part/dir', endpoint: 'http://part:9000' },
    { prefix: 'file:///data' },
  ];
  expect(await ufsInfoOf(files.alone, configured)).toEqual({
    's3://cached/': { alluxio_path: '/cached' },
    's3://own/': { alluxio_path: '/own', endpoint: 'http://own:9000/' },
    's3://part/': { alluxio_path: '/part' },
  });
});
