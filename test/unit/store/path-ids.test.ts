/** Ids of paths beside the index: what is loaded is known, over restarts and crashes, and what is gone does not pile up. */
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { pathId } from '../../../src/core/path-id.ts';
import { PathIds } from '../../../src/store/path-ids.ts';
import { temporaryFolder } from '../../support/files.ts';
import { memoryLog } from '../../support/store-fixture.ts';

let folder: ReturnType<typeof temporaryFolder>;
let files: Set<string>;
/** How often all paths were read. */
let readings: number;
let ids: PathIds | undefined;

const store = {
  *paths() {
    readings += 1;
    yield* files;
  },
  usage: () => ({ files: files.size }) as never,
};
async function opened(options = {}): Promise<PathIds> {
  ids = await PathIds.open({ dir: join(folder.path, 'ids'), store, log: memoryLog(), flushMs: 5, ...options });
  return ids;
}
async function closed(): Promise<void> {
  await ids?.close();
  ids = undefined;
}

beforeEach(() => {
  folder = temporaryFolder('ids');
  files = new Set();
  readings = 0;
});
afterEach(async () => {
  await closed();
  folder.remove();
});

it('knows what is added at once, and after a restart without reading anything', async () => {
  const one = await opened();
  await one.settled();
  for (let n = 0; n < 10_000; n += 1) {
    files.add(`s3://b/${n}`);
    one.add(`s3://b/${n}`);
    expect(one.get(pathId(`s3://b/${n}`))).toBe(`s3://b/${n}`);
  }
  await closed();
  readings = 0;
  const two = await opened();
  expect([two.whole, readings]).toEqual([true, 0]);
  for (const path of files) expect(two.get(pathId(path))).toBe(path);
  expect(two.get(pathId('s3://b/other'))).toBeUndefined();
});

it('reads all paths where it was not closed, or the index has others', async () => {
  files.add('s3://b/before');
  const one = await opened();
  expect(one.whole).toBe(false);
  await one.settled();
  expect([one.whole, one.get(pathId('s3://b/before'))]).toEqual([true, 's3://b/before']);
  await closed();
  files.add('s3://b/unheard');
  const two = await opened();
  expect(two.whole).toBe(false);
  await two.settled();
  expect(two.get(pathId('s3://b/unheard'))).toBe('s3://b/unheard');
});

it('does not say that it knows all when it was closed before it did', async () => {
  for (let n = 0; n < 5000; n += 1) files.add(`s3://b/${n}`);
  const one = await opened();
  expect(one.whole).toBe(false);
  await closed();
  const two = await opened();
  expect(two.whole).toBe(false);
  await two.settled();
  for (const path of files) expect(two.get(pathId(path))).toBe(path);
});

it('is made anew when most of what it knows is gone', async () => {
  const one = await opened({ spareIds: 10 });
  await one.settled();
  for (let n = 0; n < 100; n += 1) one.add(`s3://gone/${n}`);
  files.add('s3://b/kept');
  one.add('s3://b/kept');
  await one.settled();
  await expect.poll(() => [one.whole, one.get(pathId('s3://gone/5'))]).toEqual([true, undefined]);
  expect(one.get(pathId('s3://b/kept'))).toBe('s3://b/kept');
});

it('reads all paths when more came at once than it keeps in memory', async () => {
  const one = await opened();
  await one.settled();
  readings = 0;
  for (let n = 0; n < 100_000; n += 1) {
    files.add(`s3://b/${n}`);
    one.add(`s3://b/${n}`);
  }
  expect(one.whole).toBe(false);
  await expect.poll(() => one.whole, { timeout: 60_000 }).toBe(true);
  expect(readings).toBeGreaterThan(0);
  for (const path of files) if (one.get(pathId(path)) !== path) throw new Error(`${path} is not known`);
}, 90_000);

it('leaves out what no file can be called', async () => {
  const one = await opened();
  const long = `s3://b/${'x'.repeat(3000)}`;
  one.add(long);
  expect(one.get(pathId(long))).toBeUndefined();
});
