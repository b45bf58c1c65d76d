/** Files about which the origin is silent do not keep healthy ones waiting, however many they are. */
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { KiB, MiB } from '../../src/core/units.ts';
import type { Fault } from '../../src/demo/origin/faults.ts';
import { ended, loaded, progress, submit } from '../support/api.ts';
import { openScene, type Scene } from '../support/scene.ts';

/** Of a patient request; a hasty one has an eighth of it. */
const patience = '8s';
let scene: Scene;
let api: string;
beforeAll(async () => {
  scene = await openScene({
    origin: { objects: [], logLimit: 20_000 },
    daemon: {
      storeSize: '2GB',
      env: {
        PRIMED_INGEST_FIRST_BYTE_TIMEOUT: '8s',
        PRIMED_INGEST_STALL_TIMEOUT: patience,
        PRIMED_WORKER_MEMORY_BUDGET: '96MB',
        PRIMED_WORKER_SOCKETS_PER_LANE: '4',
        PRIMED_WORKER_LANES: '1',
      },
    },
  });
  api = scene.daemon.api;
});
afterAll(() => scene?.close());
beforeEach(() => scene.origin.clearFaults());

const kinds: [string, Fault, number][] = [
  ['small ones, silent after the head', { kind: 'stall', afterBytes: 0 }, 30 * KiB],
  ['large ones, silent in the body', { kind: 'stall', afterBytes: 5000 }, 9 * MiB],
];

it.each(kinds)('%s', async (name, fault, sizeBytes) => {
  const prefix = `${name.slice(0, 5)}/`;
  // The silent ones come first: more than there are sockets, slots, and files with the worker.
  const silent = Array.from({ length: 24 }, (_, n) => ({ key: `${prefix}a-${100 + n}`, sizeBytes }));
  const healthy = Array.from({ length: 40 }, (_, n) => ({ key: `${prefix}b-${100 + n}`, sizeBytes }));
  for (const one of [...silent, ...healthy]) scene.origin.add(one);
  const rule = scene.origin.setFault({ fault, keyPattern: `^${prefix}a-` });
  const path = `s3://demo/${prefix}`;
  expect((await submit(api, path, { batchSize: '4' })).status).toBe(200);
  await expect
    .poll(async () => (await progress(api, path)).json().loadedFiles, { timeout: 90_000, interval: 20 })
    .toBe(healthy.length);
  expect(scene.origin.fired(rule)).toBeGreaterThanOrEqual(silent.length);
  // Silence ends, and what was set aside is loaded too.
  scene.origin.clearFaults();
  scene.origin.dropConnections();
  const report = await ended(api, path);
  expect(report).toMatchObject({ mJobState: 'SUCCEEDED', loadedFiles: 64, mLoadedByteCount: 64 * sizeBytes });
  expect(report.ledger).toMatchObject({ cachedBytes: 64 * sizeBytes, inFlightBytes: 0 });
  await scene.readBack([silent[0]!, silent.at(-1)!, healthy[0]!]);
});

it('a file of many parts that is silent in one keeps what arrived of the others', async () => {
  const key = 'parts/large';
  const sizeBytes = 60 * MiB;
  scene.origin.add({ key, sizeBytes });
  scene.origin.resetStats();
  const rangeFrom = { from: 16 * MiB, to: 17 * MiB };
  const rule = scene.origin.setFault({ fault: { kind: 'stall', afterBytes: 100 }, key, rangeFrom, times: 1 });
  const report = await loaded(api, 's3://demo/parts/');
  expect(scene.origin.fired(rule)).toBe(1);
  expect(report).toMatchObject({ loadedFiles: 1, skippedFiles: 0, mLoadedByteCount: sizeBytes, mSkippedByteCount: 0 });
  expect(report.ledger.cachedBytes).toBe(sizeBytes);
  const gets = scene.origin.requests.filter((one) => one.operation === 'GetObject');
  expect(gets).toHaveLength(9);
  await scene.readBack([{ key, sizeBytes }]);
});
