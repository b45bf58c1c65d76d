/** An answer of the origin that was on its way when somebody saw that it is wrong. */
import { expect, it } from 'vitest';
import { KnownPeers } from '../../../../src/cluster/reading/known-peers.ts';
import { OriginReads } from '../../../../src/cluster/reading/origin/reads.ts';
import { nobody } from '../../../../src/cluster/reading/peer-client.ts';
import { ReadPolicies } from '../../../../src/core/read-policy.ts';
import type { WorkerId } from '../../../../src/core/types.ts';
import type { ObjectDetails } from '../../../../src/origin/types.ts';
import { entry, memoryLog } from '../../../support/store-fixture.ts';
import { segmentBytes } from './stage.ts';

it('counts for nobody who asks afterwards', async () => {
  const none = (): never => {
    throw new Error('not to be called');
  };
  const answers: ((object: ObjectDetails) => void)[] = [];
  const reads = new OriginReads({
    policies: new ReadPolicies({ base: { readThrough: 'pass', maxAgeMs: 60_000 }, origins: [], rules: [] }),
    origins: {
      resolve: none,
      readRange: none,
      level: none,
      part: none,
      head: () => new Promise((told) => answers.push(told)),
    },
    ...{ peers: new KnownPeers('w1' as WorkerId), log: memoryLog(), segmentBytes, client: nobody, serveStale: true },
    limiter: { enter: () => undefined, leave: () => undefined, spend: async () => undefined },
    fillings: { read: none },
    observe: { read: () => undefined, asked: () => undefined, stale: () => undefined, notKept: () => undefined },
    now: () => 1_000_000,
  });
  const [before, after] = [entry('a', 5, 'v1'), entry('a', 9, 'v2')];
  const tell = async (object: typeof before): Promise<void> => {
    await expect.poll(() => answers.length).toBeGreaterThan(0);
    answers.shift()!({ ...object } as unknown as ObjectDetails);
  };
  const first = reads.version(before.path);
  await expect.poll(() => answers.length).toBe(1);
  reads.forget(before.path);
  await tell(before);
  expect((await first)?.etag).toBe('v1');
  expect(reads.isFresh(before)).toBe(false);
  const second = reads.version(before.path);
  await tell(after);
  expect((await second)?.etag).toBe('v2');
  // Nobody has doubted since.
  expect((await reads.version(before.path))?.etag).toBe('v2');
  expect(reads.isFresh(after)).toBe(true);
});
