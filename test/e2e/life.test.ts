import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MiB } from '../../src/core/units.ts';
import { call, check, ended, list, loaded, progress, submit } from '../support/api.ts';
import { type Daemon, spawnDaemon } from '../support/daemon.ts';
import { bytesOf, durableRanges, fetchedAgain } from '../support/durable.ts';
import { listedBy, smallDataset } from '../support/origin.ts';
import { openScene, type Scene } from '../support/scene.ts';

const path = 's3://demo/data/';
const totalBytes = smallDataset.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
const storeBytes = 512 * MiB;
let scene: Scene;
beforeEach(async () => {
  scene = await openScene({ daemon: { storeSize: String(storeBytes) } });
});
afterEach(() => scene?.close());

const cachedBytes = async () => (await progress(scene.daemon.api, path)).json().ledger.cachedBytes as number;
/** How often the daemon has logged this message. */
const said = ({ log }: Daemon, message: string) =>
  log()
    .split('\n')
    .filter((line) => line.endsWith(`"msg":"${message}"}`)).length;

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

  it('ends a daemon in the middle of a load within 5 s with 0, which is not ready from then on', async () => {
    const { api, ports } = scene.daemon;
    expect((await call(api, 'GET', '/health/live')).status).toBe(200);
    expect((await call(api, 'GET', '/health/ready')).status).toBe(200);
    await halfLoaded();
    // A question that has begun when the signal comes, and is finished after it: the port takes no new ones then.
    const asked = connect({ host: '127.0.0.1', port: ports.api });
    await once(asked, 'connect');
    asked.write('GET /health/ready HTTP/1.1\r\nhost: test\r\n');
    await progress(api, path); // whatever reached the daemon before this answer has been read by it
    const exit = scene.daemon.terminate(5_000);
    await expect.poll(() => said(scene.daemon, 'stopping'), { timeout: 5_000, interval: 1 }).toBe(1);
    asked.end('connection: close\r\n\r\n');
    expect(await text(asked)).toMatch(/^HTTP\/1\.1 503 /);
    expect(await exit).toEqual({ code: 0, signal: null });
    expect(said(scene.daemon, 'ready')).toBe(1);
  });
});

it('SIGTERM is not held up by clients that never finish what they ask', async () => {
  const { ports } = scene.daemon;
  const clients = [ports.api, ports.http, ports.s3].map((port) => connect({ host: '127.0.0.1', port }));
  for (const client of clients) {
    client.on('error', () => {}); // a reset, at the end
    await once(client, 'connect');
    client.write('GET /health/live HTTP/1.1\r\nhost: test\r\n');
  }
  expect((await call(scene.daemon.api, 'GET', '/health/live')).status).toBe(200);
  expect(await scene.daemon.terminate(5_000)).toEqual({ code: 0, signal: null });
  expect(said(scene.daemon, 'stopped')).toBe(1);
  for (const client of clients) client.destroy();
});

describe.each(['SIGTERM', 'SIGKILL'])('%s in the middle of a load', (signal) => {
  it('costs nothing that was durable: a restart fetches the rest, and only that', async () => {
    const { origin } = scene;
    const entries = await listedBy(origin, 'data/');
    await halfLoaded();
    const { jobId, loadId } = (await progress(scene.daemon.api, path)).json();
    if (signal === 'SIGTERM') await scene.daemon.terminate(5_000);
    else await scene.daemon.kill();
    await expect.poll(() => origin.stats().inFlight, { timeout: 5_000 }).toBe(0);
    const durable = await durableRanges(scene.dataDir, loadId, entries, storeBytes);
    expect(bytesOf(durable)).toBeGreaterThan(8 * MiB);
    expect(bytesOf(durable)).toBeLessThan(totalBytes);
    const sentBefore = origin.stats().bytesSent;
    origin.resetStats();
    origin.setKnobs({ bytesPerSecond: 0 });
    await scene.restart();
    expect(await ended(scene.daemon.api, path)).toMatchObject({
      jobId,
      mJobState: 'SUCCEEDED',
      mLoadedByteCount: totalBytes,
      ledger: { cachedBytes: totalBytes, inFlightBytes: 0 },
    });
    expect(fetchedAgain(origin.requests, durable)).toEqual([]);
    expect(origin.stats().bytesSent).toBeGreaterThanOrEqual(totalBytes - bytesOf(durable));
    expect(sentBefore).toBeGreaterThanOrEqual(bytesOf(durable));
    await scene.readBack(smallDataset);
    expect(await check(scene.daemon.api, path)).toMatchObject({ ok: true, checkedBytes: totalBytes });
  });
});

describe('a start that must be refused', () => {
  it('on data that another process has open: exit 1, by name, and the other goes on', async () => {
    const second = await spawnDaemon({ dataDir: scene.dataDir, storeSize: '512MB' });
    expect(await second.exited).toEqual({ code: 1, signal: null });
    expect(second.log()).toMatch(new RegExp(`Process ${scene.daemon.pid} has .* open`));
    expect((await call(scene.daemon.api, 'GET', '/health/ready')).status).toBe(200);
  });

  it('with a bad flag: exit 78, and nothing is made', async () => {
    const dataDir = `${scene.dataDir}-never`;
    const refused = await spawnDaemon({ dataDir, storeSize: 'plenty' });
    expect(await refused.exited).toEqual({ code: 78, signal: null });
    expect(refused.log()).toMatch(/--store-size.*plenty/);
    expect(existsSync(dataDir)).toBe(false);
  });

  it.each([
    ['of another process', () => `127.0.0.1:${scene.daemon.ports.s3}`, 'another process uses the port'],
    ['on a foreign address', () => '192.0.2.1:0', 'no interface of this machine has the address'],
  ])('on a port %s: exit 78, and why', async (what, place, why) => {
    const dataDir = `${scene.dataDir}-${what.replaceAll(' ', '-')}`;
    const order = { dataDir, storeSize: '16MB', args: ['--http', place()], env: { PRIMED_INSECURE: 'true' } };
    const refused = await spawnDaemon(order);
    expect(await refused.exited).toEqual({ code: 78, signal: null });
    expect(refused.log()).toContain(`--http: ${place()} cannot be listened on: ${why} (E`);
  });

  it('with an endpoint of the AWS environment that is no URL: exit 78, and nothing is made', async () => {
    const dataDir = `${scene.dataDir}-endpoint`;
    const refused = await spawnDaemon({ dataDir, env: { AWS_ENDPOINT_URL: '127.0.0.1:9000' } });
    expect(await refused.exited).toEqual({ code: 78, signal: null });
    expect(refused.log()).toMatch(/AWS_ENDPOINT_URL: must be a URL .*"127\.0\.0\.1:9000"/);
    expect(existsSync(dataDir)).toBe(false);
  });

  it('beyond loopback without a token: exit 78, and nothing is made', async () => {
    const dataDir = `${scene.dataDir}-open`;
    const refused = await spawnDaemon({ dataDir, args: ['--api', '0.0.0.0:0'] });
    expect(await refused.exited).toEqual({ code: 78, signal: null });
    expect(refused.log()).toMatch(/--api: .*not a loopback address.*api_token.*insecure/);
    expect(existsSync(dataDir)).toBe(false);
  });
});
