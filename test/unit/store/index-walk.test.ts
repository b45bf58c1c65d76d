/** An index that is walked: of one that is sound nothing is found, and of one that is spoilt every kind of damage, by name. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { alignBytes, MiB } from '../../../src/core/units.ts';
import { judgeWalk } from '../../../src/doctor/deep.ts';
import { IndexDb } from '../../../src/store/index-db.ts';
import type { WalkFault } from '../../../src/store/index-walk.ts';
import {
  type BlockExtent,
  blockBytes,
  blockKey,
  fileKey,
  inlineBlock,
  pathKey,
  readBlock,
  writeBlock,
} from '../../../src/store/records.ts';
import { entry, type Fixture, loadObject, makeFixture, path, run, writePart } from '../../support/store-fixture.ts';
import { walked } from '../../support/walked.ts';

const big = entry('d/big', 5 * MiB + 5000);
const small = entry('d/small', 9000);
const half = entry('d/half', 4 * MiB);
let fixture: Fixture;
let ids: { big: number; half: number };

beforeEach(async () => {
  fixture = makeFixture({ stores: 2 });
  const store = await fixture.open();
  const bigId = await loadObject(store, big);
  for (const object of [small, entry('d/empty', 0), entry('d/other', 2 * MiB)]) await loadObject(store, object);
  const begun = store.beginFile({ run, load: 'load-1' as never, entry: half, reuse: 'load', partBytes: MiB });
  if (begun.state === 'complete') throw new Error('nothing is there of it');
  await store.land(run, [writePart(store, { fileId: begun.fileId, entry: half, range: begun.missing[0]! })]);
  ids = { big: bigId, half: begun.fileId };
  await store.close();
});
afterEach(() => fixture.remove());

const walk = () => walked(fixture.options.indexDir);
const kinds = async (): Promise<WalkFault[]> => [...(await walk()).found.keys()].sort();

async function spoil(change: (index: IndexDb) => void): Promise<void> {
  const index = new IndexDb(fixture.options.indexDir);
  await index.commit(() => change(index));
  await index.close();
}

/** Puts the block of `file` again, as `change` makes it. */
function changeBlock(index: IndexDb, file: number, change: (block: ReturnType<typeof readBlock>) => void): void {
  const key = blockKey(file as never, 0);
  const block = readBlock(index.get(index.blocks, key)!);
  change(block);
  const bytes = Buffer.alloc(blockBytes(block));
  writeBlock(block, bytes, 0);
  void index.blocks.put(key, bytes);
}

const moved = (extent: BlockExtent, more: Partial<BlockExtent>): BlockExtent => ({ ...extent, ...more });

test('one that is sound fits together, and its figures are those of the store', async () => {
  const rows: [number, number][] = [];
  const result = await walked(fixture.options.indexDir, (at, of) => rows.push([at, of]));
  expect(result.found).toEqual(new Map());
  const store = await fixture.open();
  const { usedBytes, capacityBytes, blocks } = store.usage();
  await store.close();
  // The block of what is half loaded is one of them.
  expect(result).toMatchObject({ usedBytes, capacityBytes, blocks, files: 4 });
  expect(rows.at(-1)).toEqual([rows.at(-1)![1], rows.at(-1)![1]]);
  expect(judgeWalk(result)).toMatchObject([{ level: 'ok', what: expect.stringContaining('4 files') }]);
});

test('bytes of two blocks, and such beyond a store', async () => {
  await spoil((index) => {
    const [taken] = inlineBlock(index.get(index.files, pathKey(small.path))!)!.extents as [BlockExtent];
    changeBlock(index, ids.big, (block) => {
      block.extents = [
        ...block.extents.map((one, at) =>
          at === 0 ? moved(one, { ...taken, blockGrain: 0, grains: one.grains }) : one,
        ),
      ];
    });
  });
  expect(await kinds()).toEqual(['overlap']);
  expect(judgeWalk(await walk())).toMatchObject([
    {
      level: 'fail',
      what: expect.stringMatching(/extents belong to two blocks: .*d\/small, segment 0: 3 grains at \d+ of store \d/),
      remedy: expect.stringContaining('remove the index'),
    },
  ]);
  await spoil((index) => {
    changeBlock(index, ids.big, (block) => {
      block.extents = block.extents.map((one) => moved(one, { fileGrain: (33 * MiB) / alignBytes - 1 }));
    });
  });
  expect(await kinds()).toEqual(['outside']);
});

test.each<[string, (index: IndexDb) => void, WalkFault[]]>([
  ['a block that has gone', (index) => void index.blocks.remove(blockKey(ids.big as never, 0)), ['blocks']],
  [
    'a page that has no room',
    (index) =>
      changeBlock(index, ids.big, (block) => {
        block.extents = block.extents
          .slice(0, -1)
          .concat(block.extents.slice(-1).map((one) => moved(one, { grains: one.grains - 1 })));
      }),
    ['blocks'],
  ],
  [
    'a file that has gone, and left its block',
    (index) => void index.files.remove(pathKey(big.path)),
    ['orphan', 'queue'],
  ],
  [
    'a block of nobody',
    (index) =>
      void index.blocks.put(blockKey(12_345 as never, 0), index.get(index.blocks, blockKey(ids.half as never, 0))!),
    ['orphan', 'overlap'],
  ],
  [
    'nobody waits',
    (index) => {
      for (const { key } of index.range(index.queue, { limit: 1 })) void index.queue.remove(Buffer.from(key) as never);
    },
    ['queue'],
  ],
  [
    'a row of the queue that is cut off',
    (index) => void index.queue.put(Buffer.from([1, 2]) as never, Buffer.from([3])),
    ['unreadable'],
  ],
  [
    'a path that is loaded by nobody',
    (index) => void index.loadingPaths.put(pathKey(path('x')), fileKey(77 as never)),
    ['loading'],
  ],
  ['a load without its path', (index) => void index.loadingPaths.remove(pathKey(half.path)), ['loading']],
  [
    'a record of another version',
    (index) => {
      const bytes = Buffer.from(index.get(index.files, pathKey(small.path))!);
      bytes[0] = 99;
      void index.files.put(pathKey(small.path), bytes);
    },
    ['unreadable'],
  ],
])('%s', async (_, change, found) => {
  await spoil(change);
  expect(await kinds()).toEqual(found);
  for (const finding of judgeWalk(await walk())) expect(finding.remedy).toBeTruthy();
});
