/** Several coordinators over a real etcd in the middle of an upgrade: a job goes from one release to the other, and back. */
import { afterEach, expect, test } from 'vitest';
import { ended, list, progress, submit } from '../support/api.ts';
import { placesOf, readBack, segmentBytes } from '../support/cluster.ts';
import { eventually, held, letGo, objects, olderRelease, path, totalBytes, untilMore } from '../support/mixed.ts';
import { listedBy } from '../support/origin.ts';
import { openSharedCluster, type SharedCluster, socketsPerWorker } from '../support/shared-cluster.ts';

const inFlightBytes = 2 * socketsPerWorker * segmentBytes;
const old = olderRelease();
let cluster: SharedCluster | undefined;
afterEach(async () => {
  await cluster?.close();
  cluster = undefined;
});

/** The job has an end, which is the right one, and each coordinator knows it. */
async function expectWhole(mixed: SharedCluster): Promise<void> {
  const { origin, coordinators, workers } = mixed;
  letGo(origin);
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
      ['a', old()],
      ['w1', old()],
    ]),
  });
  cluster = mixed;
  const api = (id: string): string => mixed.coordinators.get(id)!.api;
  const cachedBy = async (id: string): Promise<number> =>
    (await progress(api(id), path)).json().ledger?.cachedBytes ?? 0;
  mixed.origin.resetStats();
  mixed.origin.setKnobs(held);
  expect((await submit(api('a'), path)).status).toBe(200);
  await untilMore(mixed.origin, () => cachedBy('b'), 0);
  expect(mixed.owner()).toBe('a');
  const { jobId } = (await list(api('a'))).json()[0];

  const first = await cachedBy('b');
  await mixed.kill('a');
  await expect.poll(() => mixed.owner(), eventually).toBe('b');
  await untilMore(mixed.origin, () => cachedBy('b'), first);
  await mixed.startCoordinator('a');
  expect((await list(api('a'))).json()[0]).toMatchObject({ jobId, state: 'RUNNING' });
  const second = await cachedBy('a');
  expect(second).toBeLessThan(totalBytes);
  await mixed.kill('b');
  await expect.poll(() => mixed.owner(), eventually).toBe('a');
  await untilMore(mixed.origin, () => cachedBy('a'), second);
  await mixed.startCoordinator('b');
  await expectWhole(mixed);
  for (const { log } of [...mixed.coordinators.values(), ...mixed.workers.values()])
    expect(log()).not.toMatch(/makes no sense|INTERNAL/);
});
