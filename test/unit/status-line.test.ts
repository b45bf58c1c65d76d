import { expect, test } from 'vitest';
import { statusLine } from '../../src/status-line.ts';
import { laneColumns, laneLayout } from '../../src/telemetry/lane-columns.ts';
import { makeSharedCounters } from '../../src/telemetry/shared-counters.ts';

test('says jobs, workers, the rate since it was last asked, and how full the store is', () => {
  const lanes = makeSharedCounters(laneLayout, 2);
  let nowMs = 0;
  const parts = {
    lanes,
    store: { usage: () => ({ usedBytes: 3 * 2 ** 30, capacityBytes: 8 * 2 ** 40 }) },
    jobs: { counts: () => new Map(Object.entries({ RUNNING: 1, VERIFYING: 1, WAITING: 3, FAILED: 9 })) },
    registry: { workers: () => [{ state: 'LIVE' }, { state: 'DRAINING' }, { state: 'LOST' }] },
  };
  const say = statusLine(parts as never, () => nowMs);
  lanes.row(0).add(laneColumns.originBytes, 10 * 2 ** 20);
  lanes.row(1).add(laneColumns.peerBytes, 10 * 2 ** 20);
  nowMs = 2000;
  expect(say()).toBe('2 jobs at work, 3 waiting; 2 of 3 workers live; 10.00MB/s received; 3072.00MB of 8.00TB in use');
  nowMs = 3000;
  expect(say()).toContain('; 0B/s received; ');
});

test('of a coordinator and of a worker it says what each has', () => {
  const coordinator = { jobs: { counts: () => new Map() }, registry: { workers: () => [] } };
  const settings = ['worker.lanes', 'ufs[0].endpoint', 'a', 'b', 'c', 'd', 'e'];
  expect(statusLine({ needsRestart: settings })()).toBe(
    'needs a restart: worker.lanes, ufs[0].endpoint, a, b, c and 2 more',
  );
  expect(statusLine(coordinator)()).toBe('0 jobs at work; 0 of 0 workers live');
  expect(statusLine({ lanes: makeSharedCounters(laneLayout, 1) }, () => 0)()).toBe('0B/s received');
});
