/** Every example of docs/API.md, run by a shell as it stands there. */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { GiB } from '../../src/core/units.ts';
import { call, ended, loaded } from '../support/api.ts';
import { run } from '../support/cli.ts';
import { smallDataset } from '../support/origin.ts';
import { openScene, type Scene } from '../support/scene.ts';

const document = readFileSync(new URL('../../docs/API.md', import.meta.url), 'utf8');
/** The commands of a section, each in one line. */
function examplesOf(section: string): string[] {
  const [, text] = document.split(`\n## ${section}`);
  const [, block] = /```sh\n(.*?)```/s.exec(text!)!;
  return block!.replaceAll('\\\n', ' ').trim().split('\n');
}

let scene: Scene;
beforeAll(async () => {
  scene = await openScene();
  scene.origin.add({ key: 'more/x.bin', sizeBytes: 10 });
});
afterAll(() => scene?.close());

async function shell(command: string): Promise<string> {
  const { daemon } = scene;
  const env = { API: daemon.api, WORKER: `http://127.0.0.1:${daemon.ports.http}` };
  const { code, stdout, stderr } = await run('sh', ['-c', command], env);
  expect([command, code, stderr]).toEqual([command, 0, '']);
  return stdout;
}

const notRunning = /might have already been stopped or finished|successfully stopped/;

it('second generation', async () => {
  const [submit, progress, list, stop] = examplesOf('Second generation') as [string, string, string, string];
  expect(JSON.parse(await shell(submit))).toMatchObject({ success: true });
  expect(await shell(progress)).toMatch(/^Progress for loading path 's3:\/\/demo\/data\/':\n/);
  expect(JSON.parse(await shell(list))).toMatchObject([{ type: 'LOAD', path: 's3://demo/data/' }]);
  expect(await shell(stop)).toMatch(notRunning);
});

it('first generation', async () => {
  const [submit, progress, stop] = examplesOf('First generation') as [string, string, string];
  expect(JSON.parse(await shell(submit))).toMatchObject({ success: true });
  expect(JSON.parse(await shell(progress)).jobState).toMatch(/RUNNING|SUCCEEDED/);
  expect(await shell(stop)).toMatch(notRunning);
});

it('third generation', async () => {
  const [submit, progress, list, stop] = examplesOf('Third generation') as [string, string, string, string];
  const { id, alias } = JSON.parse(await shell(submit));
  expect([typeof id, alias]).toEqual(['string', 'today']);
  expect(JSON.parse(await shell(progress))).toMatchObject({ id, alias: 'today' });
  expect(JSON.parse(await shell(list)).results[0]).toMatchObject({ id });
  expect(JSON.parse(await shell(stop)).status).toMatch(/successfully stopped|No job found\.\.\./);
});

it('free', async () => {
  await ended(scene.daemon.api, 's3://demo/data/');
  const [submit, progress, stop] = examplesOf('Free') as [string, string, string];
  expect(JSON.parse(await shell(submit))).toMatchObject({ success: true });
  expect(JSON.parse(await shell(progress))).toMatchObject({ type: 'FREE', dryRun: true });
  expect(await shell(stop)).toMatch(notRunning);
});

it('what failed, once more', async () => {
  const { api } = scene.daemon;
  const [retry] = examplesOf('What failed, once more') as [string];
  await ended(api, 's3://demo/data/');
  expect(JSON.parse(await shell(retry)).message).toMatch(/^No file of load [0-9a-f-]{36} failed/);

  const late = 's3://demo/late/a.bin';
  await call(api, 'POST', '/api/v1/load', { paths: [late, 's3://demo/more/x.bin'], alias: 'late' });
  expect(await ended(api, 'late')).toMatchObject({ mJobState: 'FAILED', mFailedFileCount: 1 });
  scene.origin.add({ key: 'late/a.bin', sizeBytes: 10 });
  const again = await call(api, 'POST', '/api/v1/master/retry_job/load', { job: 'late' });
  expect(again.json()).toMatchObject({ success: true, path: late });
  expect(await ended(api, late)).toMatchObject({ mJobState: 'SUCCEEDED', mProcessedFileCount: 1, loadedFiles: 1 });
});

it('pages and files', async () => {
  await loaded(scene.daemon.api, 's3://demo/data/');
  const commands = examplesOf('Pages and files');
  const [files, info, page, range, node, ufsInfo] = await Promise.all(commands.map(shell));
  const { key, sizeBytes } = smallDataset.find((one) => one.key === 'data/large.bin')!;
  expect(JSON.parse(files!).map(({ mPath }: { mPath: string }) => mPath)).toContain(`s3://demo/${key}`);
  expect(JSON.parse(info!)).toMatchObject([{ mLength: sizeBytes, mInAlluxioPercentage: 100 }]);
  expect([page!.length > 0, range!.length > page!.length]).toEqual([true, true]);
  expect(JSON.parse(node!).HttpServerPort).toBe(scene.daemon.ports.http);
  expect(JSON.parse(ufsInfo!)).toMatchObject({ 's3://demo/': { alluxio_path: '/demo' } });
});

it('pins', async () => {
  const [pin, pins, unpin] = examplesOf('Pins') as [string, string, string];
  const row = { path: 's3://demo/data/', pinned: true, pending: [] };
  expect(JSON.parse(await shell(pin))).toEqual(row);
  expect(JSON.parse(await shell(pins))).toEqual([row]);
  expect(JSON.parse(await shell(unpin))).toEqual({ ...row, pinned: false });
  expect(JSON.parse(await shell(pins))).toEqual([]);
});

it('sharing and limits', async () => {
  const [submit, limitJob, limitUfs, ufs] = examplesOf('Sharing and limits') as [string, string, string, string];
  expect(JSON.parse(await shell(submit))).toMatchObject({ success: true });
  expect(await shell(limitJob)).toMatch(/has the bandwidth limit unlimited|No load of '.*' is active/);
  const row = { origin: 's3://demo/', bytesPerSecond: 2 * GiB, requestsPerSecond: 500, source: 'set' };
  expect(JSON.parse(await shell(limitUfs))).toMatchObject(row);
  expect(JSON.parse(await shell(ufs))).toMatchObject([{ ...row, shares: [{ taker: 'local' }] }]);
});
