/** Which run has fetched what of a file: kept with its pages, so that a job can be told what it loaded after whatever came between. */
import { expect, test } from 'vitest';
import type { ByteRange, FileId, LoadId, ManifestEntry, RunId, StoreIndex } from '../../../src/core/types.ts';
import { defaultSegmentBytes, MiB } from '../../../src/core/units.ts';
import { LoadingFile } from '../../../src/store/loading-file.ts';
import type { Begun, Fetched, Store } from '../../../src/store/types.ts';
import { entry, load, run, storeOfEach, writePart } from '../../support/store-fixture.ts';

const resumed = 'run-2' as RunId;
const other = { run: 'run-3' as RunId, load: 'load-3' as LoadId };
const object = entry('a', 6 * MiB + 500);
const whole = { offset: 0, length: object.sizeBytes };
const [first, second, last] = [0, 2 * MiB, 4 * MiB].map((offset) => ({
  offset,
  length: Math.min(2 * MiB, object.sizeBytes - offset),
})) as [ByteRange, ByteRange, ByteRange];
const rest = { offset: 4 * MiB, length: 2 * MiB + 500 };

let store: Store;
const restart = storeOfEach((opened) => {
  store = opened;
});

interface By {
  readonly run?: RunId;
  readonly load?: LoadId;
}

function begin(of: ManifestEntry, range: ByteRange, by: By = {}): Begun {
  return store.beginFile({ run, load, entry: of, reuse: 'any', partBytes: 8 * MiB, range, ...by });
}

async function fetch(of: ManifestEntry, range: ByteRange, by: By = {}): Promise<void> {
  const begun = begin(of, range, by);
  if (begun.state === 'complete') throw new Error('there is nothing to fetch');
  const parts = begun.missing.map((missing) =>
    writePart(store, { run: by.run ?? run, fileId: begun.fileId, entry: of, range: missing }),
  );
  await store.land(by.run ?? run, parts);
}

function bytesBy(by: RunId, range: ByteRange, of = object): number {
  const { own, ownBytes } = store.cachedRange({ run: by, load }, of, range);
  expect(own).toBe(ownBytes > 0);
  return ownBytes;
}

test('each run of a file has the pages that it fetched, while it is loading, when it is whole, and after a restart', async () => {
  await fetch(object, first);
  expect([bytesBy(run, whole), bytesBy(resumed, whole)]).toEqual([2 * MiB, 0]);
  await fetch(object, second, { run: resumed });
  const look = () => [run, resumed, other.run].map((by) => [first, second, rest].map((range) => bytesBy(by, range)));
  const twoRuns = [
    [2 * MiB, 0, 0],
    [0, 2 * MiB, 0],
    [0, 0, 0],
  ];
  expect(look()).toEqual(twoRuns);
  await restart();
  expect(look()).toEqual(twoRuns);
  expect(begin(object, whole, { run: resumed })).toMatchObject({ state: 'loading', ownBytes: 2 * MiB });
  await fetch(object, rest, other);
  const complete = [
    [2 * MiB, 0, 0],
    [0, 2 * MiB, 0],
    [0, 0, rest.length],
  ];
  for (let times = 0; times < 2; times += 1) {
    expect(store.stat(object.path)?.state).toBe('complete');
    expect(look()).toEqual(complete);
    expect(begin(object, whole, other)).toMatchObject({ state: 'complete', own: true, ownBytes: rest.length });
    expect(begin(object, last, { run })).toMatchObject({ state: 'complete', own: false, ownBytes: 0 });
    await restart();
  }
});

test('what is added to a version that is visible in part is by who added it', async () => {
  await fetch(object, first);
  await store.show(object);
  store.unreserve(run);
  await restart();
  await fetch(object, second, other);
  for (const shown of [false, true]) {
    expect([bytesBy(run, whole), bytesBy(other.run, whole)]).toEqual([2 * MiB, 2 * MiB]);
    expect([bytesBy(run, second), bytesBy(other.run, second)]).toEqual([0, 2 * MiB]);
    if (!shown) await store.show(object);
  }
});

test('of a run by the name of its load nothing is written, of another it is: small files, large ones, and those without bytes', async () => {
  const namesake = load as string as RunId;
  const small = [entry('s', 5000), entry('t', 5000)] as const;
  const empty = [entry('e', 0), entry('f', 0)] as const;
  const big = [entry('m', 3 * MiB), entry('n', 3 * MiB)] as const;
  const runs = [namesake, resumed] as const;
  for (const at of [0, 1] as const) {
    const by = runs[at]!;
    for (const one of [small[at], big[at]]) await fetch(one, { offset: 0, length: one.sizeBytes }, { run: by });
    await store.completeEmpty(by, begin(empty[at], { offset: 0, length: 0 }, { run: by }).fileId);
  }
  await restart();
  const whose = (by: RunId, of: ManifestEntry): Fetched => store.fetched(by, store.stat(of.path)!);
  for (const of of [small, big, empty]) {
    expect(of.map(({ path }) => store.stat(path)?.runs === undefined)).toEqual([true, false]);
    for (const at of [0, 1] as const) {
      const { sizeBytes } = of[at];
      expect(whose(runs[at]!, of[at])).toEqual({ own: true, ownBytes: sizeBytes });
      expect(whose(runs[1 - at]!, of[at])).toEqual({ own: false, ownBytes: 0 });
    }
  }
});

test('of more runs than a block can name the last are nobody, and the others are right', () => {
  const pages = 260;
  const file = new LoadingFile({
    ...{ fileId: 1 as FileId, entry: entry('long', pages * MiB), load, run },
    segmentBytes: defaultSegmentBytes,
  });
  const slots = Array.from({ length: pages }, (_, page) => {
    const range = { offset: page * MiB, length: MiB };
    const extents = [{ store: 0 as StoreIndex, offset: page * MiB, length: MiB }];
    const { segment } = file.add(`run ${page}` as RunId, {
      fileId: file.fileId,
      range,
      extents,
      pageChecksums: Uint32Array.of(1),
    });
    return file.blocks.get(segment)!.by[page % 64];
  });
  expect(slots.slice(0, 255)).toEqual(Array.from({ length: 255 }, (_, at) => at + 1));
  expect(slots.slice(255)).toEqual([0, 0, 0, 0, 0]);
  expect(file.runs.size).toBe(pages);
});
