/** The disk of `data_dir` is full for a while: what has to be written down is refused with the reason, and nothing ends. */
import { execFileSync } from 'node:child_process';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { call, loaded, submit } from '../support/api.ts';
import { openScene, type Scene } from '../support/scene.ts';

const path = 's3://demo/data/sub/';
let scene: Scene;

beforeAll(async () => {
  scene = await openScene();
});
afterAll(() => scene?.close());

/** Behind so many bytes no file of the daemon can be written: EFBIG, in the place of ENOSPC. */
function limitFiles(most: number | 'unlimited'): void {
  execFileSync('prlimit', ['--pid', String(scene.daemon.pid), `--fsize=${most}:unlimited`]);
}

it('jobs and limits are refused, the daemon stays, and goes on when there is room again', async () => {
  const { api, log } = scene.daemon;
  const limit = () => call(api, 'PUT', '/api/v1/ufs/limit', { path: 's3://demo', bandwidth: '1GB' });
  limitFiles(16 * 1024);
  const refused = await submit(api, path);
  expect([refused.status, refused.text]).toEqual([
    500,
    expect.stringMatching(
      /could not be made durable: the job store in .* could not be written: .*too large.*; free space/,
    ),
  ]);
  // Each of them is told: none waits for a commit that never comes.
  const limits = await Promise.all([limit(), limit()]);
  expect(limits.map(({ status, text }) => [status, text])).toEqual(
    Array(2).fill([500, expect.stringMatching(/the limits of origins .* could not be written: .*free space/)]),
  );
  expect((await call(api, 'GET', '/health/live')).status).toBe(200);
  limitFiles('unlimited');
  expect((await limit()).status).toBe(200);
  await loaded(api, path);
  expect(await scene.daemon.terminate()).toEqual({ code: 0, signal: null });
  expect(log()).not.toContain('because of a defect');
});
