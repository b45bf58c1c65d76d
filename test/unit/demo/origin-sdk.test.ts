/** The embedded origin, refereed by the AWS SDK. */
import { createHash } from 'node:crypto';
import {
  DeleteObjectCommand,
  GetBucketLocationCommand,
  GetObjectCommand,
  type GetObjectCommandInput,
  HeadBucketCommand,
  HeadObjectCommand,
  ListBucketsCommand,
  ListObjectsCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  paginateListObjectsV2,
  S3Client,
  type S3ClientConfig,
} from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { MiB } from '../../../src/core/units.ts';
import type { EmbeddedOrigin } from '../../../src/demo/origin/api.ts';
import { contentAt } from '../../../src/demo/origin/content.ts';
import { startOrigin } from '../../../src/demo/origin/server.ts';
import { expectContent, smallDataset, startTestOrigin, testCredentials } from '../../support/origin.ts';

let origin: EmbeddedOrigin;
let client: S3Client;
const Bucket = 'demo';

function clientOf(target: EmbeddedOrigin, config: S3ClientConfig = {}): S3Client {
  return new S3Client({
    endpoint: target.endpoint,
    region: 'us-east-1',
    credentials: testCredentials,
    maxAttempts: 1,
    ...config,
  });
}

async function get(input: Omit<GetObjectCommandInput, 'Bucket'>, from = client) {
  const answer = await from.send(new GetObjectCommand({ Bucket, ...input }));
  return { answer, bytes: await answer.Body!.transformToByteArray() };
}

/** What S3 said, as far as a client can see it. */
async function refusal(promise: Promise<unknown>): Promise<{ name: string; status: number | undefined }> {
  const error = await promise.then(
    () => expect.unreachable('the request was not refused'),
    (reason: { name: string; $metadata?: { httpStatusCode?: number } }) => reason,
  );
  return { name: error.name, status: error.$metadata?.httpStatusCode };
}

beforeAll(async () => {
  origin = await startTestOrigin({ region: 'eu-test-1', versioned: true, buckets: ['empty'] });
  client = clientOf(origin);
});
afterAll(async () => {
  client.destroy();
  await origin.close();
});

describe('buckets and listings', () => {
  test('buckets, location, head', async () => {
    const { Buckets } = await client.send(new ListBucketsCommand({}));
    expect(Buckets?.map(({ Name }) => Name)).toEqual(['demo', 'empty']);
    const location = await client.send(new GetBucketLocationCommand({ Bucket }));
    expect(location.LocationConstraint).toBe('eu-test-1');
    const head = await client.send(new HeadBucketCommand({ Bucket }));
    expect(head.BucketRegion).toBe('eu-test-1');
    expect(await refusal(client.send(new HeadBucketCommand({ Bucket: 'nothing' })))).toMatchObject({ status: 404 });
  });

  test('pagination gives every key once, with size and ETag', async () => {
    const listed = new Map<string, { size: number; etag: string }>();
    for await (const page of paginateListObjectsV2({ client, pageSize: 5 }, { Bucket, Prefix: 'data/' })) {
      expect(page.KeyCount).toBe(page.Contents?.length);
      for (const { Key, Size, ETag } of page.Contents ?? []) {
        expect(listed.has(Key!)).toBe(false);
        listed.set(Key!, { size: Size!, etag: ETag! });
      }
    }
    expect(listed.size).toBe(smallDataset.length);
    for (const { key, sizeBytes } of smallDataset) {
      expect(listed.get(key)?.size).toBe(sizeBytes);
      const md5 = () =>
        createHash('md5')
          .update(contentAt(key, 1, 0, sizeBytes))
          .digest('hex');
      expect(listed.get(key)?.etag).toMatch(sizeBytes > 16 * MiB ? /^"[0-9a-f]{32}-\d+"$/ : `"${md5()}"`);
    }
  });

  test('delimiter, start-after, url encoding, version 1', async () => {
    const folder = await client.send(new ListObjectsV2Command({ Bucket, Prefix: 'data/', Delimiter: '/' }));
    expect(folder.CommonPrefixes).toEqual([{ Prefix: 'data/sub/' }]);
    expect(folder.Contents).toHaveLength(smallDataset.length - 2);
    const after = await client.send(new ListObjectsV2Command({ Bucket, StartAfter: 'data/sub/' }));
    expect(after.Contents).toHaveLength(2);
    const encoded = await client.send(
      new ListObjectsV2Command({ Bucket, Prefix: 'data/sub/plus+', EncodingType: 'url' }),
    );
    expect(encoded.Contents?.[0]?.Key).toBe('data/sub/plus%2Band%20space.bin');
    const first = await client.send(new ListObjectsCommand({ Bucket, MaxKeys: 3 }));
    expect(first.IsTruncated).toBe(true);
    const second = await client.send(new ListObjectsCommand({ Bucket, Marker: first.Contents!.at(-1)!.Key! }));
    expect(second.Contents).toHaveLength(smallDataset.length - 3);
    expect(await refusal(client.send(new ListObjectsV2Command({ Bucket: 'nothing' })))).toEqual({
      name: 'NoSuchBucket',
      status: 404,
    });
  });
});

describe('objects', () => {
  test('every object comes back as its content says', async () => {
    for (const object of smallDataset) {
      const { answer, bytes } = await get({ Key: object.key, ChecksumMode: 'ENABLED' });
      expect(answer.ContentLength).toBe(object.sizeBytes);
      expectContent(bytes, object);
    }
  });

  test('ranges: both ends, open end, suffix, past the end, not satisfiable', async () => {
    const object = smallDataset.find(({ key }) => key === 'data/odd.bin')!;
    const { key: Key, sizeBytes } = object;
    for (const [Range, offset, length] of [
      [`bytes=${MiB - 1}-${2 * MiB + 10}`, MiB - 1, MiB + 12],
      [`bytes=${sizeBytes - 100}-`, sizeBytes - 100, 100],
      ['bytes=-4099', sizeBytes - 4099, 4099],
      [`bytes=${sizeBytes - 1}-${sizeBytes + 1000}`, sizeBytes - 1, 1],
      ['bytes=0-0', 0, 1],
    ] as const) {
      const { answer, bytes } = await get({ Key, Range });
      expect(answer.ContentRange).toBe(`bytes ${offset}-${offset + length - 1}/${sizeBytes}`);
      expect(answer.$metadata.httpStatusCode).toBe(206);
      expectContent(bytes, object, offset, length);
    }
    expect(await refusal(get({ Key, Range: `bytes=${sizeBytes}-` }))).toEqual({ name: 'InvalidRange', status: 416 });
    expect(await refusal(get({ Key: 'data/empty.bin', Range: 'bytes=0-10' }))).toMatchObject({ status: 416 });
  });

  test('conditions', async () => {
    const Key = 'data/small.bin';
    const { ETag, LastModified } = await client.send(new HeadObjectCommand({ Bucket, Key }));
    await get({ Key, IfMatch: ETag });
    expect(await refusal(get({ Key, IfMatch: '"other"' }))).toEqual({ name: 'PreconditionFailed', status: 412 });
    expect(await refusal(get({ Key, IfNoneMatch: ETag }))).toMatchObject({ status: 304 });
    expect(await refusal(get({ Key, IfModifiedSince: LastModified }))).toMatchObject({ status: 304 });
    await get({ Key, IfModifiedSince: new Date(LastModified!.getTime() - 1000) });
    expect(await refusal(get({ Key, IfUnmodifiedSince: new Date(LastModified!.getTime() - 1000) }))).toMatchObject({
      status: 412,
    });
    await get({ Key, IfUnmodifiedSince: LastModified });
    await get({ Key, IfMatch: ETag, IfUnmodifiedSince: new Date(0) });
  });

  test('versions, changes and disappearance', async () => {
    const Key = 'data/page.bin';
    const before = await get({ Key });
    expect(origin.bump({ key: Key, sizeBytes: 2000 })).toBe(2);
    const after = await get({ Key });
    expect(after.answer.ETag).not.toBe(before.answer.ETag);
    expectContent(after.bytes, { key: Key, sizeBytes: 2000, version: 2 });
    expect(await refusal(get({ Key, IfMatch: before.answer.ETag }))).toMatchObject({ status: 412 });
    const old = await get({ Key, VersionId: before.answer.VersionId });
    expectContent(old.bytes, { key: Key, sizeBytes: MiB });
    expect(origin.remove({ key: Key })).toBe(true);
    expect(await refusal(get({ Key }))).toEqual({ name: 'NoSuchKey', status: 404 });
    expect(await refusal(client.send(new HeadObjectCommand({ Bucket, Key })))).toMatchObject({ status: 404 });
    origin.add({ key: Key, sizeBytes: MiB });
  });

  test('put, head with checksum, list and delete', async () => {
    const Key = 'put/ü +%.txt';
    await client.send(new PutObjectCommand({ Bucket, Key, Body: 'line\n', ContentType: 'text/plain' }));
    const { answer, bytes } = await get({ Key });
    expect([Buffer.from(bytes).toString(), answer.ContentType]).toEqual(['line\n', 'text/plain']);
    const head = await client.send(new HeadObjectCommand({ Bucket, Key, ChecksumMode: 'ENABLED' }));
    expect(head).toMatchObject({ ContentLength: 5, ChecksumType: 'FULL_OBJECT' });
    expect(head.ChecksumCRC64NVME).toMatch(/^[A-Za-z0-9+/]{11}=$/);
    await client.send(new DeleteObjectCommand({ Bucket, Key }));
    expect(await refusal(get({ Key }))).toMatchObject({ status: 404 });
  });

  test('a stated CRC32 is checked and accepted by the SDK', async () => {
    const other = await startTestOrigin({ checksums: ['crc32'] });
    const strict = clientOf(other, { responseChecksumValidation: 'WHEN_SUPPORTED' });
    const { answer, bytes } = await get({ Key: 'data/odd.bin' }, strict);
    expect(answer.ChecksumCRC32).toBeDefined();
    expect(bytes.length).toBe(9 * MiB + 4097);
    strict.destroy();
    await other.close();
  });
});

describe('signatures', () => {
  test('wrong secret, unknown key, missing and expired token are refused as S3 does', async () => {
    const cases = [
      [
        { ...testCredentials, secretAccessKey: 'wrong' },
        { name: 'SignatureDoesNotMatch', status: 403 },
      ],
      [
        { ...testCredentials, accessKeyId: 'NOBODY' },
        { name: 'InvalidAccessKeyId', status: 403 },
      ],
      [
        { ...testCredentials, sessionToken: 'unexpected' },
        { name: 'InvalidToken', status: 400 },
      ],
    ] as const;
    for (const [credentials, wanted] of cases) {
      const other = clientOf(origin, { credentials });
      expect(await refusal(get({ Key: 'data/one.bin' }, other))).toEqual(wanted);
      other.destroy();
    }
    expect((await fetch(`${origin.endpoint}/demo/data/one.bin`)).status).toBe(403);
  });

  test('session tokens are required, and expire', async () => {
    const credentials = { ...testCredentials, sessionToken: 'token/with+signs=' };
    const other = await startTestOrigin({ credentials: [credentials] });
    const withToken = clientOf(other, { credentials });
    await get({ Key: 'data/one.bin' }, withToken);
    const without = clientOf(other);
    expect(await refusal(get({ Key: 'data/one.bin' }, without))).toMatchObject({ name: 'InvalidToken' });
    other.setCredentials([{ ...credentials, expiresAtMs: Date.now() - 1 }]);
    expect(await refusal(get({ Key: 'data/one.bin' }, withToken))).toMatchObject({ name: 'ExpiredToken' });
    withToken.destroy();
    without.destroy();
    await other.close();
  });

  test('a request altered after signing does not match', async () => {
    const altering = clientOf(origin);
    altering.middlewareStack.add(
      (next) => (args) => {
        (args.request as { path: string }).path = '/demo/data/align.bin';
        return next(args);
      },
      { step: 'finalizeRequest', priority: 'low', name: 'alter' },
    );
    expect(await refusal(get({ Key: 'data/one.bin' }, altering))).toEqual({
      name: 'SignatureDoesNotMatch',
      status: 403,
    });
    altering.destroy();
  });

  test('anonymous origins answer anyone', async () => {
    const open = await startOrigin({ objects: smallDataset });
    expect((await fetch(`${open.endpoint}/demo/data/one.bin`)).status).toBe(200);
    await open.close();
  });
});
