/** Limits and pins that a coordinator keeps for itself: changes that come at once are none of them lost, nor taken for one. */
import { setImmediate } from 'node:timers/promises';
import { afterAll, expect, it } from 'vitest';
import { openLimitsStore } from '../../../src/cluster/limits-store.ts';
import { makeLimit } from '../../../src/core/origin-limits.ts';
import { temporaryFolder } from '../../support/files.ts';

const folder = temporaryFolder('limits-store');
afterAll(() => folder.remove());

it('each of many changes that come while others are written is made of the ones before, and has a version of its own', async () => {
  const store = openLimitsStore(folder.path);
  const versions = new Set<number>();
  const changes: Promise<unknown>[] = [];
  for (let change = 0; change < 40; change += 1) {
    const done = store.update('s3://b', (before) =>
      makeLimit('s3://b', { requestsPerSecond: (before?.requestsPerSecond ?? 0) + 1 }),
    );
    changes.push(done.then(() => versions.add(store.version)));
    if (change % 3 === 0) await setImmediate();
  }
  await Promise.all(changes);
  expect(store.all()).toEqual([makeLimit('s3://b', { requestsPerSecond: 40 })]);
  expect(store.version).toBe(40);
  await expect(
    store.update('s3://b', () => {
      throw new Error('refused');
    }),
  ).rejects.toThrow('refused');
  await store.remove('s3://b');
  expect({ version: store.version, rows: store.all() }).toEqual({ version: 41, rows: [] });
  await store.close();
});
