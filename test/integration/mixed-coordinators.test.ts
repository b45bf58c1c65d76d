/** Several coordinators over a real etcd in the middle of an upgrade: a job goes from one release to the other, and back. */
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { KiB, MiB } from '../../src/core/units.ts';
import { ended, list, progress, submit } from '../support/api.ts';
import { placesOf, readBack, segmentBytes } from '../support/cluster.ts';
import { temporaryFolder } from '../support/files.ts';
import { listedBy } from '../support/origin.ts';
import { unpackRelease } from '../support/release.ts';
import { openSharedCluster, type SharedCluster, socketsPerWorker } from '../support/shared-cluster.ts';

/** Small against what is let through in a second, so that it is seen soon that a load goes on. */
const objects = [
  { key: 'data/large.bin', sizeBytes: 17 * MiB + 4097 },
  ...Array.from({ length: 60 }, (_, n) => ({ key: `data/middle-${n}.bin`, sizeBytes: MiB + n })),
  ...Array.from({ length: 60 }, (_, n) => ({ key: `data/small-${n}.bin`, sizeBytes: 16 * KiB + n })),
];
const totalBytes = objects.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
const path = 's3://demo/data/';
/** Longer than all that happens to it, on a busy machine too: 40 s. */
const slowly = { bytesPerSecond: 2 * MiB };
const inFlightBytes = 2 * socketsPerWorker * segmentBytes;
const eventually = { timeout: 60_000, interval: 50 };

const folder = temporaryFolder('release');
let old: string;
let cluster: SharedCluster | undefined;
beforeAll(() => {
  old = unpackRelease('protocol-3', folder.path);
});
afterEach(async () => {
  await cluster?.close();
  cluster = undefined;
});
afterAll(() => folder.remove());

/** The job has an end, which is the right one, and each coordinator knows it. */
async function expectWhole(mixed: SharedCluster): Promise<void> {
  const { origin, coordinators, workers } = mixed;
  origin.setKnobs({ bytesPerSecond: 0 });
  for (const { api } of coordinators.values())
    expect(await ended(api, path)).toMatchObject({
      ...{ mJobState: 'SUCCEEDED', mLoadedByteCount: totalBytes, mProcessedFileCount: objects.length },
      ledger: { inFlightBytes: 0, cachedBytes: totalBytes },
    });
  const sent = origin.requests.filter(({ operation }) => operation === 'GetObject');
  const sentBytes = sent.reduce((sum, { bytesSent }) => sum + bytesSent, 0);
  expect(sentBytes - totalBytes).toBeLessThanOrEqual(2 * inFlightBytes);
  const places = await placesOf(mixed, await listedBy(origin, 'data/'));
  expect(places.filter((ids) => ids.length !== 1)).toEqual([]);
  for (const id of workers.keys()) await readBack({ origin, workers, objects }, id);
}

test('a load of an old coordinator that is killed goes on with the new one, and the other way round', async () => {
  const mixed = await openSharedCluster({
    ...{ origin: { objects }, coordinators: ['a', 'b'], workers: ['w1', 'w2'] },
    executables: new Map([
      ['a', old],
      ['w1', old],
    ]),
  });
  cluster = mixed;
  const api = (id: string): string => mixed.coordinators.get(id)!.api;
  const cachedBy = async (id: string): Promise<number> =>
    (await progress(api(id), path)).json().ledger?.cachedBytes ?? 0;
  mixed.origin.resetStats();
  mixed.origin.setKnobs(slowly);
  expect((await submit(api('a'), path)).status).toBe(200);
  await expect.poll(() => cachedBy('b'), eventually).toBeGreaterThan(0);
  expect(mixed.owner()).toBe('a');
  const { jobId } = (await list(api('a'))).json()[0];

  const first = await cachedBy('b');
  await mixed.kill('a');
  await expect.poll(() => mixed.owner(), eventually).toBe('b');
  await expect.poll(() => cachedBy('b'), eventually).toBeGreaterThan(first);
  await mixed.startCoordinator('a');
  expect((await list(api('a'))).json()[0]).toMatchObject({ jobId, state: 'RUNNING' });
  const second = await cachedBy('a');
  expect(second).toBeLessThan(totalBytes);
  await mixed.kill('b');
  await expect.poll(() => mixed.owner(), eventually).toBe('a');
  await expect.poll(() => cachedBy('a'), eventually).toBeGreaterThan(second);
  await mixed.startCoordinator('b');
  await expectWhole(mixed);
  for (const { log } of [...mixed.coordinators.values(), ...mixed.workers.values()])
    expect(log()).not.toMatch(/makes no sense|INTERNAL/);
});
