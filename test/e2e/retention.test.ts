/** How long an ended job stays listed: `job.retention`, by the clock of the wall, over restarts. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { list, loaded, progress } from '../support/api.ts';
import { openScene, type Scene } from '../support/scene.ts';

const path = 's3://demo/data/';
const objects = [{ key: 'data/x.bin', sizeBytes: 70_000 }];
let scene: Scene;
const listed = async (): Promise<{ jobId: string; endedAt: string }[]> => (await list(scene.daemon.api)).json();
const retention = (value: string) => ({ env: { PRIMED_JOB_RETENTION: value } });

beforeAll(async () => {
  scene = await openScene({ origin: { objects }, daemon: { storeSize: '64MB', ...retention('1h') } });
});
afterAll(() => scene?.close());

it('a restart keeps an ended job that is younger, and forgets one that is older; its files stay', async () => {
  const { jobId } = await loaded(scene.daemon.api, path);
  const [row] = await listed();
  expect(row).toMatchObject({ jobId });
  await expect.poll(() => Date.now(), { timeout: 10_000 }).toBeGreaterThan(Date.parse(row!.endedAt) + 1000);
  await scene.daemon.kill();
  await scene.restart();
  expect(await listed()).toEqual([row]);
  expect((await progress(scene.daemon.api, path)).json()).toMatchObject({ jobId, mJobState: 'SUCCEEDED' });

  await scene.daemon.terminate();
  await scene.restart(retention('1s'));
  expect(await listed()).toEqual([]);
  expect((await progress(scene.daemon.api, path)).status).toBe(404);
  await scene.readBack(objects);
});

it('a daemon that runs forgets an ended job when its time has come, and not before', async () => {
  await scene.daemon.terminate();
  await scene.restart(retention('2s'));
  const report = await loaded(scene.daemon.api, path, { skipIfExists: true });
  expect(report).toMatchObject({ skippedFiles: 1 });
  const endsMs = Date.parse(report.endedAt) + 2000;
  let lookedMs = 0;
  // The limit is far from the second in which it should happen, and far from a sweep that comes once a minute.
  await expect
    .poll(
      async () => {
        const rows = await listed();
        lookedMs = Date.now();
        return rows.length;
      },
      { timeout: 20_000, interval: 20 },
    )
    .toBe(0);
  expect(lookedMs).toBeGreaterThan(endsMs);
  expect((await progress(scene.daemon.api, path)).status).toBe(404);
});
