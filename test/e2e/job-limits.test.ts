/** How many jobs run, wait and are remembered is the operator's to say. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { KiB } from '../../src/core/units.ts';
import { ended, type Json, list, loaded, progress, stop, submit } from '../support/api.ts';
import { openScene, type Scene } from '../support/scene.ts';

const names = ['a', 'b', 'c', 'd'] as const;
const pathOf = (name: string) => `s3://demo/${name}/`;
let scene: Scene;
let api: string;

beforeAll(async () => {
  scene = await openScene({
    origin: { objects: names.map((name) => ({ key: `${name}/x.bin`, sizeBytes: 10 * KiB })) },
    daemon: { env: { PRIMED_JOB_MAX_ACTIVE: '1', PRIMED_JOB_MAX_WAITING: '2', PRIMED_JOB_MAX_ENDED: '2' } },
  });
  api = scene.daemon.api;
});
afterAll(() => scene?.close());

const stateOf = async (name: string): Promise<string> => (await progress(api, pathOf(name))).json().mJobState;

it('one job runs, two wait, and one more is refused with both numbers until there is room', async () => {
  const rule = scene.origin.setFault({ fault: { kind: 'stall' }, key: 'a/x.bin' });
  for (const name of ['a', 'b', 'c']) expect((await submit(api, pathOf(name))).status).toBe(200);
  await expect.poll(() => scene.origin.fired(rule), { timeout: 10_000 }).toBe(1);
  expect([await stateOf('a'), await stateOf('b'), await stateOf('c')]).toEqual(['RUNNING', 'WAITING', 'WAITING']);
  const refused = await submit(api, pathOf('d'));
  expect(refused.status).toBe(429);
  expect(refused.json()).toEqual({
    statusCode: 'RESOURCE_EXHAUSTED',
    code: 'JOB_LIMIT',
    message: expect.stringMatching(/1 jobs run and 2 wait.*job\.max_active and job\.max_waiting/),
  });
  expect((await progress(api, pathOf('d'))).status).toBe(404);

  expect((await stop(api, pathOf('b'))).status).toBe(200);
  expect((await submit(api, pathOf('d'))).status).toBe(200);
  scene.origin.clearFaults();
  expect((await stop(api, pathOf('a'))).status).toBe(200);
  for (const name of ['c', 'd']) expect((await ended(api, pathOf(name))).mJobState).toBe('SUCCEEDED');
});

it('of ended jobs the last two are remembered', async () => {
  await loaded(api, pathOf('a'));
  const listed = async (): Promise<string[]> => (await list(api)).json().map(({ path }: Json) => path);
  // Those that are too many are removed when the service next looks.
  await expect.poll(listed, { timeout: 20_000 }).toEqual([pathOf('a'), pathOf('d')]);
  await scene.daemon.terminate();
  await scene.restart();
  expect(await listed()).toEqual([pathOf('a'), pathOf('d')]);
  expect((await progress(api, pathOf('c'))).status).toBe(404);
});
