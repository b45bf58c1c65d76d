/**
 * The whole on a real S3 server: a dataset is put by aws-cli, loaded by the contract's own curl call, and read back by
 * aws-cli and rclone through the S3 port, identical.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { KiB, MiB } from '../../src/core/units.ts';
import { contentAt } from '../../src/demo/origin/content.ts';
import { call, check, ended, fs, progress } from '../support/api.ts';
import { run } from '../support/cli.ts';
import { type Daemon, startDaemon } from '../support/daemon.ts';
import { temporaryFolder } from '../support/files.ts';
import { type RealServer, startRadosgw } from '../support/radosgw.ts';

/** Sizes around every border, awkward names, and enough small files for a second page of the listing. */
const files: readonly (readonly [string, number])[] = [
  ['empty.bin', 0],
  ['one.bin', 1],
  ['align.bin', 4096],
  ['page+1.bin', MiB + 1],
  ['part.bin', 8 * MiB],
  ['model/weights 1.bin', 70 * MiB + 123],
  ['model/größe 数据.bin', 20 * KiB],
  ['model/percent%41.bin', 20 * KiB],
  ["model/quote'&<x>.bin", 20 * KiB],
  ...Array.from({ length: 1100 }, (_, index) => [`small/${index % 10}/${index}.bin`, 100 + index * 7] as const),
];
const totalBytes = files.reduce((sum, [, sizeBytes]) => sum + sizeBytes, 0);
const path = 's3://dataset/set/';

let folder: ReturnType<typeof temporaryFolder>;
let server: RealServer;
let daemon: Daemon;
let cached: Record<string, string>;

beforeAll(async () => {
  folder = temporaryFolder('integration');
  for (const [name, sizeBytes] of files) {
    const file = join(folder.path, 'put', name);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, contentAt(name, 1, 0, sizeBytes));
  }
  server = await startRadosgw();
  await must('aws', ['s3', 'mb', 's3://dataset'], server.env);
  await must('aws', ['s3', 'cp', '--recursive', '--only-show-errors', join(folder.path, 'put'), path], server.env);
  daemon = await startDaemon({ dataDir: join(folder.path, 'data'), storeSize: '1GB', env: server.env });
  cached = { ...server.env, AWS_ENDPOINT_URL: daemon.s3 };
});
afterAll(async () => {
  await daemon?.kill();
  await server?.close();
  folder?.remove();
});

async function must(program: string, args: string[], env: Readonly<Record<string, string>> = {}): Promise<string> {
  const said = await run(program, args, { ...env, HOME: folder.path }, 240_000);
  if (said.code !== 0) throw new Error(`${program} ${args.join(' ')} ended with ${said.code}: ${said.stderr}`);
  return said.stdout;
}

/** Relative names and digests of everything below a folder. */
function digests(dir: string): ReadonlyMap<string, string> {
  const found = readdirSync(dir, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return new Map(
    found
      .map((entry) => join(entry.parentPath, entry.name))
      .sort()
      .map((file) => [relative(dir, file), createHash('sha256').update(readFileSync(file)).digest('hex')]),
  );
}

function identical(dir: string): void {
  const got = digests(dir);
  expect(got.size).toBe(files.length);
  expect(got).toEqual(digests(join(folder.path, 'put')));
}

describe('a dataset on radosgw', () => {
  it("is loaded by the contract's curl call", async () => {
    const body = `{"path": "${path}", "options": {"replicas":"1","batchSize":"300","partialListing":"true","loadMetadataOnly":"false","skipIfExists":"true","verify":"true"}}`;
    const submit = [
      '-sS',
      '-H',
      'Content-Type: application/json',
      '-X',
      'POST',
      `${daemon.api}/api/v1/master/submit_job/load`,
      '-d',
      body,
    ];
    expect(JSON.parse(await must('curl', submit))).toMatchObject({ success: true, path });
    const report = await ended(daemon.api, path, 200_000);
    expect(report).toMatchObject({
      mJobState: 'SUCCEEDED',
      mProcessedFileCount: files.length,
      mLoadedByteCount: totalBytes,
      mFailedFileCount: 0,
      verifiedFiles: files.length,
      verifiedBytes: totalBytes,
      ledger: { originBytes: totalBytes, cachedBytes: totalBytes, inFlightBytes: 0 },
    });
  });

  it('reports to the curl of the contract: a GET with a body', async () => {
    const ask = [
      '-sS',
      '-H',
      'Content-Type: application/json',
      '-X',
      'GET',
      `${daemon.api}/api/v1/master/progress_job/load`,
    ];
    const text = await must('curl', [...ask, '-d', `{"path": "${path}", "format": "TEXT", "verbose": "true"}`]);
    expect(text).toContain(`\tJob State: SUCCEEDED\n\tFiles Processed: ${files.length} out of ${files.length}\n`);
  });

  it('is read back by aws-cli, identical, and listed in two pages', async () => {
    const target = join(folder.path, 'aws');
    await must('aws', ['s3', 'cp', '--recursive', '--only-show-errors', path, target], cached);
    identical(target);
    expect(await must('aws', ['s3', 'ls'], cached)).toMatch(/ dataset\n/);
    const listed = await must(
      'aws',
      ['s3api', 'list-objects-v2', '--bucket', 'dataset', '--query', 'length(Contents)', '--output', 'text'],
      cached,
    );
    // One number for each page of the listing.
    const pages = listed.trim().split(/\s+/).map(Number);
    expect(pages).toHaveLength(2);
    expect(pages.reduce((sum, count) => sum + count, 0)).toBe(files.length);
    rmSync(target, { recursive: true });
  });

  it('is read back by rclone, identical, and its check agrees', async () => {
    expect.hasAssertions();
    const rclone = {
      RCLONE_CONFIG_CACHE_TYPE: 's3',
      RCLONE_CONFIG_CACHE_PROVIDER: 'Other',
      RCLONE_CONFIG_CACHE_ENDPOINT: daemon.s3,
      RCLONE_CONFIG_CACHE_ACCESS_KEY_ID: 'any',
      RCLONE_CONFIG_CACHE_SECRET_ACCESS_KEY: 'thing',
      RCLONE_CONFIG_CACHE_FORCE_PATH_STYLE: 'true',
    };
    const target = join(folder.path, 'rclone');
    await must(
      'rclone',
      [
        'copy',
        'cache:dataset/set',
        target,
        '--transfers',
        '16',
        '--multi-thread-streams',
        '4',
        '--multi-thread-cutoff',
        '10M',
      ],
      rclone,
    );
    identical(target);
    await must('rclone', ['check', '--download', 'cache:dataset/set', join(folder.path, 'put')], rclone);
  });

  it('keeps the sizes and ETags of the origin', async () => {
    const list = [
      's3api',
      'list-objects-v2',
      '--bucket',
      'dataset',
      '--prefix',
      'set/',
      '--query',
      'Contents[].[Key,Size,ETag]',
      '--output',
      'json',
    ];
    expect(JSON.parse(await must('aws', list, cached))).toEqual(JSON.parse(await must('aws', list, server.env)));
  });

  it('survives kill -9 and a check of every page', async () => {
    await daemon.kill();
    daemon = await startDaemon({
      dataDir: join(folder.path, 'data'),
      storeSize: '1GB',
      env: server.env,
      ports: daemon.ports,
    });
    expect(await check(daemon.api, path)).toMatchObject({
      ok: true,
      checkedFiles: files.length,
      checkedBytes: totalBytes,
    });
    expect((await fs(daemon.api, 'stat', path)).json()).toMatchObject({
      files: files.length,
      cachedFiles: files.length,
      cachedBytes: totalBytes,
    });
  });

  it('whose objects change is refreshed by a load that skips what exists', async () => {
    const changed = join(folder.path, 'put', 'part.bin');
    writeFileSync(changed, contentAt('part.bin', 2, 0, 8 * MiB));
    await must('aws', ['s3', 'cp', '--only-show-errors', changed, `${path}part.bin`], server.env);
    await call(daemon.api, 'POST', '/api/v1/master/submit_job/load', { path, options: { skipIfExists: 'true' } });
    expect(await ended(daemon.api, path, 100_000)).toMatchObject({
      mJobState: 'SUCCEEDED',
      loadedFiles: 1,
      mLoadedByteCount: 8 * MiB,
    });
    const target = join(folder.path, 'again.bin');
    await must('aws', ['s3', 'cp', '--only-show-errors', `${path}part.bin`, target], cached);
    expect(readFileSync(target).equals(readFileSync(changed))).toBe(true);
  });
});

describe('what radosgw refuses', () => {
  it.each([
    ['a bucket that is not there', 's3://no-such-bucket/x/', /NoSuchBucket/],
    ['a key that is not there', 's3://dataset/no/such/key.bin', /no\/such\/key\.bin/],
  ])('%s: the job fails by name', async (_name, missing, message) => {
    await call(daemon.api, 'POST', '/api/v1/master/submit_job/load', { path: missing });
    const report = await ended(daemon.api, missing);
    expect(report.mJobState).toBe('FAILED');
    expect(JSON.stringify([report.reason, report.mFailedFilesWithReasons])).toMatch(message);
  });

  it('wrong credentials: status, code and request id are in the report', async () => {
    const wrong = await startDaemon({
      dataDir: join(folder.path, 'wrong'),
      storeSize: '64MB',
      env: { ...server.env, AWS_SECRET_ACCESS_KEY: 'wrong' },
    });
    try {
      await call(wrong.api, 'POST', '/api/v1/master/submit_job/load', { path });
      const report = await ended(wrong.api, path);
      expect(report.mJobState).toBe('FAILED');
      expect(report.reason).toMatch(/403/);
      expect(report.reason).toMatch(/SignatureDoesNotMatch/);
      expect(report.reason).toMatch(/request/i);
      expect((await progress(wrong.api, path, 'TEXT')).text).toContain('SignatureDoesNotMatch');
    } finally {
      await wrong.kill();
    }
  });
});
