/**
 * The lane: one thread of the pool, started by Piscina, alive until it is told to close.
 *
 * In it: a RangeClient with its sockets, page-aligned slots, one DiskQueue, and the descriptors of all stores. Everything
 * runs on this thread's event loop; the disk queue's reaper thread only wakes it. The lane decides nothing: it makes one
 * attempt at each part and reports.
 */
import assert from 'node:assert/strict';
import { closeSync } from 'node:fs';
import { makeRangeClient } from '../origin/range-client.ts';
import { openDirect } from '../platform/files.ts';
import { makeSlots } from '../platform/slots.ts';
import { nameThread } from '../platform/thread-name.ts';
import { threadId } from '../platform/thread-priority.ts';
import { publishEventLoop } from '../telemetry/event-loop.ts';
import { laneColumns, laneLayout } from '../telemetry/lane-columns.ts';
import { attachSharedCounters } from '../telemetry/shared-counters.ts';
import { CheckRunner } from './lane-check.ts';
import { LaneChecksums } from './lane-checksums.ts';
import { LaneDisk } from './lane-disk.ts';
import { LaneLimits } from './lane-limits.ts';
import { UnitRunner } from './lane-unit.ts';
import { admitRequest, attachLimitBoard } from './limit-board.ts';
import type { FromLane, LaneStart, ToLane } from './protocol.ts';
import { attachRunBoard, grantOf } from './run-board.ts';

/** How often a lane looks for units with late parts, and at what its slots wait for. */
const sweepMs = 100;
const idleSocketMs = 30_000;
const paceRetryMs = 5;

export default async function lane(start: LaneStart): Promise<void> {
  const { port } = start;
  nameThread(`lane-${start.laneIndex}`);
  const row = attachSharedCounters(start.counters, laneLayout, start.laneIndex);
  const board = attachRunBoard(start.runBoard);
  const limits = attachLimitBoard(start.limitBoard);
  const slots = makeSlots({ slotBytes: start.slotBytes, slotCount: start.slotCount });
  const free = Array.from({ length: start.slotCount }, (_, index) => index);
  const stores = start.storePaths.map((path) => openDirect(path, { write: true }));
  const disk = new LaneDisk({ engine: start.diskEngine, descriptors: stores.map((file) => file.fd), row });
  const client = makeRangeClient({
    maxSockets: start.maxSockets,
    timeouts: start.timeouts,
    idleMs: idleSocketMs,
    grant: (request, wantedBytes) => grantOf({ runs: board, limits }, request, wantedBytes),
    admit: ({ originIndex }) => admitRequest(limits, Atomics.load(limits.rowOf, originIndex)),
    weightOf: (run) => Atomics.load(board.weights, run),
    paceRetryMs,
  });
  const post = (message: FromLane, transfer: ArrayBuffer[] = []): void => port.postMessage(message, transfer);
  const { laneIndex } = start;
  const checksums = new LaneChecksums();
  const runner = new UnitRunner({ client, disk, checksums, board, laneIndex, row, post });
  const checker = new CheckRunner({ disk, checksums, row, post });
  const waits = new LaneLimits({ client, users: [runner, checker], board, laneIndex, checksumMs: () => checksums.ms });
  const stopLoopWatch = publishEventLoop(row);
  const sweep = setInterval(() => {
    const nowMs = performance.now();
    row.add(laneColumns.heartbeats, 1);
    row.set(laneColumns.diskWaitMs, disk.waitMs(nowMs));
    runner.sweep(nowMs);
    waits.look(nowMs);
  }, sweepMs);

  const takeSlot = (): number => {
    const slot = free.pop();
    assert(slot !== undefined, 'the main thread gives a unit only to a lane with a free slot');
    row.set(laneColumns.slotsInUse, start.slotCount - free.length);
    return slot;
  };
  const freeSlot = (slot: number): void => {
    free.push(slot);
    row.set(laneColumns.slotsInUse, start.slotCount - free.length);
  };

  const closed = new Promise<void>((resolve) => {
    port.on('message', (message: ToLane) => {
      switch (message.type) {
        case 'unit': {
          const slot = takeSlot();
          const view = slots.view(slot);
          if (message.unit.kind === 'write') runner.start(message.unit, { slot, view }, () => freeSlot(slot));
          else checker.start(message.unit, view, () => freeSlot(slot));
          break;
        }
        case 'origin':
          client.addOrigin(message.origin);
          break;
        case 'forget':
          client.removeOrigin(message.originIndex);
          break;
        case 'credentials':
          client.setCredentials(message.originIndex, message.credentials);
          break;
        case 'timeouts':
          client.setTimeouts(message.timeouts);
          break;
        case 'concurrency':
          client.setConcurrency(message.limit);
          break;
        case 'cancel':
          client.cancel(message.run);
          break;
        case 'close':
          resolve();
          break;
      }
    });
  });
  post({ type: 'ready', engine: disk.engine, direct: stores.map((file) => file.direct), thread: threadId() });
  await closed;
  clearInterval(sweep);
  stopLoopWatch();
  await client.close();
  await disk.close();
  for (const file of stores) closeSync(file.fd);
  port.close();
}
