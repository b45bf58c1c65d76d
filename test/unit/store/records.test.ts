/** The binary records: what is written is what is read, and another version is refused. */
import { describe, expect, test } from 'vitest';
import {
  discardReasons,
  emptyLedger,
  type FileId,
  type LoadId,
  type RunId,
  type StoreIndex,
  type UfsPath,
} from '../../../src/core/types.ts';
import { MiB } from '../../../src/core/units.ts';
import {
  Arena,
  blockBytes,
  decodeFile,
  decodeLedger,
  emptyBlock,
  encodeFile,
  encodeLedger,
  fileFigures,
  inlineBlock,
  isFull,
  readBlock,
  scanExtents,
  scanInlineExtents,
  setPage,
  writeBlock,
} from '../../../src/store/records.ts';
import type { FileRecord } from '../../../src/store/types.ts';

const record: FileRecord = {
  path: 's3://bucket/ключ 😀' as UfsPath,
  etag: '"quoted"-ü',
  sizeBytes: 2 ** 45 + 1,
  lastModifiedMs: 1_700_000_000_123.5,
  versionId: '',
  fileId: (2 ** 47 + 12_345) as FileId,
  state: 'loading',
  loadId: '3c9f…load' as LoadId,
  cachedBytes: 2 ** 44,
  cachedAtMs: 0,
  segmentBytes: 1024 * MiB,
  attributes: 'ttext/plain; charset=utf-8\nuname:ü',
};

function blockOf(pages: number) {
  const block = emptyBlock(pages);
  for (let page = 0; page < pages; page++) {
    setPage(block.present, page);
    block.checksums[page] = 0xffffffff - page;
    block.by[page] = 255 - page;
  }
  block.extents = [
    { blockGrain: 0, grains: 16_383, store: 30 as StoreIndex, fileGrain: 2 ** 32 - 2 },
    { blockGrain: 16_383, grains: 1, store: 0 as StoreIndex, fileGrain: 256 },
  ];
  return block;
}

describe('a block', () => {
  test.each([1, 2, 31, 32, 33, 63, 64])(
    'of %i pages is read as it was written, and full when every page is there',
    (pages) => {
      const block = blockOf(pages);
      const bytes = Buffer.alloc(blockBytes(block) + 7, 0xaa);
      writeBlock(block, bytes, 7);
      expect(readBlock(bytes, 7)).toEqual(block);
      const extents: number[][] = [];
      scanExtents(bytes, 7, (...extent) => extents.push(extent));
      expect(extents).toEqual([
        [30, 2 ** 32 - 2, 16_383],
        [0, 256, 1],
      ]);
      expect(isFull(block)).toBe(true);
      for (let page = 0; page < pages; page++) {
        const present = block.present.slice();
        present[page >>> 5]! &= ~(1 << (page & 31));
        expect(isFull({ pages, present })).toBe(false);
      }
    },
  );

  test('of another version is not read', () => {
    const bytes = Buffer.alloc(100);
    writeBlock(blockOf(1), bytes, 0);
    bytes[0] = 9;
    expect(() => readBlock(bytes)).toThrow('block record of version 9');
  });
});

describe('a file', () => {
  test('being loaded has its path and the runs that fetched it', () => {
    const runs = new Map([
      ['first' as RunId, 5],
      ['zweiter ü' as RunId, 2 ** 50],
    ]);
    const bytes = encodeFile({ record: { ...record, runs } }, new Arena());
    expect(decodeFile(bytes)).toEqual({ ...record, runs });
    expect(inlineBlock(bytes)).toBeUndefined();
    expect(scanInlineExtents(bytes, () => expect.unreachable())).toBe(false);
  });

  test('that is complete takes its path from its key, and may carry its block', () => {
    const { versionId: _, ...plain } = record;
    const complete: FileRecord = { ...plain, state: 'complete' };
    const block = blockOf(1);
    const bytes = encodeFile({ record: complete, block }, new Arena());
    expect(decodeFile(bytes, 'elsewhere')).toEqual({ ...complete, path: 'elsewhere' });
    expect(inlineBlock(bytes)).toEqual(block);
    expect(fileFigures(bytes)).toEqual({
      state: 'complete',
      sizeBytes: record.sizeBytes,
      cachedBytes: record.cachedBytes,
    });
    expect(bytes.includes(Buffer.from('ключ'))).toBe(false);
  });

  test('of another version is not read', () => {
    const bytes = encodeFile({ record }, new Arena());
    bytes[0] = 9;
    expect(() => decodeFile(bytes)).toThrow('file record of version 9');
  });
});

describe('a ledger', () => {
  test('is read as it was written, also one with fewer reasons', () => {
    const ledger = emptyLedger();
    ledger.originBytes = 2 ** 50;
    ledger.cachedBytes = 2 ** 49;
    for (const [i, reason] of discardReasons.entries()) ledger.discardedBytes[reason] = i + 1;
    const bytes = encodeLedger(ledger, new Arena());
    expect(decodeLedger(bytes)).toEqual(ledger);
    bytes[1] = 2;
    expect(decodeLedger(bytes).discardedBytes).toEqual({
      failed: 1,
      changed: 2,
      stopped: 0,
      crash: 0,
      replaced: 0,
      lost: 0,
    });
  });
});

test('values of one commit stay apart in the arena, however many there are', () => {
  const arena = new Arena();
  const values = Array.from({ length: 5000 }, (_, i) => arena.take(1 + (i % 300)).fill(i & 255));
  expect(values.every((value, i) => value.length === 1 + (i % 300) && value.every((byte) => byte === (i & 255)))).toBe(
    true,
  );
  expect(arena.take(10 ** 6)).toHaveLength(10 ** 6);
});
