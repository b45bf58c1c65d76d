import { afterAll, beforeAll, expect, test } from 'vitest';
import type { SpawnedOrigin } from '../../../src/demo/origin/api.ts';
import { expectContent, smallDataset } from '../../support/origin.ts';
import { spawnTestOrigin } from '../../support/spawned-origin.ts';

let origin: SpawnedOrigin;
beforeAll(async () => {
  origin = await spawnTestOrigin({ objects: smallDataset });
});
afterAll(() => origin.close());

test('an origin in another process serves, is told faults, and counts', async () => {
  expect(origin.pid).not.toBe(process.pid);
  const object = smallDataset.find(({ key }) => key === 'data/odd.bin')!;
  const url = `${origin.endpoint}/${origin.bucket}/${object.key}`;
  expectContent(new Uint8Array(await (await fetch(url)).arrayBuffer()), object);
  const id = await origin.setFault({ fault: { kind: 'status', status: 503 }, times: 1 });
  expect((await fetch(url)).status).toBe(503);
  expect(await origin.fired(id)).toBe(1);
  await origin.put({ key: 'index.txt', body: 's3://demo/data/\n' });
  expect(await (await fetch(`${origin.endpoint}/demo/index.txt`)).text()).toBe('s3://demo/data/\n');
  expect(await origin.bump({ key: 'data/one.bin' })).toBe(2);
  expect(await origin.remove({ key: 'nothing' })).toBe(false);
  expect(await origin.stats()).toMatchObject({ requests: 3, byStatus: { 200: 2, 503: 1 } });
  expect(await origin.requestLog()).toHaveLength(3);
  expect(await origin.cpuSeconds()).toBeGreaterThan(0);
});

test('what fails over there is an error here', async () => {
  await expect(origin.setFault({ fault: { kind: 'vanish' }, keyPattern: '(' })).rejects.toThrow(
    'Invalid regular expression',
  );
  await expect(spawnTestOrigin({ port: origin.port })).rejects.toThrow('EADDRINUSE');
});

test('a process that dies rejects what is asked of it, and can still be closed', async () => {
  const doomed = await spawnTestOrigin();
  process.kill(doomed.pid, 'SIGKILL');
  await expect(doomed.stats()).rejects.toThrow(/origin process/);
  await doomed.close();
});
