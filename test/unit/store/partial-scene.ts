/** A store with a file of which ranges are loaded one by one: what the tests of partial files begin with. */
import { expect } from 'vitest';
import {
  type ByteRange,
  type FileId,
  type LoadId,
  ledgerDifference,
  type ManifestEntry,
  type RunId,
} from '../../../src/core/types.ts';
import { MiB } from '../../../src/core/units.ts';
import type { Begun, Store } from '../../../src/store/types.ts';
import { contentOf, entry, load, readObject, run, storeOfEach, writePart } from '../../support/store-fixture.ts';

export const otherRun = 'run-2' as RunId;
export const otherLoad = 'load-2' as LoadId;
export const object = entry('a', 6 * MiB + 500);
export const first = { offset: 0, length: 2 * MiB };
export const second = { offset: 2 * MiB, length: 2 * MiB };
export const last = { offset: 4 * MiB, length: 2 * MiB + 500 };
export const whole = { offset: 0, length: object.sizeBytes };
export const notHere = { code: 'FILE_NOT_CACHED' };

/** That of the test. */
export let store: Store;

/** Each test of the file has a store of its own. Returns what opens it again. */
export function openForEach(): ReturnType<typeof storeOfEach> {
  return storeOfEach((opened) => {
    store = opened;
  });
}

export interface Order {
  readonly of?: ManifestEntry;
  readonly run?: RunId;
  readonly load?: LoadId;
  readonly reuse?: 'any' | 'load';
  readonly segmentBytes?: number;
}

export function begin(range: ByteRange, { of = object, ...order }: Order = {}): Begun {
  return store.beginFile({ run, load, entry: of, reuse: 'load', partBytes: 8 * MiB, range, ...order });
}

export function missingOf(begun: Begun): [number, number][] {
  return begun.state === 'complete' ? [] : begun.missing.map(({ offset, length }) => [offset, length]);
}

/** Loads what is missing of a range. */
export async function loadRange(range: ByteRange, order: Order = {}): Promise<FileId> {
  const { of = object, run: by = run } = order;
  const begun = begin(range, order);
  for (const [offset, length] of missingOf(begun)) {
    const part = writePart(store, { run: by, fileId: begun.fileId, entry: of, range: { offset, length } });
    store.account(by, { originBytes: length });
    await store.land(by, [part]);
  }
  return begun.fileId;
}

export async function expectBytes(range: ByteRange, of = object): Promise<void> {
  const { offset, length } = range;
  const expected = contentOf(of).subarray(offset, offset + length);
  expect((await readObject(store, of.path, range)).equals(expected), `${of.etag} ${offset}+${length}`).toBe(true);
}

/** Everything is let go, and the books of the runs are balanced. */
export async function expectEmpty(): Promise<void> {
  for (const id of [run, otherRun]) expect(ledgerDifference(store.ledger(id))).toBe(0);
  expect(store.usage()).toMatchObject({ usedBytes: 0, files: 0, blocks: 0 });
  expect([...store.list({ prefix: '', includeLoading: true })]).toEqual([]);
}

export const bytesHere = (range: ByteRange, of = object): number => store.cachedRange({ run, load }, of, range).bytes;
