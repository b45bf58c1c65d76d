/** Files that another thread reads: found through the same index, and kept until it has read them. */
import { Worker } from 'node:worker_threads';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { FileId } from '../../../src/core/types.ts';
import { MiB } from '../../../src/core/units.ts';
import { openLocalStore } from '../../../src/store/open.ts';
import { cellsOfThread, SharedReads, ThreadReads } from '../../../src/store/shared-reads.ts';
import { StoreView, type ViewedFile } from '../../../src/store/store-view.ts';
import type { Store } from '../../../src/store/types.ts';
import {
  contentOf,
  entry,
  type Fixture,
  loadObject,
  makeFixture,
  path,
  readStoreFile,
} from '../../support/store-fixture.ts';

const id = (file: number): FileId => file as FileId;

describe('the cells', () => {
  test('say of every file whether somebody reads it', () => {
    const step = fc.record({ thread: fc.nat(2), file: fc.integer({ min: 1, max: 6 }), enter: fc.boolean() });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const shared = new SharedReads(3);
        const threads = [0, 1, 2].map((thread) => new ThreadReads(shared.buffer, thread));
        const readers = new Map<string, number>();
        for (const { thread, file, enter } of steps) {
          const key = `${thread} ${file}`;
          const count = readers.get(key) ?? 0;
          if (enter) expect(threads[thread]!.enter(id(file))).toBe(true);
          else if (count > 0) threads[thread]!.leave(id(file));
          readers.set(key, enter ? count + 1 : Math.max(0, count - 1));
          for (let one = 1; one <= 6; one += 1) {
            const read = [0, 1, 2].some((at) => (readers.get(`${at} ${one}`) ?? 0) > 0);
            expect(shared.isRead(id(one))).toBe(read);
          }
        }
      }),
    );
  });

  test('are a number, and those of a thread that is gone are empty', () => {
    const shared = new SharedReads(2);
    const reads = new ThreadReads(shared.buffer, 1);
    for (let file = 1; file <= cellsOfThread; file += 1) expect(reads.enter(id(file))).toBe(true);
    expect(reads.enter(id(cellsOfThread + 1))).toBe(false);
    expect(reads.enter(id(1))).toBe(true);
    expect(shared.isRead(id(cellsOfThread))).toBe(true);
    shared.clear(1);
    expect(shared.isRead(id(cellsOfThread))).toBe(false);
  });

  test('are few for each file that is asked about, however many are or were read', () => {
    const shared = new SharedReads(2);
    const threads = [0, 1].map((thread) => new ThreadReads(shared.buffer, thread));
    for (const reads of threads) for (let file = 1; file <= 5000; file += 1) expect(reads.enter(id(file))).toBe(true);
    const load = vi.spyOn(Atomics, 'load');
    try {
      expect(shared.isRead(id(5001))).toBe(false);
      expect(load.mock.calls.length).toBeGreaterThan(0);
      expect(load.mock.calls.length).toBeLessThanOrEqual(32);
    } finally {
      load.mockRestore();
    }
  });

  test('of which a bucket is full leave room for other files', () => {
    const shared = new SharedReads(1);
    const reads = new ThreadReads(shared.buffer, 0);
    const inOneBucket = Array.from({ length: 17 }, (_, at) => id(5 + at * 1024));
    const last = inOneBucket.pop()!;
    for (const file of inOneBucket) expect(reads.enter(file)).toBe(true);
    expect(reads.enter(last)).toBe(false);
    expect(reads.enter(id(6))).toBe(true);
    reads.leave(inOneBucket[3]!);
    expect(reads.enter(last)).toBe(true);
    expect(shared.isRead(last)).toBe(true);
    expect(shared.isRead(inOneBucket[3]!)).toBe(false);
  });
});

describe('a view of the store', () => {
  const small = entry('small', 5000);
  const large = entry('large', 3 * MiB + 5);
  let fixture: Fixture;
  let shared: SharedReads;
  let store: Store;
  let view: StoreView;
  let reads: ThreadReads;
  let nowMs: number;

  beforeEach(async () => {
    fixture = makeFixture();
    shared = new SharedReads(1);
    nowMs = 1_800_000_000_000;
    store = await openLocalStore({
      ...fixture.options,
      now: () => nowMs,
      retention: { eviction: 'lru', rules: [], removedLimitMs: 1000 },
      otherReads: shared,
    });
    reads = new ThreadReads(shared.buffer, 0);
    view = new StoreView({
      indexDir: fixture.options.indexDir,
      storePaths: store.files.map((file) => file.path),
      reads,
    });
    await loadObject(store, small);
    await loadObject(store, large);
  });
  afterEach(async () => {
    await view.close();
    await store.close();
    fixture.remove();
  });

  const opened = (name: string): ViewedFile => {
    const file = view.open(path(name), ({ sizeBytes }) => ({ offset: 0, length: sizeBytes }));
    expect(file).toBeDefined();
    return file!;
  };
  const bytesOf = (file: ViewedFile): Buffer =>
    Buffer.concat(
      [...file.pages({ offset: 0, length: file.record.sizeBytes })].map(({ extents, lengthBytes }) =>
        Buffer.concat(extents.map((extent) => readStoreFile(store, extent))).subarray(0, lengthBytes),
      ),
    );

  test.each([['small'], ['large']])('gives the pages of %s, and those of the range alone', (name) => {
    const file = opened(name);
    expect(bytesOf(file).equals(contentOf(name === 'small' ? small : large))).toBe(true);
    expect([...file.pages({ offset: 100, length: 10 })].map(({ page }) => page)).toEqual([0]);
    expect([...file.pages({ offset: 100, length: 0 })]).toEqual([]);
    file.close();
  });

  test('is cut off by the limit that came after it was removed', async () => {
    store.setKeeping({ eviction: 'lru' });
    const file = opened('small');
    await store.remove(path('small'));
    nowMs += 60_000;
    await expect.poll(() => view.overdue(), { timeout: 5000 }).toEqual([]);
    store.setKeeping({ eviction: 'lru', removedLimitMs: 1000 });
    await expect.poll(() => view.overdue(), { timeout: 5000 }).toEqual([file.record.fileId]);
    file.close();
  });

  test.each([['small'], ['large']])('keeps %s, which is removed, until it is closed', async (name) => {
    const { usedBytes } = store.usage();
    const [file, again] = [opened(name), opened(name)];
    await store.remove(path(name));
    expect(view.open(path(name), () => undefined)).toBeUndefined();
    expect(store.usage().usedBytes).toBe(usedBytes);
    expect(bytesOf(file).equals(contentOf(name === 'small' ? small : large))).toBe(true);
    again.close();
    file.close();
    file.close();
    view.letGo();
    await expect.poll(() => store.usage().usedBytes).toBeLessThan(usedBytes);
  });

  test('does not give what was removed in the same turn of the event loop, not to a further reader either', async () => {
    // LMDB's snapshot is given up by a timer: one that does not come is the longest of turns.
    vi.useFakeTimers({ toFake: ['setTimeout'] });
    try {
      const file = opened('large');
      await store.remove(path('large'));
      expect(view.open(path('large'), () => undefined)).toBeUndefined();
      file.close();
      expect(view.find(path('small'))).toBeDefined();
      await store.remove(path('small'));
      expect(view.find(path('small'))).toBeUndefined();
    } finally {
      vi.useRealTimers();
    }
  });

  test('who reads what was removed is told to end when the limit is over, and not before', async () => {
    const { usedBytes } = store.usage();
    const [slow, quick] = [opened('large'), opened('small')];
    await store.remove(path('large'));
    await expect.poll(() => shared.isRead(slow.record.fileId)).toBe(true);
    nowMs += 999;
    // Both were looked at since when the room of the other one is free.
    await store.remove(path('small'));
    quick.close();
    view.letGo();
    await expect.poll(() => store.usage().usedBytes).toBeLessThan(usedBytes);
    expect(view.overdue()).toEqual([]);
    nowMs += 1;
    await expect.poll(() => view.overdue()).toEqual([slow.record.fileId]);
    // Until it has ended, it is read, and said again.
    expect(shared.isRead(slow.record.fileId)).toBe(true);
    await expect.poll(() => view.overdue()).toEqual([slow.record.fileId]);
    slow.close();
    view.letGo();
    expect(shared.isRead(slow.record.fileId)).toBe(false);
    await expect.poll(() => store.usage().usedBytes).toBe(0);
    expect(view.overdue()).toEqual([]);
  });

  test('this thread reads no page more of what was removed longer ago than the limit', async () => {
    const file = store.open(path('large'))!;
    const pieces = file.read({ offset: 0, length: large.sizeBytes })[Symbol.asyncIterator]();
    await pieces.next();
    await store.remove(path('large'));
    nowMs += 999;
    expect((await pieces.next()).done).toBe(false);
    nowMs += 1;
    const rest = async (): Promise<void> => {
      while ((await pieces.next()).done !== true);
    };
    await expect(rest()).rejects.toMatchObject({ code: 'FILE_NOT_CACHED' });
    file.close();
  });

  test('does not open what is not whole, and holds nothing then', async () => {
    expect(view.open(path('unknown'), () => undefined)).toBeUndefined();
    await store.putMetadata('load-2' as never, [entry('known', 77)]);
    expect(view.open(path('known'), () => undefined)).toBeUndefined();
    expect(view.find(path('known'))).toBeUndefined();
    const refuse = (): never => {
      throw new Error('no');
    };
    expect(() => view.open(path('large'), refuse)).toThrow('no');
    view.letGo();
    const { fileId } = view.find(path('large'))!;
    expect(shared.isRead(fileId)).toBe(false);
    const file = opened('large');
    expect(shared.isRead(fileId)).toBe(true);
    view.letGo();
    expect(shared.isRead(fileId)).toBe(true);
    file.close();
    view.letGo();
    expect(shared.isRead(fileId)).toBe(false);
  });

  test('what is held for nobody makes room for what is read', async () => {
    const file = opened('large');
    const { fileId } = file.record;
    file.close();
    // As many as there are cells for, in the place of the one that is held: the thread is given none but that.
    const others = Array.from({ length: cellsOfThread }, (_, at) => id(1_000_000 + at));
    const entered = others.filter((other) => reads.enter(other));
    expect(entered.length).toBe(cellsOfThread - 1);
    expect(view.open(path('small'), () => undefined)).toBeUndefined();
    expect(shared.isRead(fileId)).toBe(false);
    const again = opened('large');
    again.close();
    for (const other of entered) reads.leave(other);
  });

  test('a file that is replaced is the new one for those that come later', async () => {
    const before = opened('large');
    const next = entry('large', 2 * MiB, 'v2');
    await loadObject(store, next, { load: 'load-2' as never });
    const after = opened('large');
    expect(after.record.etag).toBe('v2');
    expect(bytesOf(after).equals(contentOf(next))).toBe(true);
    expect(bytesOf(before).equals(contentOf(large))).toBe(true);
    before.close();
    after.close();
  });

  test('what is read again soon is held once, and the same until it is replaced', async () => {
    const first = opened('large');
    first.close();
    expect(shared.isRead(first.record.fileId)).toBe(true);
    const second = opened('large');
    expect(second.record).toBe(first.record);
    expect(view.find(path('large'))).toBe(first.record);
    second.close();
    await loadObject(store, entry('large', 2 * MiB, 'v2'), { load: 'load-2' as never });
    const third = opened('large');
    expect(third.record.etag).toBe('v2');
    expect(shared.isRead(first.record.fileId)).toBe(true);
    view.letGo();
    expect(shared.isRead(first.record.fileId)).toBe(false);
    expect(shared.isRead(third.record.fileId)).toBe(true);
    third.close();
  });
});

test('a cell that one thread writes is seen by another', async () => {
  const shared = new SharedReads(1);
  const writes = `
    const { workerData, parentPort } = require('node:worker_threads');
    const cells = new BigInt64Array(workerData);
    Atomics.store(cells, 1 + 42 * 16, 42n);
    parentPort.postMessage('written');`;
  const worker = new Worker(writes, { eval: true, workerData: shared.buffer });
  await new Promise((resolve) => worker.once('message', resolve));
  expect(shared.isRead(id(42))).toBe(true);
  await worker.terminate();
});
