/** What would be evicted, and what would be missing: said before, and then done. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { LoadId, RunId } from '../../../src/core/types.ts';
import { MiB } from '../../../src/core/units.ts';
import type { RetentionOptions, Store } from '../../../src/store/types.ts';
import { entry, type Fixture, loadObject, makeFixture, path, writePart } from '../../support/store-fixture.ts';

const [first, second] = ['first', 'second'].map((name) => ({
  run: `${name}-run` as RunId,
  load: `${name}-load` as LoadId,
})) as [{ run: RunId; load: LoadId }, { run: RunId; load: LoadId }];
let fixture: Fixture;
let store: Store;
let nowMs = 1_800_000_000_000;

beforeEach(async () => {
  fixture = makeFixture({ sizeBytes: 33 * MiB });
  await open();
});
afterEach(async () => {
  await store.close();
  fixture.remove();
});

async function open(retention?: Partial<RetentionOptions>): Promise<void> {
  await store?.close();
  Object.assign(fixture.options, { now: () => nowMs, retention: { eviction: 'lru', rules: [], ...retention } });
  store = await fixture.open();
}

async function load(names: readonly string[], sizeBytes: number): Promise<void> {
  store.enter(first.run, first.load);
  await store.reserveMore(first.run, names.length * sizeBytes);
  for (const name of names) {
    nowMs += 10;
    await loadObject(store, entry(name, sizeBytes), first);
  }
  store.unreserve(first.run);
}

const here = (): string[] => Array.from(store.list({ prefix: '' }), (record) => record.path);
const preview = (bytes: number, keeps: (one: string) => boolean = () => false) =>
  store.previewEviction({ bytes, keeps, named: 3 });

function use(name: string): void {
  nowMs += 10;
  store.open(path(name)).close();
}

test('what would be evicted is what is, in its order, and saying it moves nothing', async () => {
  await open({ rules: [{ prefix: 's3://bucket/dear/', priority: 5, pinned: false }] });
  await load(['a', 'b', 'dear/c', 'd', 'e', 'f', 'g', 'h'], 4 * MiB);
  await store.setPins([path('d')]);
  for (const name of ['a', 'e', 'b']) use(name);
  for (const mib of [1, 9, 16, 21, 28]) {
    const before = here();
    const said = await preview(mib * MiB);
    expect(await preview(mib * MiB)).toEqual(said);
    expect(here()).toEqual(before);
    expect(store.usage()).toMatchObject({ reservedBytes: 0 });
    const went = await store.reserveMore(second.run, mib * MiB);
    expect({ files: said.files, bytes: said.bytes, counted: said.counted }).toEqual({ ...went, counted: true });
    const gone = before.filter((one) => !here().includes(one));
    expect([...said.paths].sort()).toEqual(gone.filter((one) => said.paths.includes(one)).sort());
    expect(said.paths).toHaveLength(Math.min(3, gone.length));
    store.unreserve(second.run);
    await store.flush();
  }
  expect(here()).toEqual([path('d')]);
});

test('the order of those that are named is that in which they go', async () => {
  await load(['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'], 4 * MiB);
  for (const name of ['a', 'c']) use(name);
  expect((await preview(12 * MiB)).paths).toEqual(['b', 'd', 'e'].map(path));
  expect((await preview(12 * MiB, (one) => one === path('d'))).paths).toEqual(['b', 'e', 'f'].map(path));
});

test('nothing goes where there is room, or nothing is evicted; and of too much all that may is said', async () => {
  await load(['a', 'b'], 4 * MiB);
  const none = { files: 0, bytes: 0, paths: [], counted: true };
  expect(await preview(24 * MiB)).toEqual(none);
  expect(await preview(100 * MiB)).toMatchObject({ files: 2, bytes: 8 * MiB });
  await open({ eviction: 'none' });
  expect(await preview(100 * MiB)).toEqual(none);
});

test('what would be missing is what a load is told when it begins', async () => {
  const parts = { partBytes: 2 * MiB };
  const wanted = entry('cut', 7 * MiB + 5);
  const asked = [
    { ...second, reuse: 'any' as const },
    { ...first, reuse: 'load' as const },
    { ...second, reuse: 'load' as const },
  ];
  const range = { offset: 2 * MiB, length: 3 * MiB };
  /** In the order in which beginning one changes nothing for the next. */
  const agree = (some: readonly (typeof asked)[number][]): void => {
    for (const how of some)
      for (const order of [
        { ...how, ...parts, entry: wanted },
        { ...how, ...parts, entry: wanted, range },
      ]) {
        const said = store.missing(order);
        expect(store.missing(order)).toEqual(said);
        const begun = store.beginFile(order);
        expect(begun.state === 'complete' ? [] : begun.missing).toEqual(said);
      }
  };
  await store.reserveMore(first.run, 20 * MiB);
  expect(store.missing({ ...first, reuse: 'any', ...parts, entry: wanted })).toHaveLength(4);
  // Some of it, while the run is at work, when it has left, and after a restart.
  const begun = store.beginFile({ ...first, reuse: 'load', ...parts, entry: wanted });
  const part = writePart(store, {
    ...first,
    fileId: begun.fileId,
    entry: wanted,
    range: { offset: 2 * MiB, length: 2 * MiB },
  });
  await store.land(first.run, [part]);
  agree(asked.slice(0, 2));
  store.unreserve(first.run);
  expect(store.missing({ ...first, reuse: 'load', ...parts, entry: wanted })).toHaveLength(3);
  await open();
  expect(store.missing({ ...second, reuse: 'load', ...parts, entry: wanted })).toHaveLength(4);
  agree(asked.slice(0, 2));
  // Visible in part, then all of it.
  await store.show(wanted);
  agree(asked.slice(0, 2));
  await store.reserveMore(first.run, 20 * MiB);
  await loadObject(store, wanted, { ...first, ...parts });
  agree(asked);
  expect(store.missing({ ...second, reuse: 'any', ...parts, entry: { ...wanted, etag: 'v2' } })).toHaveLength(4);
});
