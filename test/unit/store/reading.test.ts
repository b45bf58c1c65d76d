/** Reading: ranges, checksums, files that are replaced or removed while they are read, fragments, tmpfs. */
import { statfsSync, truncateSync } from 'node:fs';
import { afterAll, describe, expect, test } from 'vitest';
import type { LoadId } from '../../../src/core/types.ts';
import { MiB } from '../../../src/core/units.ts';
import type { Store } from '../../../src/store/types.ts';
import { overwrite } from '../../support/rot.ts';
import {
  contentOf,
  entry,
  type Fixture,
  loadObject,
  makeFixture,
  path,
  readObject,
  run,
  storeOfEach,
  writePart,
} from '../../support/store-fixture.ts';

let fixture: Fixture;
let store: Store;
const reopen = storeOfEach((opened, its) => {
  store = opened;
  fixture = its;
});

async function collect(pieces: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const all: Uint8Array[] = [];
  for await (const piece of pieces) all.push(piece);
  return Buffer.concat(all);
}

describe('a range', () => {
  const object = entry('a', 3 * MiB + 777);

  test.each([
    [0, 3 * MiB + 777],
    [0, 1],
    [3 * MiB + 776, 1],
    [MiB - 1, 2],
    [MiB, MiB],
    [5, 3 * MiB],
    [3 * MiB + 777, 0],
    [1234, 0],
  ])('of %i bytes on, %i long, has the bytes of the object', async (offset, length) => {
    await loadObject(store, object);
    expect(
      (await readObject(store, object.path, { offset, length })).equals(
        contentOf(object).subarray(offset, offset + length),
      ),
    ).toBe(true);
  });

  test('comes in pieces of at most a page, which stay as they are when the next ones come', async () => {
    await loadObject(store, object);
    const file = store.open(object.path);
    const pieces: Uint8Array[] = [];
    for await (const piece of file.read({ offset: 100, length: 3 * MiB })) pieces.push(piece);
    file.close();
    expect(pieces.map(({ length }) => length)).toEqual([MiB - 100, MiB, MiB, 100]);
    expect(Buffer.concat(pieces).equals(contentOf(object).subarray(100, 100 + 3 * MiB))).toBe(true);
  });

  test.each([
    [0, 3 * MiB + 778],
    [-1, 5],
    [10, -1],
    [4 * MiB, 1],
    [Number.NaN, 1],
  ])('of %d bytes on, %d long, is refused', async (offset, length) => {
    await loadObject(store, object);
    await expect(readObject(store, object.path, { offset, length })).rejects.toMatchObject({ code: 'RANGE_INVALID' });
  });
});

describe('a page that is not what was written', () => {
  test('is not served: the error names path, page, store file and offset; other pages are', async () => {
    const object = entry('a', 3 * MiB);
    await loadObject(store, object);
    const file = store.open(object.path);
    const [, second] = [...file.pages()];
    const { offset } = second!.extents[0]!;
    overwrite(store.files[0]!.path, offset + 5000, Buffer.of(contentOf(object)[MiB + 5000]! ^ 4));
    await expect(collect(file.read({ offset: 0, length: 3 * MiB }))).rejects.toMatchObject({
      code: 'STORE_CORRUPT',
      facts: { path: object.path, page: 1, store: store.files[0]!.path, offset },
      message: expect.stringContaining(`page 1 of ${object.path}, at ${offset} of ${store.files[0]!.path}`),
    });
    expect(
      (await collect(file.read({ offset: 2 * MiB, length: MiB }))).equals(contentOf(object).subarray(2 * MiB)),
    ).toBe(true);
    file.close();
  });
});

describe('a page that the operating system does not give', () => {
  const failed: string[] = [];
  const cut = makeFixture({ onReadError: (reader) => failed.push(reader) });
  afterAll(() => cut.remove());

  test('is told of with who wanted it, and is an error of the store', async () => {
    const shortened = await cut.open();
    try {
      const object = entry('a', 3 * MiB);
      await loadObject(shortened, object);
      for (const by of ['serve', 'scrub'] as const) {
        const file = shortened.open(object.path, { by });
        truncateSync(shortened.files[0]!.path, [...file.pages()][1]!.extents[0]!.offset);
        await expect(collect(file.read({ offset: MiB, length: 5 }))).rejects.toMatchObject({ code: 'STORE_IO' });
        expect((await collect(file.read({ offset: 0, length: 5 }))).length).toBe(5);
        file.close();
      }
      expect(failed).toEqual(['serve', 'scrub']);
    } finally {
      await shortened.close();
    }
  });
});

describe('a file that goes while it is read', () => {
  const old = entry('a', 2 * MiB + 5);
  const bytes = contentOf(old);

  /** Writes other bytes into all that is free. */
  async function overwriteFreeSpace(): Promise<void> {
    const { freeBytes } = store.usage();
    const extents = store.allocate(run, freeBytes);
    for (const extent of extents)
      overwrite(store.files[extent.store]!.path, extent.offset, Buffer.alloc(extent.length, 0xee));
    store.giveBack(run, extents);
  }

  test.each(['replaced', 'removed', 'replaced by metadata', 'small and replaced'] as const)(
    '%s: its reader has its bytes to the end, and only then its space is free',
    async (how) => {
      const object = how === 'small and replaced' ? entry('a', 5000) : old;
      await loadObject(store, object);
      const before = store.usage().usedBytes;
      const file = store.open(object.path);
      const other = store.open(object.path);
      const pieces = file.read({ offset: 0, length: object.sizeBytes })[Symbol.asyncIterator]();
      const first = await pieces.next();
      if (how === 'removed') await store.remove(path('a'));
      else if (how === 'replaced by metadata') await store.putMetadata('l' as LoadId, [entry('a', 9, 'v2')]);
      else await loadObject(store, entry('a', 100, 'v2'));
      const successor = how.endsWith('replaced') ? 4096 : 0;
      expect(store.usage().usedBytes).toBe(before + successor);
      await overwriteFreeSpace();
      const rest: Uint8Array[] = [first.value as Uint8Array];
      for (let next = await pieces.next(); !next.done; next = await pieces.next()) rest.push(next.value);
      expect(Buffer.concat(rest).equals(how === 'small and replaced' ? contentOf(object) : bytes)).toBe(true);
      file.close();
      file.close();
      expect((await collect(other.read({ offset: 1, length: 10 }))).equals(contentOf(object).subarray(1, 11))).toBe(
        true,
      );
      expect([...other.pages()].length).toBeGreaterThan(0);
      expect(store.usage().usedBytes).toBe(before + successor);
      other.close();
      expect(store.usage().usedBytes).toBe(successor);
    },
  );

  test('closed while a page is under way: the space is free when the read has ended', async () => {
    await loadObject(store, old);
    const file = store.open(old.path);
    const pieces = file.read({ offset: 0, length: old.sizeBytes })[Symbol.asyncIterator]();
    const first = pieces.next();
    file.close();
    await store.remove(path('a'));
    await first.catch(() => undefined);
    await expect(
      pieces
        .next()
        .then(() => pieces.next())
        .then(() => pieces.next()),
    ).rejects.toThrow('after it was closed');
    await store.flush();
    expect(store.usage().usedBytes).toBe(0);
  });
});

test('a file in many fragments is read whole', async () => {
  // Everything is taken, and every other 4 KiB given back.
  const { freeBytes } = store.usage();
  const [all] = store.allocate(run, freeBytes);
  for (let at = 0; at < all!.length; at += 8192)
    store.giveBack(run, [{ ...all!, offset: all!.offset + at, length: 4096 }]);
  const object = entry('a', 2 * MiB + 9000);
  const { fileId } = store.beginFile({ run, load: 'l' as LoadId, entry: object, reuse: 'any', partBytes: 8 * MiB });
  const part = writePart(store, { fileId, entry: object, range: { offset: 0, length: object.sizeBytes } });
  expect(part.extents.length).toBe(515);
  await store.land(run, [part]);
  await reopen();
  expect(store.usage().usedBytes).toBe(515 * 4096);
  expect((await readObject(store, object.path)).equals(contentOf(object))).toBe(true);
});

test('a store on tmpfs works, and says in the log that it has no O_DIRECT', async () => {
  const tmpfsMagic = 0x01021994;
  expect(statfsSync('/dev/shm').type, '/dev/shm is tmpfs').toBe(tmpfsMagic);
  const memory = makeFixture({ parent: '/dev/shm', sizeBytes: 5 * MiB });
  const inMemory = await memory.open();
  try {
    await loadObject(inMemory, entry('a', 2 * MiB + 3));
    expect((await readObject(inMemory, path('a'))).equals(contentOf(entry('a', 2 * MiB + 3)))).toBe(true);
    expect(inMemory.files[0]!.direct).toBe(false);
    expect(memory.log.lines.filter(({ level }) => level === 'warn')).toMatchObject([
      { message: expect.stringContaining('no O_DIRECT') },
    ]);
    expect(store.files[0]!.direct, 'the other fixture lies on a disk').toBe(true);
    expect(fixture.log.lines.filter(({ level }) => level === 'warn')).toEqual([]);
  } finally {
    await inMemory.close();
    memory.remove();
  }
});
