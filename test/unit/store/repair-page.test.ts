/** A page that is written once more where it lies: with its own bytes, and with no others. */
import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Repairs, readRepaired } from '../../../src/cluster/reading/repair.ts';
import { MiB } from '../../../src/core/units.ts';
import type { BadPage, OpenFile, Store } from '../../../src/store/types.ts';
import { contentOf, entry, type Fixture, loadObject, makeFixture, readObject } from '../../support/store-fixture.ts';

const object = entry('a', 3 * MiB + 500);
const content = contentOf(object);
const silent = { debug() {}, info() {}, warn() {}, error() {} };

let fixture: Fixture;
let store: Store;
let met: BadPage[];

beforeEach(async () => {
  met = [];
  fixture = makeFixture({ onBadPage: (bad) => met.push(bad) });
  store = await fixture.open();
  await loadObject(store, object);
});
afterEach(async () => {
  await store.close();
  fixture.remove();
});

/** Turns one bit of a page. */
function turn(page: number): void {
  const opened = store.open(object.path);
  const [place] = [...opened.pages()].filter((one) => one.page === page);
  opened.close();
  const { store: index, offset } = place!.extents[0]!;
  const file = openSync(store.files[index]!.path, 'r+');
  const byte = Buffer.alloc(1);
  readSync(file, byte, 0, 1, offset + 77);
  writeSync(file, Buffer.of(byte[0]! ^ 4), 0, 1, offset + 77);
  closeSync(file);
}

test.each([1, 3])('page %i is right again, also after the store was opened anew', async (page) => {
  turn(page);
  await expect(readObject(store, object.path)).rejects.toMatchObject({ code: 'STORE_CORRUPT' });
  expect(met).toMatchObject([{ page, reader: 'serve', record: { path: object.path } }]);
  const bytes = content.subarray(page * MiB, Math.min((page + 1) * MiB, object.sizeBytes));
  expect(await store.repairPage(object, page, bytes)).toBe(true);
  expect((await readObject(store, object.path)).equals(content)).toBe(true);
  await store.close();
  store = await fixture.open();
  expect((await readObject(store, object.path)).equals(content)).toBe(true);
});

test('other bytes are not written, whatever they are', async () => {
  const wrong = Buffer.from(content.subarray(MiB, 2 * MiB));
  wrong[5]! ^= 1;
  expect(await store.repairPage(object, 1, wrong)).toBe(false);
  expect(await store.repairPage(object, 1, content.subarray(0, MiB))).toBe(false);
  expect(await store.repairPage(object, 1, content.subarray(MiB, 2 * MiB - 1))).toBe(false);
  expect(await store.repairPage({ ...object, etag: 'v2' }, 1, content.subarray(MiB, 2 * MiB))).toBe(false);
  expect((await readObject(store, object.path)).equals(content)).toBe(true);
});

test('who scrubs is told apart', async () => {
  turn(0);
  const opened = store.open(object.path, { by: 'scrub' });
  await expect(all(opened, { offset: 0, length: 5 })).rejects.toMatchObject({ code: 'STORE_CORRUPT' });
  opened.close();
  expect(met).toMatchObject([{ page: 0, reader: 'scrub' }]);
});

async function all(opened: OpenFile, range: { offset: number; length: number }): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const bytes of opened.read(range)) pieces.push(bytes);
  return Buffer.concat(pieces);
}

test('readers share one repair, go on behind the page, and a source with other bytes is passed over', async () => {
  turn(1);
  turn(2);
  const asked: string[] = [];
  const repairs = new Repairs({
    ...{ store, log: silent, now: () => performance.now(), observe: (result) => asked.push(`= ${result}`) },
    sources: async function* (_, { offset, length }) {
      const source = (name: string, at: number) => ({
        ...{ source: 'peer' as const, name },
        async *read() {
          asked.push(`${name} ${offset}`);
          yield content.subarray(at, at + length);
        },
      });
      yield source('wrong', offset === 0 ? MiB : 0);
      yield source('right', offset);
    },
  });
  const range = { offset: 100, length: object.sizeBytes - 200 };
  const readers = Array.from({ length: 5 }, async () => {
    const opened = store.open(object.path);
    const pieces: Uint8Array[] = [];
    for await (const bytes of readRepaired(opened, range, repairs)) pieces.push(bytes);
    opened.close();
    return Buffer.concat(pieces);
  });
  for (const bytes of await Promise.all(readers))
    expect(bytes.equals(content.subarray(100, object.sizeBytes - 100))).toBe(true);
  expect(asked).toEqual([MiB, 2 * MiB].flatMap((at) => [`wrong ${at}`, `right ${at}`, '= peer']));
});

test('a page that nobody has is left alone for a while', async () => {
  turn(1);
  let nowMs = 0;
  let asked = 0;
  const repairs = new Repairs({
    ...{ store, log: silent, now: () => nowMs, observe: () => undefined },
    sources: async function* (): AsyncGenerator<never> {
      asked += 1;
      yield* [];
    },
  });
  const opened = store.open(object.path);
  const read = async (): Promise<void> => {
    for await (const _bytes of readRepaired(opened, { offset: 0, length: 2 * MiB }, repairs));
  };
  await expect(read()).rejects.toMatchObject({ code: 'STORE_CORRUPT' });
  await expect(read()).rejects.toMatchObject({ code: 'STORE_CORRUPT' });
  expect(asked).toBe(1);
  nowMs += 61_000;
  await expect(read()).rejects.toMatchObject({ code: 'STORE_CORRUPT' });
  expect(asked).toBe(2);
  opened.close();
});
