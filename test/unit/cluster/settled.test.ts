/** After a start of the coordinator: how long it waits for the workers that it knew. */
import { expect, test } from 'vitest';
import { membersSettled } from '../../../src/cluster/registry-members.ts';
import type { WorkerRow } from '../../../src/core/membership.ts';

const limitMs = 400;

function knownWorker() {
  const listeners = new Set<() => void>();
  let state: WorkerRow['state'] = 'LOST';
  return {
    workers: () => [{ state } as WorkerRow],
    onChange: (listener: () => void) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    comes() {
      state = 'LIVE';
      for (const listener of listeners) listener();
    },
  };
}

/** As after a SIGSTOP: no turn of the loop comes in between. */
function standStill(milliseconds: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('one that does not come is waited for as long as the limit says', async () => {
  const startedMs = performance.now();
  await membersSettled(knownWorker(), limitMs);
  expect(performance.now() - startedMs).toBeGreaterThan(limitMs * 0.8);
});

test('time in which the coordinator stood still is not part of the wait', async () => {
  const registry = knownWorker();
  let settled = false;
  const wait = membersSettled(registry, limitMs).then(() => {
    settled = true;
  });
  standStill(2 * limitMs);
  for (let turns = 0; turns < 20; turns += 1) await turn();
  expect(settled).toBe(false);
  registry.comes();
  await wait;
});
