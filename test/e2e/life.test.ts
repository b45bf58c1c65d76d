import { existsSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MiB } from '../../src/core/units.ts';
import { call, check, ended, list, loaded, progress, submit } from '../support/api.ts';
import { spawnDaemon } from '../support/daemon.ts';
import { smallDataset } from '../support/origin.ts';
import { openScene, type Scene } from '../support/scene.ts';

const path = 's3://demo/data/';
const totalBytes = smallDataset.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
let scene: Scene;
beforeEach(async () => {
  scene = await openScene();
});
afterEach(() => scene?.close());

const cachedBytes = async () => (await progress(scene.daemon.api, path)).json().ledger.cachedBytes as number;
async function halfLoaded(): Promise<void> {
  scene.origin.setKnobs({ bytesPerSecond: 40 * MiB });
  await submit(scene.daemon.api, path);
  await expect.poll(cachedBytes, { timeout: 20_000, interval: 5 }).toBeGreaterThan(8 * MiB);
}

describe('SIGTERM', () => {
  it('ends an idle daemon with 0, and what was cached is there afterwards, origin or no origin', async () => {
    await loaded(scene.daemon.api, path);
    expect(await scene.daemon.terminate(5_000)).toEqual({ code: 0, signal: null });
    scene.origin.setFault({ fault: { kind: 'reset' }, operation: '*' });
    await scene.restart();
    await scene.readBack(smallDataset);
    expect(await check(scene.daemon.api, path)).toMatchObject({
      ok: true,
      checkedFiles: smallDataset.length,
      checkedBytes: totalBytes,
    });
    const [row] = (await list(scene.daemon.api)).json();
    expect(row).toMatchObject({ path, state: 'SUCCEEDED' });
  });

  it('ends a daemon in the middle of a load within 5 s with 0; a restart goes on and fetches nothing durable twice', async () => {
    await halfLoaded();
    const { jobId } = (await progress(scene.daemon.api, path)).json();
    expect(await scene.daemon.terminate(5_000)).toEqual({ code: 0, signal: null });
    await expect.poll(() => scene.origin.stats().inFlight, { timeout: 5_000 }).toBe(0);
    const before = scene.origin.stats().bytesByKey;
    scene.origin.setKnobs({ bytesPerSecond: 0 });
    await scene.restart();
    const report = await ended(scene.daemon.api, path);
    expect(report).toMatchObject({ jobId, mJobState: 'SUCCEEDED', mLoadedByteCount: totalBytes });
    expect(report.ledger).toMatchObject({ cachedBytes: totalBytes, inFlightBytes: 0 });
    // What was sent in all is what was needed, and what the ledger says was dropped at the signal.
    const sent = Object.values(scene.origin.stats().bytesByKey).reduce((sum, bytes) => sum + bytes, 0);
    expect(Object.keys(before).length).toBeGreaterThan(0);
    expect(report.ledger.originBytes).toBeLessThanOrEqual(sent);
    await scene.readBack(smallDataset);
  });

  it('says so on /health/ready while it stops, and answers live and ready before', async () => {
    expect((await call(scene.daemon.api, 'GET', '/health/live')).status).toBe(200);
    expect((await call(scene.daemon.api, 'GET', '/health/ready')).status).toBe(200);
    expect(
      scene.daemon
        .log()
        .split('\n')
        .filter((line) => line.includes('"ready"')),
    ).toHaveLength(1);
  });
});

describe('kill -9', () => {
  it('in the middle of a load loses nothing that was acknowledged', async () => {
    await halfLoaded();
    await scene.daemon.kill();
    scene.origin.setKnobs({ bytesPerSecond: 0 });
    await scene.restart();
    expect(await ended(scene.daemon.api, path)).toMatchObject({ mJobState: 'SUCCEEDED', mLoadedByteCount: totalBytes });
    await scene.readBack(smallDataset);
    expect(await check(scene.daemon.api, path)).toMatchObject({ ok: true, checkedBytes: totalBytes });
  });
});

describe('a start that must be refused', () => {
  it('on data that another process has open: exit 1, by name, and the other goes on', async () => {
    const second = await spawnDaemon({ dataDir: scene.dataDir, storeSize: '512MB' });
    const exit = await second.exited;
    expect(exit.code).toBeGreaterThan(0);
    expect(second.log()).toMatch(/Process \d+ has .* open/);
    expect((await call(scene.daemon.api, 'GET', '/health/ready')).status).toBe(200);
  });

  it('with a bad flag: exit 2, and nothing is made', async () => {
    const dataDir = `${scene.dataDir}-never`;
    const refused = await spawnDaemon({ dataDir, storeSize: 'plenty' });
    expect((await refused.exited).code).toBeGreaterThan(0);
    expect(refused.log()).toMatch(/store-size|store_size/);
    expect(existsSync(dataDir)).toBe(false);
  });

  it('beyond loopback without a token', async () => {
    const dataDir = `${scene.dataDir}-open`;
    const refused = await spawnDaemon({ dataDir, args: ['--api', '0.0.0.0:0'] });
    expect((await refused.exited).code).toBeGreaterThan(0);
    expect(refused.log()).toMatch(/token|insecure|loopback/i);
  });
});
