/** A write that a worker was told nothing of: what it gives afterwards. */
import { afterEach, expect, it } from 'vitest';
import { ClusterFiles } from '../../../../src/cluster/reading/files.ts';
import { KnownPeers } from '../../../../src/cluster/reading/known-peers.ts';
import { OriginReads, type OriginReadsOptions } from '../../../../src/cluster/reading/origin/reads.ts';
import { nobody } from '../../../../src/cluster/reading/peer-client.ts';
import { PrimedError } from '../../../../src/core/errors.ts';
import { ReadPolicies } from '../../../../src/core/read-policy.ts';
import type { ManifestEntry, WorkerId } from '../../../../src/core/types.ts';
import { MiB } from '../../../../src/core/units.ts';
import { contentOf, entry, memoryLog } from '../../../support/store-fixture.ts';
import { openReading, type ReadingStage, readFrom, segmentBytes } from './stage.ts';

let stage: ReadingStage | undefined;
afterEach(async () => {
  await stage?.close();
  stage = undefined;
});

/**
 * What a worker reads with a cache, of whose origin only this test knows what it has. There is no clock but `nowMs`, and nothing
 * that could be told: the object of the process that reads is all there is.
 */
function reader(store: ReadingStage, origin: { has: ManifestEntry | undefined; away?: boolean; asked: number }) {
  const log = memoryLog();
  const time = { nowMs: 1_000_000 };
  const peers = new KnownPeers('w1' as WorkerId);
  const gone = (): PrimedError => new PrimedError('ORIGIN_NOT_FOUND', 'there is none');
  const none = (): never => {
    throw new Error('not to be called');
  };
  const policies = new ReadPolicies({
    base: { readThrough: 'never', maxAgeMs: undefined },
    // An hour would do for what is not written through.
    origins: [{ prefix: 's3://bucket/', readThrough: 'pass', maxAgeMs: 3_600_000, writes: true }],
    rules: [],
  });
  const origins: OriginReadsOptions['origins'] = {
    ...{ level: none, part: none },
    resolve: (at) => ({ originIndex: 0, key: at }) as ReturnType<OriginReadsOptions['origins']['resolve']>,
    head: async () => {
      origin.asked += 1;
      if (origin.away === true) throw new PrimedError('ORIGIN_UNREACHABLE', 'away');
      if (origin.has === undefined) throw gone();
      return { ...origin.has } as Awaited<ReturnType<OriginReadsOptions['origins']['head']>>;
    },
    async *readRange(version, { offset, length }) {
      if (origin.has?.etag !== version.etag) throw new PrimedError('ORIGIN_CHANGED', 'another');
      yield contentOf(origin.has).subarray(offset, offset + length);
    },
  };
  const reads = new OriginReads({
    ...{ policies, origins, peers, log, segmentBytes, client: nobody, serveStale: true },
    limiter: { enter: () => undefined, leave: () => undefined, spend: async () => undefined },
    fillings: { read: none },
    observe: { read: () => undefined, asked: () => undefined, stale: () => undefined, notKept: () => undefined },
    now: () => time.nowMs,
  });
  const files = new ClusterFiles({ store: store.worker('w1').store, peers, client: nobody, log, origin: reads });
  return { files, time };
}

it('gives the new bytes all the same, at once and after a restart, and says that what was deleted is gone', async () => {
  stage = await openReading('w1');
  const [before, after] = [entry('a', MiB + 5, 'v1'), entry('a', MiB + 9, 'v2')];
  await stage.put(before, () => ['w1']);
  const origin = { has: before as ManifestEntry | undefined, asked: 0 };
  const { files, time } = reader(stage, origin);
  expect((await readFrom(files, before.path))?.equals(contentOf(before))).toBe(true);
  // What was read is here, and is what was written last: its answer is a moment old when another writes.
  origin.has = after;
  expect(stage.worker('w1').store.stat(before.path)?.etag).toBe('v1');
  expect((await readFrom(files, after.path))?.equals(contentOf(after))).toBe(true);
  const restarted = reader(stage, origin);
  expect((await readFrom(restarted.files, after.path))?.equals(contentOf(after))).toBe(true);
  origin.has = undefined;
  expect(await readFrom(files, after.path)).toBeUndefined();
  expect(await readFrom(restarted.files, after.path)).toBeUndefined();
  // It was here all the time.
  expect(stage.worker('w1').store.stat(before.path)?.etag).toBe('v1');
  expect(origin.asked).toBe(5);
  expect(time.nowMs).toBe(1_000_000);
});

it('gives nothing old while the origin is away', async () => {
  stage = await openReading('w1');
  const before = entry('a', MiB, 'v1');
  await stage.put(before, () => ['w1']);
  const { files } = reader(stage, { has: before, away: true, asked: 0 });
  await expect(readFrom(files, before.path)).rejects.toMatchObject({ code: 'ORIGIN_UNREACHABLE' });
});
