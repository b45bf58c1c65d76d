/** A data folder that an earlier release has left (SIGKILL, with a load under way) is opened by this one: nothing is lost. */
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { GetObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { open } from 'lmdb';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { EmbeddedOrigin } from '../../src/demo/origin/api.ts';
import { contentOf, lastModifiedMs, sizes } from '../samples/contents.mjs';
import { call, check, ended, loaded } from '../support/api.ts';
import { type Daemon, spawnDaemon, startDaemon } from '../support/daemon.ts';
import { temporaryFolder } from '../support/files.ts';
import { originEnvironment, startTestOrigin } from '../support/origin.ts';
import { unpackSample } from '../support/sample.ts';

const folder = temporaryFolder('upgrade');
const dataDir = join(folder.path, 'data');
let origin: EmbeddedOrigin;
let daemon: Daemon;

const order = () => ({ dataDir, storeSize: '24MB', env: originEnvironment(origin) });
const originBytes = (): number => Object.values(origin.stats().bytesByKey).reduce((sum, bytes) => sum + bytes, 0);

beforeAll(async () => {
  origin = await startTestOrigin({ bucket: 'sample', objects: [] });
  for (const key of sizes.keys()) origin.put({ key, body: contentOf(key), lastModifiedMs });
  unpackSample('format-5', dataDir);
  daemon = await startDaemon(order());
});
afterAll(async () => {
  await daemon?.kill();
  await origin?.close();
  folder.remove();
});

async function expectServed(prefix: string): Promise<void> {
  const s3 = new S3Client({
    ...{ endpoint: daemon.s3, region: 'us-east-1', forcePathStyle: true },
    credentials: { accessKeyId: 'any', secretAccessKey: 'any' },
  });
  for (const key of [...sizes.keys()].filter((one) => one.startsWith(prefix))) {
    const { Body } = await s3.send(new GetObjectCommand({ Bucket: 'sample', Key: key }));
    expect([key, Buffer.from(await Body!.transformToByteArray()).equals(contentOf(key))]).toEqual([key, true]);
  }
  s3.destroy();
}

test('history and pins are there, the load that was under way ends, and only what was missing is fetched', async () => {
  expect(daemon.log()).toMatch(/"from":5,"format":6[^\n]*the index is brought to a newer format/);
  expect(daemon.log()).toMatch(/"from":1,"format":3[^\n]*the job store is brought to a newer format/);
  const late = await ended(daemon.api, 's3://sample/late/');
  expect(late.mJobState).toBe('SUCCEEDED');
  const jobs = (await call(daemon.api, 'GET', '/api/v1/master/list_job?job-type=ALL')).json();
  expect(jobs.map((job: { path: string; type: string; state: string }) => [job.path, job.type, job.state])).toEqual([
    ['s3://sample/late/', 'LOAD', 'SUCCEEDED'],
    ['s3://sample/half/', 'LOAD', 'STOPPED'],
    ['s3://sample/gone/', 'FREE', 'SUCCEEDED'],
    ['s3://sample/gone/', 'LOAD', 'SUCCEEDED'],
    ['s3://sample/data/', 'LOAD', 'SUCCEEDED'],
  ]);
  // Six of ten files were durable when the process was killed.
  expect(originBytes()).toBeLessThan(5 * 256 * 1024);
});

test('every byte is served and stands its checks; what is cached is not fetched again', async () => {
  const before = originBytes();
  await expectServed('data/');
  await expectServed('late/');
  expect(await check(daemon.api, 's3://sample/data/')).toMatchObject({ ok: true, checkedFiles: 22 });
  await loaded(daemon.api, 's3://sample/data/', { skipIfExists: true, verify: true });
  expect(originBytes()).toBe(before);
  // Of the stopped load 6 MiB of 8 were durable.
  await loaded(daemon.api, 's3://sample/half/');
  expect(originBytes() - before).toBe(2 * 1024 * 1024);
  await expectServed('half/');
});

test('what was kept of the upgrade is the way back', async () => {
  await daemon.terminate();
  const saidBefore = daemon.log().length;
  // As docs/OPERATIONS.md says it, with this program in place of the one before: which upgrades it again.
  for (const part of ['index', 'jobs'])
    renameSync(join(dataDir, part, 'before-upgrade.mdb'), join(dataDir, part, 'data.mdb'));
  rmSync(join(dataDir, 'index', 'ids'), { recursive: true });
  daemon = await startDaemon(order());
  expect(daemon.log().slice(saidBefore)).toContain('the index is brought to a newer format');
  await expectServed('data/');
  await daemon.terminate();
});

test.each([
  ['index', 'the index', 'format', 7, { encoding: 'json', keyEncoding: 'binary' } as const],
  ['jobs', 'the job store', 'format', 4, { encoding: 'msgpack' } as const],
])('a newer format of %s is refused with what to do, and not touched', async (part, what, key, newer, options) => {
  const file = join(dataDir, part, 'data.mdb');
  const own = readFileSync(file);
  const root = open({ path: join(dataDir, part), maxDbs: 12 });
  const meta = root.openDB<unknown, Buffer | string>({ name: 'meta', ...options });
  await meta.put('keyEncoding' in options ? Buffer.from(key) : key, newer);
  await root.close();
  const before = readFileSync(file);
  const refused = await spawnDaemon(order());
  expect(await refused.exited).toEqual({ code: 1, signal: null });
  expect(refused.log()).toContain(`primed: STORE_VERSION: ${what} in ${join(dataDir, part)} has format ${newer}`);
  expect(refused.log()).toContain('A newer primed has made it: install that again');
  expect(readFileSync(file).equals(before)).toBe(true);
  writeFileSync(file, own);
});
