/** Writes on the S3 port, passed to the origin: read at once through every worker, and wrong bodies leave what was there. */
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { Readable } from 'node:stream';
import { crc32 } from 'node:zlib';
import {
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  HeadObjectCommand,
  PutObjectCommand,
  S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { afterAll, expect, it } from 'vitest';
import { KiB, MiB } from '../../src/core/units.ts';
import { call, ended, submit } from '../support/api.ts';
import { type Cluster, openCluster, segmentBytes } from '../support/cluster.ts';
import { testCredentials } from '../support/origin.ts';
import { s3Of } from '../support/scene.ts';

const Bucket = 'demo';
const large = { key: 'data/large.bin', sizeBytes: 3 * segmentBytes + 5 };
const workerConfig = `
[reading]
read_through = "always"
[[ufs]]
prefix = "s3://demo/"
write = "through"
[[reading.rule]]
prefix = "s3://demo/closed/"
write = "refuse"
[[reading.rule]]
prefix = "s3://demo/hidden/"
write = "refuse"
read_through = "never"
`;
let cluster: Cluster;
let one: S3Client;
let two: S3Client;

/** One for all: opened by whichever test comes first. */
async function ready(): Promise<void> {
  cluster ??= await openCluster({
    workers: ['w1', 'w2'],
    origin: { objects: [large, { key: 'closed/a', sizeBytes: 10 }] },
    workerConfig,
  });
  [one, two] = ['w1', 'w2'].map((id) => s3Of(cluster.workers.get(id)!)) as [S3Client, S3Client];
}
afterAll(async () => {
  one?.destroy();
  two?.destroy();
  await cluster?.close();
});

async function got(client: S3Client, Key: string): Promise<Buffer> {
  const { Body } = await client.send(new GetObjectCommand({ Bucket, Key }));
  return Buffer.from(await Body!.transformToByteArray());
}

const put = (client: S3Client, Key: string, Body: Buffer, more = {}) =>
  client.send(new PutObjectCommand({ Bucket, Key, Body, ...more }));

it('what one worker was given is what another gives from then on, and what was deleted is gone', async () => {
  await ready();
  const bodies = [0, 1, 70 * KiB, 2 * segmentBytes + 1].map((length) => randomBytes(length));
  for (const [at, body] of bodies.entries()) {
    const [writer, reader] = at % 2 === 0 ? [one, two] : [two, one];
    await put(writer, 'w/same key+ü.bin', body, { ContentType: 'text/x', Metadata: { a: 'b' } });
    for (const client of [reader, writer]) expect((await got(client, 'w/same key+ü.bin')).equals(body)).toBe(true);
  }
  const head = await two.send(new HeadObjectCommand({ Bucket, Key: 'w/same key+ü.bin' }));
  expect(head.ContentType).toBe('text/x');
  await one.send(new DeleteObjectCommand({ Bucket, Key: 'w/same key+ü.bin' }));
  await expect(got(two, 'w/same key+ü.bin')).rejects.toMatchObject({ name: 'NoSuchKey' });
  await expect(put(one, 'closed/a', Buffer.from('x'))).rejects.toMatchObject({ name: 'MethodNotAllowed' });
});

it('two writers and readers on both workers: no reader is given what was there before a write that was answered', async () => {
  await ready();
  const key = 'w/race.bin';
  const size = 64 * KiB;
  /** Of the last write that was answered before a read began, and of the last that was begun. */
  let answered = 0;
  let begun = 0;
  const stamped = (n: number): Buffer => Buffer.alloc(size, String(n).padStart(8, '0'));
  const numberIn = (body: Buffer): number => {
    const n = Number(body.toString('latin1', 0, 8));
    expect(body.equals(stamped(n))).toBe(true);
    return n;
  };
  await put(one, key, stamped(0));
  const writes = (async () => {
    for (let n = 1; n <= 30; n += 1) {
      begun = n;
      await put(n % 2 === 0 ? one : two, key, stamped(n));
      answered = n;
      expect(numberIn(await got(n % 2 === 0 ? two : one, key))).toBe(n);
    }
  })();
  let reads = 0;
  const reader = async (client: S3Client): Promise<void> => {
    while (answered < 30) {
      const least = answered;
      // An answer that a write overtakes may be cut off; it is asked for again.
      const body = await got(client, key).catch(() => undefined);
      if (body === undefined) continue;
      reads += 1;
      const n = numberIn(body);
      expect(n).toBeGreaterThanOrEqual(least);
      expect(n).toBeLessThanOrEqual(begun);
    }
  };
  await Promise.all([writes, reader(one), reader(two), reader(one), reader(two)]);
  expect(reads).toBeGreaterThan(0);
  for (let round = 0; round < 8; round += 1) {
    await Promise.all([put(one, key, stamped(100 + round)), put(two, key, stamped(200 + round))]);
    const [a, b] = await Promise.all([got(one, key), got(two, key)]);
    expect([100 + round, 200 + round]).toContain(numberIn(a!));
    expect(numberIn(b!)).toBe(numberIn(a!));
  }
});

it('what is written in the middle of a load is what is read afterwards', async () => {
  await ready();
  const { api } = cluster.coordinator;
  cluster.origin.setKnobs({ bytesPerSecond: 4 * MiB });
  const sent = (): number => cluster.origin.stats().bytesByKey[large.key] ?? 0;
  await submit(api, `s3://${Bucket}/${large.key}`);
  await expect.poll(sent, { timeout: 20_000, interval: 5 }).toBeGreaterThan(0);
  const next = randomBytes(segmentBytes + 11);
  await put(two, large.key, next);
  // The load was not through.
  expect(sent()).toBeLessThan(large.sizeBytes);
  cluster.origin.setKnobs({ bytesPerSecond: 0 });
  for (const client of [one, two]) expect((await got(client, large.key)).equals(next)).toBe(true);
  await ended(api, `s3://${Bucket}/${large.key}`);
  for (const client of [one, two]) expect((await got(client, large.key)).equals(next)).toBe(true);
});

it('streams of the SDK with their checksum behind them are taken, with the checksum, and what is not open to writes is neither copied to nor deleted', async () => {
  await ready();
  const body = randomBytes(300 * KiB);
  await one.send(
    new PutObjectCommand({
      ...{ Bucket, Key: 'w/streamed', ContentLength: body.length, ChecksumAlgorithm: 'CRC32' },
      Body: Readable.from([body.subarray(0, 100_000), body.subarray(100_000)]),
    }),
  );
  expect((await got(two, 'w/streamed')).equals(body)).toBe(true);
  const said = await atOrigin('w/streamed');
  expect(said).toMatchObject({ ChecksumCRC32: crc32Of(body), ChecksumType: 'FULL_OBJECT' });
  // As a client reads it here.
  const head = await two.send(new HeadObjectCommand({ Bucket, Key: 'w/streamed', ChecksumMode: 'ENABLED' }));
  expect(head.ChecksumCRC32).toBe(crc32Of(body));
  // A larger one goes on as it comes, with its checksum behind it.
  const larger = randomBytes(MiB + 1);
  await one.send(
    new PutObjectCommand({
      ...{ Bucket, Key: 'w/larger', ContentLength: larger.length, ChecksumAlgorithm: 'CRC32' },
      ...{ Body: Readable.from([larger]), ContentEncoding: 'x-own' },
    }),
  );
  expect((await got(two, 'w/larger')).equals(larger)).toBe(true);
  expect(await atOrigin('w/larger')).toMatchObject({ ChecksumCRC32: crc32Of(larger), ChecksumType: 'FULL_OBJECT' });
  const closed = { Key: 'closed/a' };
  const none = await one.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects: [closed] } }));
  expect(none).toMatchObject({ Errors: [{ ...closed, Code: 'MethodNotAllowed' }] });
  const tooMany = Array.from({ length: 1001 }, () => closed);
  await expect(one.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects: tooMany } }))).rejects.toMatchObject({
    name: 'MalformedXML',
  });
  const copied = await one
    .send(new CopyObjectCommand({ Bucket, Key: 'w/copy', CopySource: 'other/w/streamed' }))
    .catch((error: Error) => error.name);
  expect(copied).toBe('NotImplemented');
  const hidden = await one
    .send(new CopyObjectCommand({ Bucket, Key: 'w/copy', CopySource: `${Bucket}/hidden/a` }))
    .catch((error: Error) => error.name);
  expect(hidden).toBe('AccessDenied');
});

it('checksums of parts are kept by the origin, and what finds out that it does leaves nothing behind', async () => {
  await ready();
  const Key = 'w/parts';
  const parts = [randomBytes(5 * MiB), randomBytes(70 * KiB)];
  const { UploadId } = await one.send(
    new CreateMultipartUploadCommand({ Bucket, Key, ChecksumAlgorithm: 'CRC32', ContentType: 'text/x' }),
  );
  const Parts = [];
  for (const [at, part] of parts.entries()) {
    const order = { Bucket, Key, UploadId, PartNumber: at + 1, ContentLength: part.length };
    // One with its checksum behind it, one before it; by either worker.
    const Body = at === 0 ? Readable.from([part.subarray(0, 99), part.subarray(99)]) : part;
    const said = await (at === 0 ? one : two).send(
      new UploadPartCommand({ ...order, Body, ChecksumAlgorithm: 'CRC32' }),
    );
    expect(said.ChecksumCRC32).toBe(crc32Of(part));
    Parts.push({ PartNumber: at + 1, ETag: said.ETag, ChecksumCRC32: said.ChecksumCRC32 });
  }
  await two.send(new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload: { Parts } }));
  const sums = Buffer.concat(parts.map((part) => Buffer.from(crc32Of(part), 'base64')));
  const kept = { ChecksumCRC32: `${crc32Of(sums)}-2`, ChecksumType: 'COMPOSITE' };
  expect(await atOrigin(Key)).toMatchObject(kept);
  expect(await two.send(new HeadObjectCommand({ Bucket, Key, ChecksumMode: 'ENABLED' }))).toMatchObject(kept);
  expect((await got(one, Key)).equals(Buffer.concat(parts))).toBe(true);
  const count = (operation: string): number =>
    cluster.origin.requests.filter((one) => one.operation === operation && one.status < 300).length;
  // Each worker has found out at most once.
  expect(count('AbortMultipartUpload')).toBeGreaterThan(0);
  expect(count('AbortMultipartUpload')).toBeLessThanOrEqual(2);
  expect(count('CreateMultipartUpload')).toBe(1 + count('AbortMultipartUpload'));
});

/** What the origin says of an object, asked by its own client. */
async function atOrigin(Key: string) {
  const { endpoint } = cluster.origin;
  const client = new S3Client({ endpoint, region: 'us-east-1', forcePathStyle: true, credentials: testCredentials });
  try {
    return await client.send(new HeadObjectCommand({ Bucket, Key, ChecksumMode: 'ENABLED' }));
  } finally {
    client.destroy();
  }
}

function crc32Of(bytes: Buffer): string {
  const sum = Buffer.alloc(4);
  sum.writeUInt32BE(crc32(bytes));
  return sum.toString('base64');
}

/** Sends a PUT as it is written, and gives the status and code of the answer; undefined: there was none. */
async function rawPut(
  target: string,
  headers: Record<string, string>,
  body: Buffer,
  isCut: boolean,
): Promise<string | undefined> {
  const { hostname, port } = new URL([...cluster.workers.values()][0]!.s3);
  const head = Object.entries({ host: 'x', ...headers }).map(([name, value]) => `${name}: ${value}\r\n`);
  const socket = connect(Number(port), hostname);
  let answer = '';
  socket.setEncoding('latin1').on('data', (text: string) => {
    answer += text;
  });
  socket.write(Buffer.concat([Buffer.from(`PUT ${target} HTTP/1.1\r\n${head.join('')}\r\n`), body]), () => {
    if (isCut) socket.end();
  });
  await new Promise((resolve) => socket.once('close', resolve).on('error', () => undefined));
  const status = /^HTTP\/1\.1 (\d+)/.exec(answer)?.[1];
  return status && `${status} ${/<Code>([^<]+)/.exec(answer)?.[1] ?? ''}`.trim();
}

it('a body that is not what the request says leaves the object that was there', async () => {
  await ready();
  const body = randomBytes(200 * KiB);
  const key = 'w/kept.bin';
  await put(one, key, body);
  const bad = randomBytes(150 * KiB);
  const length = { 'content-length': String(bad.length) };
  const trailed = (crc: string, of: Buffer = bad): Buffer =>
    Buffer.concat([
      Buffer.from(`${of.length.toString(16)}\r\n`),
      of,
      Buffer.from(`\r\n0\r\nx-amz-checksum-crc32:${crc}\r\n\r\n`),
    ]);
  const trailingOf = (of: Buffer) => ({
    ...{ 'x-amz-content-sha256': 'STREAMING-UNSIGNED-PAYLOAD-TRAILER', 'x-amz-trailer': 'x-amz-checksum-crc32' },
    ...{ 'content-encoding': 'aws-chunked', 'x-amz-decoded-content-length': String(of.length) },
    'content-length': String(trailed('AAAAAA==', of).length),
  });
  const trailing = trailingOf(bad);
  // Not waited for as a whole: its end is passed on in turn.
  const long = randomBytes(MiB + 70 * KiB);
  const sha = createHash('sha256').update('other').digest('hex');
  const cases: [string, Record<string, string>, Buffer, (string | undefined)[]][] = [
    ['sha256', { ...length, 'x-amz-content-sha256': sha }, bad, ['400 XAmzContentSHA256Mismatch']],
    ['md5', { ...length, 'content-md5': 'AAAAAAAAAAAAAAAAAAAAAA==' }, bad, ['400 BadDigest']],
    ['crc32', { ...length, 'x-amz-checksum-crc32': 'AAAAAA==' }, bad, ['400 BadDigest']],
    [
      'empty',
      { 'content-length': '0', 'x-amz-content-sha256': sha },
      Buffer.alloc(0),
      ['400 XAmzContentSHA256Mismatch'],
    ],
    ['trailer', trailing, trailed('AAAAAA=='), ['400 BadDigest']],
    ['trailer of a long one', trailingOf(long), trailed('AAAAAA==', long), ['400 BadDigest']],
    [
      'chunks of a long one cut off',
      trailingOf(long),
      trailed('AAAAAA==', long).subarray(0, MiB + 30 * KiB),
      [undefined, '400 BadRequest', '400 RequestTimeout'],
    ],
    [
      'chunks cut off',
      trailing,
      trailed('AAAAAA==').subarray(0, 100_000),
      [undefined, '400 BadRequest', '400 RequestTimeout'],
    ],
    ['cut off', { 'content-length': '400000' }, bad, [undefined, '400 BadRequest', '400 RequestTimeout']],
    ['no length', { 'transfer-encoding': 'chunked' }, Buffer.from('1\r\nx\r\n0\r\n\r\n'), ['411 MissingContentLength']],
    ['an ACL', { ...length, 'x-amz-acl': 'public-read' }, bad, ['501 NotImplemented']],
  ];
  const before = cluster.origin.requests.length;
  for (const [name, headers, sent, wanted] of cases) {
    const said = await rawPut(`/${Bucket}/${key}`, { connection: 'close', ...headers }, sent, name.includes('cut off'));
    expect([name, wanted.includes(said), said]).toEqual([name, true, said]);
    expect([name, (await got(two, key)).equals(body)]).toEqual([name, true]);
  }
  const done = cluster.origin.requests.slice(before).filter(({ method, status }) => method === 'PUT' && status < 300);
  expect(done).toEqual([]);
});

it('bytes that are written count under the limit of the origin', async () => {
  await ready();
  const limit = async (bandwidth: string): Promise<void> => {
    const answer = await call(cluster.coordinator.api, 'PUT', '/api/v1/ufs/limit', { path: 's3://demo', bandwidth });
    expect([answer.status, answer.text]).toEqual([200, expect.any(String)]);
  };
  const shown = async (): Promise<boolean> => {
    const answer = await fetch(`http://127.0.0.1:${cluster.workers.get('w1')!.ports.http}/metrics`);
    return /^primed_origin_limit_share\{.*limit="bandwidth"/m.test(await answer.text());
  };
  await limit('1MB');
  await expect.poll(shown, { timeout: 20_000, interval: 50 }).toBe(true);
  const body = randomBytes(3 * MiB);
  const begunMs = performance.now();
  await put(one, 'w/limited.bin', body);
  // A burst comes on top, and what others have left of theirs; without a limit it takes some milliseconds.
  expect(performance.now() - begunMs).toBeGreaterThan(1_500);
  await limit('none');
  expect((await got(two, 'w/limited.bin')).equals(body)).toBe(true);
});

/** Of a process, as the kernel says: `T` is stopped. */
const stateOf = (pid: number): string =>
  /^State:\s+(\S)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 'gone';

it('a worker that stands still while another passes a write gives nothing of before when it goes on', async () => {
  await ready();
  const keys = Array.from({ length: 6 }, (_, n) => `w/still-${n}.bin`);
  const before = randomBytes(2 * KiB);
  const after = randomBytes(2 * KiB);
  const still = cluster.workers.get('w2')!;
  for (const key of keys) {
    await put(one, key, before);
    // Whoever the ring names keeps it: half of them the one that will stand still.
    for (const client of [one, two]) expect((await got(client, key)).equals(before)).toBe(true);
  }
  const etag = createHash('md5').update(before).digest('hex');
  const hasIt = async (key: string): Promise<boolean> => {
    const headers = { range: 'bytes=0-0', 'if-match': `"${etag}"` };
    const answer = await fetch(`${still.api}/internal/v1/data/s3://${Bucket}/${key}`, { headers });
    await answer.arrayBuffer();
    return answer.status === 206;
  };
  const kept = async (): Promise<number> => (await Promise.all(keys.map(hasIt))).filter(Boolean).length;
  await expect.poll(kept, { timeout: 20_000, interval: 50 }).toBeGreaterThan(0);
  process.kill(still.pid, 'SIGSTOP');
  let pending: Promise<Buffer>[] = [];
  try {
    await expect.poll(() => stateOf(still.pid)).toBe('T');
    // These lie in its sockets, and are heard when it goes on.
    let early = 0;
    pending = keys.map((key) => got(two, key).finally(() => (early += 1)));
    const written = await Promise.allSettled(keys.map((key) => put(one, key, after)));
    expect(written.map(({ status }) => status)).toEqual(keys.map(() => 'fulfilled'));
    // It was not told.
    expect(cluster.workers.get('w1')!.log()).toContain('a worker was not told of a write');
    for (const key of keys) expect((await got(one, key)).equals(after)).toBe(true);
    expect([early, stateOf(still.pid)]).toEqual([0, 'T']);
  } finally {
    process.kill(still.pid, 'SIGCONT');
  }
  for (const body of await Promise.all(pending)) expect(body.equals(after)).toBe(true);
  for (const key of keys) expect((await got(two, key)).equals(after)).toBe(true);
});
