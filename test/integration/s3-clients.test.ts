/** The S3 port by clients that nobody here wrote, as programs use them: boto3, minio's client, the AWS SDK, and what synchronises folders. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Sha256 } from '@aws-crypto/sha256-js';
import {
  GetObjectCommand,
  HeadObjectCommand,
  ListBucketsCommand,
  PutObjectCommand,
  paginateListObjectsV2,
  S3Client,
} from '@aws-sdk/client-s3';
import { HttpRequest } from '@smithy/core/protocols';
import { SignatureV4 } from '@smithy/signature-v4';
import { Client as Minio } from 'minio';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { MiB } from '../../src/core/units.ts';
import { run } from '../support/cli.ts';
import { contentOfSpec, type KeyedPort, openKeyedPort, sha256 } from '../support/s3-keyed.ts';

const small = { key: 'data/größe + plus.txt', sizeBytes: 5_000, contentType: 'text/x-small' };
const large = { key: 'data/deep/large.bin', sizeBytes: 9 * MiB + 7 };
const objects = [
  small,
  large,
  { key: 'data/deep/empty', sizeBytes: 0 },
  { key: 'other/one', sizeBytes: 1 },
  { key: 'top', sizeBytes: 100_000 },
];
const sizes = Object.fromEntries(objects.map(({ key, sizeBytes }) => [key, sizeBytes]));
const range = { from: 1_000_000, length: 100 };
const rangeOfLarge = contentOfSpec(large).subarray(range.from, range.from + range.length);
let port: KeyedPort;

beforeAll(async () => {
  port = await openKeyedPort('s3-clients', objects);
});
afterAll(async () => {
  await port?.close();
});

it('boto3: lists, heads, reads whole, in ranges, by links and many ranges at once; is told that it may not write', async () => {
  const words = ['test/support/boto3-reads.py', port.daemon.s3, port.bucket, small.key, large.key];
  const { code, stdout, stderr } = await run('/usr/bin/python3', [...words, join(port.path, 'boto3')], port.env);
  expect([code, stderr]).toEqual([0, '']);
  expect(JSON.parse(stdout)).toEqual({
    ...{ buckets: [port.bucket], listed: sizes, groups: ['data/', 'other/'] },
    ...{ type: small.contentType, size: small.sizeBytes, named: 'text/x-other', part: rangeOfLarge.toString('hex') },
    ...{ whole: sha256(contentOfSpec(small)), presigned: sha256(contentOfSpec(small)) },
    ...{ downloaded: sha256(contentOfSpec(large)), written: 'MethodNotAllowed' },
  });
});

it("minio's client: lists, stats, reads whole, in part, by links and into files", async () => {
  const { hostname, port: number } = new URL(port.daemon.s3);
  const { accessKeyId: accessKey, secretAccessKey: secretKey } = port.keys;
  const client = new Minio({ endPoint: hostname, port: Number(number), useSSL: false, accessKey, secretKey });
  const listed: Record<string, number> = {};
  for await (const one of client.listObjectsV2(port.bucket, '', true)) listed[one.name] = one.size;
  expect(listed).toEqual(sizes);
  expect(await client.bucketExists(port.bucket)).toBe(true);
  expect(await client.bucketExists('nothing-of-that-name')).toBe(false);
  expect((await client.listBuckets()).map(({ name }) => name)).toEqual([port.bucket]);
  expect(await client.statObject(port.bucket, small.key)).toMatchObject({
    size: small.sizeBytes,
    metaData: { 'content-type': small.contentType },
  });
  const bytesOf = async (stream: AsyncIterable<Buffer>): Promise<Buffer> => {
    const pieces: Buffer[] = [];
    for await (const piece of stream) pieces.push(piece);
    return Buffer.concat(pieces);
  };
  expect((await bytesOf(await client.getObject(port.bucket, small.key))).equals(contentOfSpec(small))).toBe(true);
  const part = await client.getPartialObject(port.bucket, large.key, range.from, range.length);
  expect((await bytesOf(part)).equals(rangeOfLarge)).toBe(true);
  const link = await client.presignedGetObject(port.bucket, small.key, 60, { 'response-content-type': 'text/x-other' });
  const answer = await fetch(link);
  expect([answer.status, answer.headers.get('content-type')]).toEqual([200, 'text/x-other']);
  expect(sha256(Buffer.from(await answer.arrayBuffer()))).toBe(sha256(contentOfSpec(small)));
  const file = join(port.path, 'minio');
  await client.fGetObject(port.bucket, large.key, file);
  expect(sha256(readFileSync(file))).toBe(sha256(contentOfSpec(large)));
  await expect(client.putObject(port.bucket, 'written', 'x')).rejects.toMatchObject({ code: 'MethodNotAllowed' });
});

it('the AWS SDK for JavaScript: lists, heads, reads whole, in ranges and by links', async () => {
  const client = new S3Client({
    endpoint: port.daemon.s3,
    region: 'us-east-1',
    forcePathStyle: true,
    credentials: port.keys,
  });
  const Bucket = port.bucket;
  const listed: Record<string, number> = {};
  for await (const page of paginateListObjectsV2({ client, pageSize: 2 }, { Bucket }))
    for (const { Key, Size } of page.Contents ?? []) listed[Key!] = Size!;
  expect(listed).toEqual(sizes);
  expect((await client.send(new ListBucketsCommand())).Buckets?.map(({ Name }) => Name)).toEqual([Bucket]);
  expect(await client.send(new HeadObjectCommand({ Bucket, Key: small.key }))).toMatchObject({
    ContentLength: small.sizeBytes,
    ContentType: small.contentType,
  });
  const whole = await client.send(new GetObjectCommand({ Bucket, Key: large.key }));
  expect(sha256(await whole.Body!.transformToByteArray())).toBe(sha256(contentOfSpec(large)));
  const Range = `bytes=${range.from}-${range.from + range.length - 1}`;
  const part = await client.send(new GetObjectCommand({ Bucket, Key: large.key, Range }));
  expect(Buffer.from(await part.Body!.transformToByteArray()).equals(rangeOfLarge)).toBe(true);
  await expect(client.send(new PutObjectCommand({ Bucket, Key: 'written', Body: 'x' }))).rejects.toMatchObject({
    name: 'MethodNotAllowed',
  });
  client.destroy();

  const { hostname, host, port: number } = new URL(port.daemon.s3);
  const signer = new SignatureV4({
    service: 's3',
    region: 'us-east-1',
    credentials: port.keys,
    sha256: Sha256,
    uriEscapePath: false,
  });
  const path = `/${Bucket}/${encodeURIComponent(small.key).replaceAll('%2F', '/')}`;
  // As its presigner says it: the payload of a link is not signed.
  const headers = { host, 'x-amz-content-sha256': 'UNSIGNED-PAYLOAD' };
  const request = new HttpRequest({ method: 'GET', hostname, port: Number(number), path, headers });
  const { query } = await signer.presign(request, { expiresIn: 60 });
  const link = `${port.daemon.s3}${path}?${new URLSearchParams(query as Record<string, string>)}`;
  const answer = await fetch(link);
  expect([answer.status, sha256(Buffer.from(await answer.arrayBuffer()))]).toEqual([200, sha256(contentOfSpec(small))]);
});

/** Every object below its key, and nothing else. */
function expectFolder(folder: string): void {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const found = files.map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1));
  expect(found.toSorted()).toEqual(objects.map(({ key }) => key).toSorted());
  for (const object of objects)
    expect(sha256(readFileSync(join(folder, object.key)))).toBe(sha256(contentOfSpec(object)));
}

it.each(['aws', 'rclone', 's3cmd'] as const)(
  '%s synchronises the bucket into a folder, and then has nothing to do',
  async (name) => {
    const folder = join(port.path, `sync-${name}`);
    mkdirSync(folder);
    const { host } = new URL(port.daemon.s3);
    const { accessKeyId, secretAccessKey } = port.keys;
    const configuration = join(port.path, 'rclone.conf');
    writeFileSync(
      configuration,
      `[p]\ntype = s3\nprovider = Other\nendpoint = ${port.daemon.s3}\naccess_key_id = ${accessKeyId}\nsecret_access_key = ${secretAccessKey}\n`,
    );
    const commands = {
      aws: ['--endpoint-url', port.daemon.s3, 's3', 'sync', '--no-progress', `s3://${port.bucket}`, folder],
      rclone: ['--config', configuration, 'sync', '-v', `p:${port.bucket}`, folder],
      s3cmd: [
        ...['--config=/dev/null', '--no-ssl', `--host=${host}`, `--host-bucket=${host}`, `--access_key=${accessKeyId}`],
        ...[`--secret_key=${secretAccessKey}`, '--no-progress', 'sync', `s3://${port.bucket}/`, `${folder}/`],
      ],
    };
    const once = async (): Promise<string> => {
      const { code, stdout, stderr } = await run(`/usr/bin/${name}`, commands[name], port.env);
      expect([code, stderr]).toEqual([0, name === 'rclone' ? expect.anything() : expect.not.stringMatching(/error/i)]);
      return stdout + stderr;
    };
    const said = await once();
    expect(said).toMatch(/large\.bin/);
    expectFolder(folder);
    expect(await once()).not.toMatch(/large\.bin/);
  },
);

it('s3cmd makes a link of Version 2 that works', async () => {
  const { host } = new URL(port.daemon.s3);
  const { accessKeyId, secretAccessKey } = port.keys;
  const words = ['--config=/dev/null', '--no-ssl', `--host=${host}`, `--host-bucket=${host}`, '--signature-v2'];
  const keys = [`--access_key=${accessKeyId}`, `--secret_key=${secretAccessKey}`];
  const { stdout } = await run(
    '/usr/bin/s3cmd',
    [...words, ...keys, 'signurl', `s3://${port.bucket}/top`, '+60'],
    port.env,
  );
  const answer = await fetch(stdout.trim());
  expect([answer.status, (await answer.arrayBuffer()).byteLength]).toEqual([200, 100_000]);
});
