/** Files of which this store has parts: how ranges are loaded, shown, added to, and taken away; and what a crash leaves. */
import { beforeEach, describe, expect, test } from 'vitest';
import {
  type ByteRange,
  type FileId,
  type LoadId,
  ledgerDifference,
  type ManifestEntry,
  type RunId,
} from '../../../src/core/types.ts';
import { defaultSegmentBytes, MiB } from '../../../src/core/units.ts';
import type { Begun, OpenFile, Store } from '../../../src/store/types.ts';
import {
  contentOf,
  entry,
  load,
  loadObject,
  readObject,
  run,
  storeOfEach,
  writePart,
} from '../../support/store-fixture.ts';

const otherRun = 'run-2' as RunId;
const otherLoad = 'load-2' as LoadId;
const object = entry('a', 6 * MiB + 500);
const first = { offset: 0, length: 2 * MiB };
const second = { offset: 2 * MiB, length: 2 * MiB };
const last = { offset: 4 * MiB, length: 2 * MiB + 500 };
const whole = { offset: 0, length: object.sizeBytes };

let store: Store;
const reopen = storeOfEach((opened) => {
  store = opened;
});

interface Order {
  readonly of?: ManifestEntry;
  readonly run?: RunId;
  readonly load?: LoadId;
  readonly reuse?: 'any' | 'load';
  readonly segmentBytes?: number;
}

function begin(range: ByteRange, { of = object, ...order }: Order = {}): Begun {
  return store.beginFile({ run, load, entry: of, reuse: 'load', partBytes: 8 * MiB, range, ...order });
}

function missingOf(begun: Begun): [number, number][] {
  return begun.state === 'complete' ? [] : begun.missing.map(({ offset, length }) => [offset, length]);
}

/** Loads what is missing of a range. */
async function loadRange(range: ByteRange, order: Order = {}): Promise<FileId> {
  const { of = object, run: by = run } = order;
  const begun = begin(range, order);
  for (const [offset, length] of missingOf(begun)) {
    const part = writePart(store, { run: by, fileId: begun.fileId, entry: of, range: { offset, length } });
    store.account(by, { originBytes: length });
    await store.land(by, [part]);
  }
  return begun.fileId;
}

async function expectBytes(range: ByteRange, of = object): Promise<void> {
  const { offset, length } = range;
  const expected = contentOf(of).subarray(offset, offset + length);
  expect((await readObject(store, of.path, range)).equals(expected), `${of.etag} ${offset}+${length}`).toBe(true);
}

/** Everything is let go, and the books of the runs are balanced. */
async function expectEmpty(): Promise<void> {
  for (const id of [run, otherRun]) expect(ledgerDifference(store.ledger(id))).toBe(0);
  expect(store.usage()).toMatchObject({ usedBytes: 0, files: 0, blocks: 0 });
  expect([...store.list({ prefix: '', includeLoading: true })]).toEqual([]);
}

const bytesHere = (range: ByteRange, of = object): number => store.cachedRange({ run, load }, of, range).bytes;
const notHere = { code: 'FILE_NOT_CACHED' };

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
