/**
 * The very first start of a node, killed while it makes its databases: at each of these moments the next start goes on, by itself.
 * The real binary, which ends by SIGKILL at a system call; one data folder, so that each start goes on from what the kill before it left.
 */
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { loaded } from '../support/api.ts';
import { type Daemon, type DaemonOrder, spawnDaemon, startDaemon } from '../support/daemon.ts';
import { temporaryFolder } from '../support/files.ts';
import { type KillPoint, killing } from '../support/killed-at.ts';
import { originEnvironment, startTestOrigin } from '../support/origin.ts';

const objects = [{ key: 'data/x.bin', sizeBytes: 3_000_000 }];
const folder = temporaryFolder('first-start');
let daemon: Daemon | undefined;
afterEach(async () => {
  await daemon?.kill();
  folder.remove();
});

test('killed as it makes the index and the job store, the next start goes on', async () => {
  const origin = await startTestOrigin({ objects });
  try {
    const killedAt = killing(folder.path);
    const dataDir = join(folder.path, 'data');
    const order: DaemonOrder = { dataDir, storeSize: '16MB', env: originEnvironment(origin) };
    const sizeOf = (path: string): number | undefined => (existsSync(path) ? statSync(path).size : undefined);
    // In the order in which a start comes to them.
    for (const [part, point, creating, data] of [
      // LMDB has made its file, and written nothing.
      ['index', 'made', 0, undefined],
      ['index', 'whole', 8192, undefined],
      ['index', 'renamed', undefined, 8192],
      ['jobs', 'made', 0, undefined],
    ] as readonly [string, KillPoint, number | undefined, number | undefined][]) {
      daemon = await spawnDaemon({ ...order, env: { ...order.env, ...killedAt(point, `${part}/creating.mdb`) } });
      expect([part, point, await daemon.exited], daemon.log()).toEqual([
        ...[part, point],
        { code: null, signal: 'SIGKILL' },
      ]);
      const left = ['creating.mdb', 'data.mdb'].map((name) => sizeOf(join(dataDir, part, name)));
      expect([part, point, ...left]).toEqual([part, point, creating, data]);
    }
    daemon = await startDaemon(order);
    expect(await loaded(daemon.api, 's3://demo/data/')).toMatchObject({ mJobState: 'SUCCEEDED' });
    expect(daemon.log()).not.toMatch(/STORE_/);
    for (const part of ['index', 'jobs']) expect(existsSync(join(dataDir, part, 'creating.mdb'))).toBe(false);
  } finally {
    await origin.close();
  }
});
