/** The index is mapped into memory; however large it is, only a part of it stays there. */
import { mkdtempSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { KiB, MiB } from '../../../src/core/units.ts';
import { IndexDb } from '../../../src/store/index-db.ts';

const rows = 192;
const value = Buffer.alloc(512 * KiB, 7);
/** What may be there: as much as is looked at between two releases, and what the kernel maps around it. */
const allowedBytes = 40 * MiB;

let dir: string;
let index: IndexDb;

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'primed-index-memory-'));
  index = new IndexDb(dir);
  await index.commit(() => {
    for (let row = 0; row < rows; row++) void index.files.put(keyOf(row), value);
  });
});
afterEach(async () => {
  await index.close();
  rmSync(dir, { recursive: true, force: true });
});

function keyOf(row: number): Buffer {
  return Buffer.from(`key-${String(row).padStart(5, '0')}`);
}

/** What of the index's file lies in the memory of this process, as the kernel counts it. */
function residentBytes(): number {
  const path = realpathSync(join(dir, 'data.mdb'));
  let inFile = false;
  let bytes = 0;
  for (const line of readFileSync('/proc/self/smaps', 'utf8').split('\n')) {
    if (/^[0-9a-f]+-[0-9a-f]+ /.test(line)) inFile = line.endsWith(` ${path}`);
    else if (inFile && line.startsWith('Rss:')) bytes += Number(line.split(/\s+/)[1]) * KiB;
  }
  return bytes;
}

/** The most that is resident while `each` calls back. */
function peakBytes(read: (each: () => void) => void): { rows: number; bytes: number } {
  const peak = { rows: 0, bytes: 0 };
  read(() => {
    peak.rows++;
    peak.bytes = Math.max(peak.bytes, residentBytes());
  });
  return peak;
}

test('reading all of it without giving memory back takes as much memory as it is large', () => {
  for (const { value: read } of index.files.getRange()) expect(read.length).toBe(value.length);
  expect(residentBytes()).toBeGreaterThan(rows * value.length);
});

test.each([
  ['a scan', (each: () => void) => index.scan(index.files, each)],
  [
    'a range',
    (each: () => void) => {
      for (const row of index.range(index.files)) if (row.value.equals(value)) each();
    },
  ],
  [
    'single keys',
    (each: () => void) => {
      for (let row = 0; row < rows; row++) if (index.get(index.files, keyOf(row))?.equals(value)) each();
    },
  ],
])('%s of all of it needs a part of that', (_, read) => {
  const peak = peakBytes(read);
  expect(peak.rows).toBe(rows);
  expect(peak.bytes).toBeGreaterThan(MiB);
  expect(peak.bytes).toBeLessThan(allowedBytes);
});

test('a commit of many changes gives back what it has read of the index', async () => {
  for (const _ of index.files.getRange());
  expect(residentBytes()).toBeGreaterThan(rows * value.length);
  const changes = 4096;
  await index.commit(() => {
    for (let row = 0; row < changes; row++) void index.runs.put(keyOf(row), Buffer.of(1));
  }, changes);
  expect(residentBytes()).toBeLessThan(allowedBytes);
  expect(index.get(index.runs, keyOf(changes - 1))).toEqual(Buffer.of(1));
});
