/** When a disk is taken for hung: by what lanes have with it, and by the flush under way. */
import { expect, it } from 'vitest';
import { watchDisk } from '../../src/disk-watch.ts';
import { laneColumns, laneLayout } from '../../src/telemetry/lane-columns.ts';
import { makeSharedCounters } from '../../src/telemetry/shared-counters.ts';
import { memoryLog } from '../support/store-fixture.ts';

it('hangs while a lane or a flush has waited for as long as the limit, and says so once', () => {
  const lanes = makeSharedCounters(laneLayout, 2);
  const log = memoryLog();
  let flushMs = 0;
  const why = watchDisk({ store: { diskWaitMs: () => flushMs }, lanes, limitMs: 2000, log });
  lanes.row(1).set(laneColumns.diskWaitMs, 1999);
  expect(why()).toBeUndefined();
  lanes.row(1).set(laneColumns.diskWaitMs, 2000);
  expect(why()).toMatch(/has not ended a write, read or flush for 2 s/);
  lanes.row(1).set(laneColumns.diskWaitMs, 0);
  flushMs = 7000;
  expect(why()).toMatch(/for 7 s/);
  flushMs = 0;
  expect(why()).toBeUndefined();
  expect(log.lines.map(({ message }) => message)).toEqual([
    'the disk of the store hangs',
    'the disk of the store answers again',
  ]);
});
