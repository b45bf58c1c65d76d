/** The order on disk: data, fdatasync, index commit, acknowledgement; and what happens when a step fails. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { PrimedError } from '../../../src/core/errors.ts';
import type { FileId, RunId } from '../../../src/core/types.ts';
import { MiB } from '../../../src/core/units.ts';
import { IndexDb } from '../../../src/store/index-db.ts';
import { Arena, encodeFile } from '../../../src/store/records.ts';
import type { LandedPart, Store } from '../../../src/store/types.ts';
import { Volume } from '../../../src/store/volume.ts';
import {
  contentOf,
  entry,
  type Fixture,
  load,
  loadObject,
  makeFixture,
  path,
  readObject,
  run,
  writePart,
} from '../../support/store-fixture.ts';

let fixture: Fixture;
let store: Store;
/** What happened, in order. */
let events: string[];
/** Runs when the next commit of the index begins. */
let onCommit: (() => void) | undefined;

beforeEach(async () => {
  fixture = makeFixture({ stores: 2 });
  store = await fixture.open();
  events = [];
  const sync = Volume.prototype.sync;
  vi.spyOn(Volume.prototype, 'sync').mockImplementation(async function (this: Volume) {
    events.push(`sync ${this.index} begins`);
    await sync.call(this);
    events.push(`sync ${this.index} ends`);
  });
  const commit = IndexDb.prototype.commit;
  vi.spyOn(IndexDb.prototype, 'commit').mockImplementation(async function (this: IndexDb, write) {
    events.push('commit begins');
    onCommit?.();
    onCommit = undefined;
    await commit.call(this, write);
    events.push('commit ends');
  });
});
afterEach(async () => {
  vi.restoreAllMocks();
  await store.close();
  fixture.remove();
});

function prepare(name: string, sizeBytes: number): LandedPart {
  const object = entry(name, sizeBytes);
  const { fileId } = store.beginFile({ run, load, entry: object, reuse: 'load', partBytes: 8 * MiB });
  return writePart(store, { fileId, entry: object, range: { offset: 0, length: sizeBytes } });
}

test('a part is acknowledged after the sync of its store and the commit, in this order', async () => {
  const part = prepare('a', 5000);
  const touched = part.extents[0]!.store;
  await store.land(run, [part]);
  events.push('acknowledged');
  expect(events).toEqual([
    `sync ${touched} begins`,
    `sync ${touched} ends`,
    'commit begins',
    'commit ends',
    'acknowledged',
  ]);
});

test('whoever lands while a commit runs shares the next one, and only the stores that were written are synced', async () => {
  const parts = Array.from({ length: 12 }, (_, i) => prepare(`file-${i}`, 200_000));
  const firstStore = parts[0]!.extents[0]!.store;
  const rest: Promise<readonly FileId[]>[] = [];
  onCommit = () => {
    for (const part of parts.slice(1)) rest.push(store.land(run, [part]));
  };
  expect(await store.land(run, [parts[0]!])).toEqual([parts[0]!.fileId]);
  expect(rest).toHaveLength(11);
  expect((await Promise.all(rest)).flat()).toEqual(parts.slice(1).map(({ fileId }) => fileId));
  expect(events.filter((event) => event === 'commit begins')).toHaveLength(2);
  expect(events.filter((event) => event.endsWith('begins') && event.startsWith('sync'))).toEqual([
    `sync ${firstStore} begins`,
    'sync 0 begins',
    'sync 1 begins',
  ]);
});

test('what needs no data is committed without a sync', async () => {
  await store.putMetadata(load, [entry('m', 100)]);
  store.account(run, { originBytes: 7 });
  await store.flush();
  expect(events.filter((event) => event.startsWith('sync'))).toEqual([]);
  expect(events.filter((event) => event === 'commit begins')).toHaveLength(2);
  events.length = 0;
  await store.flush();
  expect(events, 'with nothing to write there is no commit').toEqual([]);
});

test('the version that is replaced is readable until the commit is durable, and its extents are free after it', async () => {
  const old = entry('a', 3 * MiB);
  await loadObject(store, old);
  const used = store.usage().usedBytes;
  const fresh = entry('a', 3 * MiB, 'v2');
  const { fileId } = store.beginFile({ run, load, entry: fresh, reuse: 'any', partBytes: 8 * MiB });
  const part = writePart(store, { fileId, entry: fresh, range: { offset: 0, length: 3 * MiB } });
  let during = 0;
  let readable: string | undefined;
  onCommit = () => {
    during = store.usage().usedBytes;
    readable = store.stat(path('a'))?.etag;
  };
  expect(await store.land(run, [part])).toEqual([fileId]);
  expect(during, 'both versions have their space while the commit runs').toBe(2 * used);
  expect(readable).toBe('v1');
  expect(store.usage().usedBytes).toBe(used);
  expect((await readObject(store, path('a'))).equals(contentOf(fresh))).toBe(true);
});

test('a failed sync ends the store: nothing is acknowledged, now or later, and what was durable stays', async () => {
  await loadObject(store, entry('kept', 5000));
  const part = prepare('lost', 5000);
  const failure = new PrimedError('STORE_IO', 'store.dat cannot be synced: EIO');
  vi.mocked(Volume.prototype.sync).mockRejectedValueOnce(failure);
  const landing = store.land(run, [part]);
  await expect(landing).rejects.toBe(failure);
  await expect(store.land(run, [part])).rejects.toBe(failure);
  await expect(store.flush()).rejects.toBe(failure);
  expect(() => store.allocate(run, 1)).toThrow(failure);
  expect(() => prepare('next', 1)).toThrow(failure);
  expect((await readObject(store, path('kept'))).equals(contentOf(entry('kept', 5000)))).toBe(true);
  await store.close();
  store = await fixture.open();
  expect(store.stat(path('lost'))).toBeUndefined();
  expect((await readObject(store, path('kept'))).equals(contentOf(entry('kept', 5000)))).toBe(true);
});

test('a failed commit fails everybody who waits for it, and those behind them', async () => {
  const parts = [prepare('a', 5000), prepare('b', 5000)];
  vi.mocked(IndexDb.prototype.commit).mockRejectedValueOnce(
    new PrimedError('STORE_IO', 'the index could not be written'),
  );
  const landings = parts.map((part) => store.land(run, [part]));
  const settled = await Promise.allSettled([...landings, store.abandonFile(parts[0]!.fileId as FileId, 'failed')]);
  expect(settled.map((result) => (result.status === 'rejected' ? (result.reason as PrimedError).code : 'ok'))).toEqual([
    'STORE_IO',
    'STORE_IO',
    'STORE_IO',
  ]);
});

test('what is booked while its ledger is being committed counts, however many other runs there are', async () => {
  const runs = Array.from({ length: 1100 }, (_, i) => `run-${i}` as RunId);
  for (const each of runs) store.account(each, { originBytes: 1 });
  let booked = false;
  onCommit = () => {
    booked = true;
    for (const each of runs) store.account(each, { originBytes: 5 });
  };
  await store.flush();
  expect(booked).toBe(true);
  await store.flush();
  await store.flush();
  expect(runs.filter((each) => store.ledger(each).originBytes !== 6)).toEqual([]);
});

test('bytes are cached in the ledger when they are durable, not while they are being committed', async () => {
  const object = entry('a', 5000);
  const begun = store.beginFile({ run, load, entry: object, reuse: 'any', partBytes: MiB });
  store.account(run, { originBytes: 5000 });
  await store.flush();
  let during: number | undefined;
  onCommit = () => {
    during = store.ledger(run).cachedBytes;
  };
  const part = writePart(store, { fileId: begun.fileId, entry: object, range: { offset: 0, length: 5000 } });
  await store.land(run, [part]);
  expect(during).toBe(0);
  expect(store.ledger(run)).toMatchObject({ originBytes: 5000, cachedBytes: 5000 });
});

test('a removal is cut into commits by the blocks of the files, however few these are', async () => {
  const names = ['large/a', 'large/b', 'large/c', 'large/d', 'large/e'];
  await store.close();
  // Records without blocks: a terabyte each has no room here.
  const index = new IndexDb(fixture.options.indexDir);
  await index.commit(() => {
    for (const name of names) {
      const figures = { fileId: 1 as FileId, loadId: load, cachedBytes: 1e12, cachedAtMs: 0, segmentBytes: MiB };
      const record = { ...entry(name, 1e12), ...figures, state: 'complete', attributes: '' } as const;
      void index.files.put(Buffer.from(path(name)), encodeFile({ record }, new Arena()));
    }
  });
  await index.close();
  store = await fixture.open();
  events.length = 0;
  expect(await store.remove(path('large'))).toEqual({ files: 5, bytes: 5e12 });
  expect(events.filter((event) => event === 'commit begins')).toHaveLength(5);
});

test('after close everything is refused by name', async () => {
  await loadObject(store, entry('a', 5000));
  const file = store.open(path('a'));
  await store.close();
  expect(() => store.beginFile({ run, load, entry: entry('b', 1), reuse: 'any', partBytes: MiB })).toThrow(
    expect.objectContaining({ code: 'STOPPING' }),
  );
  await expect(store.flush()).rejects.toMatchObject({ code: 'STOPPING' });
  await expect(file.read({ offset: 0, length: 10 })[Symbol.asyncIterator]().next()).rejects.toMatchObject({
    code: 'STOPPING',
  });
  store = await fixture.open();
});
