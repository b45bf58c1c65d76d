/** Writes through the S3 port to a real S3 server, by clients that nobody here wrote, each read back here and at the server. */
import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import {
  CompleteMultipartUploadCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  ListMultipartUploadsCommand,
  PutObjectCommand,
  S3Client,
  UploadPartCommand,
  UploadPartCopyCommand,
} from '@aws-sdk/client-s3';
import { Client as Minio } from 'minio';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { MiB } from '../../src/core/units.ts';
import { run } from '../support/cli.ts';
import type { Daemon } from '../support/daemon.ts';
import { openPlace, type Place } from '../support/node.ts';
import { type RealServer, startRadosgw } from '../support/radosgw.ts';
import { sha256 } from '../support/s3-keyed.ts';

const Bucket = 'written';
const writer = { accessKeyId: 'AKIDWRITER', secretAccessKey: 'secret/of+writer' };
const reader = { accessKeyId: 'AKIDREADER', secretAccessKey: 'secret/of+reader' };
const some = { accessKeyId: 'AKIDSOME', secretAccessKey: 'secret/of+some' };
const large = randomBytes(11 * MiB + 3);
let server: RealServer;
let place: Place;
let daemon: Daemon;
let file: string;
let env: Record<string, string>;
const clients: S3Client[] = [];

function clientOf(endpoint: string, credentials: typeof writer): S3Client {
  const client = new S3Client({ endpoint, region: 'us-east-1', forcePathStyle: true, credentials, maxAttempts: 1 });
  clients.push(client);
  return client;
}

beforeAll(async () => {
  server = await startRadosgw();
  place = openPlace('s3-writes');
  const key = ({ accessKeyId, secretAccessKey }: typeof writer, more: string) =>
    `[[s3.key]]\naccess_key_id = "${accessKeyId}"\nsecret_access_key = "${secretAccessKey}"\n${more}\n`;
  const keys = `${key(writer, 'write = true')}${key(reader, '')}${key(some, `write = true\nprefixes = "s3://${Bucket}/some/"`)}`;
  const ufs = `[[ufs]]\nprefix = "s3://${Bucket}/"\nread_through = "always"\nwrite = "through"\n`;
  daemon = await place.start(`${keys}${ufs}`, { env: server.env });
  const { AWS_ACCESS_KEY_ID: accessKeyId = '', AWS_SECRET_ACCESS_KEY: secretAccessKey = '' } = server.env;
  await clientOf(server.endpoint, { accessKeyId, secretAccessKey }).send(new CreateBucketCommand({ Bucket }));
  clientOf(daemon.s3, writer);
  file = join(place.path, 'large');
  writeFileSync(file, large);
  env = {
    ...{ AWS_ACCESS_KEY_ID: writer.accessKeyId, AWS_SECRET_ACCESS_KEY: writer.secretAccessKey },
    ...{ AWS_DEFAULT_REGION: 'us-east-1', AWS_CONFIG_FILE: '/dev/null', AWS_SHARED_CREDENTIALS_FILE: '/dev/null' },
    ...{ AWS_EC2_METADATA_DISABLED: 'true', HOME: place.path, PATH: '/usr/bin:/bin' },
  };
});
afterAll(async () => {
  for (const client of clients) client.destroy();
  await place?.close();
  await server?.close();
});

async function bytesOf(client: S3Client, Key: string): Promise<Buffer> {
  const { Body } = await client.send(new GetObjectCommand({ Bucket, Key }));
  return Buffer.from(await Body!.transformToByteArray());
}

/** The server has it, and this port gives the same. */
async function expectThere(key: string, bytes: Buffer): Promise<void> {
  for (const client of clients.slice(0, 2))
    expect([key, sha256(await bytesOf(client, key))]).toEqual([key, sha256(bytes)]);
}

async function expectGone(key: string): Promise<void> {
  for (const client of clients.slice(0, 2))
    await expect(bytesOf(client, key)).rejects.toMatchObject({ name: 'NoSuchKey' });
}

async function must(program: string, words: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await run(`/usr/bin/${program}`, [...words], env, 60_000);
  expect([program, words, code, stderr]).toEqual([program, words, 0, expect.anything()]);
  return stdout;
}

it('aws-cli copies a large file up in parts, overwrites it, moves and removes it', async () => {
  const aws = (...words: string[]) => must('aws', ['--endpoint-url', daemon.s3, 's3', ...words, '--only-show-errors']);
  await aws('cp', file, `s3://${Bucket}/aws/größe + plus`);
  await expectThere('aws/größe + plus', large);
  writeFileSync(join(place.path, 'small'), 'small');
  await aws('cp', join(place.path, 'small'), `s3://${Bucket}/aws/größe + plus`);
  await expectThere('aws/größe + plus', Buffer.from('small'));
  await aws('mv', `s3://${Bucket}/aws/größe + plus`, `s3://${Bucket}/aws/moved`);
  await expectGone('aws/größe + plus');
  await expectThere('aws/moved', Buffer.from('small'));
  await aws('rm', '--recursive', `s3://${Bucket}/aws/`);
  await expectGone('aws/moved');
});

it('boto3 uploads in parts with metadata, copies, lists uploads and parts, aborts, and deletes by the list', async () => {
  const said = await must('python3', ['test/support/boto3-writes.py', daemon.s3, Bucket, file]);
  expect(JSON.parse(said)).toEqual({
    ...{ who: 'boto3', uploads: ['boto3/begun'], parts: [1] },
    listed: { 'boto3/copy': 5, 'boto3/large': large.length },
  });
  await expectThere('boto3/large', large);
  await expectThere('boto3/copy', Buffer.from('small'));
  await expectGone('boto3/small');
});

it('rclone and s3cmd put, and delete', async () => {
  const { host } = new URL(daemon.s3);
  const configuration = join(place.path, 'rclone.conf');
  const { accessKeyId, secretAccessKey } = writer;
  writeFileSync(
    configuration,
    `[p]\ntype = s3\nprovider = Other\nendpoint = ${daemon.s3}\naccess_key_id = ${accessKeyId}\nsecret_access_key = ${secretAccessKey}\n`,
  );
  const rclone = (...words: string[]) => must('rclone', ['--config', configuration, '--s3-no-check-bucket', ...words]);
  await rclone('--s3-upload-cutoff', '5M', 'copyto', file, `p:${Bucket}/rclone/large`);
  await expectThere('rclone/large', large);
  await rclone('deletefile', `p:${Bucket}/rclone/large`);
  await expectGone('rclone/large');
  const s3cmd = (...words: string[]) =>
    must('s3cmd', [
      ...['--config=/dev/null', '--no-ssl', `--host=${host}`, `--host-bucket=${host}`, '--no-progress'],
      ...[`--access_key=${accessKeyId}`, `--secret_key=${secretAccessKey}`, ...words],
    ]);
  await s3cmd('put', file, `s3://${Bucket}/s3cmd/large`);
  await expectThere('s3cmd/large', large);
  await s3cmd('del', `s3://${Bucket}/s3cmd/large`);
  await expectGone('s3cmd/large');
});

it("minio's client puts small and large ones, from memory, streams and files", async () => {
  const { hostname, port } = new URL(daemon.s3);
  const { accessKeyId: accessKey, secretAccessKey: secretKey } = writer;
  const client = new Minio({ endPoint: hostname, port: Number(port), useSSL: false, accessKey, secretKey });
  await client.putObject(Bucket, 'minio/small', 'small');
  await expectThere('minio/small', Buffer.from('small'));
  await client.putObject(
    Bucket,
    'minio/streamed',
    Readable.from([large.subarray(0, MiB), large.subarray(MiB)]),
    large.length,
  );
  await expectThere('minio/streamed', large);
  await client.fPutObject(Bucket, 'minio/large', file);
  await expectThere('minio/large', large);
  await client.removeObjects(Bucket, ['minio/small', 'minio/large']);
  await expectGone('minio/small');
});

it('the AWS SDK for JavaScript: streams with a checksum behind them, parts, and parts that are copied', async () => {
  const client = clients[1]!;
  const Body = Readable.from([large.subarray(0, MiB), large.subarray(MiB)]);
  await client.send(new PutObjectCommand({ Bucket, Key: 'sdk/streamed', Body, ContentLength: large.length }));
  await expectThere('sdk/streamed', large);
  const Key = 'sdk/parts';
  const begin = new CreateMultipartUploadCommand({ Bucket, Key, ChecksumAlgorithm: 'CRC32' });
  const { UploadId } = await client.send(begin);
  const first = { Bucket, Key, UploadId, PartNumber: 1, Body: large.subarray(0, 6 * MiB) };
  const { ETag: one } = await client.send(new UploadPartCommand(first));
  const second = { Bucket, Key, UploadId, PartNumber: 2, CopySource: `${Bucket}/sdk/streamed` };
  const copied = await client.send(
    new UploadPartCopyCommand({ ...second, CopySourceRange: `bytes=${6 * MiB}-${large.length - 1}` }),
  );
  const Parts = [
    { PartNumber: 1, ETag: one },
    { PartNumber: 2, ETag: copied.CopyPartResult?.ETag },
  ];
  await client.send(new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload: { Parts } }));
  await expectThere(Key, large);
  // This server keeps no checksums behind bodies, and what has found that out has left nothing there.
  const { Uploads = [] } = await clients[0]!.send(new ListMultipartUploadsCommand({ Bucket, Prefix: 'sdk/' }));
  expect(Uploads).toEqual([]);
});

it('curl puts with a signature, and waits for the word that its body is wanted', async () => {
  const { accessKeyId, secretAccessKey } = writer;
  const put = async (key: string, who = `${accessKeyId}:${secretAccessKey}`): Promise<string> => {
    const words = [
      '-sS',
      '-v',
      '--aws-sigv4',
      'aws:amz:us-east-1:s3',
      '-u',
      who,
      '-H',
      'x-amz-content-sha256: UNSIGNED-PAYLOAD',
    ];
    const said = await run(
      '/usr/bin/curl',
      [...words, '-H', 'Expect: 100-continue', '-T', file, `${daemon.s3}/${Bucket}/${key}`],
      env,
    );
    return said.stderr + said.stdout;
  };
  expect(await put('curl/large')).toMatch(/100 Continue[\s\S]*200 OK/);
  await expectThere('curl/large', large);
  const refused = await put('curl/large', `${reader.accessKeyId}:${reader.secretAccessKey}`);
  expect(refused).toMatch(/403 Forbidden[\s\S]*AccessDenied/);
  expect(refused).not.toMatch(/100 Continue/);
});

it('a key that may not write does not, nor one elsewhere than below its prefixes', async () => {
  const put = (who: typeof writer, Key: string) =>
    clientOf(daemon.s3, who).send(new PutObjectCommand({ Bucket, Key, Body: readFileSync(join(place.path, 'small')) }));
  writeFileSync(join(place.path, 'small'), 'small');
  await put(some, 'some/thing');
  await expectThere('some/thing', Buffer.from('small'));
  for (const [who, key] of [
    [reader, 'some/thing'],
    [some, 'other'],
  ] as const)
    await expect(put(who, key)).rejects.toMatchObject({ name: 'AccessDenied' });
  await put(writer, 'other');
  const Objects = ['some/thing', 'other'].map((Key) => ({ Key }));
  const { Deleted, Errors } = await clientOf(daemon.s3, some).send(
    new DeleteObjectsCommand({ Bucket, Delete: { Objects } }),
  );
  expect([Deleted, Errors]).toMatchObject([[{ Key: 'some/thing' }], [{ Key: 'other', Code: 'AccessDenied' }]]);
  await expectGone('some/thing');
  await expectThere('other', Buffer.from('small'));
});
