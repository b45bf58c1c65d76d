/** `primed ufs limit`, `primed ufs list` and `primed job limit`. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { runCli } from '../../../src/cli/run.ts';
import { MiB } from '../../../src/core/units.ts';
import { type ScriptedCoordinator, startScriptedCoordinator } from '../../support/scripted-coordinator.ts';
import { newSnapshot } from '../../support/snapshot.ts';
import { makeWorld } from './world.ts';

let coordinator: ScriptedCoordinator;
beforeEach(async () => {
  coordinator = await startScriptedCoordinator();
});
afterEach(() => coordinator.close());

async function primed(...args: string[]) {
  const io = makeWorld({ env: { PRIMED_COORDINATOR: coordinator.url } });
  return { code: await runCli(args, io), out: io.out(), err: io.err() };
}

const origin = 's3://b/';

test('ufs limit sets one or both, leaves the other as it is, lifts both, and gives them back', async () => {
  const steps = [
    [['s3://b', '--bandwidth', '2GB'], 'bandwidth 2048.00MB/s, requests none'],
    [['s3://b/', '--requests', '500'], 'bandwidth 2048.00MB/s, requests 500/s'],
    [['s3://b', '--bandwidth', '1MB', '--requests', '7'], 'bandwidth 1024.00KB/s, requests 7/s'],
    [['s3://b', '--bandwidth', 'none'], 'bandwidth none, requests 7/s'],
    [['s3://b', 'none'], 'bandwidth none, requests none'],
  ] as const;
  for (const [args, limits] of steps)
    expect(await primed('ufs', 'limit', ...args)).toEqual({
      code: 0,
      out: `Limits of ${origin}: ${limits}.\n`,
      err: '',
    });
  // No limit, whatever the configuration says, is something else than what the configuration says.
  expect(coordinator.limits.rows()).toEqual([{ origin, source: 'set' }]);
  expect((await primed('ufs', 'limit', 's3://b', '--reset')).code).toBe(0);
  expect(coordinator.limits.rows()).toEqual([]);
});

test('ufs limit asks for exactly one thing, and for a limit that is one, before anybody is asked', async () => {
  await coordinator.close();
  for (const [args, words] of [
    [['s3://b'], /Give --bandwidth, --requests or both; or none/],
    [['s3://b', 'none', '--reset'], /Give --bandwidth/],
    [['s3://b', '--reset', '--requests', '1'], /Give --bandwidth/],
    [['s3://b', '5GB'], /'5GB' is no limit/],
    [['s3://b', '--bandwidth', 'much'], /bandwidth: must be a size a second/],
    [['s3://b', '--requests', '0'], /requests: must be a whole number/],
    [['s3://b/dir/', '--requests', '1'], /whole origin/],
  ] as const) {
    const { code, out, err } = await primed('ufs', 'limit', ...args);
    expect([args, code === 0, out]).toEqual([args, false, '']);
    expect(err).toMatch(words);
  }
});

test('ufs list shows limits, where they are from, and who uses which share', async () => {
  expect((await primed('ufs', 'list')).out).toBe('ORIGIN  BANDWIDTH  REQUESTS  SOURCE  IN USE BY\n');
  await coordinator.limits.set(origin, { bytesPerSecond: 3 * MiB, requestsPerSecond: 10 });
  await coordinator.limits.set('s3://', { requestsPerSecond: 5 });
  coordinator.shares.push(
    { origin, taker: 'w1', bytesPerSecond: 2 * MiB, requestsPerSecond: 2.5 },
    { origin, taker: 'w2', bytesPerSecond: 0, requestsPerSecond: 0 },
    { origin, taker: 'coordinator', requestsPerSecond: 7.5 },
  );
  const { code, out } = await primed('ufs', 'list');
  expect(code).toBe(0);
  const [, first, second] = out.split('\n').map((line) => line.split(/ {2,}/));
  expect(first).toEqual(['s3://', 'none', '5/s', 'set', '-']);
  expect(second).toEqual([
    ...[origin, '3072.00KB/s', '10/s', 'set'],
    'w1 (2048.00KB/s, 2.5/s requests), coordinator (7.5/s requests)',
  ]);
  const json = await primed('ufs', 'list', '--format', 'JSON');
  expect(JSON.parse(json.out)).toMatchObject([
    { origin: 's3://', shares: [] },
    { origin, bytesPerSecond: 3 * MiB, shares: [{ taker: 'w1' }, { taker: 'w2' }, { taker: 'coordinator' }] },
  ]);
});

test('job limit changes a load that is active, and says so of none that is not', async () => {
  const path = 's3://b/dir/';
  coordinator.jobs.active.add(path);
  coordinator.jobs.onSnapshot = (asked) => {
    const snapshot = newSnapshot(asked);
    const bytesPerSecond = coordinator.jobs.limits.get(asked);
    if (bytesPerSecond === undefined) return snapshot;
    return { ...snapshot, options: { ...snapshot.options, bandwidthBytesPerSecond: bytesPerSecond } };
  };
  const limited = await primed('job', 'limit', path, '--bandwidth', '100MB');
  expect([limited.code, coordinator.jobs.limits.get(path)]).toEqual([0, 100 * MiB]);
  expect(limited.out).toBe(`Load '${path}' has the bandwidth limit 100.00MB/s.\n`);
  const lifted = await primed('job', 'limit', path, '--bandwidth', 'none');
  expect([lifted.code, coordinator.jobs.limits.get(path)]).toEqual([0, undefined]);
  coordinator.jobs.active.delete(path);
  const gone = await primed('job', 'limit', path, '--bandwidth', '1MB');
  expect([gone.code === 0, gone.out]).toEqual([false, '']);
  expect(gone.err).toContain(`No load of '${path}' is active.`);
  expect((await primed('job', 'limit', path, '--bandwidth', '0')).err).toMatch(/bandwidth: must be a size a second/);
  expect((await primed('job', 'limit', path)).err).toMatch(/--bandwidth/);
});
