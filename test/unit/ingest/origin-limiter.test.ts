/** Who waits at the limit of an origin, and what those who divide it hear of that. */
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { makeLimit } from '../../../src/core/origin-limits.ts';
import { makeLimitBoard } from '../../../src/ingest/limit-board.ts';
import { OriginLimiter } from '../../../src/ingest/origin-limiter.ts';

const origin = 's3://data/';
const requests = (requestsPerSecond: number) => [makeLimit(origin, { requestsPerSecond })];

let limiter: OriginLimiter;
beforeEach(() => {
  vi.useFakeTimers();
  limiter = new OriginLimiter(makeLimitBoard(), { held: () => undefined, share: () => undefined });
  limiter.know(0, origin);
});
afterEach(() => {
  limiter.close();
  vi.useRealTimers();
});

it('a request that waits goes out when its limit is lifted, and when the origin has none any more', async () => {
  for (const lifted of [[makeLimit(origin, {})], []]) {
    limiter.setLimits(requests(0));
    const admitted = limiter.admit(0);
    await vi.advanceTimersByTimeAsync(1000);
    limiter.setLimits(lifted);
    await admitted;
  }
});

it('a request that is called off while it waits leaves the others in their places', async () => {
  limiter.setLimits(requests(0));
  const abort = new AbortController();
  const order: string[] = [];
  const first = limiter.admit(0).then(() => order.push('first'));
  const off = limiter.admit(0, abort.signal);
  const last = limiter.admit(0).then(() => order.push('last'));
  abort.abort(new Error('called off'));
  await expect(off).rejects.toThrow('called off');
  limiter.setLimits(requests(10));
  await vi.advanceTimersByTimeAsync(300);
  await Promise.all([first, last]);
  expect(order).toEqual(['first', 'last']);
});

it('those who divide hear when somebody wants something, how much while it lasts, and that it is over', async () => {
  limiter.setLimits(requests(100));
  const heard: (number | undefined)[] = [];
  limiter.onDemand(() => heard.push(limiter.demand()[0]?.requestsPerSecond));
  limiter.enter(0);
  expect(heard).toEqual([Number.POSITIVE_INFINITY]);
  await vi.advanceTimersByTimeAsync(2000);
  // Nothing was held back: it wants less than everything by now.
  expect(heard.length).toBeGreaterThan(2);
  expect(heard.at(-1)).toBeLessThan(100);
  limiter.leave(0);
  await vi.advanceTimersByTimeAsync(1500);
  expect(heard.at(-1)).toBeUndefined();
  const { length } = heard;
  await vi.advanceTimersByTimeAsync(5000);
  expect(heard.length).toBe(length);
});

it('what is read on the main thread waits for its bytes, and no longer when the limit is lifted', async () => {
  const rate = 1_000_000;
  limiter.setLimits([makeLimit(origin, { bytesPerSecond: rate })]);
  limiter.enter(0);
  let readBytes = 0;
  const reading = (async () => {
    for (let n = 0; n < 100; n += 1) {
      await limiter.spend(0, 100_000);
      readBytes += 100_000;
    }
  })();
  await vi.advanceTimersByTimeAsync(4000);
  // What a bucket holds at first comes on top.
  expect(readBytes).toBeGreaterThan(3.5 * rate);
  expect(readBytes).toBeLessThan(5 * rate);
  limiter.setLimits([]);
  await vi.advanceTimersByTimeAsync(10);
  await reading;
  limiter.leave(0);
  // An origin without a limit asks for nothing.
  await limiter.spend(0, 1e12);
});

it('what is given up while it waits has cost nothing', async () => {
  const rate = 100_000;
  limiter.setLimits([makeLimit(origin, { bytesPerSecond: rate })]);
  limiter.enter(0);
  const given = new AbortController();
  const wanted = limiter.spend(0, 100 * rate, given.signal);
  const told = expect(wanted).rejects.toThrow('given up');
  await vi.advanceTimersByTimeAsync(1000);
  given.abort(new Error('given up'));
  await vi.advanceTimersByTimeAsync(10);
  await told;
  let went = false;
  void limiter.spend(0, 1).then(() => {
    went = true;
  });
  await vi.advanceTimersByTimeAsync(100);
  expect(went).toBe(true);
  limiter.leave(0);
});

it('what is read on the main thread is told when the limit leaves nothing', async () => {
  limiter.setLimits([makeLimit(origin, { bytesPerSecond: 0 })]);
  limiter.enter(0);
  const told = expect(limiter.spend(0, 1)).rejects.toMatchObject({ code: 'TOO_BUSY' });
  await vi.advanceTimersByTimeAsync(31_000);
  await told;
  limiter.leave(0);
});
