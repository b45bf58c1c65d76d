/** Files that are visible in part: how they are gone on with, replaced and taken away, and what happens at one time. */
import { beforeEach, describe, expect, test } from 'vitest';
import type { FileId } from '../../../src/core/types.ts';
import { MiB } from '../../../src/core/units.ts';
import type { Begun } from '../../../src/store/types.ts';
import { contentOf, entry, load, loadObject, readObject, run, writePart } from '../../support/store-fixture.ts';
import {
  begin,
  bytesHere,
  expectBytes,
  expectEmpty,
  first,
  last,
  loadRange,
  missingOf,
  notHere,
  object,
  openForEach,
  otherLoad,
  otherRun,
  second,
  store,
  whole,
} from './partial-scene.ts';

const reopen = openForEach();

describe('a file that is visible in part', () => {
  let fileId: FileId;
  beforeEach(async () => {
    fileId = await loadRange(first);
    await store.show(object);
  });

  test('is gone on with, and keeps what it has meanwhile', async () => {
    expect(missingOf(begin(first))).toEqual([]);
    expect(begin(second)).toMatchObject({ state: 'loading', fileId });
    await loadRange(second, { run: otherRun });
    await expectBytes(first);
    expect(bytesHere(whole)).toBe(4 * MiB);
    expect(store.stat(object.path)).toMatchObject({ state: 'partial', cachedBytes: 2 * MiB });
    await store.show(object);
    expect(store.stat(object.path)).toMatchObject({ state: 'partial', cachedBytes: 4 * MiB, fileId });
    await expectBytes({ offset: 0, length: 4 * MiB });
    await loadRange(last);
    expect(store.stat(object.path)).toMatchObject({ state: 'complete', fileId });
    await expectBytes(whole);
    expect([run, otherRun].map((id) => store.ledger(id).cachedBytes)).toEqual([4 * MiB + 500, 2 * MiB]);
    expect(store.usage()).toMatchObject({ usedBytes: 6 * MiB + 4096, files: 1, blocks: 1 });
  });

  test('is gone on with by a load that takes anything, and begun anew by another that wants its own', async () => {
    const any = begin(second, { load: otherLoad, reuse: 'any' });
    expect(any.fileId).toBe(fileId);
    store.unreserve(run);
    const own = begin(second, { load: otherLoad, run: otherRun });
    expect(own.fileId).not.toBe(fileId);
    await loadRange(second, { load: otherLoad, run: otherRun });
    await expectBytes(first);
    expect(store.cachedRange({ run: otherRun, load: otherLoad }, object, second)).toMatchObject({
      bytes: 2 * MiB,
      ours: true,
    });
    await store.show(object);
    expect(store.stat(object.path)).toMatchObject({ state: 'partial', fileId: own.fileId, cachedBytes: 2 * MiB });
    await expect(readObject(store, object.path, first)).rejects.toMatchObject(notHere);
    await expectBytes(second);
    expect(store.usage()).toMatchObject({ usedBytes: 2 * MiB, files: 1, blocks: 1 });
  });

  test('keeps what was added when that is given up: it belongs to the version that is visible', async () => {
    await loadRange(second, { run: otherRun });
    await store.abandonFile(fileId, 'failed');
    for (const range of [first, second]) await expectBytes(range);
    expect(store.stat(object.path)).toMatchObject({ state: 'partial', cachedBytes: 4 * MiB });
    expect(store.statLoading(object.path)).toBeUndefined();
    expect(store.ledger(otherRun)).toMatchObject({ cachedBytes: 2 * MiB });
    await reopen();
    for (const range of [first, second]) await expectBytes(range);
    expect(store.usage()).toMatchObject({ usedBytes: 4 * MiB, blocks: 1 });
    // A run that is at work on it goes on.
    expect(begin(last, { run: otherRun }).fileId).toBe(fileId);
    await loadRange(last, { run: otherRun });
    await expectBytes(whole);
  });

  test('keeps what was added when another load begins it anew, and late parts are booked', async () => {
    await loadRange(second, { run: otherRun });
    const late = writePart(store, { run: otherRun, fileId, entry: object, range: last });
    store.account(otherRun, { originBytes: last.length });
    const anew = begin(first, { load: otherLoad });
    await store.land(otherRun, [late]);
    expect(store.isAbandoned(fileId)).toBe(true);
    for (const range of [first, second]) await expectBytes(range);
    expect(store.ledger(otherRun)).toMatchObject({ cachedBytes: 2 * MiB, discardedBytes: { replaced: last.length } });
    await store.abandonFile(anew.fileId, 'failed');
    expect(begin(last).fileId).toBe(fileId);
    await loadRange(last);
    await expectBytes(whole);
  });

  test('stays when the next version of it is given up', async () => {
    const newer = { ...object, etag: 'v2' };
    const next = await loadRange(second, { of: newer });
    expect(next).not.toBe(fileId);
    await store.abandonFile(next, 'failed');
    await expectBytes(first);
    expect(store.usage()).toMatchObject({ usedBytes: 2 * MiB, blocks: 1 });
    expect(store.ledger(run)).toMatchObject({ cachedBytes: 2 * MiB, discardedBytes: { failed: 2 * MiB } });
  });

  test('goes when another version is shown, but not under those who read it', async () => {
    const newer = { ...object, etag: 'v2' };
    await loadRange(second, { of: newer });
    const reader = store.open(object.path);
    await store.show(newer);
    await expectBytes(second, newer);
    await expect(readObject(store, object.path, first)).rejects.toMatchObject(notHere);
    const pieces: Uint8Array[] = [];
    for await (const piece of reader.read(first)) pieces.push(piece);
    expect(Buffer.concat(pieces).equals(contentOf(object).subarray(0, first.length))).toBe(true);
    expect(store.usage().usedBytes).toBe(4 * MiB);
    reader.close();
    expect(store.usage()).toMatchObject({ usedBytes: 2 * MiB, files: 1 });
  });

  test('is removed while more is added to it', async () => {
    await loadRange(second, { run: otherRun });
    const late = writePart(store, { run: otherRun, fileId, entry: object, range: last });
    store.account(otherRun, { originBytes: last.length });
    expect(await store.remove(object.path)).toEqual({ files: 1, bytes: 4 * MiB });
    expect(await store.land(otherRun, [late])).toEqual([]);
    await expectEmpty();
    await reopen();
    await expectEmpty();
    expect(begin(first).fileId).not.toBe(fileId);
  });

  test('is removed by its version while more is added to it', async () => {
    await loadRange(second);
    await store.removeVersion(object.path, (fileId + 1) as FileId, 'corrupt');
    await expectBytes(first);
    await store.removeVersion(object.path, fileId, 'corrupt');
    await expectEmpty();
  });

  test('needs no room made, and keeps its bytes when room is made for another version', async () => {
    await loadRange(second);
    store.unreserve(run);
    await store.dropUnusable({ load, entries: [object], reuse: 'load' });
    expect(bytesHere(whole)).toBe(4 * MiB);
    await store.dropUnusable({ load, entries: [{ ...object, etag: 'v2' }], reuse: 'load' });
    await expectBytes(first);
    expect(store.stat(object.path)).toMatchObject({ state: 'partial', cachedBytes: 4 * MiB });
  });

  test('that a run has begun again and left is as it was, and no loading file is left behind', async () => {
    begin(second, { run: otherRun });
    await store.abandonLeft(otherRun, load);
    store.unreserve(otherRun);
    expect(store.statLoading(object.path)).toBeUndefined();
    expect(store.stat(object.path)).toMatchObject({ state: 'partial', cachedBytes: 2 * MiB });
    begin(second, { run: otherRun });
    store.unreserve(otherRun);
    expect(store.statLoading(object.path)).toBeUndefined();
    await expectBytes(first);
    expect(missingOf(begin(second))).toEqual([[2 * MiB, 2 * MiB]]);
  });

  test('is not taken for its metadata', async () => {
    await store.putMetadata(load, [object]);
    await expectBytes(first);
    await store.putMetadata(load, [{ ...object, etag: 'v2' }]);
    expect(store.stat(object.path)).toMatchObject({ state: 'metadata', etag: 'v2' });
    expect(store.usage()).toMatchObject({ usedBytes: 0, blocks: 0, files: 1 });
  });
});

describe('at one time', () => {
  test('a part that lands after the file was shown is there, and is shown with the next ones', async () => {
    await loadRange(first);
    const { fileId } = begin(second, { run: otherRun });
    const part = writePart(store, { run: otherRun, fileId, entry: object, range: second });
    store.account(otherRun, { originBytes: second.length });
    const shown = store.show(object);
    const landed = store.land(otherRun, [part]);
    await Promise.all([shown, landed]);
    expect(store.isAbandoned(fileId)).toBe(false);
    expect(bytesHere(whole)).toBe(4 * MiB);
    expect(missingOf(begin(whole))).toEqual([[4 * MiB, last.length]]);
    await store.show(object);
    await expectBytes({ offset: 0, length: 4 * MiB });
    await reopen();
    await expectBytes({ offset: 0, length: 4 * MiB });
    expect(store.usage()).toMatchObject({ usedBytes: 4 * MiB, files: 1, blocks: 1 });
    expect(store.ledger(otherRun)).toMatchObject({ originBytes: 2 * MiB, cachedBytes: 2 * MiB });
  });

  test('a part that lands in the very commit that shows the file again is shown with it', async () => {
    const fileId = await loadRange(first);
    await store.show(object);
    begin(second);
    const part = writePart(store, { fileId, entry: object, range: second });
    await Promise.all([store.land(run, [part]), store.show(object)]);
    expect(store.stat(object.path)).toMatchObject({ state: 'partial', cachedBytes: 4 * MiB });
    expect(store.statLoading(object.path)).toBeUndefined();
  });

  test('a range that is begun while the file is being shown is loaded, not taken for there', async () => {
    await loadRange(first);
    const shown = store.show(object);
    // In the middle of the commit, and when it has just ended.
    for (const range of [second, last]) {
      const loaded = loadRange(range, { run: otherRun });
      await loaded;
    }
    await shown;
    await expectBytes(whole);
    expect(store.stat(object.path)).toMatchObject({ state: 'complete', cachedBytes: object.sizeBytes });
  });

  test('what is begun anew, and then gone on with, while a part of it becomes durable, loses none of its pages', async () => {
    await loadRange(first);
    await store.show(object);
    let inCommit = (): void => {};
    await reopen({ hooks: { inCommit: async () => inCommit() } });
    const { fileId } = begin(second);
    const part = writePart(store, { fileId, entry: object, range: second });
    let again: Begun | undefined;
    inCommit = () => {
      inCommit = () => {};
      begin(first, { load: otherLoad, run: otherRun });
      again = begin(last);
    };
    await store.land(run, [part]);
    await store.land(run, [writePart(store, { fileId: again!.fileId, entry: object, range: last })]);
    await store.flush();
    await store.show(object);
    const { usedBytes } = store.usage();
    const seen = store.stat(object.path)!;
    const held = [first, second, last].filter((range) => bytesHere(range) > 0);
    expect(held.reduce((sum, { length }) => sum + length, 0)).toBe(seen.cachedBytes);
    for (const range of held) await expectBytes(range);
    await reopen();
    expect(store.usage().usedBytes).toBe(usedBytes);
  });

  test.each([
    ['removed', (): Promise<unknown> => store.remove(object.path)],
    [
      'removed by its version',
      (): Promise<unknown> => store.removeVersion(object.path, store.stat(object.path)!.fileId, 'corrupt'),
    ],
    ['replaced by metadata', (): Promise<unknown> => store.putMetadata(load, [{ ...object, etag: 'v2' }])],
    [
      'replaced by another version',
      async (): Promise<void> => {
        const newer = { ...object, etag: 'v2' };
        await loadRange(last, { of: newer, load: otherLoad });
        await store.show(newer);
      },
    ],
  ])('a visible file is added to, and %s, again and again: no grain is in two files', async (_what, take) => {
    const turns = async (count: number): Promise<void> => {
      for (let turn = 0; turn < count; turn += 1) await Promise.resolve();
    };
    for (let delay = 0; delay < 12; delay += 1) {
      await loadRange(first);
      await store.show(object);
      begin(second, { run: otherRun });
      const taken = take();
      // At another point of the commits that this takes each time.
      for (let commits = 0; commits < delay / 3; commits += 1) await store.flush();
      await turns(3 * (delay % 3));
      const begun = begin(second, { run: otherRun });
      const part = writePart(store, { run: otherRun, fileId: begun.fileId, entry: object, range: second });
      store.account(otherRun, { originBytes: second.length });
      await Promise.all([taken, store.land(otherRun, [part])]);
      // Somebody takes whatever is free.
      await loadObject(store, entry(`filler-${delay}`, store.usage().freeBytes));
      for (const range of [first, second])
        if (bytesHere(range) > 0) {
          const file = store.openVersion({ path: object.path, etag: 'v1' }, range)!;
          const pieces: Uint8Array[] = [];
          for await (const piece of file.read(range)) pieces.push(piece);
          file.close();
          expect(
            Buffer.concat(pieces).equals(contentOf(object).subarray(range.offset, range.offset + range.length)),
          ).toBe(true);
        }
      // One grain in two blocks would not be opened.
      await reopen();
      await store.remove(object.path);
      await store.remove(entry(`filler-${delay}`, 0).path);
      expect(store.usage()).toMatchObject({ usedBytes: 0, blocks: 0, files: 0 });
    }
  });
});
