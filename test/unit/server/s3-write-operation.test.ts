/** Which writes are passed on, with which headers, and for whom. */
import { expect, it } from 'vitest';
import { ReadPolicies } from '../../../src/core/read-policy.ts';
import { S3Access } from '../../../src/server/s3/access.ts';
import { parseAddress } from '../../../src/server/s3/address.ts';
import { copySourceOf } from '../../../src/server/s3/copy-source.ts';
import {
  asksForUploads,
  passedHeaders,
  passedParameters,
  writeOperationOf,
} from '../../../src/server/s3/write-operation.ts';

const copy = { 'x-amz-copy-source': '/b/k' };

it.each([
  ['PUT', '/b/k', {}, 'PutObject'],
  ['PUT', '/b/k?x-id=PutObject&X-Amz-Signature=a', {}, 'PutObject'],
  ['PUT', '/b/k', copy, 'CopyObject'],
  ['PUT', '/b/k?partNumber=1&uploadId=u', {}, 'UploadPart'],
  ['PUT', '/b/k?partNumber=1&uploadId=u', copy, 'UploadPartCopy'],
  ['POST', '/b/k?uploads', {}, 'CreateMultipartUpload'],
  ['POST', '/b/k?uploadId=u', {}, 'CompleteMultipartUpload'],
  ['DELETE', '/b/k?uploadId=u', {}, 'AbortMultipartUpload'],
  ['DELETE', '/b/k?versionId=v', {}, 'DeleteObject'],
  ['POST', '/b?delete', {}, 'DeleteObjects'],
  ['GET', '/b/k?uploadId=u', {}, 'ListParts'],
  ['GET', '/b?uploads', {}, 'ListMultipartUploads'],
  ['PUT', '/b', {}, 'MethodNotAllowed'],
  ['DELETE', '/b', {}, 'MethodNotAllowed'],
  ['POST', '/b', {}, 'MethodNotAllowed'],
  ['POST', '/b/k', {}, 'MethodNotAllowed'],
  ['PATCH', '/b/k', {}, 'MethodNotAllowed'],
  ['PUT', '/b/k?acl', {}, 'NotImplemented'],
  ['PUT', '/b/k?tagging', {}, 'NotImplemented'],
  ['DELETE', '/b/k?tagging', {}, 'NotImplemented'],
  ['PUT', '/b/k?versionId=v', {}, 'NotImplemented'],
])('%s %s %j is %s', (method, target, headers, wanted) => {
  let is: string;
  try {
    is = writeOperationOf(method, parseAddress(target), headers);
  } catch (error) {
    is = (error as { code: string }).code;
  }
  expect(is).toBe(wanted);
});

it('headers of what is written are passed on, those of the request are not, and unknown ones are refused', () => {
  const own = { 'content-type': 'a/b', 'x-amz-meta-a': 'b', 'if-none-match': '*', 'x-amz-checksum-crc32': 'AAAAAA==' };
  const sent = {
    ...own,
    ...{ host: 'x', authorization: 'AWS4', 'x-amz-date': 'd', 'x-amz-content-sha256': 'h', 'x-amz-acl': 'private' },
    ...{ 'content-encoding': 'aws-chunked, gzip', 'x-amz-trailer': 't', 'x-amz-decoded-content-length': '1' },
  };
  expect(passedHeaders('PutObject', sent, false)).toEqual({ ...own, 'content-encoding': 'gzip' });
  expect(passedHeaders('UploadPart', sent, false)).not.toHaveProperty('x-amz-checksum-crc32');
  expect(passedHeaders('UploadPart', sent, true)).toHaveProperty('x-amz-checksum-crc32');
  for (const bad of [
    { 'x-amz-acl': 'public-read' },
    { 'x-amz-grant-read': 'a' },
    { 'x-amz-bypass-governance-retention': 'true' },
  ])
    expect(() => passedHeaders('PutObject', bad, false)).toThrow(expect.objectContaining({ code: 'NotImplemented' }));
  const { query } = parseAddress('/b/k?uploadId=u&partNumber=2&X-Amz-Signature=s&x-id=i');
  expect(passedParameters('UploadPart', query)).toEqual({ uploadId: 'u', partNumber: '2' });
});

it('a source of a copy is one key, written anew', () => {
  expect(copySourceOf('b/a%20b+c?versionId=1%2F2')).toEqual({
    path: 's3://b/a b+c',
    header: '/b/a%20b%2Bc?versionId=1%2F2',
  });
  for (const bad of ['', '/', 'b', '/b/'])
    expect(() => copySourceOf(bad)).toThrow(expect.objectContaining({ code: 'InvalidArgument' }));
});

it('a GET is about uploads when its query says so, and only then', () => {
  expect(['/b/k?uploadId=1', '/b?uploads', '/b?a=1&uploads=&b'].every(asksForUploads)).toBe(true);
  expect(['/b/uploads', '/b?prefix=uploads', '/b?uploadsx', '/b/k'].some(asksForUploads)).toBe(false);
});

it('without keys everybody writes; with keys only a key that says so, below its prefixes', () => {
  const request = { method: 'PUT', rawPath: '/b/k', rawQuery: '', headers: {} };
  expect(new S3Access({ keys: [], anonymous: true }).sight(request, '/b/k').writes('s3://b/k')).toBe(true);
  const keys = [{ accessKeyId: 'AKID', secretAccessKey: 's', prefixes: [], writes: true }];
  expect(new S3Access({ keys, anonymous: true }).sight(request, '/b/k').writes('s3://b/k')).toBe(false);
});

it('what is written through is as old as its question, whatever else is said of its age', () => {
  const policies = new ReadPolicies({
    base: { readThrough: 'always', maxAgeMs: undefined },
    origins: [{ prefix: 's3://b/', maxAgeMs: 60_000 }],
    rules: [
      { prefix: 's3://b/w/', writes: true },
      { prefix: 's3://b/w/no/', writes: false },
    ],
  });
  expect(policies.of('s3://b/w/k')).toEqual({ readThrough: 'always', maxAgeMs: 0, writes: true });
  for (const path of ['s3://b/k', 's3://b/w/no/k'])
    expect(policies.of(path)).toEqual({ readThrough: 'always', maxAgeMs: 60_000 });
  expect(['s3://b/', 's3://b/w/', 's3://c/'].map((one) => policies.mayWriteBelow(one))).toEqual([true, true, false]);
});
