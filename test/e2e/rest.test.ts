import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MiB } from '../../src/core/units.ts';
import { call, ended, list, loaded, progress, stop, submit, submitRaw } from '../support/api.ts';
import { smallDataset } from '../support/origin.ts';
import { openScene, type Scene } from '../support/scene.ts';

const path = 's3://demo/data/';
const totalBytes = smallDataset.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
let scene: Scene;
let api: string;

beforeAll(async () => {
  scene = await openScene({ origin: { buckets: ['empty'] } });
  api = scene.daemon.api;
});
afterAll(() => scene?.close());

describe('a load by the contract', () => {
  let jobId: string;

  it('is submitted with options as strings', async () => {
    const answer = await submit(api, path, { replicas: '1', batchSize: '3', verify: 'false', skipIfExists: 'true' });
    expect(answer.status).toBe(200);
    ({ jobId } = answer.json());
    expect(jobId).toMatch(uuid);
    const message = `Load '${path}' is successfully submitted. JobId: ${jobId}`;
    expect(answer.json()).toEqual({ success: true, jobId, path, message });
  });

  it('ends SUCCEEDED with every file and byte', async () => {
    expect(await ended(api, path)).toMatchObject({
      mJobState: 'SUCCEEDED',
      mProcessedFileCount: smallDataset.length,
      mTotalFileCount: smallDataset.length,
      mLoadedByteCount: totalBytes,
      mTotalByteCount: totalBytes,
      mFailedFileCount: 0,
      mFailurePercentage: 0,
      mSkipIfExists: true,
      mMetadataOnly: false,
      jobId,
      ledger: { originBytes: totalBytes, cachedBytes: totalBytes, inFlightBytes: 0 },
    });
    await scene.readBack(smallDataset);
  });

  it('was fetched once, byte for byte', () => {
    const gets = scene.origin.requests.filter((one) => one.operation === 'GetObject');
    expect(gets.reduce((sum, one) => sum + one.bytesSent, 0)).toBe(totalBytes);
  });

  it("reports its progress as TEXT, in Alluxio's lines and order", async () => {
    const answer = await progress(api, path, 'TEXT');
    expect(answer.type).toMatch(/^text\/plain/);
    const lines = answer.text.split('\n');
    expect(lines.slice(0, 5)).toEqual([
      `Progress for loading path '${path}':`,
      '\tSettings:\tbandwidth: unlimited\tverify: false',
      '\tJob State: SUCCEEDED',
      `\tFiles Processed: ${smallDataset.length} out of ${smallDataset.length}`,
      `\tBytes Loaded: ${(totalBytes / MiB).toFixed(2)}MB out of ${(totalBytes / MiB).toFixed(2)}MB`,
    ]);
    expect(lines[5]).toMatch(/^\tThroughput: \d+(\.\d\d)?(B|[KMGT]B)\/s$/);
    expect(lines.slice(6, 8)).toEqual(['\tBlock load failure rate: 0.00%', '\tFiles Failed: 0']);
  });

  it('reports to a GET with a body, a GET with a query and a POST alike', async () => {
    const target = '/api/v1/master/progress_job/load';
    const query = new URLSearchParams({ path, format: 'JSON', verbose: 'true' });
    const answers = [
      await call(api, 'GET', target, { path, format: 'JSON', verbose: 'true' }),
      await call(api, 'GET', `${target}?${query}`),
      await call(api, 'POST', target, { path, format: 'JSON', verbose: true }),
    ];
    for (const answer of answers) {
      expect(answer.status).toBe(200);
      expect(answer.json()).toEqual(answers[0]!.json());
    }
  });

  it('is listed, by state too', async () => {
    const row = {
      jobId,
      type: 'LOAD',
      path,
      state: 'SUCCEEDED',
      files: smallDataset.length,
      bytes: totalBytes,
      failures: 0,
    };
    for (const query of ['', '&job-state=ALL', '&job-state=SUCCEEDED']) {
      const rows = (await list(api, query)).json();
      expect(rows).toContainEqual(expect.objectContaining(row));
    }
    expect((await list(api, '&job-state=FAILED')).json()).toEqual([]);
    expect((await call(api, 'POST', '/api/v1/master/list_job?job-type=LOAD&job-state=SUCCEEDED')).json()).toHaveLength(
      1,
    );
  });

  it('again after SUCCEEDED is a new job, and with skipIfExists fetches nothing', async () => {
    scene.origin.resetStats();
    const report = await loaded(api, path, { skipIfExists: true });
    expect(report.jobId).not.toBe(jobId);
    expect(report).toMatchObject({
      mLoadedByteCount: 0,
      mSkippedByteCount: totalBytes,
      skippedFiles: smallDataset.length,
    });
    expect(scene.origin.stats().byOperation.GetObject ?? 0).toBe(0);
  });

  it('again without skipIfExists loads every file anew', async () => {
    scene.origin.resetStats();
    const report = await loaded(api, path, { skipIfExists: false });
    expect(report).toMatchObject({ mLoadedByteCount: totalBytes, mSkippedByteCount: 0 });
    expect(
      scene.origin.requests.reduce((sum, one) => sum + (one.operation === 'GetObject' ? one.bytesSent : 0), 0),
    ).toBe(totalBytes);
    await scene.readBack(smallDataset);
  });
});

describe('a running job', () => {
  const slow = [
    { key: 'slow/a.bin', sizeBytes: 30 * MiB },
    { key: 'slow/b.bin', sizeBytes: 30 * MiB },
  ];
  const slowPath = 's3://demo/slow/';
  beforeAll(() => {
    for (const one of slow) scene.origin.add(one);
  });

  it('is joined by an equal submission, conflicts with another, stops, and is resumed', async () => {
    scene.origin.setKnobs({ bytesPerSecond: 10 * MiB });
    const first = (await submit(api, slowPath)).json();
    const again = await submit(api, slowPath);
    expect(again.status).toBe(200);
    expect(again.json()).toMatchObject({
      success: true,
      jobId: first.jobId,
      message: `Load already running for path '${slowPath}'`,
    });
    const other = await submit(api, slowPath, { verify: true });
    expect(other.status).toBe(409);
    expect(other.json()).toMatchObject({ message: expect.stringContaining('verify') });

    await expect
      .poll(async () => (await progress(api, slowPath)).json().ledger.cachedBytes, { timeout: 20_000 })
      .toBeGreaterThan(0);
    const askedAt = performance.now();
    const stopped = await stop(api, slowPath);
    expect(performance.now() - askedAt).toBeLessThan(2_000);
    expect(stopped.json()).toMatchObject({ success: true, path: slowPath });
    const report = (await progress(api, slowPath)).json();
    expect(report).toMatchObject({ mJobState: 'STOPPED', ledger: { inFlightBytes: 0 } });
    const kept = report.ledger.cachedBytes;
    expect(kept).toBeGreaterThan(0);
    expect(report.mLoadedByteCount).toBe(kept);
    expect((await list(api, '&job-state=STOPPED')).json()).toHaveLength(1);

    const second = await stop(api, slowPath);
    expect(second.status).toBe(404);
    scene.origin.setKnobs({ bytesPerSecond: 0 });
    scene.origin.resetStats();
    const resumed = await loaded(api, slowPath);
    expect(resumed.jobId).not.toBe(first.jobId);
    expect(resumed.loadId).toBe(report.loadId);
    const fetched = Object.values(scene.origin.stats().bytesByKey).reduce((sum, bytes) => sum + bytes, 0);
    expect(fetched).toBe(60 * MiB - kept);
    await scene.readBack(slow);
  });
});

describe('bad input is refused by name', () => {
  it.each<[string, object | string, RegExp]>([
    ['no JSON', '{"path": ', /JSON|body/i],
    ['no path', { options: {} }, /path/],
    ['path and index file', { path: 's3://demo/x/', indexFile: 's3://demo/i' }, /path|indexFile/],
    ['an empty path', { path: '' }, /path/],
    ['a path that is no UFS', { path: '/data/x' }, /path/],
    [
      'an index file by a relative path',
      { indexFile: 'lists/x' },
      /'lists\/x' is neither s3:\/\/.* nor an absolute path/,
    ],
    ['another scheme', { path: 'gs://demo/x' }, /gs:|path/],
    ['a file:// root that is not configured', { path: 'file:///etc/' }, /file:/],
    ['a wildcard', { path: 's3://demo/data/*.bin' }, /Load does not support wildcard path/],
    ['an unknown field', { path, option: {} }, /option/],
    ['an unknown option', { path, options: { replica: '1' } }, /replica/],
    ['replicas 0', { path, options: { replicas: '0' } }, /replicas/],
    ['replicas above the workers', { path, options: { replicas: '2' } }, /replicas.*2.*1/],
    ['a batch size that is no number', { path, options: { batchSize: 'many' } }, /batchSize/],
    ['a boolean that is none', { path, options: { verify: 'perhaps' } }, /verify/],
    ['a bandwidth of nothing', { path, options: { bandwidth: '0' } }, /bandwidth/],
    ['a bandwidth of another unit', { path, options: { bandwidth: '10 parsecs' } }, /bandwidth/],
    ['a broken regex', { path, options: { fileFilterRegx: '(' } }, /fileFilterRegx/],
    ['options that are no object', { path, options: 'verify' }, /options/],
  ])('%s', async (_name, body, message) => {
    const answer = await submitRaw(api, body);
    expect(answer.status).toBe(400);
    expect(answer.json()).toEqual({
      statusCode: 'INVALID_ARGUMENT',
      message: expect.stringMatching(message),
      code: expect.stringMatching(/^[A-Z_]+$/),
    });
  });

  it('a body beyond the limit is 413', async () => {
    const answer = await submitRaw(api, { path: `s3://demo/${'x'.repeat(2 * MiB)}` });
    expect(answer.status).toBe(413);
  });

  it('progress and stop of what is not known', async () => {
    for (const answer of [await progress(api, 's3://demo/never/'), await stop(api, 's3://demo/never/')]) {
      expect(answer.status).toBe(404);
      expect(answer.json()).toMatchObject({
        statusCode: 'NOT_FOUND',
        message: expect.stringContaining('s3://demo/never/'),
      });
    }
    expect((await call(api, 'GET', '/api/v1/master/progress_job/load?path=s3://demo/data/&format=XML')).status).toBe(
      400,
    );
    expect((await list(api, '&job-state=SLEEPING')).status).toBe(400);
    expect((await call(api, 'GET', '/api/v1/master/list_job?job-type=COPY')).status).toBe(400);
    expect((await call(api, 'GET', '/api/v9/nothing')).status).toBe(404);
  });
});

describe('what the origin refuses fails the job, named', () => {
  it.each([
    ['a bucket that is not there', 's3://nobucket/x/', /nobucket/],
    ['a key that is not there', 's3://demo/none.bin', /none\.bin/],
  ])('%s', async (_name, missing, message) => {
    const answer = await submit(api, missing);
    expect(answer.status).toBe(200);
    const report = await ended(api, missing);
    expect(report.mJobState).toBe('FAILED');
    expect(JSON.stringify([report.reason, report.mFailedFilesWithReasons])).toMatch(message);
  });
});
