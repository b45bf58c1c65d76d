/** A versioned bucket: HEAD says version ids, a listing does not. What is cached is told apart by what both sides know. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { ledgerDifference, type ManifestEntry, type RunId } from '../../../src/core/types.ts';
import { MiB } from '../../../src/core/units.ts';
import { type Bench, openBench } from './bench.ts';

let bench: Bench;
beforeAll(async () => {
  bench = await openBench({
    versioned: true,
    wholeHashMaxBytes: 1024,
    checksumMaxBytes: 64 * MiB,
    checksums: ['crc64nvme'],
  });
});
afterAll(() => bench?.close());

let places = 0;
async function placed(): Promise<ManifestEntry> {
  places += 1;
  bench.origin.add({ key: `v${places}/object`, sizeBytes: 9 * MiB });
  const [entry] = await bench.list(`v${places}/`);
  expect(entry).not.toHaveProperty('versionId');
  return entry as ManifestEntry;
}

async function loadOf(entry: ManifestEntry): Promise<{ run: RunId; result: string }> {
  const run = bench.start({ reuse: 'any' });
  const { result } = await bench.worker.load(run, entry);
  return { run, result };
}

async function end(run: RunId): Promise<void> {
  await bench.worker.endRun(run);
  expect(ledgerDifference(bench.store.ledger(run))).toBe(0);
}

it('what a listing names is compared with the checksum that HEAD states', async () => {
  const entry = await placed();
  const { run, result } = await loadOf(entry);
  expect(result).toBe('loaded');
  expect(await bench.worker.verify(run, entry)).toMatchObject({ ok: true, wholeObject: 'matched' });
  await end(run);
});

it('a version id that one side does not know makes no difference', async () => {
  const listed = await placed();
  const head = await bench.head(listed.path);
  expect(head.versionId).toEqual(expect.any(String));
  const first = await loadOf(head);
  expect(bench.worker.cached({ run: first.run, load: first.run as never }, listed)).toMatchObject({
    complete: true,
    ours: true,
  });
  await end(first.run);
  const second = await loadOf(listed);
  expect(second.result).toBe('skipped');
  expect(await bench.worker.verify(second.run, listed)).toMatchObject({ ok: true });
  await end(second.run);
});

it('another version id is another version, though its bytes are the same: the record becomes that of the manifest', async () => {
  const object = { key: 'twice/object', body: 'the same bytes' };
  bench.origin.put(object);
  const [listed] = await bench.list('twice/');
  const older = await bench.head((listed as ManifestEntry).path);
  const first = await loadOf(older);
  await end(first.run);
  bench.origin.put(object);
  const newer = await bench.head(older.path);
  expect(newer.etag).toBe(older.etag);
  expect(newer.versionId).not.toBe(older.versionId);
  expect(bench.worker.cached({ run: first.run, load: first.run as never }, newer)).toMatchObject({ complete: false });
  const second = await loadOf(newer);
  expect(second.result).toBe('loaded');
  expect(bench.store.stat(older.path)?.versionId).toBe(newer.versionId);
  await end(second.run);
});
