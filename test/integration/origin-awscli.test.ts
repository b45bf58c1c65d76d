/** The embedded origin, refereed by Debian's aws-cli. .ci/run installs it. */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { MiB } from '../../src/core/units.ts';
import { planDataset } from '../../src/demo/dataset.ts';
import type { SpawnedOrigin } from '../../src/demo/origin/api.ts';
import { contentSha256 } from '../../src/demo/origin/content.ts';
import { expectContent, originEnvironment, smallDataset, testCredentials } from '../support/origin.ts';
import { spawnTestOrigin } from '../support/spawned-origin.ts';

const awsPath = '/usr/bin/aws';
const run = promisify(execFile);
const dataset = { totalBytes: 24 * MiB, smallFiles: 1100, prefix: 'many/' };
const plan = planDataset(dataset);
let origin: SpawnedOrigin;
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'primed-awscli-'));
  origin = await spawnTestOrigin({ objects: smallDataset, dataset, credentials: [testCredentials] });
});
afterAll(async () => {
  await origin.close();
  await rm(folder, { recursive: true, force: true });
});

/** Resolves with what it printed; rejects with its exit code and standard error. */
async function aws(args: readonly string[], environment: Record<string, string> = {}): Promise<string> {
  const all = ['--endpoint-url', origin.endpoint, ...args];
  const { stdout } = await run(awsPath, all, {
    env: { PATH: process.env.PATH, HOME: folder, LC_ALL: 'C.UTF-8', ...originEnvironment(origin), ...environment },
    maxBuffer: 64 * MiB,
    timeout: 120_000,
  });
  return stdout;
}

async function fileSha256(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return hash.digest('hex');
}

describe('aws-cli', () => {
  test('s3 ls --recursive names every key with its size', async () => {
    const lines = (await aws(['s3', 'ls', '--recursive', 's3://demo/'])).trimEnd().split('\n');
    const listed = new Map(lines.map((line) => [line.slice(31), Number(line.slice(20, 30))]));
    const wanted = new Map([...smallDataset, ...plan].map(({ key, sizeBytes }) => [key, sizeBytes]));
    expect(listed).toEqual(wanted);
  });

  test('s3 ls shows folders', async () => {
    const text = await aws(['s3', 'ls', 's3://demo/data/']);
    expect(text).toContain('PRE sub/');
    expect(text.trimEnd().split('\n')).toHaveLength(smallDataset.length - 1);
    expect(await aws(['s3', 'ls'])).toMatch(/ demo\n$/);
  });

  test('s3 cp of a large object, in parallel ranges', async () => {
    const object = smallDataset.find(({ key }) => key === 'data/large.bin')!;
    const path = join(folder, 'large');
    await origin.resetStats();
    await aws(['s3', 'cp', '--no-progress', `s3://demo/${object.key}`, path]);
    expect(await fileSha256(path)).toBe(contentSha256(object.key, 1, object.sizeBytes));
    const ranged = (await origin.requestLog()).filter(({ status, range }) => status === 206 && range !== undefined);
    expect(ranged.length).toBeGreaterThan(5);
  });

  test('s3 cp --recursive of small objects with awkward keys', async () => {
    const wanted = plan.filter(({ key }) => key.startsWith('many/samples/000/'));
    expect(wanted.some(({ key }) => /[ +%]/.test(key))).toBe(true);
    await aws(['s3', 'cp', '--no-progress', '--recursive', 's3://demo/many/samples/000/', join(folder, 'samples')]);
    for (const object of wanted) {
      expectContent(await readFile(join(folder, 'samples', object.key.slice('many/samples/000/'.length))), object);
    }
  });

  test('s3api get-object --range, and conditions', async () => {
    const object = smallDataset.find(({ key }) => key === 'data/odd.bin')!;
    const path = join(folder, 'range');
    const base = ['s3api', 'get-object', '--bucket', 'demo', '--key', object.key];
    const answer = JSON.parse(await aws([...base, '--range', 'bytes=1048570-2097160', path])) as Record<
      string,
      unknown
    >;
    expect(answer).toMatchObject({
      ContentRange: `bytes 1048570-2097160/${object.sizeBytes}`,
      ContentLength: 1_048_591,
    });
    expectContent(await readFile(path), object, 1_048_570, 1_048_591);
    await expect(aws([...base, '--if-match', '"other"', path])).rejects.toThrow(/\(412\)|PreconditionFailed/);
    await expect(aws([...base, '--range', `bytes=${object.sizeBytes}-`, path])).rejects.toThrow('InvalidRange');
  });

  test('s3 cp up, list, and rm', async () => {
    const path = join(folder, 'upload');
    await writeFile(path, 'one\ntwo\n');
    await aws(['s3', 'cp', '--no-progress', path, 's3://demo/up/ü + %.txt']);
    expect(await aws(['s3', 'cp', 's3://demo/up/ü + %.txt', '-'])).toBe('one\ntwo\n');
    expect(await aws(['s3', 'ls', 's3://demo/up/'])).toMatch(/ 8 ü \+ %\.txt\n$/);
    await aws(['s3', 'rm', 's3://demo/up/ü + %.txt']);
    await expect(aws(['s3', 'ls', 's3://demo/up/'])).rejects.toMatchObject({ code: 1, stderr: '' });
  });

  test('wrong secret, unknown key and missing objects are refused by name', async () => {
    const list = ['s3api', 'list-objects-v2', '--bucket', 'demo'];
    await expect(aws(list, { AWS_SECRET_ACCESS_KEY: 'wrong' })).rejects.toThrow('SignatureDoesNotMatch');
    await expect(aws(list, { AWS_ACCESS_KEY_ID: 'NOBODY' })).rejects.toThrow('InvalidAccessKeyId');
    await expect(aws(['s3api', 'list-objects-v2', '--bucket', 'nothing'])).rejects.toThrow('NoSuchBucket');
    await expect(aws(['s3', 'cp', 's3://demo/nothing', '-'])).rejects.toThrow('404');
  });

  test('a throttled request is tried again', async () => {
    const id = await origin.setFault({ fault: { kind: 'status', status: 503 }, key: 'data/small.bin', times: 1 });
    const path = join(folder, 'again');
    await aws(['s3api', 'get-object', '--bucket', 'demo', '--key', 'data/small.bin', path]);
    expect(await origin.fired(id)).toBe(1);
    expectContent(await readFile(path), smallDataset.find(({ key }) => key === 'data/small.bin')!);
  });
});
