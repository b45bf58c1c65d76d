/** Lists and buckets of the S3 port, as the AWS SDK asks for them. */
import {
  GetObjectCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  ListBucketsCommand,
  ListObjectsCommand,
  paginateListObjectsV2,
  S3Client,
} from '@aws-sdk/client-s3';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ReadableFiles } from '../../../src/cluster/reading/files.ts';
import { bucketsOf } from '../../../src/server/s3/bucket.ts';
import { rawRequest } from '../../support/raw-http.ts';
import { files, openForEach, port } from './s3-gateway-scene.ts';

openForEach();

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
