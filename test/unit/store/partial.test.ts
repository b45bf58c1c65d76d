/** Files of which this store has parts: how ranges are loaded and shown, what is kept with them, and what a crash leaves. */
import { describe, expect, test } from 'vitest';
import type { ByteRange } from '../../../src/core/types.ts';
import { defaultSegmentBytes, MiB } from '../../../src/core/units.ts';
import type { OpenFile } from '../../../src/store/types.ts';
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

describe('a range', () => {
  test('is what is missing, counted and loaded, and nothing else of the file', async () => {
    expect(missingOf(begin(second))).toEqual([[2 * MiB, 2 * MiB]]);
    expect(store.cachedRange({ run, load }, object, second)).toMatchObject({ bytes: 0, ours: true });
    const fileId = await loadRange(second);
    expect(missingOf(begin(second))).toEqual([]);
    expect(missingOf(begin(whole))).toEqual([
      [0, 2 * MiB],
      [4 * MiB, 2 * MiB + 500],
    ]);
    expect(await loadRange(last)).toBe(fileId);
    expect([first, second, last, whole].map((range) => bytesHere(range))).toEqual([
      0,
      2 * MiB,
      2 * MiB + 500,
      4 * MiB + 500,
    ]);
    expect(bytesHere(second, { ...object, etag: 'v2' })).toBe(0);
    expect(store.cachedRange({ run: otherRun, load: otherLoad }, object, second)).toMatchObject({
      bytes: 2 * MiB,
      ours: false,
    });
    expect(store.ledger(run)).toMatchObject({ originBytes: 4 * MiB + 500, cachedBytes: 4 * MiB + 500 });
  });

  test('is visible when the file is shown, in one step with the others', async () => {
    await loadRange(first);
    await loadRange(last);
    expect(store.stat(object.path)).toMatchObject({ state: 'loading' });
    expect(() => store.open(object.path)).toThrow(expect.objectContaining(notHere));
    await store.show(object);
    expect(store.stat(object.path)).toMatchObject({ state: 'partial', cachedBytes: 4 * MiB + 500 });
    expect(store.statLoading(object.path)).toBeUndefined();
    await expectBytes(first);
    await expectBytes(last);
    await expect(readObject(store, object.path)).rejects.toMatchObject(notHere);
    await expect(readObject(store, object.path, { offset: 2 * MiB - 1, length: 2 })).rejects.toMatchObject(notHere);
    await reopen();
    await expectBytes(first);
    await expect(readObject(store, object.path, second)).rejects.toMatchObject(notHere);
    expect(store.usage()).toMatchObject({ usedBytes: 4 * MiB + 4096, files: 1, blocks: 1 });
    expect(await store.summary('')).toEqual({
      files: 1,
      bytes: object.sizeBytes,
      cachedFiles: 0,
      cachedBytes: 4 * MiB + 500,
    });
  });

  test('that is the last of a file makes it complete, without being shown', async () => {
    for (const range of [last, first, second]) await loadRange(range);
    expect(store.stat(object.path)).toMatchObject({ state: 'complete', cachedBytes: object.sizeBytes });
    await store.show(object);
    await expectBytes(whole);
    expect(store.cachedRange({ run, load }, object, last)).toMatchObject({ bytes: last.length, ours: true });
  });

  test('of many segments: those that are whole are not kept in memory, and are where they were', async () => {
    await reopen({ sizeBytes: 200 * MiB });
    const large = entry('large', 3 * defaultSegmentBytes);
    const segment = (index: number): ByteRange => ({
      offset: index * defaultSegmentBytes,
      length: defaultSegmentBytes,
    });
    // Bytes nobody wrote: this is about the index.
    const land = async (range: ByteRange): Promise<void> => {
      const begun = begin(range, { of: large });
      for (const [offset, length] of missingOf(begun)) {
        const pageChecksums = new Uint32Array(length / MiB).fill(offset / MiB);
        const extents = store.allocate(run, length);
        await store.land(run, [{ fileId: begun.fileId, range: { offset, length }, extents, pageChecksums }]);
      }
    };
    await land(segment(2));
    await store.show(large);
    await land({ offset: 0, length: 8 * MiB });
    await reopen();
    expect(missingOf(begin(segment(2), { of: large }))).toEqual([]);
    expect(missingOf(begin(segment(0), { of: large }))).toHaveLength(7);
    await land(segment(0));
    await store.show(large);
    const { record, pages, close } = ((file: OpenFile) => ({
      record: file.record,
      pages: (range: ByteRange) => [...file.pages([range])].map(({ checksum }) => checksum),
      close: () => file.close(),
    }))(store.open(large.path));
    expect(record).toMatchObject({ state: 'partial', cachedBytes: 2 * defaultSegmentBytes });
    expect(pages(segment(0))).toEqual(Array.from({ length: 64 }, (_, page) => Math.floor(page / 8) * 8));
    expect(pages(segment(2))[63]).toBe(128 + 56);
    expect(() => pages(segment(1))).toThrow(expect.objectContaining(notHere));
    close();
    expect(store.usage()).toMatchObject({ usedBytes: 2 * defaultSegmentBytes, blocks: 2 });
    await store.remove(large.path);
    expect(store.usage()).toMatchObject({ usedBytes: 0, files: 0, blocks: 0 });
  });
});

describe('after a crash', () => {
  test('between landing and showing, nothing is visible, and all of it is there', async () => {
    await loadRange(first);
    await loadRange(last);
    await reopen();
    expect(store.stat(object.path)).toMatchObject({ state: 'loading', cachedBytes: 4 * MiB + 500 });
    expect(bytesHere(last)).toBe(last.length);
    await store.show(object);
    for (const range of [first, last]) await expectBytes(range);
    expect(store.usage()).toMatchObject({ usedBytes: 4 * MiB + 4096, files: 1, blocks: 1 });
  });

  test.each(['before commit', 'after commit'] as const)(
    '%s of showing, it is visible whole or not at all',
    async (at) => {
      await loadRange(first);
      let armed = false;
      const die = async (): Promise<void> => {
        if (armed) throw new Error('the machine has stopped');
      };
      await reopen({ hooks: at === 'before commit' ? { beforeCommit: die } : { afterCommit: die } });
      armed = true;
      await expect(store.show(object)).rejects.toThrow('the machine has stopped');
      armed = false;
      await reopen();
      const state = at === 'before commit' ? 'loading' : 'partial';
      expect([...store.list({ prefix: '', includeLoading: true })]).toMatchObject([{ state, cachedBytes: 2 * MiB }]);
      await store.show(object);
      await expectBytes(first);
      expect(store.usage()).toMatchObject({ usedBytes: 2 * MiB, files: 1, blocks: 1 });
    },
  );

  test('between adding to a visible file and showing that, both can be gone on with, shown and removed', async () => {
    await loadRange(first);
    await store.show(object);
    const fileId = await loadRange(second, { run: otherRun });
    await reopen();
    expect(store.usage()).toMatchObject({ usedBytes: 4 * MiB, blocks: 1 });
    await expectBytes(first);
    expect(bytesHere(whole)).toBe(4 * MiB);
    expect(begin(last).fileId).toBe(fileId);
    await store.abandonFile(fileId, 'failed');
    await expectBytes({ offset: 0, length: 4 * MiB });
    await loadRange(last);
    await expectBytes(whole);
    expect(await store.remove(object.path)).toEqual({ files: 1, bytes: object.sizeBytes });
    expect(store.usage()).toMatchObject({ usedBytes: 0, blocks: 0 });
  });

  test('what is removed of a file that was being added to stays removed', async () => {
    await loadRange(first);
    await store.show(object);
    await loadRange(second);
    await reopen();
    expect(await store.remove(object.path)).toEqual({ files: 1, bytes: 4 * MiB });
    await expectEmpty();
    await reopen();
    await expectEmpty();
  });
});

test('the cuts by which a file was placed are kept with it: those of the load that began it last', async () => {
  await loadRange(first, { segmentBytes: 2 * MiB });
  await store.show(object);
  expect(store.stat(object.path)).toMatchObject({ state: 'partial', segmentBytes: 2 * MiB });
  await reopen();
  expect(store.stat(object.path)).toMatchObject({ state: 'partial', segmentBytes: 2 * MiB });
  await loadRange(second, { segmentBytes: 4 * MiB });
  await store.show(object);
  expect(store.stat(object.path)).toMatchObject({ cachedBytes: 4 * MiB, segmentBytes: 4 * MiB });
  await loadRange(last);
  expect(store.stat(object.path)).toMatchObject({ state: 'complete', segmentBytes: 4 * MiB });
});

test('what the origin said of a file is kept with it, in each state, over restarts and later parts', async () => {
  const said = 'ttext/plain\num:ü';
  const begun = begin(first);
  const land = async (range: ByteRange, attributes?: string) => {
    const part = writePart(store, { fileId: begun.fileId, entry: object, range });
    await store.land(run, [attributes === undefined ? part : { ...part, attributes }]);
  };
  await land({ offset: 0, length: MiB });
  expect(store.statLoading(object.path)).toMatchObject({ state: 'loading', attributes: '' });
  await land({ offset: MiB, length: MiB }, said);
  expect(store.statLoading(object.path)).toMatchObject({ state: 'loading', attributes: said });
  await reopen();
  expect(store.statLoading(object.path)).toMatchObject({ state: 'loading', attributes: said });
  begin(first);
  await store.show(object);
  await reopen();
  expect(store.stat(object.path)).toMatchObject({ state: 'partial', attributes: said });
  begin(whole, { reuse: 'any' });
  await land({ offset: 2 * MiB, length: 4 * MiB + 500 }, 'tanother');
  await reopen();
  expect(store.stat(object.path)).toMatchObject({ state: 'complete', attributes: said });
});

test('checksums that the origin states are kept with a visible file, beside what is added to it, and with no other version', async () => {
  await loadRange(first);
  await store.show(object);
  const shown = store.stat(object.path)!;
  // One that goes on already, and takes what it knows to its next record.
  begin(whole, { reuse: 'any' });
  await store.stateChecksums(shown, { crc64nvme: 'AAAAAAAAAAA=' });
  await store.stateChecksums(shown, { crc64nvme: 'BBBBBBBBBBA=', crc32: 'AAAAAA==' });
  const attributes = '6BBBBBBBBBBA=\niAAAAAA==';
  expect(store.stat(object.path)).toEqual({ ...shown, attributes });
  await loadRange(second, { reuse: 'any' });
  await store.show(object);
  await reopen();
  expect(store.stat(object.path)).toMatchObject({ state: 'partial', attributes });
  await expectBytes({ offset: 0, length: 4 * MiB });
  await loadRange(last, { reuse: 'any' });
  expect(store.stat(object.path)).toMatchObject({ state: 'complete', attributes });
  const usage = store.usage();
  await store.stateChecksums(shown, { sha1: 'abc=' });
  expect(store.usage()).toEqual(usage);
  await store.remove(object.path);
  expect(store.usage()).toMatchObject({ usedBytes: 0, files: 0, blocks: 0 });
  await loadRange(first);
  await store.show(object);
  await store.stateChecksums(shown, { crc32: 'AAAAAA==' });
  expect(store.stat(object.path)).toMatchObject({ state: 'partial', attributes: '' });
});

test('a file of one page keeps its bytes and its place in the queue for eviction when checksums are stated of it', async () => {
  const small = entry('small', 1000);
  await loadObject(store, small);
  await store.stateChecksums(store.stat(small.path)!, { sha256: 'abc=' });
  await reopen();
  expect(store.stat(small.path)).toMatchObject({ state: 'complete', attributes: '2abc=' });
  expect(await readObject(store, small.path)).toEqual(contentOf(small));
  expect(store.usage()).toMatchObject({ files: 1, evictableBytes: 4096 });
});
