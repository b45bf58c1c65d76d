/** The limit on a load's reads from the origin, as the counter of received bytes shows it from moment to moment. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { KiB, MiB } from '../../src/core/units.ts';
import { call, ended, progress, submit } from '../support/api.ts';
import { largestShare, type Reading, readCounter } from '../support/rates.ts';
import { openScene, type Scene } from '../support/scene.ts';

let scene: Scene;
beforeAll(async () => {
  scene = await openScene({ origin: { objects: [] } });
});
afterAll(() => scene?.close());

const counter = (): Promise<Reading> =>
  readCounter(`http://127.0.0.1:${scene.daemon.ports.http}`, 'primed_origin_bytes_total');

/** Loads under a limit; readings of the counter before, meanwhile, and after. */
async function readingsOf(path: string, bandwidth: string): Promise<Reading[]> {
  const readings = [await counter()];
  expect((await submit(scene.daemon.api, path, { bandwidth })).status).toBe(200);
  let over = false;
  const end = ended(scene.daemon.api, path).finally(() => {
    over = true;
  });
  while (!over) {
    await sleep(20);
    readings.push(await counter());
  }
  expect(await end).toMatchObject({ mJobState: 'SUCCEEDED' });
  readings.push(await counter());
  return readings;
}

const objectsBelow = (prefix: string, count: number, sizeBytes: number) =>
  Array.from({ length: count }, (_, index) => ({ key: `${prefix}${index}`, sizeBytes }));

it.each([
  ['large files', objectsBelow('large/', 5, 9 * MiB), 15],
  ['small files', objectsBelow('small/', 500, 20 * KiB), 4],
])('%s: no window of a second or more brings more than 1.05 of the limit', async (_name, objects, mib) => {
  for (const one of objects) scene.origin.add(one);
  const path = `s3://demo/${objects[0]!.key.split('/')[0]}/`;
  const readings = await readingsOf(path, `${mib}MB`);
  const totalBytes = objects.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  expect(readings.at(-1)!.count - readings[0]!.count).toBe(totalBytes);
  const { share, windows } = largestShare(readings, mib * MiB);
  expect(windows).toBeGreaterThan(50);
  expect(share).toBeLessThanOrEqual(1.05);
});

it('a limit that is set while the load runs holds from then on, over a restart too, and can be lifted', async () => {
  for (const one of objectsBelow('later/', 8, 4 * MiB)) scene.origin.add(one);
  const path = 's3://demo/later/';
  expect((await submit(scene.daemon.api, path, { bandwidth: '2MB' })).status).toBe(200);
  const limit = (bandwidth: string) =>
    call(scene.daemon.api, 'POST', '/api/v1/master/limit_job/load', { path, bandwidth });
  const changed = await limit('4MB');
  expect([changed.status, changed.json().message]).toEqual([200, expect.stringContaining('4096.00KB/s')]);
  await scene.daemon.kill();
  await scene.restart();
  expect((await progress(scene.daemon.api, path)).json()).toMatchObject({ mJobState: 'RUNNING', mBandwidth: 4 * MiB });
  const readings = [await counter()];
  while (readings.at(-1)!.count < 8 * MiB) readings.push(await counter());
  expect(largestShare(readings, 4 * MiB).share).toBeLessThanOrEqual(1.05);
  expect((await limit('none')).status).toBe(200);
  expect(await ended(scene.daemon.api, path)).toMatchObject({ mJobState: 'SUCCEEDED', mLoadedByteCount: 32 * MiB });
  expect((await limit('4MB')).status).toBe(404);
});
