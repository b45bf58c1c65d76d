/** Two loads on one worker, while the origin is slow: each has its share by weight, at the origin's own account. */
import { afterEach, expect, it } from 'vitest';
import { KiB } from '../../src/core/units.ts';
import { ended, progress, submit } from '../support/api.ts';
import { openScene, type Scene } from '../support/scene.ts';

let scene: Scene | undefined;
afterEach(async () => {
  await scene?.close();
  scene = undefined;
});

const env = {
  PRIMED_WORKER_MEMORY_BUDGET: '64MB',
  PRIMED_WORKER_LANES: '1',
  PRIMED_WORKER_PART_SIZE: '1MB',
  PRIMED_WORKER_SMALL_OBJECT_MAX: '64KB',
};

it.each([
  // 19 slots, one for each object, and each object takes half a second of a connection
  { kind: 'large', sizeBytes: 128 * KiB, count: 500, counted: 300, knobs: { connectionBytesPerSecond: 256 * KiB } },
  // 64 sockets for the many objects of each slot
  { kind: 'small', sizeBytes: 2 * KiB, count: 6000, counted: 3000, knobs: { latencyMs: 40 } },
])('$kind objects: of two loads with priorities 10 and 40, the second is given four fifths', async (sort) => {
  const { sizeBytes, count, counted, knobs } = sort;
  const objects = ['low', 'high'].flatMap((name) =>
    Array.from({ length: count }, (_, n) => ({ key: `${name}/${n}`, sizeBytes })),
  );
  scene = await openScene({ origin: { objects, logLimit: 100_000 }, daemon: { env } });
  const { origin, daemon } = scene;
  origin.setKnobs(knobs);
  const paths = ['s3://demo/low/', 's3://demo/high/'] as const;
  expect((await submit(daemon.api, paths[0], { priority: '10' })).status).toBe(200);
  expect((await submit(daemon.api, paths[1], { priority: 40 })).status).toBe(200);
  const got = (name: string) =>
    origin.requests.filter((one) => one.operation === 'GetObject' && one.key?.startsWith(`${name}/`) === true);
  // The first one was alone until now: what it had before is not counted.
  await expect
    .poll(() => Math.min(got('low').length, got('high').length), { timeout: 30_000, interval: 10 })
    .toBeGreaterThan(30);
  origin.resetStats();
  await expect
    .poll(() => got('low').length + got('high').length, { timeout: 60_000, interval: 5 })
    .toBeGreaterThan(counted);
  const [low, high] = ['low', 'high'].map((name) => got(name).reduce((sum, { bytesSent }) => sum + bytesSent, 0));
  for (const path of paths) expect((await progress(daemon.api, path)).json().mJobState).toBe('RUNNING');
  expect(high! / (low! + high!)).toBeGreaterThan(0.72);
  expect(high! / (low! + high!)).toBeLessThan(0.88);
  origin.setKnobs({});
  for (const path of paths)
    expect(await ended(daemon.api, path)).toMatchObject({
      mJobState: 'SUCCEEDED',
      mLoadedByteCount: count * sizeBytes,
    });
});
