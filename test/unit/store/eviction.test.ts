/** What goes when a load needs room, what stays, and what a refusal says. */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { PrimedError } from '../../../src/core/errors.ts';
import type { EvictionReason } from '../../../src/core/eviction.ts';
import type { LoadId, RunId, UfsPath } from '../../../src/core/types.ts';
import { MiB } from '../../../src/core/units.ts';
import type { Gone, Removed, RetentionOptions, Store } from '../../../src/store/types.ts';
import {
  contentOf,
  entry,
  type Fixture,
  loadObject,
  makeFixture,
  path,
  readObject,
  writePart,
} from '../../support/store-fixture.ts';
import { expectSound } from '../../support/walked.ts';

const [first, second] = ['first', 'second'].map((name) => ({
  run: `${name}-run` as RunId,
  load: `${name}-load` as LoadId,
}));
let fixture: Fixture;
let store: Store;
let nowMs: number;
let evicted: (Removed & { reason: EvictionReason })[];
let gone: Gone[];

beforeEach(async () => {
  nowMs = 1_800_000_000_000;
  evicted = [];
  gone = [];
  fixture = makeFixture({ sizeBytes: 33 * MiB });
  await open();
});
afterEach(async () => {
  await store.close();
  fixture.remove();
});

async function open(retention?: Partial<RetentionOptions>): Promise<void> {
  await store?.close();
  Object.assign(fixture.options, {
    now: () => nowMs,
    onEvicted: (reason: EvictionReason, removed: Removed) => {
      evicted.push({ reason, ...removed });
    },
    onGone: (files: readonly Gone[]) => {
      gone.push(...files);
    },
    retention: { eviction: 'lru', rules: [], ...retention },
  });
  store = await fixture.open();
}

/** A load from its begin to its end. */
async function load(names: readonly string[], sizeBytes: number, by = first!): Promise<void> {
  store.enter(by.run, by.load);
  await store.reserveMore(by.run, names.length * sizeBytes);
  for (const name of names) {
    nowMs += 10;
    await loadObject(store, entry(name, sizeBytes), by);
  }
  store.unreserve(by.run);
}

/** Seconds pass, by the timer of the store, until something has gone. The first look may come before all files are in their class. */
async function untilEvicted(): Promise<void> {
  const before = evicted.length;
  while (evicted.length === before) {
    await vi.advanceTimersByTimeAsync(1000);
    await store.flush();
  }
}

function here(): string[] {
  return [...store.list({ prefix: '' })].map((record) => record.path.replace('s3://bucket/', ''));
}

async function read(name: string): Promise<void> {
  nowMs += 10;
  const wanted = contentOf(entry(name, store.stat(path(name))!.sizeBytes));
  expect((await readObject(store, path(name))).equals(wanted)).toBe(true);
}

describe('room for a load', () => {
  test('is made of what was not used for longest, and of no more than that', async () => {
    await load(['a', 'b', 'c', 'd'], 8 * MiB);
    await read('a');
    await read('c');
    // Who only looks whether it is right does not use it.
    for (const how of [{ by: 'scrub' as const }, { uses: false }]) store.open(path('b'), how).close();
    expect(await store.reserveMore(second!.run, 10 * MiB)).toEqual({ files: 2, bytes: 16 * MiB });
    expect(here()).toEqual(['a', 'c']);
    expect(evicted).toEqual([{ reason: 'space', files: 2, bytes: 16 * MiB }]);
    const why = { reason: 'space', run: second!.run, bytes: 8 * MiB, etag: 'v1' };
    expect(gone).toEqual(['b', 'd'].map((name) => ({ path: path(name), ...why })));
    // What it got beyond that is free for the next one.
    expect(await store.reserveMore(second!.run, 6 * MiB)).toEqual({ files: 0, bytes: 0 });
  });

  test('what left for another reason is told with it; a version loaded anew, and what is freed, is not', async () => {
    await load(['a', 'b', 'c'], 2 * MiB);
    await loadObject(store, entry('a', MiB, 'v2'), second!);
    await loadObject(store, entry('b', 2 * MiB), { ...second!, load: 'anew' as LoadId });
    await store.removeVersion(path('c'), store.stat(path('c'))!.fileId, 'corrupt');
    await store.free({ path: path('b') });
    expect(gone).toEqual([
      { path: path('a'), reason: 'replaced', bytes: 2 * MiB, etag: 'v1', newEtag: 'v2' },
      { path: path('c'), reason: 'corrupt', bytes: 2 * MiB, etag: 'v1' },
    ]);
  });

  test('is made in that order after a restart too, of what was read some time before it', async () => {
    await load(['a', 'b', 'c', 'd'], 8 * MiB);
    await read('a');
    await open();
    await store.reserveMore(second!.run, 8 * MiB);
    expect(here()).toEqual(['a', 'c', 'd']);
  });

  test('is not made of what is pinned, by a path or a folder, nor when the pin is a restart old', async () => {
    await load(['x/a', 'x/b', 'y', 'z'], 8 * MiB);
    await store.setPins([path('x/'), path('y')]);
    await open();
    expect(store.isPinned(path('x/new'))).toBe(true);
    await store.reserveMore(second!.run, 8 * MiB);
    expect(here()).toEqual(['x/a', 'x/b', 'y']);
    expect(store.usage()).toMatchObject({ pinnedBytes: 24 * MiB, evictableBytes: 0 });
    await store.setPins([path('x/a')]);
    expect(await store.reserveMore(second!.run, 16 * MiB)).toMatchObject({ files: 2 });
    expect(here()).toEqual(['x/a']);
  });

  test('is not made of what a running load has loaded, or found here', async () => {
    await load(['old', 'found'], 8 * MiB);
    store.enter(second!.run, second!.load);
    await store.reserveMore(second!.run, 8 * MiB);
    nowMs += 10;
    await loadObject(store, entry('mine', 8 * MiB), second!);
    expect(store.hold(second!.run, store.stat(path('found'))!)).toBe(true);
    expect(store.usage()).toMatchObject({ heldBytes: 16 * MiB, evictableBytes: 8 * MiB });
    await store.reserveMore(second!.run, 16 * MiB);
    expect(here()).toEqual(['found', 'mine']);
    const refused = await store.reserveMore(second!.run, 1).catch((error: unknown) => error);
    expect(refused).toMatchObject({ code: 'STORE_NO_ROOM' });
    expect(here()).toEqual(['found', 'mine']);
    store.unreserve(second!.run);
    await store.reserveMore(first!.run, 32 * MiB);
    expect(here()).toEqual([]);
  });

  test('is not made of what the load has loaded before a restart', async () => {
    await load(['mine', 'other'], 8 * MiB, second);
    await load(['last'], 16 * MiB);
    await open();
    store.enter('again' as RunId, second!.load);
    await store.reserveMore('again' as RunId, 16 * MiB);
    expect(here()).toEqual(['mine', 'other']);
  });

  test('is refused with all numbers, and then nothing has gone', async () => {
    await load(['pinned'], 8 * MiB);
    await store.setPins([path('pinned')]);
    await load(['a'], 8 * MiB);
    store.enter(second!.run, second!.load);
    await store.reserveMore(second!.run, 8 * MiB);
    await loadObject(store, entry('held', 8 * MiB), second!);
    const refused = await store.reserveMore(first!.run, 17 * MiB).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(PrimedError);
    const { message, facts } = refused as PrimedError;
    expect(message).toContain('8.00MB are pinned, 8.00MB belong to running loads, 8.00MB could be evicted');
    expect(facts).toMatchObject({
      ...{ neededBytes: 17 * MiB, freeBytes: 8 * MiB },
      ...{ pinnedBytes: 8 * MiB, heldBytes: 8 * MiB, evictableBytes: 8 * MiB },
    });
    expect(here()).toEqual(['a', 'held', 'pinned']);
    expect(evicted).toEqual([]);
    await store.reserveMore(first!.run, 16 * MiB);
    expect(here()).toEqual(['held', 'pinned']);
  });

  test('is never made where eviction is none', async () => {
    await open({ eviction: 'none' });
    await load(['a', 'b'], 16 * MiB);
    expect(store.usage().evictableBytes).toBe(0);
    const refused = store.reserveMore(second!.run, 1);
    await expect(refused).rejects.toThrow(/nothing is evicted \(store\.eviction = "none"\)/);
    expect(here()).toEqual(['a', 'b']);
  });

  test('takes the part of a file that lies here, and not the one that a run adds to', async () => {
    const object = entry('cut', 40 * MiB);
    const order = { ...first!, entry: object, reuse: 'any' as const, partBytes: 8 * MiB };
    const begun = store.beginFile({ ...order, range: { offset: 0, length: 8 * MiB } });
    await store.land(first!.run, [
      writePart(store, { run: first!.run, fileId: begun.fileId, entry: object, range: { offset: 0, length: 8 * MiB } }),
    ]);
    await store.show(object);
    await expect(store.reserveMore(second!.run, 32 * MiB)).rejects.toMatchObject({ code: 'STORE_NO_ROOM' });
    store.unreserve(first!.run);
    expect(await store.reserveMore(second!.run, 32 * MiB)).toEqual({ files: 1, bytes: 8 * MiB });
  });

  test('takes what a stopped load has left half loaded, when nothing else would do, and not of one that runs', async () => {
    const half = async (name: string, by: { run: RunId; load: LoadId }): Promise<void> => {
      const object = entry(name, 16 * MiB);
      const begun = store.beginFile({ ...by, entry: object, reuse: 'any', partBytes: 8 * MiB });
      const range = { offset: 0, length: 8 * MiB };
      await store.land(by.run, [writePart(store, { run: by.run, fileId: begun.fileId, entry: object, range })]);
    };
    await half('left', first!);
    store.unreserve(first!.run);
    store.enter(second!.run, second!.load);
    await half('wanted', second!);
    await load(['cached'], 8 * MiB);
    await store.reserveMore('third' as RunId, 16 * MiB);
    expect(store.stat(path('left')), 'while others may go').toBeDefined();
    await store.reserveMore('third' as RunId, 8 * MiB);
    expect(store.stat(path('left'))).toBeUndefined();
    expect(store.stat(path('wanted'))).toMatchObject({ state: 'loading', cachedBytes: 8 * MiB });
    await expect(store.reserveMore('third' as RunId, 1)).rejects.toMatchObject({ code: 'STORE_NO_ROOM' });
  });

  test('leaves a reader what it reads, and takes others in its place', async () => {
    await load(['a', 'b'], 16 * MiB);
    nowMs += 5000;
    const file = store.open(path('a'));
    await store.reserveMore(second!.run, 16 * MiB);
    expect(here()).toEqual(['a']);
    await expect(store.reserveMore(second!.run, 1)).rejects.toMatchObject({ code: 'STORE_NO_ROOM' });
    const pieces: Uint8Array[] = [];
    for await (const piece of file.read({ offset: 0, length: 16 * MiB })) pieces.push(piece);
    expect(Buffer.concat(pieces).equals(contentOf(entry('a', 16 * MiB)))).toBe(true);
    file.close();
    await store.reserveMore(second!.run, 1);
    expect(here()).toEqual([]);
  });

  test('is shared by loads that ask at once, and nothing is promised twice', async () => {
    await load(['a', 'b', 'c', 'd'], 8 * MiB);
    const results = await Promise.allSettled([
      ...[1, 2, 3].map(() => store.reserveMore(first!.run, 5 * MiB)),
      ...[1, 2, 3].map(() => store.reserveMore(second!.run, 5 * MiB)),
      store.reserveMore('third' as RunId, 3 * MiB),
    ]);
    expect(results.filter(({ status }) => status === 'rejected')).toHaveLength(1);
    const { reservedBytes, freeBytes } = store.usage();
    expect(reservedBytes).toBe(30 * MiB);
    expect(freeBytes).toBe(2 * MiB);
  });
});

describe('rules', () => {
  test('what has a lower priority goes first, however lately it was used', async () => {
    const rules = [
      { prefix: path('models/'), priority: 10, pinned: false },
      { prefix: path('scratch/'), priority: -1, pinned: false },
      { prefix: path('models/base/'), priority: 0, pinned: true },
    ];
    await open({ rules });
    await load(['models/a', 'models/base/b', 'other', 'scratch/c'], 8 * MiB);
    await store.reserveMore(second!.run, 8 * MiB);
    expect(here()).toEqual(['models/a', 'models/base/b', 'other']);
    await store.reserveMore(second!.run, 8 * MiB);
    expect(here()).toEqual(['models/a', 'models/base/b']);
    await store.reserveMore(second!.run, 8 * MiB);
    expect(here()).toEqual(['models/base/b']);
  });

  test('hold for what was cached before them', async () => {
    await load(['low/a', 'b', 'c', 'kept/d'], 8 * MiB);
    await open({
      rules: [
        { prefix: path('low/'), priority: 5, pinned: false },
        { prefix: path('kept/'), priority: 0, pinned: true },
      ],
    });
    await store.reserveMore(second!.run, 16 * MiB);
    expect(here()).toEqual(['kept/d', 'low/a']);
    store.unreserve(second!.run);
    await open();
    await store.reserveMore(second!.run, 24 * MiB);
    expect(here()).toEqual(['kept/d']);
  });
});

test('a file costs what it costs, whoever asks for it: usage is the same after a restart', async () => {
  await load(['a', 'x/b', 'x/c'], 3 * MiB + 100);
  await store.setPins([path('x/') as UfsPath]);
  await open();
  await store.remove(path('x/c'));
  const before = store.usage();
  expect(before.pinnedBytes).toBe(3 * MiB + 4096);
  await open();
  expect(store.usage()).toEqual(before);
});

describe('a quota', () => {
  const rules = [{ prefix: path('q/'), priority: 0, pinned: false, quotaBytes: 8 * MiB }];
  const missing = (name: string): ReturnType<Store['admit']> => {
    const object = entry(name, 3 * MiB);
    const begun = store.beginFile({ ...second!, entry: object, reuse: 'any', partBytes: 8 * MiB });
    return store.admit(begun.fileId, object.path, 3 * MiB);
  };

  test('is kept by evicting those of its prefix that were not used for longest', async () => {
    await open({ rules });
    await load(['other', 'q/a', 'q/b'], 3 * MiB);
    await read('q/a');
    store.enter(second!.run, second!.load);
    await store.reserveMore(second!.run, 9 * MiB);
    await missing('q/c');
    expect(here()).toEqual(['other', 'q/a']);
    expect(evicted).toEqual([{ reason: 'quota', files: 1, bytes: 3 * MiB }]);
    expect(missing('r'), 'of a prefix without one').toBeUndefined();
  });

  test('is not exceeded by a load: what it has begun counts, and is not evicted', async () => {
    await open({ rules });
    store.enter(second!.run, second!.load);
    await store.reserveMore(second!.run, 9 * MiB);
    await missing('q/a');
    nowMs += 10;
    await loadObject(store, entry('q/b', 3 * MiB), second!);
    await expect(missing('q/c')).rejects.toMatchObject({
      code: 'STORE_QUOTA',
      facts: { quotaBytes: 8 * MiB, thereBytes: 6 * MiB, neededBytes: 3 * MiB },
    });
    store.unreserve(second!.run);
    // q/a did not come, and q/b may go.
    await missing('q/c');
    await missing('q/d');
    expect(here()).toEqual([]);
  });

  test('that was lowered is kept soon', async () => {
    await load(['q/a', 'q/b', 'q/c'], 3 * MiB);
    vi.useFakeTimers({ toFake: ['setInterval'] });
    try {
      await open({ rules: [{ ...rules[0]!, quotaBytes: 4 * MiB }] });
      await untilEvicted();
    } finally {
      vi.useRealTimers();
    }
    expect(here()).toEqual(['q/c']);
  });
});

describe('an age', () => {
  const rules = [{ prefix: path('t/'), priority: 0, pinned: false, ttlMs: 60_000 }];

  test('is when a file goes, but not one that is pinned or that a load counts on', async () => {
    await load(['t/early', 't/pinned', 't/held', 'other'], 3 * MiB);
    nowMs += 50_000;
    await load(['t/late'], 3 * MiB);
    await store.setPins([path('t/pinned')]);
    vi.useFakeTimers({ toFake: ['setInterval'] });
    try {
      await open({ rules });
      store.enter(second!.run, second!.load);
      store.hold(second!.run, store.stat(path('t/held'))!);
      nowMs += 10_000;
      await untilEvicted();
      expect(here()).toEqual(['other', 't/held', 't/late', 't/pinned']);
      expect(evicted).toEqual([{ reason: 'ttl', files: 1, bytes: 3 * MiB }]);
      store.unreserve(second!.run);
      await untilEvicted();
      expect(here()).toEqual(['other', 't/late', 't/pinned']);
    } finally {
      vi.useRealTimers();
    }
  });
});

describe('rules that are exchanged while the store is open', () => {
  const rule = { priority: 0, pinned: false };
  const expiring = [{ ...rule, prefix: path('t/'), ttlMs: 60_000 }];

  beforeEach(() => void vi.useFakeTimers({ toFake: ['setInterval'] }));
  afterEach(() => void vi.useRealTimers());

  test('hold at once for what is there: an age, a quota, and none any more', async () => {
    await load(['t/a', 't/b', 'q/a', 'q/b', 'q/c'], 2 * MiB);
    await store.setRules(expiring);
    nowMs += 60_000;
    await untilEvicted();
    expect(here()).toEqual(['q/a', 'q/b', 'q/c']);
    await store.setRules([{ ...rule, prefix: path('q/'), quotaBytes: 4 * MiB }]);
    await untilEvicted();
    expect(here()).toEqual(['q/b', 'q/c']);
    expect(evicted.map(({ reason, files }) => [reason, files])).toEqual([
      ['ttl', 2],
      ['quota', 1],
    ]);
    await store.setRules([]);
    await load(['t/a', 'q/d', 'q/e'], 2 * MiB);
    nowMs += 600_000;
    await vi.advanceTimersByTimeAsync(5000);
    await store.flush();
    expect(here()).toEqual(['q/b', 'q/c', 'q/d', 'q/e', 't/a']);
    // The next start finds what holds, and nothing that did.
    await open();
    await vi.advanceTimersByTimeAsync(5000);
    expect(here()).toEqual(['q/b', 'q/c', 'q/d', 'q/e', 't/a']);
    await store.close();
    await expectSound(fixture.options.indexDir);
    await open();
  });

  test('what is pinned from now on stays, and goes when it is not', async () => {
    await load(['p/old', 'new'], 12 * MiB);
    await store.setRules([{ ...rule, prefix: path('p/'), pinned: true }]);
    await store.reserveMore(second!.run, 20 * MiB);
    expect(here()).toEqual(['p/old']);
    await expect(store.reserveMore(second!.run, 4 * MiB)).rejects.toMatchObject({ code: 'STORE_NO_ROOM' });
    await store.setRules([]);
    await store.reserveMore(second!.run, 4 * MiB);
    expect(here()).toEqual([]);
  });

  test('while loads land, again and again: every file is where the last ones want it', async () => {
    for (let round = 0; round < 12; round += 1) {
      const names = ['t/', 'u/', ''].map((dir) => `${dir}${round}`);
      const rules = [
        [...expiring, { ...rule, prefix: path('u/'), quotaBytes: 30 * MiB }],
        [{ ...rule, prefix: path('u/'), ttlMs: 1e9 }],
        [{ ...rule, prefix: path('t/'), pinned: true }],
        [],
      ][round % 4]!;
      await Promise.all([load(names, 500_000), store.setRules(rules)]);
    }
    await store.setRules(expiring);
    nowMs += 60_000;
    while (here().some((name) => name.startsWith('t/'))) await untilEvicted();
    expect(here()).toHaveLength(24);
    expect(evicted.reduce((sum, { files }) => sum + files, 0)).toBe(12);
    await store.close();
    await expectSound(fixture.options.indexDir);
    await open({ rules: expiring });
  });
});
