/** What a worker says of its store and its rates, as text and back, and what becomes of what no worker would say. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { figuresText, parseFigures } from '../../../src/core/member-entries.ts';
import { rateWindowMs } from '../../../src/core/rate.ts';
import { parseUse, useText } from '../../../src/core/worker-use.ts';
import { OriginCounts } from '../../../src/origin/origin-counts.ts';
import { laneColumns, laneFailureColumns, laneLayout } from '../../../src/telemetry/lane-columns.ts';
import { servingColumns, servingLayout } from '../../../src/telemetry/serving-columns.ts';
import { makeSharedCounters } from '../../../src/telemetry/shared-counters.ts';
import { originUses, workerFigures } from '../../../src/worker-figures.ts';

const count = fc.nat({ max: Number.MAX_SAFE_INTEGER });
const anyUse = fc.record({
  ...{ reservedBytes: count, pinnedBytes: count, heldBytes: count },
  ...{ receivedBytesPerSecond: count, servedBytesPerSecond: count },
  ...{ originFailuresPerMinute: count, originThrottledPerMinute: count },
});

test('what is said is heard, over HTTP and in etcd, and a newer worker may say more', () => {
  fc.assert(
    fc.property(anyUse, count, (use, bytes) => {
      expect(parseUse(useText(use))).toEqual(use);
      expect(parseUse(`${useText(use)} 5 more`)).toEqual(use);
      const figures = { capacityBytes: bytes, freeBytes: 0, files: 1, use, origins: [] };
      expect(parseFigures(figuresText(figures))).toEqual(figures);
    }),
  );
  expect(parseFigures('{"capacityBytes":1,"freeBytes":1,"files":1}')).toEqual({
    capacityBytes: 1,
    freeBytes: 1,
    files: 1,
  });
});

test('what no worker would say is as nothing', () => {
  const wrong = ['', '1 2 3', '1 2 3 4 5 6 -7', '1 2 3 4 5 6 x', '1  2 3 4 5 6 7', `${'9'.repeat(16)} 1 1 1 1 1 1`];
  expect(wrong.map(parseUse)).toEqual(wrong.map(() => undefined));
  fc.assert(fc.property(fc.string(), (text) => void parseUse(text)));
});

test('rates are those of late, and fall when nothing comes any more', () => {
  const lanes = makeSharedCounters(laneLayout, 2);
  const serving = makeSharedCounters(servingLayout, 1);
  let nowMs = 0;
  const usage = {
    capacityBytes: 10,
    usedBytes: 4,
    reservedBytes: 3,
    freeBytes: -1,
    pinnedBytes: 2,
    heldBytes: 1,
    evictableBytes: 0,
    files: 5,
    blocks: 6,
  };
  const counts = new OriginCounts();
  const origins = originUses(counts, () => nowMs);
  const figures = workerFigures({ store: { usage: () => usage }, lanes, serving, origins, now: () => nowMs });
  const still = { reservedBytes: 3, pinnedBytes: 2, heldBytes: 1 };
  expect(figures()).toEqual({
    ...{ capacityBytes: 10, freeBytes: 0, files: 5 },
    use: {
      ...still,
      receivedBytesPerSecond: 0,
      servedBytesPerSecond: 0,
      originFailuresPerMinute: 0,
      originThrottledPerMinute: 0,
    },
    origins: [],
  });
  counts.answered('s3://b/', { parts: 1, bytes: 1, firstByteMs: 1 });
  expect(figures().origins).toEqual([]);
  nowMs = 3000;
  lanes.row(0).add(laneColumns.originBytes, 3000);
  lanes.row(1).add(laneColumns.peerBytes, 6000);
  lanes.row(1).add(laneFailureColumns.throttled, 1);
  lanes.row(0).add(laneFailureColumns.reset, 2);
  lanes.row(0).add(laneFailureColumns.cancelled, 50);
  serving.row(0).add(servingColumns.servedBytes, 300);
  counts.answered('s3://b/', { parts: 9, bytes: 3000, firstByteMs: 90 });
  counts.failed('s3://b/', { cause: 'throttled' });
  expect(figures().origins).toEqual([
    {
      ...{ origin: 's3://b/', requestsPerMinute: 220, bytesPerSecond: 1000, firstByteMs: 9 },
      failuresPerMinute: { throttled: 20, server: 0, refused: 0, unreachable: 0, slow: 0, broken: 0, changed: 0 },
    },
  ]);
  expect(figures().use).toEqual({
    ...{ ...still, receivedBytesPerSecond: 3000, servedBytesPerSecond: 100 },
    ...{ originFailuresPerMinute: 60, originThrottledPerMinute: 20 },
  });
  // What came before the first look at an origin is told by that.
  for (let n = 0; n < 3; n += 1) counts.failed('s3://new/', { cause: 'denied' });
  nowMs = 6000;
  expect(figures().origins!.find(({ origin }) => origin === 's3://new/')).toMatchObject({
    requestsPerMinute: 60,
    failuresPerMinute: { refused: 60 },
  });
  for (nowMs = 9000; nowMs < 20_000; nowMs += 3000) figures();
  expect(figures().use).toMatchObject({ receivedBytesPerSecond: 0, originFailuresPerMinute: 0 });
  // It is not asked any more, and not spoken of.
  expect(figures().origins).toEqual([]);
});

test('with a look after a long while rates begin anew, of an origin that is new too', () => {
  let nowMs = 0;
  const counts = new OriginCounts();
  const origins = originUses(counts, () => nowMs, rateWindowMs);
  const lanes = makeSharedCounters(laneLayout, 1);
  const serving = makeSharedCounters(servingLayout, 1);
  const usage = {
    ...{ capacityBytes: 10, usedBytes: 4, reservedBytes: 3, freeBytes: 1, pinnedBytes: 2, heldBytes: 1 },
    ...{ evictableBytes: 0, files: 5, blocks: 6 },
  };
  const store = { usage: () => usage };
  const figures = workerFigures({ store, lanes, serving, origins, now: () => nowMs, anewAfterMs: rateWindowMs });
  const part = { parts: 1, bytes: 1, firstByteMs: 1 };
  counts.answered('s3://known/', part);
  figures();
  for (nowMs = 1000; nowMs < 60_000; nowMs += 1000)
    for (const one of ['known', 'new']) counts.answered(`s3://${one}/`, part);
  lanes.row(0).add(laneColumns.originBytes, 60_000);
  nowMs = 3_600_000;
  const after = figures();
  expect([after.origins, after.use!.receivedBytesPerSecond]).toEqual([[], 0]);
  for (const one of ['known', 'new']) counts.answered(`s3://${one}/`, { ...part, parts: 2 });
  lanes.row(0).add(laneColumns.originBytes, 100);
  nowMs += 1000;
  expect(figures()).toMatchObject({
    origins: [{ requestsPerMinute: 120 }, { requestsPerMinute: 120 }],
    use: { receivedBytesPerSecond: 100 },
  });
});

test('the first byte of a write, which comes when all of it was sent, says nothing of how fast an origin answers', () => {
  let nowMs = 0;
  const counts = new OriginCounts();
  const origins = originUses(counts, () => nowMs);
  for (const operation of ['PUT', 'POST'] as const)
    counts.asked('s3://b/', operation, { httpStatus: 200, firstByteMs: 300_000 });
  counts.asked('s3://writes/', 'PUT', { httpStatus: 200, firstByteMs: 300_000 });
  for (const operation of ['GET', 'HEAD', 'LIST'] as const)
    counts.asked('s3://b/', operation, { httpStatus: 200, firstByteMs: 20 });
  nowMs = 10_000;
  expect(origins()).toMatchObject([
    { requestsPerMinute: 30, firstByteMs: 20 },
    { requestsPerMinute: 6, firstByteMs: 0 },
  ]);
});
