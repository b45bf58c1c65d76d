/**
 * kill -9 of the real binary at random moments of a load, again and again (KILL_ROUNDS, default 5). After each round every
 * byte is checked and read back, the ledger balances, and no byte that was durable at a kill was fetched after it.
 * The seed of a failed round is in the test's name: KILL_SEED repeats it.
 */
import { randomInt } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { GetObjectCommand } from '@aws-sdk/client-s3';
import { afterEach, describe, expect, it } from 'vitest';
import { seededRandom } from '../../src/core/random.ts';
import type { LoadId } from '../../src/core/types.ts';
import { KiB, MiB } from '../../src/core/units.ts';
import { firstDifference } from '../../src/demo/origin/content.ts';
import type { ObjectSpec } from '../../src/demo/origin/objects.ts';
import { check, ended, loaded, progress, submit } from '../support/api.ts';
import { bytesOf, type Durable, durableRanges, fetchedAgain } from '../support/durable.ts';
import { listedBy } from '../support/origin.ts';
import { openScene, type Scene, s3Of } from '../support/scene.ts';

const rounds = Number(process.env.KILL_ROUNDS ?? 5);
const firstSeed = Number(process.env.KILL_SEED ?? randomInt(1_000_000));
const storeBytes = 256 * MiB;
const path = 's3://demo/kill/';
const killsAtMost = 3;
/** About as long as a start lasts: some of these kills hit it, some the load that goes on behind it. */
const startMs = 600;

/** Kills that found something durable and something missing, over all rounds. */
let killsInTheMiddle = 0;
let scene: Scene | undefined;
afterEach(async () => {
  await scene?.close();
  scene = undefined;
});

describe.each(Array.from({ length: rounds }, (_, round) => firstSeed + round))('kill -9, KILL_SEED=%i', (seed) => {
  it('loses nothing, fetches nothing durable twice, and balances', async () => {
    const random = seededRandom(seed);
    // Every third round loads over an older version of everything.
    const version = seed % 3 === 0 ? 2 : 1;
    const objects = makeObjects(random, version);
    const totalBytes = objects.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    const older = objects.map((one) => ({ ...one, version: 1 }));
    scene = await openScene({
      origin: { objects: older, knobs: { bytesPerSecond: 120 * MiB }, logLimit: 100_000 },
      daemon: { storeSize: String(storeBytes) },
    });
    const { origin } = scene;
    if (version === 2) {
      await loaded(scene.daemon.api, path);
      for (const one of objects) origin.add(one);
    }
    const entries = await listedBy(origin, 'kill/');
    expect(entries).toHaveLength(objects.length);
    origin.resetStats();
    const { jobId } = (await submit(scene.daemon.api, path)).json();
    const loadId: LoadId = (await progress(scene.daemon.api, path)).json().loadId;

    let durable: Durable = new Map();
    let sentBytes = 0;
    /** Holds what was asked for since the last kill against what was durable at it. */
    const judge = () => {
      expect(fetchedAgain(origin.requests, durable)).toEqual([]);
      sentBytes += origin.stats().bytesSent;
    };
    const kills = 1 + Math.floor(random() * killsAtMost);
    for (let kill = 0, starting = false; kill < kills; kill += 1) {
      if (starting) await sleep(random() * startMs);
      else await sent(scene, Math.floor(random() * Math.max(0, totalBytes - sentBytes)));
      await scene.daemon.kill();
      await expect.poll(() => origin.stats().inFlight, { timeout: 10_000, interval: 2 }).toBe(0);
      judge();
      durable = await durableRanges(scene.dataDir, loadId, entries, storeBytes);
      const durableBytes = bytesOf(durable);
      if (durableBytes > 0 && durableBytes < totalBytes) killsInTheMiddle += 1;
      origin.resetStats();
      starting = kill + 1 < kills && random() < 0.4;
      if (starting) await scene.spawn();
      else {
        await scene.restart();
        if (version === 2) await oldOrNew(scene, objects.slice(0, 5));
      }
    }
    const report = await ended(scene.daemon.api, path);
    judge();

    expect(report).toMatchObject({
      jobId,
      mJobState: 'SUCCEEDED',
      loadId,
      mLoadedByteCount: totalBytes,
      loadedFiles: objects.length,
    });
    expect(report.ledger).toMatchObject({ cachedBytes: totalBytes, inFlightBytes: 0 });
    expect(report.ledger.originBytes).toBeLessThanOrEqual(sentBytes);
    expect(await check(scene.daemon.api, path)).toMatchObject({
      ok: true,
      checkedFiles: objects.length,
      checkedBytes: totalBytes,
    });
    await scene.readBack(objects);
  });
});

it('some of the kills met a load in the middle', () => {
  expect(killsInTheMiddle).toBeGreaterThan(0);
});

function makeObjects(random: () => number, version: number): ObjectSpec[] {
  const sizes = [
    24 * MiB + 1,
    8 * MiB,
    MiB,
    4096,
    1,
    0,
    ...Array.from({ length: 2 }, () => Math.floor(8 * MiB + random() * 16 * MiB)),
    ...Array.from({ length: 60 }, () => Math.floor(random() * 64 * KiB)),
  ];
  return sizes.map((sizeBytes, index) => ({ key: `kill/${index % 7}/file-${index}.bin`, sizeBytes, version }));
}

/** Resolves when the origin has answered so many body bytes since the last kill, or the load is over. */
async function sent({ origin, daemon }: Scene, bytes: number): Promise<void> {
  const over = async () => (await progress(daemon.api, path)).json().mJobState === 'SUCCEEDED';
  await expect
    .poll(async () => origin.stats().bytesSent >= bytes || (await over()), { timeout: 30_000, interval: 1 })
    .toBe(true);
}

/** While a newer version is being loaded, what is served is one of the two, whole. */
async function oldOrNew({ daemon }: Scene, objects: readonly ObjectSpec[]): Promise<void> {
  const client = s3Of(daemon);
  for (const { key, sizeBytes } of objects) {
    const answer = await client.send(new GetObjectCommand({ Bucket: 'demo', Key: key }));
    const bytes = await answer.Body!.transformToByteArray();
    expect(bytes.length).toBe(sizeBytes);
    expect([1, 2].map((version) => firstDifference(key, version, 0, bytes))).toContain(undefined);
  }
  client.destroy();
}
