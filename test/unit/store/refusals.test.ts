/** Every reason for which a store is not opened, and that nothing is touched then. */
import { createHash } from 'node:crypto';
import fs, {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { PrimedError } from '../../../src/core/errors.ts';
import { KiB, MiB } from '../../../src/core/units.ts';
import { crc32c } from '../../../src/platform/index.ts';
import { openStore } from '../../../src/store/index.ts';
import { IndexDb } from '../../../src/store/index-db.ts';
import { dataOffset } from '../../../src/store/superblock.ts';
import type { StoreOptions } from '../../../src/store/types.ts';
import {
  contentOf,
  entry,
  type Fixture,
  loadObject,
  makeFixture,
  path,
  readObject,
} from '../../support/store-fixture.ts';

let fixture: Fixture;
let storeDir: string;
let dataPath: string;
let markerPath: string;

beforeEach(() => {
  fixture = makeFixture({ sizeBytes: 3 * MiB });
  storeDir = fixture.options.stores[0]!.dir;
  dataPath = join(storeDir, 'store.dat');
  markerPath = join(storeDir, 'primed-store.json');
});
afterEach(() => fixture.remove());

/** Names, contents and times of everything below a folder. */
function fingerprint(dir: string): string[] {
  if (!existsSync(dir)) return [];
  return readdirSync(dir, { recursive: true, withFileTypes: true }).map((item) => {
    const at = join(item.parentPath, item.name);
    const { mtimeMs, size } = statSync(at);
    return `${at} ${mtimeMs} ${size} ${item.isFile() ? createHash('sha256').update(readFileSync(at)).digest('hex') : ''}`;
  });
}

async function makeStore(): Promise<void> {
  const store = await fixture.open();
  await loadObject(store, entry('a', 5000));
  await store.close();
}

/** Opening fails with this code, and what is in the store folders stays as it is. */
async function expectRefusal(code: string, words: RegExp, options: StoreOptions = fixture.options): Promise<void> {
  const folders = [...new Set([...options.stores, ...fixture.options.stores].map(({ dir }) => dir))];
  const before = folders.map(fingerprint);
  const error = await openStore(options).then(
    async (store) => {
      await store.close();
      return undefined;
    },
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(PrimedError);
  expect((error as PrimedError).code).toBe(code);
  expect((error as PrimedError).message).toMatch(words);
  expect(folders.map(fingerprint)).toEqual(before);
}

async function expectWhole(): Promise<void> {
  const store = await fixture.open();
  expect((await readObject(store, path('a'))).equals(contentOf(entry('a', 5000)))).toBe(true);
  await store.close();
}

describe('a store is refused', () => {
  test('when its folder is empty, as a missing mount leaves it', async () => {
    await makeStore();
    renameSync(storeDir, `${storeDir}.away`);
    await expectRefusal('STORE_MISSING', /not mounted/);
    mkdirSync(storeDir);
    await expectRefusal('STORE_MISSING', /primed-store\.json is missing \(0 entries/);
    rmSync(storeDir, { recursive: true });
    renameSync(`${storeDir}.away`, storeDir);
    await expectWhole();
  });

  test('when its marker or its file is missing', async () => {
    await makeStore();
    renameSync(markerPath, `${markerPath}.away`);
    await expectRefusal('STORE_MISSING', /primed-store\.json is missing/);
    renameSync(`${markerPath}.away`, markerPath);
    renameSync(dataPath, `${dataPath}.away`);
    await expectRefusal('STORE_MISSING', /store\.dat is missing/);
  });

  test('when the configuration no longer names it', async () => {
    await makeStore();
    const elsewhere = { ...fixture.options, stores: [{ dir: join(fixture.dir, 'other'), sizeBytes: 3 * MiB }] };
    await expectRefusal('STORE_MISSING', /primed-store\.json is missing/, elsewhere);
    expect(existsSync(join(fixture.dir, 'other'))).toBe(false);
  });

  test('when a file that is not ours lies in its place', async () => {
    mkdirSync(storeDir);
    writeFileSync(dataPath, 'somebody else wrote this');
    await expectRefusal('STORE_FOREIGN', /was not made by primed/);
    rmSync(dataPath);
    writeFileSync(markerPath, '{"what": "something else"}');
    await expectRefusal('STORE_FOREIGN', /not the marker/);
  });

  test('when its superblock is gone, and when it is damaged', async () => {
    await makeStore();
    const bytes = readFileSync(dataPath);
    writeFileSync(dataPath, Buffer.concat([Buffer.alloc(4096), bytes.subarray(4096)]));
    await expectRefusal('STORE_FOREIGN', /no superblock/);
    const damaged = Buffer.from(bytes);
    damaged[20]! ^= 1;
    writeFileSync(dataPath, damaged);
    await expectRefusal('STORE_MISMATCH', /damaged/);
    writeFileSync(dataPath, bytes);
    await expectWhole();
  });

  test('when marker, superblock or index are of another version', async () => {
    await makeStore();
    const marker = readFileSync(markerPath, 'utf8');
    writeFileSync(markerPath, marker.replace('"format": 1', '"format": 2'));
    await expectRefusal('STORE_VERSION', /format 2, this program reads 1/);
    writeFileSync(markerPath, marker);
    const bytes = readFileSync(dataPath);
    const newer = Buffer.from(bytes);
    newer.writeUInt32LE(9, 8);
    newer.writeUInt32LE(crc32c(newer, 0, 4092, 0), 4092);
    writeFileSync(dataPath, newer);
    await expectRefusal('STORE_VERSION', /format 9, this program reads 1/);
    writeFileSync(dataPath, bytes);
    const index = new IndexDb(fixture.options.indexDir);
    await index.commit(() => index.putMeta('format', 7));
    await index.close();
    await expectRefusal('STORE_VERSION', /format 7, this program has 6; nothing was touched\. A newer primed/);
  });

  test('when it is another store than the index expects', async () => {
    await makeStore();
    const other = makeFixture({ sizeBytes: 3 * MiB });
    try {
      await (await other.open()).close();
      renameSync(storeDir, `${storeDir}.away`);
      renameSync(other.options.stores[0]!.dir, storeDir);
      await expectRefusal('STORE_MISMATCH', /the index expects/);
      // Its marker alone, too.
      rmSync(markerPath);
      renameSync(join(`${storeDir}.away`, 'primed-store.json'), markerPath);
      await expectRefusal('STORE_MISMATCH', /is store .*, the index expects/);
    } finally {
      other.remove();
    }
  });

  test('when its index was lost', async () => {
    await makeStore();
    rmSync(fixture.options.indexDir, { recursive: true });
    await expectRefusal('STORE_MISMATCH', /which this index does not know/);
  });

  test('when its size is not the configured one, and when the file was cut', async () => {
    await makeStore();
    const larger = { ...fixture.options, stores: [{ dir: storeDir, sizeBytes: 4 * MiB }] };
    await expectRefusal('STORE_MISMATCH', /made with 3145728 bytes, the configuration says 4194304/, larger);
    truncateSync(dataPath, 2 * MiB);
    await expectRefusal('STORE_MISMATCH', /made with 3145728 bytes, the file says 2097152/);
  });

  test('when it is open already', async () => {
    const store = await fixture.open();
    await expectRefusal('STORE_LOCKED', /open/);
    await store.close();
    await makeStore();
    await expectWhole();
  });

  test('when two configured folders are one, when there is none, and when a size makes no sense', async () => {
    const twice = {
      ...fixture.options,
      stores: [...fixture.options.stores, { dir: join(storeDir, '.'), sizeBytes: 3 * MiB }],
    };
    await expectRefusal('CONFIG_INVALID', /each in its own folder/, twice);
    await expectRefusal('CONFIG_INVALID', /1 to 31 stores/, { ...fixture.options, stores: [] });
    const small = { ...fixture.options, stores: [{ dir: storeDir, sizeBytes: MiB }] };
    await expectRefusal('CONFIG_INVALID', /at least 2097152/, small);
    const huge = { ...fixture.options, stores: [{ dir: storeDir, sizeBytes: 17 * 1024 ** 4 }] };
    await expectRefusal('CONFIG_INVALID', /at most/, huge);
    expect(existsSync(storeDir)).toBe(false);
  });

  test('when the disk has no room for it; a size that fits is made afterwards', async () => {
    const huge = { ...fixture.options, stores: [{ dir: storeDir, sizeBytes: 15 * 1024 ** 4 }] };
    await expectRefusal('STORE_NO_ROOM', /configured with 15\.00TB, its file system has [\d.]+[KMGT]?B free/, huge);
    expect(existsSync(storeDir)).toBe(false);
    await makeStore();
    expect(statSync(dataPath).size).toBe(3 * MiB);
    await expectWhole();
  });

  test('when the disk has room for each of two stores and not for both: neither is made', async () => {
    // The file system as it is told, not as it is: a machine with little room, whose store would take it all, stays fine.
    vi.spyOn(fs, 'statfsSync').mockReturnValue({ bavail: 5 * 256, bsize: 4096 } as ReturnType<typeof fs.statfsSync>);
    syncBuiltinESMExports();
    try {
      const stores = ['store-x', 'store-y'].map((name) => ({ dir: join(fixture.dir, name), sizeBytes: 3 * MiB }));
      await expectRefusal('STORE_NO_ROOM', /the stores before it there need 3072\.00KB of that/, {
        ...fixture.options,
        stores,
      });
      expect(stores.filter(({ dir }) => existsSync(dir))).toEqual([]);
    } finally {
      vi.restoreAllMocks();
      syncBuiltinESMExports();
    }
    await makeStore();
  });

  test('when its index claims one extent twice', async () => {
    await makeStore();
    const index = new IndexDb(fixture.options.indexDir);
    const value = Buffer.from(index.files.get(Buffer.from(path('a')))!);
    await index.commit(() => void index.files.put(Buffer.from(path('b')), value));
    await index.close();
    await expectRefusal('STORE_CORRUPT', /belong to two blocks/);
  });

  test('when a foreign file is where the index should be', async () => {
    mkdirSync(fixture.options.indexDir, { recursive: true });
    writeFileSync(join(fixture.options.indexDir, 'data.mdb'), Buffer.alloc(64 * KiB, 'not lmdb'));
    await expectRefusal('STORE_FOREIGN', /index/);
  });
});

describe('a store that was being made when the process died', () => {
  /** The index as it is after `creating` was recorded, with a marker or without, with a file of any size or without. */
  async function halfMade(marker: boolean, bytes: number | undefined): Promise<void> {
    await (await fixture.open()).close();
    const index = new IndexDb(fixture.options.indexDir);
    const [store] = index.getMeta<{ state: string }[]>('stores')!;
    await index.commit(() => index.putMeta('stores', [{ ...store, state: 'creating' }]));
    await index.close();
    rmSync(dataPath);
    if (bytes !== undefined) writeFileSync(dataPath, Buffer.alloc(bytes, 1));
    if (!marker) rmSync(markerPath);
  }

  test.each([
    ['before its marker', false, undefined],
    ['before its file', true, undefined],
    ['with an empty file', true, 0],
    ['with half a file', true, MiB],
    ['with a file that is too large', true, 5 * MiB],
  ])('%s is made anew', async (_when, marker, bytes) => {
    await halfMade(marker, bytes);
    await makeStore();
    await expectWhole();
    expect(statSync(dataPath).size).toBe(3 * MiB);
    expect(statSync(dataPath).size - dataOffset).toBe(2 * MiB);
  });

  test('does not take a foreign file for its own', async () => {
    await halfMade(false, 100);
    await expectRefusal('STORE_FOREIGN', /was not made by primed/);
  });
});

describe('stores of one worker', () => {
  test('may change their order, and one may be added', async () => {
    const two = makeFixture({ stores: 2, sizeBytes: 3 * MiB });
    try {
      const store = await two.open();
      await loadObject(store, entry('a', 300_000));
      await loadObject(store, entry('b', 300_000));
      const uuids = store.files.map(({ uuid }) => uuid);
      await store.close();
      const third = { dir: join(two.dir, 'store-2'), sizeBytes: 4 * MiB };
      const again = await openStore({ ...two.options, stores: [third, ...[...two.options.stores].reverse()] });
      expect(again.files.map(({ uuid }) => uuid).slice(0, 2)).toEqual(uuids);
      expect(again.files.map(({ index }) => index)).toEqual([0, 1, 2]);
      expect(again.usage().capacityBytes).toBe(2 * 2 * MiB + 3 * MiB);
      for (const name of ['a', 'b']) {
        expect((await readObject(again, path(name))).equals(contentOf(entry(name, 300_000)))).toBe(true);
      }
      await again.close();
    } finally {
      two.remove();
    }
  });
});
