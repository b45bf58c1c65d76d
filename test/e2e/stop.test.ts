/** SIGTERM while the origin is silent: nothing that an origin does, or does not do, holds the daemon. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { KiB, MiB } from '../../src/core/units.ts';
import type { FaultRule } from '../../src/demo/origin/faults.ts';
import { ended, progress, submit } from '../support/api.ts';
import { openScene, type Scene } from '../support/scene.ts';

const path = 's3://demo/data/';
const objects = [
  { key: 'data/large.bin', sizeBytes: 17 * MiB + 12_345 },
  { key: 'data/small.bin', sizeBytes: 16 * KiB },
];
const totalBytes = objects.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
let scene: Scene;
beforeEach(async () => {
  scene = await openScene({ origin: { objects } });
});
afterEach(() => scene?.close());

const stall = { kind: 'stall' } as const;
it.each<[string, FaultRule, object]>([
  ['before the listing', { fault: stall, operation: '*' }, {}],
  ['before the body of a part', { fault: stall }, {}],
  ['in the middle of a part', { fault: { ...stall, afterBytes: 100_000 }, keyPattern: 'large' }, {}],
  ['in an answer that the fast reader does not take', { fault: { kind: 'chunked' } }, {}],
  ['before a checksum that is compared', { fault: stall, operation: 'HeadObject' }, { verify: 'true' }],
])(
  'an origin that is silent %s does not hold the daemon: exit 0, and the load goes on afterwards',
  async (_, rule, options) => {
    const { origin, daemon } = scene;
    const id = origin.setFault(rule);
    await submit(daemon.api, path, options);
    await expect.poll(() => origin.fired(id), { timeout: 20_000, interval: 5 }).toBeGreaterThan(0);
    const { jobId } = (await progress(daemon.api, path)).json();
    expect(await daemon.terminate()).toEqual({ code: 0, signal: null });
    expect(daemon.log()).toMatch(/"msg":"stopped"\}\n$/);
    expect(daemon.log()).not.toMatch(/"level":"error"/);
    origin.clearFaults();
    await scene.restart();
    expect(await ended(scene.daemon.api, path)).toMatchObject({
      jobId,
      mJobState: 'SUCCEEDED',
      mLoadedByteCount: totalBytes,
    });
    await scene.readBack(objects);
  },
);

it('nor does a program for credentials that never answers', async () => {
  const [config, pidFile] = [`${scene.dataDir}-aws`, `${scene.dataDir}-pid`];
  writeFileSync(config, `[default]\ncredential_process = sh -c "echo $$ > ${pidFile}; exec sleep 60"\n`);
  await scene.daemon.terminate();
  const none = { AWS_ACCESS_KEY_ID: '', AWS_SECRET_ACCESS_KEY: '' };
  await scene.restart({ env: { ...none, AWS_CONFIG_FILE: config } });
  await submit(scene.daemon.api, path);
  await expect.poll(() => existsSync(pidFile) && readFileSync(pidFile, 'utf8'), { timeout: 20_000 }).toMatch(/\n$/);
  const exit = await scene.daemon.terminate();
  process.kill(Number(readFileSync(pidFile, 'utf8')));
  expect(exit).toEqual({ code: 0, signal: null });
  expect(scene.daemon.log()).toMatch(/"msg":"stopped"\}\n$/);
});
