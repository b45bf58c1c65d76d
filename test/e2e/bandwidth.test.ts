/** The limit on a load's reads from the origin, as the counter of received bytes shows it from moment to moment. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { KiB, MiB } from '../../src/core/units.ts';
import { call, ended, submit } from '../support/api.ts';
import { openScene, type Scene } from '../support/scene.ts';

let scene: Scene;
beforeAll(async () => {
  scene = await openScene({ origin: { objects: [] } });
});
afterAll(() => scene?.close());

/** A reading of the counter, which was taken at some time between `fromMs` and `toMs`. */
interface Reading {
  readonly fromMs: number;
  readonly toMs: number;
  readonly bytes: number;
}

async function readCounter(): Promise<Reading> {
  const fromMs = performance.now();
  const { text } = await call(`http://127.0.0.1:${scene.daemon.ports.http}`, 'GET', '/metrics');
  const toMs = performance.now();
  const value = /^primed_origin_bytes_total(?:\{[^}]*\})? (\S+)$/m.exec(text)![1];
  return { fromMs, toMs, bytes: Number(value) };
}

/** Loads under a limit; readings of the counter before, meanwhile, and after. */
async function readingsOf(path: string, bandwidth: string): Promise<Reading[]> {
  const readings = [await readCounter()];
  expect((await submit(scene.daemon.api, path, { bandwidth })).status).toBe(200);
  let over = false;
  const end = ended(scene.daemon.api, path).finally(() => {
    over = true;
  });
  while (!over) {
    await sleep(20);
    readings.push(await readCounter());
  }
  expect(await end).toMatchObject({ mJobState: 'SUCCEEDED' });
  readings.push(await readCounter());
  return readings;
}

/**
 * The largest share of the limit over all windows of at least 1 s between two readings. A window is taken as long as it
 * can have been, so that a machine that answers late makes the share smaller, never larger.
 */
function largestShare(readings: readonly Reading[], bytesPerSecond: number): { share: number; windows: number } {
  let share = 0;
  let windows = 0;
  for (const [index, first] of readings.entries()) {
    for (const last of readings.slice(index + 1)) {
      const longestMs = last.toMs - first.fromMs;
      if (longestMs < 1000) continue;
      windows += 1;
      share = Math.max(share, (last.bytes - first.bytes) / ((bytesPerSecond * longestMs) / 1000));
    }
  }
  return { share, windows };
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
  expect(readings.at(-1)!.bytes - readings[0]!.bytes).toBe(totalBytes);
  const { share, windows } = largestShare(readings, mib * MiB);
  expect(windows).toBeGreaterThan(50);
  expect(share).toBeLessThanOrEqual(1.05);
});
