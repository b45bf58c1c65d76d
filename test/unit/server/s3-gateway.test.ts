import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { connect } from 'node:net';
import {
  GetObjectCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  ListBucketsCommand,
  ListObjectsCommand,
  paginateListObjectsV2,
  S3Client,
} from '@aws-sdk/client-s3';
import { XMLParser } from 'fast-xml-parser';
import type { FastifyInstance } from 'fastify';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ReadableFiles } from '../../../src/cluster/reading/files.ts';
import { attributesOf } from '../../../src/core/attributes.ts';
import { MiB } from '../../../src/core/units.ts';
import { bucketsOf } from '../../../src/server/s3/bucket.ts';
import { buildS3Server, type S3GatewayOptions } from '../../../src/server/s3/index.ts';
import { patterned } from '../../support/bytes.ts';
import { MemoryFiles } from '../../support/memory-files.ts';
import { rawRequest } from '../../support/raw-http.ts';
import { askS3 } from '../../support/s3-signed.ts';

const silent = { debug() {}, info() {}, warn() {}, error() {} };
const lastModified = 'Fri, 02 Jan 2026 03:04:05 GMT';
let files: MemoryFiles;
let app: FastifyInstance;
let port: number;
let served: number[];

async function start(options: Partial<S3GatewayOptions> = {}): Promise<void> {
  app = buildS3Server({ files: files.alone, log: silent, onServed: (bytes) => served.push(bytes), ...options });
  await app.listen({ host: '127.0.0.1', port: 0 });
  port = (app.server.address() as AddressInfo).port;
}

beforeEach(async () => {
  files = new MemoryFiles();
  served = [];
  await start();
});
afterEach(async () => {
  await app.close();
  if (files.openFiles !== 0) throw new Error(`${files.openFiles} files are still open`);
});

const errorOf = (body: Buffer) => new XMLParser({ parseTagValue: false }).parse(body.toString()).Error;

describe('GET of an object', () => {
  const bytes = patterned(3 * MiB + 17, 1);
  beforeEach(() => files.put('s3://b/dir/big', bytes, { etag: 'e1', versionId: 'v1' }));

  it('gives every byte and says what it is', async () => {
    const answer = await rawRequest(port, '/b/dir/big?x-id=GetObject');
    expect(answer.status).toBe(200);
    expect(answer.body.equals(bytes)).toBe(true);
    expect(answer.headers).toMatchObject({
      'content-length': String(bytes.length),
      'content-type': 'application/octet-stream',
      'accept-ranges': 'bytes',
      etag: '"e1"',
      'last-modified': lastModified,
      'x-amz-version-id': 'v1',
    });
    expect(answer.headers['x-amz-request-id']).toMatch(/^[0-9A-F]{16}$/);
    expect(served).toEqual([bytes.length]);
  });

  it.each([
    ['bytes=0-0', 0, 1],
    ['bytes=5-', 5, bytes.length],
    ['bytes=-7', bytes.length - 7, bytes.length],
    [`bytes=${MiB - 1}-${2 * MiB}`, MiB - 1, 2 * MiB + 1],
  ])('gives the range %s', async (range, from, to) => {
    const answer = await rawRequest(port, '/b/dir/big', { headers: { range } });
    expect(answer.status).toBe(206);
    expect(answer.headers['content-range']).toBe(`bytes ${from}-${to - 1}/${bytes.length}`);
    expect(answer.body.equals(bytes.subarray(from, to))).toBe(true);
  });

  it('refuses a range behind the end, and names the size', async () => {
    const answer = await rawRequest(port, '/b/dir/big', { headers: { range: `bytes=${bytes.length}-` } });
    expect(answer.status).toBe(416);
    expect(answer.headers['content-range']).toBe(`bytes */${bytes.length}`);
    expect(errorOf(answer.body)).toMatchObject({ Code: 'InvalidRange', ActualObjectSize: String(bytes.length) });
  });

  it('honours conditions', async () => {
    const statusWith = async (headers: Record<string, string>) =>
      (await rawRequest(port, '/b/dir/big', { headers })).status;
    expect(await statusWith({ 'if-match': '"e1"' })).toBe(200);
    expect(await statusWith({ 'if-match': '"e0"' })).toBe(412);
    expect(await statusWith({ 'if-unmodified-since': 'Thu, 01 Jan 2026 00:00:00 GMT' })).toBe(412);
    expect(await statusWith({ 'if-modified-since': lastModified })).toBe(304);
    const notModified = await rawRequest(port, '/b/dir/big', { headers: { 'if-none-match': '"e1"' } });
    expect(notModified).toMatchObject({ status: 304, headers: { etag: '"e1"' }, body: Buffer.alloc(0) });
  });

  it('knows one version and one part', async () => {
    expect((await rawRequest(port, '/b/dir/big?versionId=v1')).status).toBe(200);
    expect((await rawRequest(port, '/b/dir/big?versionId=v0')).status).toBe(404);
    expect((await rawRequest(port, '/b/dir/big?partNumber=1')).status).toBe(206);
    expect((await rawRequest(port, '/b/dir/big?partNumber=2')).status).toBe(416);
  });

  it('says of a part of a multipart object that it does not know where it is', async () => {
    files.put('s3://b/multi', bytes, { etag: '0123456789abcdef0123456789abcdef-3' });
    files.put('s3://b/single', bytes, { etag: '0123456789abcdef0123456789abcdef-1' });
    const codeOf = async (target: string, headers: Record<string, string> = {}) => {
      const answer = await rawRequest(port, target, { headers });
      return answer.status < 300 ? answer.status : `${answer.status} ${errorOf(answer.body).Code}`;
    };
    expect(await codeOf('/b/multi?partNumber=2')).toBe('400 InvalidPart');
    expect(await codeOf('/b/multi?partNumber=4')).toBe('416 InvalidPartNumber');
    expect(await codeOf('/b/single?partNumber=1')).toBe(206);
    for (const bad of ['0', '-1', 'x', '10001'])
      expect(await codeOf(`/b/multi?partNumber=${bad}`)).toBe('400 InvalidArgument');
    expect(await codeOf('/b/single?partNumber=1', { range: 'bytes=0-1' })).toBe('400 InvalidRequest');
  });

  it('has the headers that its origin gave it', async () => {
    const attributes = attributesOf({
      'content-type': 'text/csv',
      'content-encoding': 'gzip',
      'cache-control': 'max-age=60',
      expires: 'Fri, 02 Jan 2027 03:04:05 GMT',
      'x-amz-version-id': 'v7',
      'x-amz-meta-colour': 'bl\xfc',
    });
    files.put('s3://b/table', 'a,b', { etag: 'e', attributes });
    const own = {
      'content-type': 'text/csv',
      'content-encoding': 'gzip',
      'cache-control': 'max-age=60',
      expires: 'Fri, 02 Jan 2027 03:04:05 GMT',
      'x-amz-version-id': 'v7',
      'x-amz-meta-colour': 'bl\xfc',
    };
    expect(await rawRequest(port, '/b/table')).toMatchObject({ status: 200, headers: own });
    expect(await rawRequest(port, '/b/table', { method: 'HEAD' })).toMatchObject({ status: 200, headers: own });
    expect(await rawRequest(port, '/b/table', { headers: { range: 'bytes=0-0' } })).toMatchObject({
      status: 206,
      headers: own,
    });
    expect((await rawRequest(port, '/b/table?versionId=v7')).status).toBe(200);
    expect((await rawRequest(port, '/b/table?versionId=v8')).status).toBe(404);
    const fresh = await rawRequest(port, '/b/table', { headers: { 'if-none-match': '"e"' } });
    expect(fresh).toMatchObject({ status: 304, headers: { 'cache-control': 'max-age=60', expires: own.expires } });
    const failed = await rawRequest(port, '/b/table', { headers: { 'if-match': '"f"' } });
    expect(failed.headers).toMatchObject({ 'content-type': 'application/xml' });
    expect(failed.headers).not.toHaveProperty('content-encoding');
  });

  it('has the checksums of its origin, for who asks and gets all of it', async () => {
    const attributes = attributesOf({
      'x-amz-checksum-crc64nvme': 'AAAAAAAAAAA=',
      'x-amz-checksum-type': 'FULL_OBJECT',
    });
    files.put('s3://b/summed', 'abc', { etag: 'e', attributes });
    const asks = { 'x-amz-checksum-mode': 'ENABLED' };
    const sums = { 'x-amz-checksum-crc64nvme': 'AAAAAAAAAAA=', 'x-amz-checksum-type': 'FULL_OBJECT' };
    expect((await rawRequest(port, '/b/summed', { headers: asks })).headers).toMatchObject(sums);
    expect((await rawRequest(port, '/b/summed', { method: 'HEAD', headers: asks })).headers).toMatchObject(sums);
    for (const headers of [{}, { ...asks, range: 'bytes=0-1' }]) {
      const answer = await rawRequest(port, '/b/summed', { headers });
      expect(Object.keys(answer.headers).filter((name) => name.includes('checksum'))).toEqual([]);
    }
  });

  it('has checksums of checksums as its origin, under their type, and the SDK reads them', async () => {
    const sums = { 'x-amz-checksum-crc32': 'AAAAAA==-2', 'x-amz-checksum-type': 'COMPOSITE' };
    files.put('s3://b/composite', 'abc', { etag: 'e-2', attributes: attributesOf(sums) });
    const asks = { 'x-amz-checksum-mode': 'ENABLED' };
    for (const method of ['GET', 'HEAD'])
      expect((await rawRequest(port, '/b/composite', { method, headers: asks })).headers).toMatchObject(sums);
    for (const headers of [{}, { ...asks, range: 'bytes=0-1' }]) {
      const answer = await rawRequest(port, '/b/composite', { headers });
      expect(Object.keys(answer.headers).filter((name) => name.includes('checksum'))).toEqual([]);
    }
    const client = new S3Client({
      ...{ endpoint: `http://127.0.0.1:${port}`, region: 'us-east-1', forcePathStyle: true },
      credentials: { accessKeyId: 'a', secretAccessKey: 'b' },
    });
    // It asks for checksums by itself, and would refuse bytes that it compared with this one.
    const answer = await client.send(new GetObjectCommand({ Bucket: 'b', Key: 'composite' }));
    expect(await answer.Body!.transformToString()).toBe('abc');
    expect(answer).toMatchObject({ ChecksumCRC32: 'AAAAAA==-2', ChecksumType: 'COMPOSITE' });
    client.destroy();
  });

  it('takes headers from the query, and none that no header can carry', async () => {
    const query =
      'response-content-type=text%2Fplain&response-content-disposition=attachment%3B%20filename%3D%22a.bin%22&response-cache-control=no-cache&response-content-language=de&response-content-encoding=gzip&response-expires=0';
    for (const method of ['GET', 'HEAD']) {
      expect(await rawRequest(port, `/b/dir/big?${query}`, { method })).toMatchObject({
        status: 200,
        headers: {
          'content-type': 'text/plain',
          'content-disposition': 'attachment; filename="a.bin"',
          'cache-control': 'no-cache',
          'content-language': 'de',
          'content-encoding': 'gzip',
          expires: '0',
        },
      });
    }
    for (const bad of ['a%0d%0aset-cookie:x', 'a%00', '%E2%82%AC']) {
      const answer = await rawRequest(port, `/b/dir/big?response-content-type=${bad}`);
      expect([answer.status, errorOf(answer.body).Code]).toEqual([400, 'InvalidArgument']);
      expect(answer.headers).not.toHaveProperty('set-cookie');
    }
    expect((await rawRequest(port, '/b/dir/big?response-content-type=')).headers['content-type']).toBe(
      'application/octet-stream',
    );
  });

  it('gives other headers to who signs only, where some do', async () => {
    await app.close();
    const keys = [{ accessKeyId: 'AKID', secretAccessKey: 'secret', prefixes: [] }];
    await start({ access: { keys, anonymous: true } });
    expect((await rawRequest(port, '/b/dir/big')).status).toBe(200);
    const unsigned = await rawRequest(port, '/b/dir/big?response-content-type=text%2Fplain');
    expect([unsigned.status, errorOf(unsigned.body).Code]).toEqual([400, 'InvalidRequest']);
    const target = '/b/dir/big?response-content-type=text%2Fplain';
    const signed = await askS3(port, { method: 'GET', target, signing: { as: 'link' } }, keys[0]!);
    expect([signed.status, signed.headers['content-type']]).toEqual([200, 'text/plain']);
  });

  it('answers an empty object', async () => {
    files.put('s3://b/empty', '');
    expect(await rawRequest(port, '/b/empty')).toMatchObject({
      status: 200,
      body: Buffer.alloc(0),
      headers: { 'content-length': '0' },
    });
    expect((await rawRequest(port, '/b/empty', { headers: { range: 'bytes=0-' } })).status).toBe(416);
  });

  it('HEAD says the same without the bytes', async () => {
    const answer = await rawRequest(port, '/b/dir/big', { method: 'HEAD', headers: { range: 'bytes=1-2' } });
    expect(answer).toMatchObject({
      status: 206,
      body: Buffer.alloc(0),
      headers: { 'content-length': '2', etag: '"e1"' },
    });
    expect(files.piecesRead).toBe(0);
  });
});

describe('keys are literal', () => {
  it.each([
    ['a+b', 'a+b'],
    ['a+b', 'a%2Bb'],
    ['a b', 'a%20b'],
    ['a%20b', 'a%2520b'],
    ['//x//', '//x//'],
    ['../../etc/passwd', '../../etc/passwd'],
    ['./a/..', '%2E/a/%2E%2E'],
    ['100%', '100%'],
    ['100%', '100%25'],
    ['日本/ü', '%E6%97%A5%E6%9C%AC/%C3%BC'],
    ['?#&=', '%3F%23%26%3D'],
  ])('%s as %s', async (key, target) => {
    files.put(`s3://b/${key}`, `this is ${key}`);
    files.put('s3://b/etc/passwd', 'another');
    const answer = await rawRequest(port, `/b/${target}`);
    expect(answer.body.toString()).toBe(`this is ${key}`);
  });
});

describe('what is not there', () => {
  beforeEach(() => {
    files.put('s3://b/here', 'x');
    files.put('s3://b/meta', 'only metadata', { state: 'metadata', etag: 'm' });
    files.put('s3://b/soon', 'half of it', { state: 'loading', cachedBytes: 5 });
  });

  it('is named: bucket, key', async () => {
    const key = await rawRequest(port, '/b/nowhere%26?x=1', {});
    expect(key.status).toBe(404);
    expect(errorOf(key.body)).toMatchObject({
      Code: 'NoSuchKey',
      Key: 'nowhere&',
      Resource: '/b/nowhere%26',
      RequestId: key.headers['x-amz-request-id'],
    });
    expect(errorOf((await rawRequest(port, '/c/here')).body)).toMatchObject({ Code: 'NoSuchBucket', BucketName: 'c' });
    expect(await rawRequest(port, '/c/here', { method: 'HEAD' })).toMatchObject({ status: 404, body: Buffer.alloc(0) });
  });

  it('metadata alone: HEAD and conditions answer, GET says why not', async () => {
    expect(await rawRequest(port, '/b/meta', { method: 'HEAD' })).toMatchObject({
      status: 200,
      headers: { 'content-length': '13', etag: '"m"' },
    });
    expect((await rawRequest(port, '/b/meta', { headers: { 'if-none-match': '"m"' } })).status).toBe(304);
    const answer = await rawRequest(port, '/b/meta');
    expect(answer.status).toBe(404);
    expect(errorOf(answer.body)).toMatchObject({
      Code: 'FileNotCached',
      Message: expect.stringContaining('loadMetadataOnly'),
    });
    expect(answer.headers['content-type']).toBe('application/xml');
  });

  it('a file that is being loaded: try again', async () => {
    const answer = await rawRequest(port, '/b/soon');
    expect(answer).toMatchObject({ status: 503, headers: { 'retry-after': '5' } });
    expect(errorOf(answer.body)).toMatchObject({
      Code: 'FileLoading',
      Message: expect.stringContaining('5 of 10 bytes'),
    });
  });
});

it('tells the metrics of every request, however it ends', async () => {
  await app.close();
  const answered: string[] = [];
  await start({
    onAnswered: ({ operation, status, seconds }) => answered.push(`${operation} ${status} ${seconds > 0}`),
  });
  files.put('s3://b/k', 'x');
  files.put('s3://b/bad', patterned(2 * MiB, 1));
  files.spoilPage('s3://b/bad', 1);
  await rawRequest(port, '/b/k');
  await rawRequest(port, '/b/k', { method: 'HEAD' });
  await rawRequest(port, '/b?list-type=2');
  await rawRequest(port, '/b?location');
  await rawRequest(port, '/b/none');
  await rawRequest(port, '/b/k', { method: 'DELETE' });
  await rawRequest(port, '/b/bad');
  await expect.poll(() => answered).toHaveLength(7);
  expect(answered).toEqual(
    ['get 200', 'head 200', 'list 200', 'other 200', 'get 404', 'other 405', 'get 200'].map((one) => `${one} true`),
  );
});

describe('refusals', () => {
  it.each(['PUT', 'POST', 'DELETE', 'PATCH', 'OPTIONS', 'PROPFIND'])('%s is 405', async (method) => {
    const answer = await rawRequest(port, '/b/k', {
      method,
      headers: { 'content-type': 'text/x-odd', 'content-length': '0' },
    });
    expect(answer).toMatchObject({ status: 405, headers: { allow: 'GET, HEAD' } });
    expect(errorOf(answer.body).Code).toBe('MethodNotAllowed');
  });

  it.each([
    ['/b/%ff', 400, 'InvalidURI'],
    [`/b/${'k'.repeat(1025)}`, 400, 'KeyTooLongError'],
    ['/b/k?acl', 501, 'NotImplemented'],
    ['/b?uploads', 501, 'NotImplemented'],
    ['/b?max-keys=-1', 400, 'InvalidArgument'],
    ['/b?max-keys=ten', 400, 'InvalidArgument'],
    ['/b?encoding-type=base64', 400, 'InvalidArgument'],
    ['/b?list-type=3', 400, 'InvalidArgument'],
    ['/b?list-type=2&continuation-token=bogus!', 400, 'InvalidArgument'],
  ])('%s', async (target, status, code) => {
    files.put('s3://b/k', 'x');
    const answer = await rawRequest(port, target);
    expect(answer.status).toBe(status);
    expect(errorOf(answer.body).Code).toBe(code);
  });
});

describe('a bad page', () => {
  const bytes = patterned(3 * MiB, 2);
  beforeEach(() => files.put('s3://b/bad', bytes));

  it('at the beginning is 500 and no byte', async () => {
    files.spoilPage('s3://b/bad', 0);
    const answer = await rawRequest(port, '/b/bad');
    expect(answer.status).toBe(500);
    expect(errorOf(answer.body)).toMatchObject({
      Code: 'InternalError',
      Message: expect.stringContaining('STORE_CORRUPT'),
    });
  });

  it('in the middle cuts the answer short of its length, with right bytes before', async () => {
    files.spoilPage('s3://b/bad', 2);
    const answer = await rawRequest(port, '/b/bad');
    expect(answer.status).toBe(200);
    expect(answer.promisedBytes).toBe(3 * MiB);
    expect(answer.body.length).toBeLessThan(3 * MiB);
    expect(answer.body.equals(bytes.subarray(0, answer.body.length))).toBe(true);
    expect(files.piecesRead).toBe(2);
    expect(served).toEqual([]);
  });

  it('a store that ends early is no short answer either', async () => {
    files.endEarly('s3://b/bad', 2 * MiB);
    const answer = await rawRequest(port, '/b/bad');
    expect(answer.body.length).toBeLessThan(answer.promisedBytes);
  });
});

describe('slow and leaving clients', () => {
  const sizeBytes = 64 * MiB;
  beforeEach(() => files.put('s3://b/large', Buffer.alloc(sizeBytes, 7)));

  it('hold no more than what the sockets hold, and are cut off when they take nothing', async () => {
    await app.close();
    await start({ stallMs: 300 });
    const socket = connect(port, '127.0.0.1');
    socket.write('GET /b/large HTTP/1.1\r\nhost: x\r\n\r\n');
    socket.pause();
    await once(socket, 'connect');
    await expect.poll(() => files.openFiles, { timeout: 5_000 }).toBe(1);
    await expect.poll(() => files.openFiles, { timeout: 5_000 }).toBe(0);
    expect(files.piecesRead).toBeLessThan(sizeBytes / MiB / 2);
    expect(served).toEqual([]);
    socket.destroy();
  });

  it('that leave stop the reading', async () => {
    const socket = connect(port, '127.0.0.1');
    socket.write('GET /b/large HTTP/1.1\r\nhost: x\r\n\r\n');
    await once(socket, 'data');
    socket.destroy();
    await expect.poll(() => files.openFiles, { timeout: 5_000 }).toBe(0);
    expect(files.piecesRead).toBeLessThan(sizeBytes / MiB);
  });

  it('wait for a turn, and get 503 when none comes', async () => {
    await app.close();
    await start({ maxBodies: 1, turnWaitMs: 50 });
    const holder = connect(port, '127.0.0.1');
    holder.write('GET /b/large HTTP/1.1\r\nhost: x\r\n\r\n');
    await once(holder, 'data');
    holder.pause();
    const answer = await rawRequest(port, '/b/large');
    expect(answer.status).toBe(503);
    expect(errorOf(answer.body).Code).toBe('SlowDown');
    holder.destroy();
    await expect.poll(() => files.openFiles, { timeout: 5_000 }).toBe(0);
    expect((await rawRequest(port, '/b/large', { headers: { range: 'bytes=0-9' } })).status).toBe(206);
  });

  it('do not keep the server from closing', async () => {
    await app.close();
    await start({ closeGraceMs: 50 });
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => {});
    socket.write('GET /b/large HTTP/1.1\r\nhost: x\r\n\r\n');
    await once(socket, 'data');
    socket.pause();
    await app.close();
    expect(files.openFiles).toBe(0);
  });
});

describe('the AWS SDK', () => {
  const odd = ['a b', 'a+b', 'a%b', 'a&<b>', 'dir//x', 'dir/ü', 'dir/日本', 'tail'];
  let client: S3Client;
  beforeEach(() => {
    for (const key of odd) files.put(`s3://bucket/${key}`, `this is ${key}`);
    files.put('s3://other/x', 'x');
    client = new S3Client({
      endpoint: `http://127.0.0.1:${port}`,
      region: 'eu-west-7',
      forcePathStyle: true,
      credentials: { accessKeyId: 'any', secretAccessKey: 'thing' },
    });
  });
  afterEach(() => client.destroy());

  it('lists by pages and reads back every key', async () => {
    const listed: string[] = [];
    for await (const page of paginateListObjectsV2(
      { client, pageSize: 3 },
      { Bucket: 'bucket', EncodingType: 'url' },
    )) {
      listed.push(...page.Contents!.map((one) => decodeURIComponent(one.Key!)));
    }
    expect(listed).toEqual([...odd].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))));
    for (const key of odd) {
      const answer = await client.send(new GetObjectCommand({ Bucket: 'bucket', Key: key }));
      expect(await answer.Body!.transformToString()).toBe(`this is ${key}`);
    }
  });

  it('folds by delimiter, in the first generation too', async () => {
    const first = await client.send(new ListObjectsCommand({ Bucket: 'bucket', Delimiter: '/', MaxKeys: 5 }));
    expect(first.CommonPrefixes).toEqual([{ Prefix: 'dir/' }]);
    expect(first).toMatchObject({ IsTruncated: true, NextMarker: 'dir/' });
    const second = await client.send(
      new ListObjectsCommand({ Bucket: 'bucket', Delimiter: '/', Marker: first.NextMarker! }),
    );
    expect(second.Contents!.map((one) => one.Key)).toEqual(['tail']);
    expect(second.IsTruncated).toBe(false);
    expect(second.Contents![0]).toMatchObject({
      ETag: expect.stringMatching(/^".+"$/),
      Size: 12,
      Owner: { ID: 'primed' },
    });
  });

  it('asks about buckets', async () => {
    const { Buckets } = await client.send(new ListBucketsCommand({}));
    expect(Buckets!.map((one) => one.Name)).toEqual(['bucket', 'other']);
    await client.send(new HeadBucketCommand({ Bucket: 'other' }));
    await expect(client.send(new HeadBucketCommand({ Bucket: 'none' }))).rejects.toMatchObject({ name: 'NotFound' });
    await expect(client.send(new HeadObjectCommand({ Bucket: 'other', Key: 'y' }))).rejects.toMatchObject({
      name: 'NotFound',
    });
    await expect(client.send(new GetObjectCommand({ Bucket: 'other', Key: 'y' }))).rejects.toMatchObject({
      name: 'NoSuchKey',
    });
    expect((await rawRequest(port, '/bucket/?location')).body.toString()).toContain('<LocationConstraint');
    expect((await rawRequest(port, '/bucket?list-type=2&prefix=&delimiter=&max-keys=0')).body.toString()).toContain(
      '<IsTruncated>false',
    );
  });
});

it('lists buckets that are cached or named by configuration, each once, in order', async () => {
  const files = {
    namedBuckets: ['named', 'both'],
    list: async () => ({ files: [], commonPrefixes: ['aged/', 'both/'] }),
  } as unknown as ReadableFiles;
  expect(await bucketsOf(files)).toEqual(['aged', 'both', 'named']);
});
