/** Objects by the S3 port: what GET and HEAD answer, what they do not have, and what they refuse. */
import { GetObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { beforeEach, describe, expect, it } from 'vitest';
import { attributesOf } from '../../../src/core/attributes.ts';
import { MiB } from '../../../src/core/units.ts';
import { patterned } from '../../support/bytes.ts';
import { rawRequest } from '../../support/raw-http.ts';
import { askS3 } from '../../support/s3-signed.ts';
import { app, errorOf, files, openForEach, port, served, start } from './s3-gateway-scene.ts';

const lastModified = 'Fri, 02 Jan 2026 03:04:05 GMT';
openForEach();

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

  it('is timed to its head, where it has a body', async () => {
    const timed: number[] = [];
    await app.close();
    await start({ onFirstByte: (seconds) => timed.push(seconds) });
    await rawRequest(port, '/b/dir/big', { headers: { range: 'bytes=1-2' } });
    expect(timed).toEqual([expect.any(Number)]);
    expect(timed[0]).toBeGreaterThan(0);
    await rawRequest(port, '/b/dir/big', { headers: { 'if-none-match': '"e1"' } });
    await rawRequest(port, '/b/dir/none');
    await rawRequest(port, '/b/dir/big', { method: 'HEAD' });
    expect(timed).toHaveLength(1);
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
    expect(await codeOf('/b/multi?partNumber=2', { 'if-match': '"other"' })).toBe('412 PreconditionFailed');
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
