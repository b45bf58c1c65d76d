/** What a listing waits for: all of the time that passes, in equal shares for the calls under way. */
import { expect, it } from 'vitest';
import { JobLimits } from '../../../src/cluster/job-limits.ts';
import { ListingWaits } from '../../../src/cluster/listing-waits.ts';
import { heldBack, watchedRequest } from '../../../src/origin/request-watch.ts';

/** What the origin answers when it is told to. */
function gate<T>(): { readonly opened: Promise<T>; open(value: T): void } {
  let open!: (value: T) => void;
  return { opened: new Promise<T>((resolve) => (open = resolve)), open: (value) => open(value) };
}

it('is throttling from an answer that says so to the end of the call, and the limit while that holds it', async () => {
  let nowMs = 0;
  const waits = new ListingWaits(() => nowMs);
  const [turn, first, second, other] = [gate<void>(), gate<number>(), gate<number>(), gate<number>()];
  const attempt = (answer: Promise<number>): Promise<number> =>
    watchedRequest(undefined, 'LIST', { send: () => answer, statusOf: (status) => status });
  nowMs = 100;
  const call = waits.call(async () => {
    await heldBack(turn.opened);
    await attempt(first.opened);
    await attempt(second.opened);
  });
  nowMs = 300;
  turn.open();
  await turn.opened;
  await settled();
  nowMs = 350;
  first.open(503);
  await settled();
  nowMs = 1350;
  // A second one under way has its share.
  const beside = waits.call(() => attempt(other.opened));
  nowMs = 1550;
  second.open(200);
  await call;
  other.open(200);
  await beside;
  nowMs = 1600;
  expect(waits.take('work')).toEqual({ work: 150, requests: 200, listing: 50 + 100, 'throttled-503': 1000 + 100 });
  expect(waits.take('work')).toEqual({});
});

it('is what a job is limited by, whatever of it its workers know', () => {
  const limits = new JobLimits({});
  limits.look(0, new Map(), true, {});
  limits.look(1000, new Map(), true, { 'throttled-503': 900, listing: 100 });
  expect(limits.recent).toEqual([
    { cause: 'origin-throttling', share: 0.9, detail: '503 SlowDown' },
    { cause: 'scheduler', share: 0.1, detail: 'listing' },
  ]);
  // A worker that has nothing to do, and one that is half busy with what was listed first.
  limits.look(2000, new Map([['w', { work: 500, transfer: 500 }]]), true, { 'throttled-429': 1000 });
  expect(limits.sums).toEqual({ 'throttled-503': 900, listing: 100, transfer: 500, 'throttled-429': 500 });
});

it('begins and ends with its call: what is asked beside it, and behind it, is not of it', async () => {
  let nowMs = 0;
  const waits = new ListingWaits(() => nowMs);
  await waits.call(async () => undefined);
  await expect(
    watchedRequest(undefined, 'LIST', { send: () => Promise.resolve(503), statusOf: (status) => status }),
  ).resolves.toBe(503);
  nowMs = 10;
  expect(waits.take('listing')).toEqual({ listing: 10 });
});

/** All that can go on has gone on. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
