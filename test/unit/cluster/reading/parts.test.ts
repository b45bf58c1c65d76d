import { expect, it } from 'vitest';
import { Parts } from '../../../../src/cluster/reading/origin/parts.ts';
import type { ManifestEntry, ObjectPart, UfsPath } from '../../../../src/core/types.ts';

const version = (etag: string): ManifestEntry => ({
  ...{ path: 's3://b/k' as UfsPath, etag, sizeBytes: 100, lastModifiedMs: 0 },
});
const part: ObjectPart = { range: { offset: 10, length: 10 }, parts: 10 };

it('asks once for each part of a version, however many want to know at once', async () => {
  const asked: string[] = [];
  const parts = new Parts(async ({ etag }, number) => {
    asked.push(`${etag} ${number}`);
    return part;
  });
  expect(await Promise.all([parts.of(version('a'), 2), parts.of(version('a'), 2)])).toEqual([part, part]);
  expect(await parts.of(version('a'), 2)).toBe(part);
  await parts.of(version('a'), 3);
  await parts.of(version('b'), 2);
  expect(asked).toEqual(['a 2', 'a 3', 'b 2']);
});

it('asks again after a failure, and where the origin did not say', async () => {
  const answers: (ObjectPart | undefined | Error)[] = [new Error('away'), undefined, part];
  const parts = new Parts(async () => {
    const answer = answers.shift();
    if (answer instanceof Error) throw answer;
    return answer;
  });
  await expect(parts.of(version('a'), 1)).rejects.toThrow('away');
  expect(await parts.of(version('a'), 1)).toBeUndefined();
  expect(await parts.of(version('a'), 1)).toBe(part);
  expect(await parts.of(version('a'), 1)).toBe(part);
  expect(answers).toEqual([]);
});
