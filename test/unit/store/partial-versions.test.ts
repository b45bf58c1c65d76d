/** A version of a file that is opened by what another worker knows of it, while it loads or when it is there in part. */
import { describe, expect, test } from 'vitest';
import { MiB } from '../../../src/core/units.ts';
import { contentOf, entry, load, loadObject, run } from '../../support/store-fixture.ts';
import { first, loadRange, object, openForEach, otherRun, second, store } from './partial-scene.ts';

const reopen = openForEach();

describe('a version that is opened by what somebody else knows of it', () => {
  const wanted = { path: object.path, etag: 'v1' };

  test('is read while it loads, and its bytes stay when it is given up', async () => {
    const fileId = await loadRange(second);
    expect(store.openVersion(wanted)).toBeUndefined();
    expect(store.openVersion(wanted, { offset: 2 * MiB, length: 2 * MiB + 1 })).toBeUndefined();
    const reader = store.openVersion(wanted, second)!;
    expect(reader.record).toMatchObject({ state: 'loading', fileId });
    store.reserve(otherRun, 30 * MiB);
    store.reserve(run, 0);
    await store.abandonFile(fileId, 'failed');
    expect(store.openVersion(wanted, second)).toBeUndefined();
    // Somebody takes whatever is free.
    expect(store.usage().usedBytes).toBe(2 * MiB);
    await loadObject(store, entry('filler', 30 * MiB), { run: otherRun });
    const pieces: Uint8Array[] = [];
    for await (const piece of reader.read(second)) pieces.push(piece);
    expect(Buffer.concat(pieces).equals(contentOf(object).subarray(2 * MiB, 4 * MiB))).toBe(true);
    reader.close();
    expect(store.usage().usedBytes).toBe(30 * MiB);
    // What came back is the run's to use.
    expect(store.reservedFor(run)).toBe(2 * MiB);
  });

  test('is found after a restart, without being begun', async () => {
    await loadRange(second);
    await reopen();
    const reader = store.openVersion(wanted, second)!;
    for await (const piece of reader.read({ offset: 2 * MiB + 7, length: 9 })) {
      expect(Buffer.from(piece).equals(contentOf(object).subarray(2 * MiB + 7, 2 * MiB + 16))).toBe(true);
    }
    reader.close();
    expect(store.openVersion(wanted, { offset: 4 * MiB - 1, length: 2 })).toBeUndefined();
  });

  test('is told apart by ETag, and by version id where both sides know one', async () => {
    await loadObject(store, { ...object, versionId: 'one' });
    const isThere = (more: { etag?: string; versionId?: string }): boolean => {
      const file = store.openVersion({ ...wanted, ...more }, first);
      file?.close();
      return file !== undefined;
    };
    expect([{}, { versionId: 'one' }, { versionId: 'two' }, { etag: 'v2' }].map(isThere)).toEqual([
      true,
      true,
      false,
      false,
    ]);
    expect(() => store.openVersion(wanted, { offset: 6 * MiB, length: 501 })).toThrow(
      expect.objectContaining({ code: 'RANGE_INVALID' }),
    );
  });

  test('is not there as metadata alone, nor at a path that none can have', async () => {
    await store.putMetadata(load, [object]);
    for (const path of [object.path, '', 'x'.repeat(5000)]) {
      expect(store.openVersion({ path: path as typeof object.path, etag: 'v1' })).toBeUndefined();
    }
  });
});
