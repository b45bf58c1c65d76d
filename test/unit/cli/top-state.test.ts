/** Rates and times left, of what the coordinator says and of what follows from two of its answers. */
import { expect, test } from 'vitest';
import { figuresOf, fillRateOf, nothingSeen, totalRateOf, withLook, withTrouble } from '../../../src/cli/top-state.ts';
import type { JobRow, WorkerInfo } from '../../../src/client/types.ts';

const job = (more: Partial<JobRow>): JobRow => ({ jobId: 'j', type: 'LOAD', state: 'RUNNING', ...more });
const seenAt = (seconds: number, freeBytes: number, more: Partial<WorkerInfo> = {}) =>
  ({
    ...{ id: 'w', state: 'LIVE', epoch: 1, capacityBytes: 1000, freeBytes },
    lastSeenAt: new Date(Date.UTC(2026, 0, 2) + seconds * 1000).toISOString(),
    ...more,
  }) as WorkerInfo;

test('a load that runs has the rate and the time that its coordinator says, and none that it does not', () => {
  const running = job({ bytes: 100, loadedBytes: 30, skippedBytes: 10, bytesPerSecond: 20, etaMs: 3000 });
  expect(figuresOf(running, nothingSeen)).toEqual({ share: 0.4, bytesPerSecond: 20, etaMs: 3000 });
  const unsaid = [10, 20].reduce(
    (state, loadedBytes) => withLook(state, { jobs: [job({ bytes: 100, loadedBytes })] }, loadedBytes * 100),
    nothingSeen,
  );
  expect(figuresOf(unsaid.look!.jobs[0]!, unsaid)).toEqual({ share: 0.2 });
  const waiting = job({ state: 'WAITING', bytes: 100, loadedBytes: 30, bytesPerSecond: 20, etaMs: 3000 });
  expect(figuresOf(waiting, nothingSeen)).toEqual({});
  expect(
    totalRateOf({
      jobs: [running, waiting, job({ bytesPerSecond: 5 }), job({ state: 'VERIFYING', bytesPerSecond: 7 })],
    }),
  ).toBe(25);
});

test.each([
  ['verifying', (bytes: number) => job({ state: 'VERIFYING', bytes: 100, loadedBytes: 100, verifiedBytes: bytes })],
  ['freeing', (bytes: number) => job({ type: 'FREE', bytes: 100, freedBytes: bytes })],
])('%s has what follows from two looks', (_what, row) => {
  const first = withLook(nothingSeen, { jobs: [row(20)] }, 1000);
  expect(figuresOf(row(20), first)).toEqual({ share: 0.2 });
  const second = withLook(first, { jobs: [row(40)] }, 3000);
  expect(figuresOf(row(40), second)).toEqual({ share: 0.4, bytesPerSecond: 10, etaMs: 6000 });
  const still = withLook(second, { jobs: [row(40)] }, 30_000);
  expect(figuresOf(row(40), still)).toEqual({ share: 0.4, bytesPerSecond: 0 });
});

test('what was loaded says nothing about how fast it is verified', () => {
  const loading = withLook(nothingSeen, { jobs: [job({ bytes: 100, loadedBytes: 0 })] }, 0);
  const verifying = job({ state: 'VERIFYING', bytes: 100, loadedBytes: 100, verifiedBytes: 50 });
  expect(figuresOf(verifying, withLook(loading, { jobs: [verifying] }, 2000))).toEqual({ share: 0.5 });
});

test('a dry run has no share, no rate and no end', () => {
  const dry = (bytes: number) => job({ type: 'FREE', bytes, freedBytes: 0, options: { dryRun: true } });
  const state = withLook(withLook(nothingSeen, { jobs: [dry(10)] }, 0), { jobs: [dry(20)] }, 2000);
  expect(figuresOf(dry(20), state)).toEqual({});
});

test('a worker fills as fast as its own words say, however often it is looked at', () => {
  const words = [seenAt(0, 900), seenAt(0, 900), seenAt(4, 700), seenAt(4, 700)];
  const state = words.reduce((before, row, n) => withLook(before, { jobs: [], workers: [row] }, n * 1000), nothingSeen);
  expect(fillRateOf(words[3]!, state)).toBe(50);
  expect(fillRateOf(words[3]!, withLook(nothingSeen, { jobs: [], workers: [words[3]!] }, 0))).toBeUndefined();
  const evicted = withLook(state, { jobs: [], workers: [seenAt(8, 800)] }, 5000);
  expect(fillRateOf(seenAt(8, 800), evicted)).toBeUndefined();
  const again = withLook(state, { jobs: [], workers: [seenAt(8, 0, { epoch: 2 })] }, 5000);
  expect(fillRateOf(seenAt(8, 0, { epoch: 2 }), again)).toBeUndefined();
  expect(fillRateOf(seenAt(4, 700, { state: 'LOST' }), state)).toBeUndefined();
});

test('what is gone is forgotten, and trouble by the next answer', () => {
  const state = withTrouble(withLook(nothingSeen, { jobs: [job({})], workers: [seenAt(0, 1)] }, 0), 'away', 5);
  expect(state.look?.jobs).toHaveLength(1);
  const after = withLook(state, { jobs: [], workers: [] }, 10);
  expect(after).toEqual({ look: { jobs: [], workers: [] }, jobRates: new Map(), workerRates: new Map() });
});
