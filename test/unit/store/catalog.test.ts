/** Stat, list, summary, metadata and removal, as a user of the store sees them. */
import { describe, expect, test } from 'vitest';
import type { LoadId } from '../../../src/core/types.ts';
import { MiB } from '../../../src/core/units.ts';
import type { Store } from '../../../src/store/types.ts';
import { entry, load, loadObject, path, run, storeOfEach, writePart } from '../../support/store-fixture.ts';

let store: Store;
const reopen = storeOfEach((opened) => {
  store = opened;
});

async function halfLoaded(name: string): Promise<void> {
  const object = entry(name, 4 * MiB);
  const { fileId } = store.beginFile({ run, load, entry: object, reuse: 'load', partBytes: 2 * MiB });
  await store.land(run, [writePart(store, { fileId, entry: object, range: { offset: 0, length: 2 * MiB } })]);
}

function names(options: Parameters<Store['list']>[0]): string[] {
  return [...store.list(options)].map(
    (record) => `${record.path.slice('s3://bucket/'.length)}${record.state === 'complete' ? '' : ` ${record.state}`}`,
  );
}

describe('listing', () => {
  test('is in byte order of the path, by prefix, after a path, and limited', async () => {
    // In UTF-16 the last two are the other way round.
    for (const name of ['b', 'a/2', 'a/10', 'a', 'a0', '\uffee', '😀']) await loadObject(store, entry(name, 10));
    expect(names({ prefix: '' })).toEqual(['a', 'a/10', 'a/2', 'a0', 'b', '\uffee', '😀']);
    expect(names({ prefix: 's3://bucket/a' })).toEqual(['a', 'a/10', 'a/2', 'a0']);
    expect(names({ prefix: 's3://bucket/a/' })).toEqual(['a/10', 'a/2']);
    expect(names({ prefix: 's3://bucket/a', after: path('a/10') })).toEqual(['a/2', 'a0']);
    expect(names({ prefix: 's3://bucket/a', after: 's3://' })).toEqual(['a', 'a/10', 'a/2', 'a0']);
    expect(names({ prefix: '', limit: 2 })).toEqual(['a', 'a/10']);
    expect(names({ prefix: '', limit: 0 })).toEqual([]);
    expect(names({ prefix: 's3://other' })).toEqual([]);
  });

  test('walks many rows in pages, and goes on while files come and go', async () => {
    await store.putMetadata(
      load,
      Array.from({ length: 1000 }, (_, i) => entry(`m/${String(i).padStart(4, '0')}`, 1)),
    );
    const seen: string[] = [];
    for (const record of store.list({ prefix: 's3://bucket/m/' })) {
      if (seen.length === 10) void store.remove(path('m/0500'));
      seen.push(record.path);
    }
    expect(seen).toHaveLength(1000);
    expect(seen).toEqual([...seen].sort());
    expect([...store.paths()]).toEqual(seen);
    await store.flush();
  });

  test('has loading files on request, in order, also those of an earlier process and of a visible path', async () => {
    await loadObject(store, entry('a', 10));
    await loadObject(store, entry('c', 10));
    await halfLoaded('b');
    await halfLoaded('d');
    await reopen();
    await halfLoaded('a');
    store.beginFile({ run, load, entry: entry('e', 5), reuse: 'any', partBytes: MiB });
    expect(names({ prefix: '' })).toEqual(['a', 'c']);
    expect(names({ prefix: '', includeLoading: true })).toEqual([
      'a',
      'a loading',
      'b loading',
      'c',
      'd loading',
      'e loading',
    ]);
    expect(names({ prefix: '', includeLoading: true, after: path('b') })).toEqual(['c', 'd loading', 'e loading']);
    // The two records of one path are not parted by a page.
    expect(names({ prefix: '', includeLoading: true, limit: 1 })).toEqual(['a', 'a loading']);
    expect(store.stat(path('a'))).toMatchObject({ state: 'complete' });
    expect(store.stat(path('d'))).toMatchObject({ state: 'loading', cachedBytes: 2 * MiB });
    expect(store.stat(path('z'))).toBeUndefined();
  });

  test('is summed up', async () => {
    await loadObject(store, entry('x/a', 100));
    await store.putMetadata(load, [entry('x/b', 1000)]);
    await halfLoaded('x/c');
    await halfLoaded('x/b');
    await loadObject(store, entry('y', 7));
    expect(await store.summary('s3://bucket/x/')).toEqual({
      files: 3,
      bytes: 1100 + 4 * MiB,
      cachedFiles: 1,
      cachedBytes: 100 + 4 * MiB,
    });
    expect(await store.summary('')).toMatchObject({ files: 4, cachedFiles: 2 });
    expect(await store.summary('s3://nothing')).toEqual({ files: 0, bytes: 0, cachedFiles: 0, cachedBytes: 0 });
  });
});

describe('a sum over many files', () => {
  const count = 20_000;
  const nameOf = (at: number): string => String(at).padStart(5, '0');

  test('is made in turns, and counts each path once, wherever a turn ends', async () => {
    await store.putMetadata(
      load,
      Array.from({ length: count }, (_, at) => entry(nameOf(at), 10)),
    );
    // Before, between and behind the files of all turns, and beside one.
    for (const name of ['0', '08191+', '08192', '16383+', '99999']) await halfLoaded(name);
    let turns = 0;
    const turn = (): void => {
      turns++;
      immediate = setImmediate(turn);
    };
    let immediate = setImmediate(turn);
    const summary = await store.summary('');
    clearImmediate(immediate);
    expect(turns).toBeGreaterThanOrEqual(2);
    expect(summary).toEqual({
      files: count + 4,
      bytes: count * 10 + 4 * 4 * MiB,
      cachedFiles: 0,
      cachedBytes: 5 * 2 * MiB,
    });
  });

  test('counts what becomes visible meanwhile once', async () => {
    await store.putMetadata(
      load,
      Array.from({ length: count }, (_, at) => entry(nameOf(at), 10)),
    );
    const summing = store.summary('');
    await Promise.all([loadObject(store, entry('00000+', 5)), loadObject(store, entry('99999', 5))]);
    const { files } = await summing;
    expect(files).toBeGreaterThanOrEqual(count);
    expect(files).toBeLessThanOrEqual(count + 2);
    expect(await store.summary('')).toMatchObject({ files: count + 2, cachedFiles: 2 });
  });
});

describe('metadata', () => {
  test('keeps everything about the version, leaves a complete file of it alone, and replaces one of another', async () => {
    const versioned = { ...entry('v', 123, 'e"t~ag/ü'), versionId: '', lastModifiedMs: 1234.5 };
    await store.putMetadata('l2' as LoadId, [versioned, entry('plain', 2 ** 45)]);
    await loadObject(store, entry('a', 5000));
    await store.putMetadata(load, [entry('a', 5000)]);
    await reopen();
    expect(store.stat(path('v'))).toEqual({
      ...versioned,
      state: 'metadata',
      loadId: 'l2',
      cachedBytes: 0,
      cachedAtMs: 1_800_000_000_000,
      segmentBytes: 64 * MiB,
      attributes: '',
      fileId: expect.any(Number),
    });
    expect(store.stat(path('plain'))).toMatchObject({ sizeBytes: 2 ** 45 });
    expect(store.stat(path('plain'))).not.toHaveProperty('versionId');
    expect(store.stat(path('a'))).toMatchObject({ state: 'complete' });
    expect(() => store.open(path('v'))).toThrow(expect.objectContaining({ code: 'FILE_NOT_CACHED' }));
    await store.putMetadata(load, [entry('a', 5000, 'v2')]);
    expect(store.stat(path('a'))).toMatchObject({ state: 'metadata', etag: 'v2', cachedBytes: 0 });
    expect(store.usage()).toMatchObject({ files: 3, blocks: 0, usedBytes: 0 });
    await loadObject(store, entry('a', 5000, 'v2'));
    expect(store.usage()).toMatchObject({ files: 3, blocks: 1, usedBytes: 8192 });
  });

  test('one path twice in one call: the last one counts', async () => {
    await store.putMetadata(load, [entry('a', 1), entry('a', 2, 'v2')]);
    expect(store.stat(path('a'))).toMatchObject({ sizeBytes: 2 });
    expect(store.usage().files).toBe(1);
  });
});

describe('removal', () => {
  test('takes the path and what lies below it, loading files too, and nothing that only begins alike', async () => {
    for (const name of ['dir', 'dir/a', 'dir/b/c', 'dir-2', 'dirx/a']) await loadObject(store, entry(name, 1000));
    await store.putMetadata(load, [entry('dir/m', 500)]);
    await halfLoaded('dir/loading');
    await halfLoaded('dir-2/loading');
    const all = { files: 5, bytes: 3000 + 2 * MiB };
    expect(await store.free({ path: path('dir'), dryRun: true })).toEqual(all);
    expect(store.usage().files).toBe(6);
    expect(await store.remove(path('dir'))).toEqual(all);
    expect(names({ prefix: '', includeLoading: true })).toEqual(['dir-2', 'dir-2/loading loading', 'dirx/a']);
    expect(store.usage()).toMatchObject({ files: 2, usedBytes: 2 * 4096 + 2 * MiB });
    expect(store.ledger(run).discardedBytes.stopped).toBe(2 * MiB);
    expect(await store.remove(path('dir'))).toEqual({ files: 0, bytes: 0 });
    expect(await store.remove(path('dirx/'))).toEqual({ files: 1, bytes: 1000 });
  });

  test('of one version leaves what lies below the path, and a version that has taken its place', async () => {
    for (const name of ['dir', 'dir/a']) await loadObject(store, entry(name, 1000));
    const first = store.stat(path('dir'))!.fileId;
    await store.removeVersion(path('dir'), first, 'corrupt');
    expect(names({ prefix: '' })).toEqual(['dir/a']);
    expect(store.usage()).toMatchObject({ files: 1, usedBytes: 4096 });
    await loadObject(store, entry('dir', 1000, 'v2'));
    await store.removeVersion(path('dir'), first, 'corrupt');
    expect(names({ prefix: '' })).toEqual(['dir', 'dir/a']);
  });

  test('of thousands of files goes in several commits and leaves nothing', async () => {
    await store.putMetadata(
      load,
      Array.from({ length: 5000 }, (_, i) => entry(`many/${i}`, 1)),
    );
    const first = await store.free({ path: path('many') });
    expect(first.files).toBe(2048);
    expect(first.next).toBeDefined();
    expect(await store.remove(path('many'))).toEqual({ files: 5000 - 2048, bytes: 0 });
    expect(store.usage().files).toBe(0);
    expect(names({ prefix: '' })).toEqual([]);
  });

  test('sees what has landed before it was called', async () => {
    const object = entry('dir/late', 100);
    const { fileId } = store.beginFile({ run, load, entry: object, reuse: 'any', partBytes: MiB });
    const landing = store.land(run, [writePart(store, { fileId, entry: object, range: { offset: 0, length: 100 } })]);
    expect(await store.remove(path('dir'))).toEqual({ files: 1, bytes: 100 });
    expect(await landing).toEqual([fileId]);
    expect(store.usage().usedBytes).toBe(0);
  });
});
