import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { daemonVerb } from '../../../src/cli/daemon-verb.ts';
import { runCli } from '../../../src/cli/run.ts';
import type { Config } from '../../../src/config/config.ts';
import { PrimedError } from '../../../src/core/errors.ts';
import { clusterProtocol } from '../../../src/core/protocol.ts';
import type { WorkerId } from '../../../src/core/types.ts';
import { MiB } from '../../../src/core/units.ts';
import { startWorkersCoordinator, type WorkersCoordinator } from '../../support/coordinator.ts';
import { makeWorld, type World } from './world.ts';

let dir: string;
let coordinator: WorkersCoordinator;
/** Workers that do not let the coordinator in. */
const refusing = new Set<string>();
const started: Config[] = [];
const daemon = daemonVerb({
  role: 'worker',
  description: 'run a worker',
  start: async (config) => {
    started.push(config);
    return 7;
  },
});
beforeEach(async () => {
  started.length = 0;
  refusing.clear();
  dir = mkdtempSync(join(tmpdir(), 'primed-cli-worker-'));
  const clock = { monotonicMs: () => 1, wallMs: () => Date.UTC(2026, 0, 2) };
  const refusal = new PrimedError('WORKER_REFUSED', 'it has another token');
  const refusalOf = (id: WorkerId) => (refusing.has(id) ? refusal : undefined);
  coordinator = await startWorkersCoordinator({ dir, leaseMs: 60_000, clock, refusalOf });
  for (const [id, port, zone] of [
    ['w1', 1001, 'rack-7'],
    ['w2', 1002, undefined],
  ] as const) {
    await coordinator.registry.register({
      id: id as WorkerId,
      instance: id,
      report: {
        host: '127.0.0.1',
        httpPort: port,
        s3Port: 29_998,
        version: '1.2.3',
        protocol: clusterProtocol.oldest,
        capacityBytes: 100 * MiB,
        freeBytes: 50 * MiB,
        files: 3,
        ...(zone === undefined ? {} : { zone }),
      },
    });
  }
});
afterEach(async () => {
  await coordinator.close();
  rmSync(dir, { recursive: true, force: true });
});

async function run(args: readonly string[], env: Record<string, string> = {}): Promise<{ code: number; io: World }> {
  const io = makeWorld({ env: { PRIMED_COORDINATOR: coordinator.url, ...env } });
  return { code: await runCli(args, io, [daemon]), io };
}

test('worker list shows workers in a table, or as JSON', async () => {
  const table = await run(['worker', 'list']);
  expect([table.code, table.io.out().split('\n')]).toEqual([
    0,
    [
      'ID  STATE  ADDRESS         ZONE    CAPACITY  FREE     FILES  EPOCH  LAST SEEN                 VERSION',
      'w1  LIVE   127.0.0.1:1001  rack-7  100.00MB  50.00MB  3      1      2026-01-02T00:00:00.000Z  1.2.3',
      'w2  LIVE   127.0.0.1:1002  -       100.00MB  50.00MB  3      2      2026-01-02T00:00:00.000Z  1.2.3',
      '',
    ],
  ]);
  const json = await run(['worker', 'list', '--format', 'json']);
  expect(JSON.parse(json.io.out())).toMatchObject([
    { id: 'w1', zone: 'rack-7', state: 'LIVE', epoch: 1, leaseEndsAt: '2026-01-02T00:01:00.000Z' },
    { id: 'w2' },
  ]);
  expect((await run(['worker', 'list', '--format', 'xml'])).code).toBe(2);
});

test('worker list says which worker lets nobody in, and why', async () => {
  refusing.add('w2');
  const lines = (await run(['worker', 'list'])).io.out().split('\n');
  expect(lines.slice(1)).toEqual([
    expect.stringMatching(/^w1 {2}LIVE {5}127/),
    expect.stringMatching(/^w2 {2}REFUSED {2}127/),
    'w2: it has another token',
    '',
  ]);
  const { io } = await run(['worker', 'list', '--format', 'json']);
  expect(JSON.parse(io.out())[1]).toMatchObject({ id: 'w2', state: 'REFUSED', reason: 'it has another token' });
  // Of one that is gone it is not known any more.
  await coordinator.registry.goodbye({ id: 'w2' as WorkerId, instance: 'w2', epoch: 2 });
  expect((await run(['worker', 'list'])).io.out()).not.toContain('token');
});

test('worker drain, undrain and remove change what list shows, of lost workers too', async () => {
  const states = async () =>
    JSON.parse((await run(['worker', 'list', '--format', 'JSON'])).io.out()).map(({ id, state, drains }: never) => [
      id,
      state,
      drains,
    ]);
  const drained = await run(['worker', 'drain', 'w1']);
  expect([drained.code, drained.io.out()]).toEqual([
    0,
    "Worker 'w1' drains: it keeps and serves what it has, and gets no new segments.\n",
  ]);
  expect(await states()).toEqual([
    ['w1', 'DRAINING', true],
    ['w2', 'LIVE', false],
  ]);
  await coordinator.registry.goodbye({ id: 'w2' as WorkerId, instance: 'w2', epoch: 2 });
  expect((await run(['worker', 'drain', 'w2'])).io.out()).toBe(
    "Worker 'w2' is lost; when it comes back, it will get no new segments.\n",
  );
  expect((await run(['worker', 'list'])).io.out()).toContain('w2  LOST, DRAINS  127.0.0.1:1002');
  expect((await run(['worker', 'undrain', 'w1'])).io.out()).toBe("Worker 'w1' gets new segments again.\n");
  expect((await run(['worker', 'undrain', 'w2'])).io.out()).toBe(
    "Worker 'w2' is lost; when it comes back, it will get new segments.\n",
  );
  const removed = await run(['worker', 'remove', 'w2']);
  expect([removed.code, removed.io.out()]).toEqual([0, "Worker 'w2' is forgotten until it registers again.\n"]);
  expect(await states()).toEqual([['w1', 'LIVE', false]]);
  const unknown = await run(['worker', 'drain', 'w2']);
  expect([unknown.code, unknown.io.err()]).toEqual([
    1,
    "primed: WORKER_UNKNOWN: Worker 'w2' is not known here; 'primed worker list' shows those that are.\n",
  ]);
  expect((await run(['worker', 'drain'])).code).toBe(2);
});

test('worker without a verb is the daemon, and both know --coordinator', async () => {
  const flags = ['--data', dir, '--store-size', '1GB', '--http', '127.0.0.2:1', '--host', 'node-7'];
  const begun = await run(['worker', '--coordinator', 'http://127.0.0.1:5', ...flags]);
  expect([begun.code, begun.io.err()]).toEqual([7, '']);
  expect(started[0]?.cluster).toMatchObject({
    leaseMs: 10_000,
    coordinator: 'http://127.0.0.1:5',
    host: 'node-7',
    id: 'node-7',
  });
  const elsewhere = { PRIMED_COORDINATOR: 'http://127.0.0.1:1' };
  const listed = await run(['worker', 'list', '--coordinator', coordinator.url], elsewhere);
  expect([listed.code, started.length]).toEqual([0, 1]);
  expect((await run(['worker', 'list'], elsewhere)).code).toBe(3);
  const odd = await run(['worker', 'lsit']);
  expect([odd.code, started.length]).toEqual([2, 1]);
  const help = (await run(['worker', '--help'])).io.out();
  for (const word of ['list', 'drain', 'undrain', 'remove', '--coordinator', '--host', '--data'])
    expect(help).toContain(word);
  expect((await run(['standalone', '--coordinator', 'http://x'])).code).toBe(2);
});
