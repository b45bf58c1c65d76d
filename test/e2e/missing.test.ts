/** What a user is told of a bucket or a key that the origin does not have: on the command line, and by REST. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { ended, type Json, list, progress, submit, submitRaw } from '../support/api.ts';
import { primed } from '../support/cli.ts';
import { openScene, type Scene } from '../support/scene.ts';

let scene: Scene;
let api: string;

beforeAll(async () => {
  scene = await openScene({
    origin: { objects: [{ key: 'there.bin', sizeBytes: 5000 }] },
    daemon: { storeSize: '64MB' },
  });
  api = scene.daemon.api;
});
afterAll(() => scene?.close());

/** Fails unless the text names the object, the status, S3's code, and a request id that the origin gave with it. */
function expectFacts(text: string, { path, code }: { path: string; code: string }): void {
  expect(text).toContain(path);
  const facts = new RegExp(`\\(HTTP 404, code ${code}, request id ([0-9A-F]{16})\\)`).exec(text);
  expect(facts, text).not.toBeNull();
  expect(scene.origin.requests.find((one) => one.requestId === facts![1])).toMatchObject({ status: 404 });
}

/** `path: reason` of each failed file. */
const failuresOf = (report: Json): string[] =>
  Object.entries(report.mFailedFilesWithReasons).map(([path, reason]) => `${path}: ${reason}`);

it.each([
  ['a prefix in a bucket that is not there', 's3://nowhere/data/', 'NoSuchBucket'],
  ['an object in a bucket that is not there', 's3://nowhere/data/x.bin', 'NoSuchBucket'],
  ['an object that is not there', 's3://demo/data/missing file.bin', 'NoSuchKey'],
])('%s', async (_name, path, code) => {
  const followed = await primed(api, ['job', 'load', path]);
  expect(followed.code).toBe(1);
  expectFacts(followed.stdout, { path, code });
  const said = await primed(api, ['job', 'load', path, '--progress', '--verbose']);
  expect(said.stdout).toContain('\tJob State: FAILED (');
  expectFacts(said.stdout, { path, code });

  const report = (await progress(api, path)).json();
  expect(report.mJobState).toBe('FAILED');
  expectFacts(JSON.stringify([report.reason, report.mFailedFilesWithReasons]), { path, code });
  expectFacts((await progress(api, path, 'TEXT')).text, { path, code });
  const row = (await list(api)).json().find((one: { path: string }) => one.path === path);
  expect(row).toMatchObject({ state: 'FAILED' });
});

it('an object that vanished between the listing and the load', async () => {
  const path = 's3://demo/gone/';
  const key = 'gone/x.bin';
  scene.origin.add({ key, sizeBytes: 5000 });
  const rule = scene.origin.setFault({ fault: { kind: 'vanish' }, key, times: 1 });
  await submit(api, path);
  const report = await ended(api, path);
  expect(scene.origin.fired(rule)).toBe(1);
  expect(report).toMatchObject({ mJobState: 'FAILED', mFailedFileCount: 1 });
  expectFacts(failuresOf(report)[0]!, { path: `s3://demo/${key}`, code: 'NoSuchKey' });
  const said = await primed(api, ['job', 'load', path, '--progress', '--verbose']);
  expectFacts(said.stdout, { path: `\t\ts3://demo/${key}: `, code: 'NoSuchKey' });
});

it('a line of an index file', async () => {
  const indexFile = 's3://demo/lists/some.txt';
  scene.origin.put({
    key: 'lists/some.txt',
    body: 's3://demo/there.bin\ns3://demo/not there.bin\ns3://nowhere/x.bin\n',
  });
  await submitRaw(api, { indexFile });
  const report = await ended(api, indexFile);
  expect(report).toMatchObject({ mJobState: 'FAILED', loadedFiles: 1, mFailedFileCount: 2 });
  const [key, bucket] = failuresOf(report).sort();
  expectFacts(key!, { path: 's3://demo/not there.bin', code: 'NoSuchKey' });
  expectFacts(bucket!, { path: 's3://nowhere/x.bin', code: 'NoSuchBucket' });
});

it('an index file that is not there', async () => {
  const indexFile = 's3://demo/lists/none.txt';
  await submitRaw(api, { indexFile });
  const report = await ended(api, indexFile);
  expect(report.mJobState).toBe('FAILED');
  expectFacts(report.reason, { path: indexFile, code: 'NoSuchKey' });
});
