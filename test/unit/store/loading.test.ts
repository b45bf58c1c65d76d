/** How files begin, land, are resumed, given up and completed; and what the ledger says of it. */
import { describe, expect, test, vi } from 'vitest';
import { emptyLedger, type FileId, type LoadId, type RunId } from '../../../src/core/types.ts';
import { defaultSegmentBytes, MiB } from '../../../src/core/units.ts';
import { LoadingFile } from '../../../src/store/loading-file.ts';
import type { Begun, LandedPart, Store } from '../../../src/store/types.ts';
import {
  contentOf,
  entry,
  type Fixture,
  load,
  loadObject,
  path,
  readObject,
  run,
  storeOfEach,
  writePart,
} from '../../support/store-fixture.ts';

const otherRun = 'run-2' as RunId;
const otherLoad = 'load-2' as LoadId;
let fixture: Fixture;
let store: Store;
const reopen = storeOfEach((opened, its) => {
  store = opened;
  fixture = its;
});

function begin(
  object: ReturnType<typeof entry>,
  order: { run?: RunId; load?: LoadId; reuse?: 'any' | 'load'; partBytes?: number } = {},
): Begun {
  return store.beginFile({
    run: order.run ?? run,
    load: order.load ?? load,
    entry: object,
    reuse: order.reuse ?? 'load',
    partBytes: order.partBytes ?? 2 * MiB,
  });
}

function missingOf(begun: Begun): [number, number][] {
  return begun.state === 'complete' ? [] : begun.missing.map(({ offset, length }) => [offset, length]);
}

function received(parts: readonly LandedPart[], by: RunId = run): readonly LandedPart[] {
  store.account(by, { originBytes: parts.reduce((sum, { range }) => sum + range.length, 0) });
  return parts;
}

async function landRange(
  object: ReturnType<typeof entry>,
  fileId: FileId,
  offset: number,
  length: number,
  by: RunId = run,
): Promise<readonly FileId[]> {
  return store.land(
    by,
    received([writePart(store, { run: by, fileId, entry: object, range: { offset, length } })], by),
  );
}

describe('loading a file', () => {
  test('what is missing lies in one part each, and shrinks with every part that is durable', async () => {
    const object = entry('a', 5 * MiB + 100);
    const { fileId } = begin(object);
    expect(missingOf(begin(object))).toEqual([
      [0, 2 * MiB],
      [2 * MiB, 2 * MiB],
      [4 * MiB, MiB + 100],
    ]);
    expect(await landRange(object, fileId, 2 * MiB, 2 * MiB)).toEqual([]);
    expect(missingOf(begin(object))).toEqual([
      [0, 2 * MiB],
      [4 * MiB, MiB + 100],
    ]);
    expect(store.stat(object.path)).toMatchObject({ state: 'loading', cachedBytes: 2 * MiB });
    expect(() => store.open(object.path)).toThrow(expect.objectContaining({ code: 'FILE_NOT_CACHED' }));
    expect(await landRange(object, fileId, 4 * MiB, MiB + 100)).toEqual([]);
    expect(await landRange(object, fileId, 0, 2 * MiB)).toEqual([fileId]);
    expect(begin(object)).toMatchObject({
      state: 'complete',
      fileId,
      record: { cachedBytes: 5 * MiB + 100, cachedAtMs: 1_800_000_000_000 },
    });
    expect((await readObject(store, object.path)).equals(contentOf(object))).toBe(true);
  });

  test('a partial file survives a restart and is resumed, with parts of another size too', async () => {
    const object = entry('a', 5 * MiB);
    await landRange(object, begin(object).fileId, 2 * MiB, 2 * MiB);
    await reopen();
    expect(store.usage()).toMatchObject({ usedBytes: 2 * MiB, files: 0, blocks: 1 });
    expect([...store.list({ prefix: '', includeLoading: true })]).toMatchObject([
      { state: 'loading', cachedBytes: 2 * MiB },
    ]);
    const begun = begin(object, { partBytes: 3 * MiB });
    expect(missingOf(begun)).toEqual([
      [0, 2 * MiB],
      [4 * MiB, MiB],
    ]);
    await landRange(object, begun.fileId, 0, 2 * MiB);
    expect(await landRange(object, begun.fileId, 4 * MiB, MiB)).toEqual([begun.fileId]);
    expect((await readObject(store, object.path)).equals(contentOf(object))).toBe(true);
    expect([...store.list({ prefix: '', includeLoading: true })]).toHaveLength(1);
    await reopen();
    expect((await readObject(store, object.path)).equals(contentOf(object))).toBe(true);
    expect(store.usage()).toMatchObject({ usedBytes: 5 * MiB, files: 1, blocks: 1 });
  });

  test('a file of several segments has a block for each, and none of them is in memory when complete', async () => {
    const size = 2 * defaultSegmentBytes + 3 * MiB;
    await reopen({ sizeBytes: 160 * MiB });
    const object = entry('large', size);
    const begun = begin(object, { partBytes: 48 * MiB });
    // 48 MiB does not divide a segment: no part crosses one all the same.
    expect(missingOf(begun).map(([at, length]) => [at / MiB, length / MiB])).toEqual([
      [0, 48],
      [48, 16],
      [64, 32],
      [96, 32],
      [128, 3],
    ]);
    for (const [offset, length] of missingOf(begun)) {
      const extents = store.allocate(run, length);
      // Bytes nobody wrote: this is about the index.
      await store.land(run, [
        {
          fileId: begun.fileId,
          range: { offset, length },
          extents,
          pageChecksums: new Uint32Array(length / MiB).fill(offset / MiB),
        },
      ]);
      if (offset === 64 * MiB) await reopen().then(() => begin(object));
    }
    expect(store.usage()).toMatchObject({ files: 1, blocks: 3, usedBytes: size });
    const file = store.open(object.path);
    const pages = [...file.pages()];
    expect(pages.map(({ page }) => page)).toEqual(Array.from({ length: 131 }, (_, i) => i));
    expect([pages[47], pages[48], pages[64], pages[96], pages[130]].map((page) => page!.checksum)).toEqual([
      0, 48, 64, 96, 128,
    ]);
    expect(pages.every(({ extents }) => extents.length === 1 && extents[0]!.length === MiB)).toBe(true);
    file.close();
    expect(await store.remove(path('large'))).toEqual({ files: 1, bytes: size });
    expect(store.usage()).toMatchObject({ files: 0, blocks: 0, usedBytes: 0 });
  });

  test('a file of no bytes is complete without parts', async () => {
    const object = entry('empty', 0);
    const begun = begin(object);
    expect(missingOf(begun)).toEqual([]);
    expect(begun.state).toBe('loading');
    await store.completeEmpty(run, begun.fileId);
    expect(begin(object).state).toBe('complete');
    expect(await readObject(store, object.path)).toHaveLength(0);
    await reopen();
    expect(store.stat(object.path)).toMatchObject({ state: 'complete', sizeBytes: 0 });
  });

  test('file ids are never used twice, not even those of files that came to nothing', async () => {
    const first = begin(entry('a', 10)).fileId;
    const second = begin(entry('b', 10)).fileId;
    await reopen();
    const third = begin(entry('a', 10)).fileId;
    expect(new Set([first, second, third]).size).toBe(3);
    expect(third).toBeGreaterThan(second);
  });

  test('a path that is too long for the index is refused', () => {
    expect(() => begin(entry('x'.repeat(1990), 10))).toThrow(expect.objectContaining({ code: 'PATH_INVALID' }));
  });

  test('what an origin says that no record can hold is refused, and the store goes on', async () => {
    const refused = expect.objectContaining({ code: 'ORIGIN_PROTOCOL' });
    for (const wrong of [
      { etag: 'e'.repeat(70_000) },
      { versionId: 'v'.repeat(70_000) },
      { sizeBytes: -1 },
      { sizeBytes: 1.5 },
      { sizeBytes: Number.NaN },
    ]) {
      const object = { ...entry('a', 10), ...wrong };
      expect(() => begin(object)).toThrow(refused);
      await expect(store.putMetadata(load, [object])).rejects.toEqual(refused);
    }
    await loadObject(store, entry('a', 10));
    expect(store.stat(path('a'))).toMatchObject({ state: 'complete' });
  });

  test('a part that breaks the rules is refused before anything happens', async () => {
    const object = entry('a', 5 * MiB);
    const { fileId } = begin(object);
    const part = writePart(store, { fileId, entry: object, range: { offset: 0, length: MiB } });
    await expect(store.land(run, [{ ...part, range: { offset: 5, length: MiB } }])).rejects.toThrow('begins at a page');
    await expect(store.land(run, [{ ...part, range: { offset: 0, length: MiB - 1 } }])).rejects.toThrow(
      'ends at a page',
    );
    await expect(store.land(run, [{ ...part, range: { offset: 5 * MiB, length: MiB } }])).rejects.toThrow(
      'lies in its file',
    );
    await expect(store.land(run, [{ ...part, extents: [] }])).rejects.toThrow('have its length');
    await expect(store.land(run, [{ ...part, pageChecksums: new Uint32Array(2) }])).rejects.toThrow(
      'checksum for each page',
    );
    expect(await store.land(run, [part])).toEqual([]);
  });
});

describe('what is reused', () => {
  test('a complete file of the version: by anybody, or only by its own load', async () => {
    const fileId = await loadObject(store, entry('a', 5000));
    expect(begin(entry('a', 5000), { load: otherLoad, reuse: 'any' })).toMatchObject({ state: 'complete', fileId });
    expect(begin(entry('a', 5000), { load, reuse: 'load' })).toMatchObject({ state: 'complete', fileId });
    const anew = begin(entry('a', 5000), { load: otherLoad, reuse: 'load' });
    expect(anew.state).toBe('loading');
    expect(anew.fileId).not.toBe(fileId);
    expect(begin(entry('a', 5000, 'v2'), { reuse: 'any' }).state).toBe('loading');
  });

  test.each([
    ['by the same load', 'load', load, 'v1', true],
    ['by another load that takes anything', 'any', otherLoad, 'v1', true],
    ['not by another load that wants its own', 'load', otherLoad, 'v1', false],
    ['not when the version differs', 'any', load, 'v2', false],
  ] as const)('a partial file: %s', async (_who, reuse, byLoad, etag, reused) => {
    const object = entry('a', 4 * MiB);
    const { fileId } = begin(object);
    await landRange(object, fileId, 0, 2 * MiB);
    await reopen();
    const begun = begin(entry('a', 4 * MiB, etag), { run: otherRun, load: byLoad, reuse });
    expect(begun.fileId === fileId).toBe(reused);
    await store.flush();
    const ledger = store.ledger(run);
    if (reused) expect(ledger).toMatchObject({ originBytes: 2 * MiB, cachedBytes: 2 * MiB });
    else {
      // It is booked to the run that had fetched it, and its space is free.
      const reason = etag === 'v2' ? 'changed' : 'replaced';
      expect(ledger).toEqual({
        ...emptyLedger(),
        originBytes: 2 * MiB,
        discardedBytes: { ...emptyLedger().discardedBytes, [reason]: 2 * MiB },
      });
      expect(store.usage()).toMatchObject({ usedBytes: 0, blocks: 0 });
    }
    expect(store.ledger(otherRun)).toEqual(emptyLedger());
  });
});

describe('what nobody needs', () => {
  test('an abandoned file is freed, to the reservation of its run, and booked to all runs that fetched it', async () => {
    const object = entry('a', 6 * MiB);
    await landRange(object, begin(object).fileId, 0, 2 * MiB);
    await reopen();
    store.reserve(otherRun, 4 * MiB);
    const { fileId } = begin(object, { run: otherRun });
    await landRange(object, fileId, 2 * MiB, 2 * MiB, otherRun);
    expect(store.reservedFor(otherRun)).toBe(2 * MiB);
    await store.abandonFile(fileId, 'failed');
    expect(store.ledger(run)).toMatchObject({
      originBytes: 2 * MiB,
      cachedBytes: 0,
      discardedBytes: { failed: 2 * MiB },
    });
    expect(store.ledger(otherRun)).toMatchObject({
      originBytes: 2 * MiB,
      cachedBytes: 0,
      discardedBytes: { failed: 2 * MiB },
    });
    expect(store.usage()).toMatchObject({ usedBytes: 0, reservedBytes: 6 * MiB, blocks: 0 });
    expect(store.stat(object.path)).toBeUndefined();
    await reopen();
    expect(store.usage()).toMatchObject({ usedBytes: 0, blocks: 0 });
    expect([...store.list({ prefix: '', includeLoading: true })]).toEqual([]);
  });

  test('an orphan of an earlier process is abandoned by its id', async () => {
    const object = entry('a', 6 * MiB);
    const { fileId } = begin(object);
    await landRange(object, fileId, 0, 2 * MiB);
    await reopen();
    await store.abandonFile(fileId, 'stopped');
    expect(store.usage().usedBytes).toBe(0);
    expect(store.ledger(run)).toMatchObject({ cachedBytes: 0, discardedBytes: { stopped: 2 * MiB } });
    // Again, and of an id that never was: nothing to do.
    await store.abandonFile(fileId, 'stopped');
    await store.abandonFile(999_999 as FileId, 'stopped');
  });

  test('a part that lands on an abandoned file is freed and booked with the reason, whatever comes first', async () => {
    const object = entry('a', 6 * MiB);
    const { fileId } = begin(object);
    const parts = [0, 2, 4].map((at) =>
      writePart(store, { fileId, entry: object, range: { offset: at * MiB, length: 2 * MiB } }),
    );
    received(parts);
    const queued = store.land(run, [parts[0]!]);
    const abandoned = store.abandonFile(fileId, 'changed');
    const same = store.land(run, [parts[1]!]);
    expect(await Promise.all([queued, abandoned, same])).toEqual([[], undefined, []]);
    expect(await store.land(run, [parts[2]!])).toEqual([]);
    expect(store.ledger(run)).toMatchObject({
      originBytes: 6 * MiB,
      cachedBytes: 0,
      discardedBytes: { changed: 6 * MiB },
    });
    expect(store.usage().usedBytes).toBe(0);
  });

  test('a part that has landed before is freed and booked as replaced', async () => {
    const object = entry('a', 4 * MiB);
    const { fileId } = begin(object);
    await landRange(object, fileId, MiB, 2 * MiB);
    // Half of it is new: its first page, and the last one.
    expect(await landRange(object, fileId, 0, 4 * MiB)).toEqual([fileId]);
    expect(store.ledger(run)).toMatchObject({
      originBytes: 6 * MiB,
      cachedBytes: 4 * MiB,
      discardedBytes: { replaced: 2 * MiB },
    });
    expect(store.usage().usedBytes).toBe(4 * MiB);
    expect((await readObject(store, object.path)).equals(contentOf(object))).toBe(true);
  });

  test('two runs that load one file share it: the second is told that it is complete', async () => {
    const object = entry('a', 3 * MiB);
    const mine = begin(object);
    const theirs = begin(object, { run: otherRun, load: otherLoad, reuse: 'any' });
    expect(theirs.fileId).toBe(mine.fileId);
    const range = { offset: 0, length: 3 * MiB };
    const both = await Promise.all([
      store.land(run, received([writePart(store, { fileId: mine.fileId, entry: object, range })])),
      store.land(
        otherRun,
        received([writePart(store, { run: otherRun, fileId: mine.fileId, entry: object, range })], otherRun),
      ),
    ]);
    expect(both).toEqual([[mine.fileId], [mine.fileId]]);
    // And once more, when it is complete and forgotten.
    expect(await landRange(object, mine.fileId, 0, 3 * MiB, otherRun)).toEqual([mine.fileId]);
    expect(store.ledger(run)).toMatchObject({ cachedBytes: 3 * MiB });
    expect(store.ledger(otherRun)).toMatchObject({
      originBytes: 6 * MiB,
      cachedBytes: 0,
      discardedBytes: { replaced: 6 * MiB },
    });
    expect(store.usage().usedBytes).toBe(3 * MiB);
  });

  test('what has landed and is not yet durable is still missing for who begins the file now', async () => {
    const object = entry('a', 10_000);
    const { fileId } = begin(object);
    const landing = store.land(
      run,
      received([writePart(store, { fileId, entry: object, range: { offset: 0, length: 10_000 } })]),
    );
    const again = begin(object, { run: otherRun, load: otherLoad, reuse: 'any' });
    expect(missingOf(again)).toEqual([[0, 10_000]]);
    expect(again.fileId).toBe(fileId);
    expect(await landing).toEqual([fileId]);
    expect(begin(object).state).toBe('complete');
  });
});

describe('a run that ends', () => {
  /** Files that only memory knows: begun, and nothing landed. */
  function begunOnly(): number {
    const all = [...store.list({ prefix: '', includeLoading: true })];
    return all.filter(({ state, cachedBytes }) => state === 'loading' && cachedBytes === 0).length;
  }

  test('leaves nothing in memory of files that never landed, and what is durable is there for the next', async () => {
    const object = entry('half', 4 * MiB);
    const { fileId } = begin(object);
    await landRange(object, fileId, 0, 2 * MiB);
    for (let i = 0; i < 10; i++) begin(entry(`failed-${i}`, 1000));
    expect(begunOnly()).toBe(10);
    store.unreserve(run);
    expect(begunOnly()).toBe(0);
    expect(store.stat(object.path)).toMatchObject({ state: 'loading', fileId, cachedBytes: 2 * MiB });
    const again = begin(object, { run: otherRun });
    expect([again.fileId, missingOf(again)]).toEqual([fileId, [[2 * MiB, 2 * MiB]]]);
    expect(await landRange(object, fileId, 2 * MiB, 2 * MiB, otherRun)).toEqual([fileId]);
    expect((await readObject(store, object.path)).equals(contentOf(object))).toBe(true);
  });

  test('does not take a file away from another run that loads it, nor from parts that come after all', async () => {
    const object = entry('a', 6 * MiB);
    const { fileId } = begin(object);
    begin(object, { run: otherRun, load: otherLoad, reuse: 'any' });
    store.unreserve(otherRun);
    await landRange(object, fileId, 0, 2 * MiB);
    await landRange(object, fileId, 2 * MiB, 2 * MiB);
    store.unreserve(run);
    expect(await landRange(object, fileId, 4 * MiB, 2 * MiB)).toEqual([fileId]);
    expect((await readObject(store, object.path)).equals(contentOf(object))).toBe(true);
    expect(store.usage()).toMatchObject({ usedBytes: 6 * MiB, files: 1, blocks: 1 });
  });

  test('keeps nothing in memory of a half-loaded file whose parts become durable after it', async () => {
    const restore = vi.spyOn(LoadingFile.prototype, 'restore');
    let ends = false;
    await reopen({
      hooks: {
        inCommit: async () => {
          if (ends) store.unreserve(run);
        },
      },
    });
    try {
      const object = entry('half', 6 * MiB);
      const { fileId } = begin(object);
      ends = true;
      await landRange(object, fileId, 0, 2 * MiB);
      ends = false;
      expect(restore).toHaveBeenCalledTimes(0);
      await landRange(object, fileId, 2 * MiB, 2 * MiB);
      expect(restore, 'taken from the index for the part that is late').toHaveBeenCalledTimes(1);
      expect(missingOf(begin(object, { run: otherRun }))).toEqual([[4 * MiB, 2 * MiB]]);
      expect(restore, 'and once more for the next run').toHaveBeenCalledTimes(2);
    } finally {
      restore.mockRestore();
    }
  });

  test('frees what lands afterwards on a file of which nothing was recorded', async () => {
    const object = entry('a', 1000);
    const { fileId } = begin(object);
    store.unreserve(run);
    expect(await landRange(object, fileId, 0, 1000)).toEqual([]);
    expect(store.usage().usedBytes).toBe(0);
    expect(store.ledger(run)).toMatchObject({ originBytes: 1000, cachedBytes: 0, discardedBytes: { replaced: 1000 } });
  });
});

describe('the ledger', () => {
  test('is durable with the next commit, and what was in flight at a crash is booked as lost', async () => {
    store.account(run, { originBytes: 10 * MiB });
    store.account(run, { discarded: { reason: 'failed', bytes: MiB } });
    const object = entry('a', 4 * MiB);
    const { fileId } = begin(object);
    await store.land(run, [writePart(store, { fileId, entry: object, range: { offset: 0, length: 2 * MiB } })]);
    await reopen();
    const ledger = store.ledger(run);
    expect(ledger).toMatchObject({
      originBytes: 10 * MiB,
      cachedBytes: 2 * MiB,
      discardedBytes: { failed: MiB, crash: 7 * MiB },
    });
    expect(fixture.log.lines.filter(({ message }) => message.includes('in flight'))).toHaveLength(1);
    await reopen();
    expect(store.ledger(run)).toEqual(ledger);
    expect(store.ledger('unknown' as RunId)).toEqual(emptyLedger());
  });

  test('a ledger in which more was kept than received is said to be wrong', async () => {
    store.account(run, { discarded: { reason: 'stopped', bytes: 5 } });
    await reopen();
    expect(fixture.log.lines.filter(({ level }) => level === 'error')).toMatchObject([{ facts: { run, bytes: 5 } }]);
  });
});

describe('what a load leaves half loaded', () => {
  test('is given up by its last run, also what runs of earlier processes left; other loads keep theirs', async () => {
    const used = store.usage().usedBytes;
    const [mine, early, foreign] = [entry('mine', 5 * MiB), entry('early', 5 * MiB), entry('foreign', 5 * MiB)];
    await landRange(early, begin(early).fileId, 0, 2 * MiB);
    await landRange(foreign, begin(foreign, { load: otherLoad }).fileId, 0, 2 * MiB);
    await reopen();
    await landRange(mine, begin(mine, { run: otherRun }).fileId, 0, 2 * MiB, otherRun);
    await store.abandonLeft(otherRun, load);
    expect(store.usage().usedBytes).toBe(used + 2 * MiB);
    expect([mine, early, foreign].map((one) => store.statLoading(one.path)?.cachedBytes)).toEqual([
      undefined,
      undefined,
      2 * MiB,
    ]);
    expect(store.ledger(run).discardedBytes.failed).toBe(2 * MiB);
    expect(store.ledger(otherRun).discardedBytes.failed).toBe(2 * MiB);
  });

  test('is not taken from another run that is at work on it', async () => {
    const object = entry('shared', 5 * MiB);
    await landRange(object, begin(object).fileId, 0, 2 * MiB);
    begin(object, { run: otherRun, reuse: 'any' });
    await store.abandonLeft(run, load);
    expect(store.statLoading(object.path)?.cachedBytes).toBe(2 * MiB);
  });
});
