import { expect, it } from 'vitest';
import { Versions } from '../../../../src/cluster/reading/origin/versions.ts';
import { PrimedError } from '../../../../src/core/errors.ts';
import type { UfsPath } from '../../../../src/core/types.ts';
import type { ObjectDetails } from '../../../../src/origin/types.ts';

const path = 's3://b/k' as UfsPath;

function open() {
  let nowMs = 1000;
  let etag = 'v1';
  const waiting: { answer(): void; fail(): void }[] = [];
  const versions = new Versions({
    now: () => nowMs,
    ask: (of) => {
      const askedAtMs = nowMs;
      return new Promise((resolve, reject) => {
        waiting.push({
          answer: () => resolve({ object: { path: of, etag } as ObjectDetails, askedAtMs }),
          fail: () => reject(new PrimedError('ORIGIN_UNREACHABLE', 'away')),
        });
      });
    },
  });
  return {
    ...{ versions, waiting },
    pass: (ms: number) => (nowMs += ms),
    change: (to: string) => (etag = to),
  };
}

it('one HEAD however many ask, and its answer counts for as long as each allows', async () => {
  const { versions, waiting, pass } = open();
  const asked = Array.from({ length: 5 }, () => versions.at(path, 500));
  expect(waiting).toHaveLength(1);
  pass(100);
  waiting[0]!.answer();
  await Promise.all(asked);
  expect((await versions.at(path, 500)).object?.etag).toBe('v1');
  expect(waiting).toHaveLength(1);
  // As old as its request.
  pass(400);
  void versions.at(path, 500);
  expect(waiting).toHaveLength(2);
});

it('who wants none older than his question waits for the next HEAD, together with all who came meanwhile', async () => {
  const { versions, waiting, pass, change } = open();
  const first = versions.at(path, 0);
  pass(10);
  const later = [versions.at(path, 0), versions.at(path, 0)];
  expect(waiting).toHaveLength(1);
  waiting[0]!.answer();
  expect((await first).object?.etag).toBe('v1');
  change('v2');
  await expect.poll(() => waiting.length).toBe(2);
  waiting[1]!.answer();
  for (const seen of await Promise.all(later)) expect(seen.object?.etag).toBe('v2');
  expect(waiting).toHaveLength(2);
});

it('an origin that is away is waited for once, then asked beside those who are told so', async () => {
  const { versions, waiting, pass } = open();
  const first = versions.at(path, 0);
  waiting[0]!.fail();
  await expect(first).rejects.toThrow('away');
  await expect(versions.at(path, 0)).rejects.toThrow('away');
  expect(waiting).toHaveLength(1);
  pass(3000);
  await expect(versions.at(path, 0)).rejects.toThrow('away');
  expect(waiting).toHaveLength(2);
  waiting[1]!.answer();
  await expect.poll(() => versions.known(path, 10_000)?.object?.etag).toBe('v1');
  const again = versions.at(path, 0);
  expect(waiting).toHaveLength(3);
  waiting[2]!.answer();
  expect((await again).object?.etag).toBe('v1');
});
