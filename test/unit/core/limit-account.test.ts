/** The rules by which the time of a load is charged, one by one. */
import { expect, it } from 'vitest';
import {
  laneStates,
  type RunLook,
  saturation,
  slotTimeOf,
  weightsOf,
  weightsOfJob,
} from '../../../src/core/limit-account.ts';
import { limitsOf, limitText } from '../../../src/core/limit-causes.ts';
import { type LimitWindow, recentSums } from '../../../src/core/limit-window.ts';
import { withSample } from '../../../src/core/rate.ts';

const idle: RunLook = {
  lanes: {},
  partsInLanes: 0,
  queued: false,
  slotsInUse: 1,
  lacksSlot: false,
  freeSlots: 8,
  heldBy: undefined,
  throttledBy: 'throttled',
  retrying: { throttled: 0, failed: 0, copying: 0 },
  heads: 0,
  landingParts: 0,
  landing: 'commit',
  files: false,
  utilization: 0,
  yielding: false,
};

/** The states that are charged, largest first. */
const states = (look: Partial<RunLook>): string[] => {
  const weights = Object.entries(weightsOf({ ...idle, ...look }) ?? {});
  return weights.sort(([, a], [, b]) => b - a).map(([state]) => state);
};

const requestsOf = (waits: Partial<Record<(typeof laneStates)[number], number>>): Float64Array =>
  Float64Array.from(laneStates, (state) => waits[state] ?? 0);
const slotsWait = (
  use: { receiving?: number; writing?: number; reading?: number },
  waits: Parameters<typeof requestsOf>[0],
  loop = { utilization: 0, checksums: 0 },
): Record<string, number> => {
  const into = new Float64Array(laneStates.length);
  const requests = requestsOf(waits);
  slotTimeOf({ receiving: 0, writing: 0, reading: 0, ...use, requests, others: requests }, loop, 100, into);
  const pairs = laneStates.map((state, at) => [state, Math.round(into[at]!)] as const);
  return Object.fromEntries(pairs.filter(([, ms]) => ms > 0));
};

it('divides the slots that are received into like their requests, and charges the others to the disk', () => {
  expect(slotsWait({ receiving: 4, writing: 2 }, { transfer: 3, 'first-byte': 1 })).toEqual({
    transfer: 300,
    'first-byte': 100,
    'disk-write': 200,
  });
});

it('charges a lane whose loop is always busy to the CPU, and to checksums as far as they take its time', () => {
  const full = { utilization: 1, checksums: 0.75 };
  expect(slotsWait({ receiving: 2, reading: 2 }, { transfer: 1 }, full)).toEqual({ 'lane-cpu': 100, checksum: 300 });
  expect(slotsWait({ receiving: 1 }, { transfer: 1 }, { utilization: 0.5, checksums: 0 })).toEqual({ transfer: 100 });
  expect([saturation(0.8), saturation(0.95), saturation(1)]).toEqual([0, 1, 1]);
});

it('leaves requests that may not be sent with their limit, however busy the loop is', () => {
  expect(slotsWait({ receiving: 1 }, { throttled: 9, transfer: 1 }, { utilization: 1, checksums: 0 })).toEqual({
    throttled: 90,
    'lane-cpu': 10,
  });
});

it('divides by slots while parts wait for one, whatever has yet to become durable', () => {
  const full = {
    queued: true,
    partsInLanes: 8,
    slotsInUse: 8,
    freeSlots: 0,
    lanes: { 'disk-write': 700, transfer: 100 },
  };
  expect(states({ ...full, landingParts: 1000 })).toEqual(['disk-write', 'transfer']);
});

it('divides by parts where none waits for a slot: those that are not durable yet count too', () => {
  const few = { partsInLanes: 2, slotsInUse: 2, lanes: { transfer: 200 } };
  expect(states({ ...few, landingParts: 50 })).toEqual(['commit', 'transfer']);
  expect(states({ ...few, landingParts: 50, landing: 'disk-flush' })).toEqual(['disk-flush', 'transfer']);
  expect(states({ ...few, landingParts: 50, utilization: 1 })).toEqual(['main-cpu', 'transfer']);
});

it('charges slots that stay free for the silence that the origin asks for to its throttling', () => {
  const held = { queued: true, heldBy: 'throttled', throttledBy: 'throttled-503' } as const;
  expect(states({ ...held, partsInLanes: 1, freeSlots: 7, lanes: { transfer: 100 } })).toEqual([
    'throttled-503',
    'transfer',
  ]);
  expect(states(held)).toEqual(['throttled-503']);
});

it('charges parts between two attempts to what the last one met', () => {
  expect(states({ retrying: { throttled: 5, failed: 2, copying: 1 }, throttledBy: 'throttled-429' })).toEqual([
    'throttled-429',
    'retry',
    'copying',
  ]);
});

it('charges a limit that leaves nothing to it, and a run without anything to do to the scheduler', () => {
  expect(states({ queued: true, heldBy: 'bandwidth' })).toEqual(['bandwidth']);
  expect(states({})).toEqual(['work']);
  expect(states({ files: true })).toEqual(['lookup']);
  expect(states({ utilization: 1 })).toEqual(['main-cpu']);
});

it('charges a run of which nothing has a slot, and something waits for one, to the others that have them', () => {
  const none = { queued: true, files: true, lacksSlot: true };
  expect(states({ ...none, freeSlots: 0 })).toEqual(['slots']);
  // Some are kept for others.
  expect(states({ ...none, freeSlots: 1 })).toEqual(['slots']);
  // They are given out at once: whoever waits beside free ones waits for something else.
  expect(states({ ...none, lacksSlot: false, freeSlots: 1 })).toEqual(['lookup']);
  expect(states({ ...none, heldBy: 'requests' })).toEqual(['requests']);
  expect(states({ ...none, landingParts: 1 })).toEqual(['commit']);
});

it('calls the CPU that lanes lack while they give way to readers the wish of the operator', () => {
  const busy = { partsInLanes: 1, lanes: { 'lane-cpu': 100 } };
  expect(states(busy)).toEqual(['lane-cpu']);
  expect(states({ ...busy, yielding: true })).toEqual(['readers']);
});

it('does not let a worker that has nothing to do hide what the others wait for', () => {
  const workers = [{ work: 500 }, { 'disk-write': 490, transfer: 10 }, {}];
  expect(limitsOf(weightsOfJob(workers, { listing: false }))).toEqual([
    { cause: 'disk', share: 0.98, detail: 'writes' },
    { cause: 'origin-transfer', share: 0.02 },
  ]);
  expect(limitsOf(weightsOfJob([{ work: 90, transfer: 10 }, { work: 100 }], { listing: true }))?.[0]).toEqual({
    cause: 'scheduler',
    share: 0.9,
    detail: 'listing',
  });
});

it('names the largest detail of a cause, in one line for people', () => {
  const [first, second] = limitsOf({ 'throttled-503': 500, 'throttled-429': 120, 'first-byte': 380, work: 1 })!;
  expect(limitText(first!)).toBe('origin 503 SlowDown (62%)');
  expect(limitText(second!)).toBe('origin first byte (38%)');
  expect(limitsOf({})).toBeUndefined();
});

it('forgets what limited a job earlier', () => {
  let window: LimitWindow = [];
  for (let second = 0; second <= 30; second += 1) {
    const sums = { transfer: Math.min(second, 15) * 1000, 'disk-write': Math.max(0, second - 15) * 1000 };
    window = withSample(window, { atMs: second * 1000, sums });
  }
  expect(limitsOf(recentSums(window))).toEqual([{ cause: 'disk', share: 1, detail: 'writes' }]);
});
