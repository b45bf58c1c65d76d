import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { HeadObjectCommand } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { KiB, MiB } from '../../src/core/units.ts';
import { check, ended, fs, loaded, progress, submit, submitRaw } from '../support/api.ts';
import { rawRequest } from '../support/raw-http.ts';
import { openScene, type Scene, s3Of } from '../support/scene.ts';

let scene: Scene;
let api: string;
const gets = () => scene.origin.requests.filter((one) => one.operation === 'GetObject');
const fetchedBytes = () => gets().reduce((sum, one) => sum + one.bytesSent, 0);
const objectsBelow = (prefix: string, count: number, sizeBytes: number) =>
  Array.from({ length: count }, (_, index) => ({ key: `${prefix}${String(index).padStart(5, '0')}.bin`, sizeBytes }));
function put(prefix: string, count: number, sizeBytes: number) {
  const objects = objectsBelow(prefix, count, sizeBytes);
  for (const one of objects) scene.origin.add(one);
  scene.origin.resetStats();
  return objects;
}

beforeAll(async () => {
  scene = await openScene({ origin: { objects: [] } });
  api = scene.daemon.api;
});
afterAll(() => scene?.close());

it('loadMetadataOnly caches what list and head need, and no data', async () => {
  const objects = put('meta/', 5, 100 * KiB);
  const report = await loaded(api, 's3://demo/meta/', { loadMetadataOnly: 'true' });
  expect(report).toMatchObject({ mMetadataOnly: true, mProcessedFileCount: 5, mLoadedByteCount: 0 });
  expect(gets()).toHaveLength(0);
  const asked = scene.origin.stats().requests;
  const client = s3Of(scene.daemon);
  const head = await client.send(new HeadObjectCommand({ Bucket: 'demo', Key: objects[0]!.key }));
  client.destroy();
  expect(head.ContentLength).toBe(100 * KiB);
  expect((await fs(api, 'stat', 's3://demo/meta')).json()).toMatchObject({
    files: 5,
    bytes: 500 * KiB,
    cachedFiles: 0,
    cachedBytes: 0,
  });
  expect((await rawRequest(scene.daemon.ports.s3, `/demo/${objects[0]!.key}`)).body.toString()).toContain(
    'FileNotCached',
  );
  expect(scene.origin.stats().requests).toBe(asked);
});

it('skipIfExists fetches what is missing or changed, and nothing else', async () => {
  const objects = put('skip/', 6, 50 * KiB);
  await loaded(api, 's3://demo/skip/');
  scene.origin.bump({ key: objects[2]!.key });
  scene.origin.add({ key: 'skip/new.bin', sizeBytes: 70 * KiB });
  scene.origin.resetStats();
  const report = await loaded(api, 's3://demo/skip/', { skipIfExists: 'true' });
  expect(report).toMatchObject({
    loadedFiles: 2,
    skippedFiles: 5,
    mSkippedByteCount: 250 * KiB,
    mLoadedByteCount: 120 * KiB,
  });
  expect(new Set(gets().map((one) => one.key))).toEqual(new Set([objects[2]!.key, 'skip/new.bin']));
  await scene.readBack([{ ...objects[2]!, version: 2 }, { key: 'skip/new.bin', sizeBytes: 70 * KiB }, objects[0]!]);
});

it('the filter keeps files whose base name matches the whole regex', async () => {
  for (const name of ['a.bin', 'a.bin.tmp', 'b.bin', 'deep/a.bin', 'a.bin/x'])
    scene.origin.add({ key: `filter/${name}`, sizeBytes: 10 });
  for (const name of ['fileFilterRegx', 'fileFilterRegex']) {
    scene.origin.resetStats();
    const report = await loaded(api, 's3://demo/filter/', { [name]: 'a\\.(bin|txt)' });
    expect(report).toMatchObject({ mTotalFileCount: 2, scannedFiles: 5 });
    expect(new Set(gets().map((one) => one.key))).toEqual(new Set(['filter/a.bin', 'filter/deep/a.bin']));
  }
});

it('bandwidth limits what is read from the origin', async () => {
  put('slow/', 4, 4 * MiB);
  const report = await loaded(api, 's3://demo/slow/', { bandwidth: '4MB' });
  expect(report.mBandwidth).toBe(4 * MiB);
  // 16 MiB at 4 MiB/s: at most one second's worth may come at once, the rest lasts 3 s.
  const requests = gets();
  const from = Math.min(...requests.map((one) => one.at));
  const to = Math.max(...requests.map((one) => one.at + one.durationMs));
  expect(to - from).toBeGreaterThan(2900);
});

it('partialListing loads while the listing goes on, and leaves totals away until it ends', async () => {
  put('many/', 2500, 100);
  // The third page of the listing does not come before this test has looked: its first request gets no answer.
  const rule = scene.origin.setFault({
    fault: { kind: 'stall' },
    operation: 'ListObjectsV2',
    skip: 2,
    times: 1,
  });
  expect((await submit(api, 's3://demo/many/', { partialListing: 'true' })).status).toBe(200);
  await expect
    .poll(async () => (await progress(api, 's3://demo/many/')).json().mProcessedFileCount, { timeout: 10_000 })
    .toBeGreaterThan(0);
  const during = (await progress(api, 's3://demo/many/')).json();
  expect(during.listingDone).toBe(false);
  expect(during).not.toHaveProperty('mTotalFileCount');
  expect((await progress(api, 's3://demo/many/', 'TEXT')).text).not.toMatch(/Files Processed: .* out of/);
  expect(scene.origin.fired(rule)).toBe(1);
  scene.origin.dropConnections();
  expect(await ended(api, 's3://demo/many/')).toMatchObject({ mJobState: 'SUCCEEDED', mTotalFileCount: 2500 });
});

it('without partialListing nothing is loaded before the listing has ended', async () => {
  put('whole/', 2500, 100);
  await loaded(api, 's3://demo/whole/', { partialListing: 'false' });
  const listings = scene.origin.requests.filter((one) => one.operation === 'ListObjectsV2');
  const lastListing = Math.max(...listings.map((one) => one.sequence));
  expect(listings.length).toBeGreaterThan(1);
  expect(Math.min(...gets().map((one) => one.sequence))).toBeGreaterThan(lastListing);
});

it('batchSize bounds the files that are with the worker', async () => {
  put('batch/', 60, 20 * KiB);
  scene.origin.setKnobs({ latencyMs: 20 });
  const most: number[] = [];
  for (const batchSize of ['2', '60']) {
    scene.origin.resetStats();
    await loaded(api, 's3://demo/batch/', { batchSize });
    expect(scene.origin.stats().byOperation.GetObject).toBe(60);
    most.push(scene.origin.stats().peakInFlight);
  }
  scene.origin.setKnobs({ latencyMs: 0 });
  // Two batches are with the worker at once, so that it never waits for the next one.
  expect(most[0]).toBeLessThanOrEqual(4);
  expect(most[1]).toBeGreaterThan(4);
});

it('verify reads everything back, and loads what is new or changed since', async () => {
  const objects = put('verify/', 4, MiB + 5);
  // The last file is held until the others are loaded and the origin has changed: only verification can find that.
  const rule = scene.origin.setFault({
    fault: { kind: 'stall' },
    operation: 'GetObject',
    key: objects[3]!.key,
    times: 1,
  });
  expect((await submit(api, 's3://demo/verify/', { verify: 'true' })).status).toBe(200);
  const report = async () => (await progress(api, 's3://demo/verify/')).json();
  await expect.poll(async () => (await report()).loadedFiles, { timeout: 10_000 }).toBe(3);
  expect(scene.origin.fired(rule)).toBe(1);
  scene.origin.add({ key: 'verify/late.bin', sizeBytes: 3 * KiB });
  scene.origin.bump({ key: objects[0]!.key });
  expect(await report()).toMatchObject({ mJobState: 'RUNNING', listingDone: true, mTotalFileCount: 4 });
  scene.origin.dropConnections();
  expect(await ended(api, 's3://demo/verify/')).toMatchObject({
    mJobState: 'SUCCEEDED',
    mVerificationEnabled: true,
    verifiedFiles: 5,
    verifiedBytes: 4 * (MiB + 5) + 3 * KiB,
  });
  await scene.readBack([
    { ...objects[0]!, version: 2 },
    ...objects.slice(1),
    { key: 'verify/late.bin', sizeBytes: 3 * KiB },
  ]);
});

describe('what was corrupted on the way, where the origin states a checksum of the whole', () => {
  it('once: verify finds it, loads it anew, and the job succeeds', async () => {
    const [object] = put('corrupt/', 1, 300 * KiB);
    const rule = scene.origin.setFault({ fault: { kind: 'corrupt', atByte: 1000 }, key: object!.key, times: 1 });
    const report = await loaded(api, 's3://demo/corrupt/', { verify: 'true' });
    expect(scene.origin.fired(rule)).toBe(1);
    expect(report).toMatchObject({ verifiedFiles: 1, mFailedFileCount: 0 });
    expect(gets()).toHaveLength(2);
    expect(scene.daemon.log()).toMatch(/whole-object checksum.*loaded anew/);
    await scene.readBack([object!]);
  });

  it('each time: the job fails and names the file and its checksum, and the file is not served', async () => {
    const [object, other] = put('corrupted/', 2, 300 * KiB);
    const rule = scene.origin.setFault({ fault: { kind: 'corrupt', atByte: 1000 }, key: object!.key });
    await submit(api, 's3://demo/corrupted/', { verify: 'true' });
    const report = await ended(api, 's3://demo/corrupted/');
    scene.origin.clearFaults();
    expect(scene.origin.fired(rule)).toBe(2);
    expect(report).toMatchObject({ mJobState: 'FAILED', mFailedFileCount: 1, verifiedFiles: 1 });
    expect(report.mFailedFilesWithReasons).toEqual({
      [`s3://demo/${object!.key}`]: expect.stringMatching(/whole-object checksum/),
    });
    await scene.readBack([other!]);
    expect((await rawRequest(scene.daemon.ports.s3, `/demo/${object!.key}`)).status).toBe(404);

    await loaded(api, 's3://demo/corrupted/', { verify: 'true', skipIfExists: 'true' });
    await scene.readBack([object!, other!]);
  });
});

it('an index file names files and directories, in the UFS or on the coordinator', async () => {
  const objects = [...put('idx/a/', 3, 5000), ...put('idx/b/', 2, 6000)];
  const lines = `s3://demo/idx/a/\n\ns3://demo/${objects[3]!.key}\n`;
  scene.origin.put({ key: 'lists/one.txt', body: lines });
  const local = join(scene.dataDir, '..', 'two.txt');
  writeFileSync(local, lines);
  for (const indexFile of ['s3://demo/lists/one.txt', local]) {
    scene.origin.resetStats();
    const answer = await submitRaw(api, { indexFile, options: {} });
    expect([indexFile, answer.status, answer.text]).toEqual([indexFile, 200, expect.any(String)]);
    const report = await ended(api, indexFile);
    expect(report).toMatchObject({ mJobState: 'SUCCEEDED', mTotalFileCount: 4 });
    await scene.readBack(objects.slice(0, 4));
  }
});

it('a line of an index file that names nothing fails that line, and the job', async () => {
  put('idx2/', 2, 5000);
  scene.origin.put({ key: 'lists/bad.txt', body: 's3://demo/idx2/\ns3://demo/idx2/missing.bin\n' });
  await submitRaw(api, { indexFile: 's3://demo/lists/bad.txt' });
  const report = await ended(api, 's3://demo/lists/bad.txt');
  expect(report).toMatchObject({ mJobState: 'FAILED', mFailedFileCount: 1, loadedFiles: 2 });
  expect(JSON.stringify(report.mFailedFilesWithReasons)).toContain('s3://demo/idx2/missing.bin');
});

it('a path that is a key and a prefix: without the slash the key, with it what lies below', async () => {
  scene.origin.add({ key: 'both', sizeBytes: 11 });
  scene.origin.add({ key: 'both/x', sizeBytes: 22 });
  expect(await loaded(api, 's3://demo/both')).toMatchObject({ mTotalFileCount: 1, mTotalByteCount: 11 });
  expect(await loaded(api, 's3://demo/both/')).toMatchObject({ mTotalFileCount: 1, mTotalByteCount: 22 });
});

it('a load that needs more than there is room for is refused with both numbers, and changes nothing', async () => {
  scene.origin.add({ key: 'huge/x.bin', sizeBytes: 4096 * MiB });
  scene.origin.resetStats();
  await submit(api, 's3://demo/huge/');
  const report = await ended(api, 's3://demo/huge/');
  expect(report).toMatchObject({
    mJobState: 'FAILED',
    reason: expect.stringMatching(
      /: the load needs 4294967296 bytes, \d+ are free \(4096\.00MB needed, [\d.]+MB free of [\d.]+MB\)/,
    ),
  });
  expect(fetchedBytes()).toBe(0);
  expect(await check(api, 's3://demo/skip/')).toMatchObject({ ok: true, checkedFiles: 7 });
});
