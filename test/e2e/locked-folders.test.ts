/** A data folder that a process has: another one of the same role is refused, by name, and the first goes on. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { call } from '../support/api.ts';
import { type Daemon, spawnDaemon, startDaemon, untilReady } from '../support/daemon.ts';
import { temporaryFolder } from '../support/files.ts';

const folder = temporaryFolder('locked-folders');
const dataDir = join(folder.path, 'data');
const daemons: Daemon[] = [];
afterAll(async () => {
  await Promise.all(daemons.map((daemon) => daemon.kill()));
  folder.remove();
});

let logs = 0;
function order(role: 'coordinator' | 'worker', coordinator?: Daemon) {
  const env = coordinator === undefined ? {} : { PRIMED_COORDINATOR: coordinator.api, PRIMED_CLUSTER_ID: 'w1' };
  logs += 1;
  return { role, dataDir, env, storeSize: role === 'worker' ? '16MB' : null, log: join(folder.path, `${logs}.log`) };
}

async function started(...by: Parameters<typeof order>): Promise<Daemon> {
  const daemon = await startDaemon(order(...by));
  daemons.push(daemon);
  return daemon;
}

/** The history of files, byte by byte. */
const kept = () => {
  const dir = join(dataDir, 'history');
  return readdirSync(dir).map((name) => [name, readFileSync(join(dir, name), 'utf8')]);
};

it('a coordinator and a worker share one; a second of either is refused, and takes nothing', async () => {
  const coordinator = await started('coordinator');
  const worker = await started('worker', coordinator);
  const before = kept();
  expect(before.length).toBeGreaterThan(0);
  for (const [first, role, lock, belongs] of [
    [
      coordinator,
      'coordinator',
      'coordinator.lock',
      "a coordinator's data (jobs, workers, limits, pins) belongs to one",
    ],
    [worker, 'worker', join('index', 'primed.lock'), 'a store belongs to one worker process'],
  ] as const) {
    const second = await spawnDaemon(order(role, coordinator));
    daemons.push(second);
    expect(await second.exited).toEqual({ code: 1, signal: null });
    const says = second
      .log()
      .split('\n')
      .find((line) => line.startsWith('primed: '));
    expect(says).toContain(`primed: STORE_LOCKED: Process ${first.pid} has ${join(dataDir, lock)} open. Stop it, or`);
    expect(says).toContain(belongs);
    await untilReady(first);
  }
  expect(kept()).toEqual(before);
  expect((await call(coordinator.api, 'GET', '/api/v1/workers')).json()).toMatchObject([{ id: 'w1' }]);

  // However the first has ended.
  await coordinator.kill();
  await started('coordinator');
});
