/** What a job loads: a directory, what is skipped, a listing that goes on, metadata. */
import { afterEach, describe, expect, it } from 'vitest';
import { PrimedError } from '../../../src/core/errors.ts';
import { parseLoadOptions } from '../../../src/core/load-options.ts';
import type { LoadId } from '../../../src/core/types.ts';
import { alignUp } from '../../../src/core/units.ts';
import { entryOf } from './fakes.ts';
import { cleanUp, dir, load, openStage, staged, until } from './stage.ts';

afterEach(cleanUp);

describe('a load of a directory', () => {
  it('loads every file and says so', async () => {
    const stage = await staged(35);
    stage.origins.put('s3://b/directory-beside', 1);
    const job = await load(stage, dir);
    expect(job).toMatchObject({
      state: 'SUCCEEDED',
      totalFiles: 35,
      processedFiles: 35,
      loadedFiles: 35,
      loadedBytes: 35 * 5000,
      totalBytes: 35 * 5000,
      skippedFiles: 0,
      failedFiles: 0,
      scannedFiles: 35,
      ledger: { originBytes: 35 * 5000, cachedBytes: 35 * 5000 },
    });
    expect(stage.worker.disk.files.size).toBe(35);
    expect(stage.origins.asked.list).toBe(4);
  });

  it('keeps two batches with the worker, and no more', async () => {
    const stage = await staged(50);
    await load(stage, dir, { batchSize: 3 });
    expect(stage.worker.mostPending).toBe(6);
  });

  it('reserves room for the whole before the first byte, in the footprint of each file', async () => {
    const stage = await staged(25);
    let reservedAtFirstLoad: unknown;
    stage.worker.onLoad = () => {
      reservedAtFirstLoad ??= [...stage.worker.reservations];
    };
    const job = await load(stage, dir);
    expect(reservedAtFirstLoad).toEqual([{ run: job.runId, bytes: 25 * alignUp(5000) }]);
  });

  it('fails without room before any byte is fetched, with needed and free bytes', async () => {
    const stage = await staged(25);
    stage.worker.disk.capacityBytes = 100_000;
    const job = await load(stage, dir);
    expect(job.state).toBe('FAILED');
    expect(job.reason).toBe(`STORE_NO_ROOM: The load needs ${25 * 8192} bytes, and 100000 are free.`);
    expect(stage.worker.loads).toBe(0);
  });

  it('has the room of what an earlier load of the same files left half loaded, and it cannot use', async () => {
    const stage = await staged(3, {}, 5000);
    const stale = entryOf(`${dir}00001`, 90_000, 'v0');
    stage.worker.disk.files.set(stale.path, {
      entry: stale,
      load: 'an earlier load' as LoadId,
      bytes: 80_000,
      by: new Map(),
      complete: false,
      bad: 0,
    });
    stage.worker.disk.capacityBytes = 3 * alignUp(5000);
    expect(await load(stage, dir)).toMatchObject({ state: 'SUCCEEDED', loadedFiles: 3 });
  });

  it('fails when one file fails, names it, and loads the others', async () => {
    const stage = await staged(30);
    stage.worker.failing.set(`${dir}00007`, `${dir}00007: HTTP 500`);
    const job = await load(stage, dir);
    expect(job).toMatchObject({
      state: 'FAILED',
      loadedFiles: 29,
      failedFiles: 1,
      processedFiles: 30,
      loadedBytes: 29 * 5000,
    });
    expect(job.reason).toBe(`1 of 30 files failed; the first: ${dir}00007: HTTP 500`);
    expect(job.failures).toEqual([
      { path: `${dir}00007`, code: 'ORIGIN_SERVER_ERROR', message: `${dir}00007: HTTP 500` },
    ]);
  });

  it('counts a file that changed under the load with its new size', async () => {
    const stage = await staged(3);
    stage.worker.changing.set(`${dir}00001`, entryOf(`${dir}00001`, 9000, 'v2'));
    const job = await load(stage, dir);
    expect(job).toMatchObject({ state: 'SUCCEEDED', loadedBytes: 19_000, totalBytes: 19_000 });
  });

  it('is no success when the worker leaves bytes unaccounted for', async () => {
    const stage = await staged(3);
    const real = stage.worker.load.bind(stage.worker);
    stage.worker.load = async (run, entry) => {
      const outcome = await real(run, entry);
      return entry.path.endsWith('2') ? { ...outcome, loadedBytes: outcome.loadedBytes - 1 } : outcome;
    };
    expect(await load(stage, dir)).toMatchObject({ state: 'FAILED', failedFiles: 1 });
  });

  it('takes s3://b/dir for the object where there is one, else for the prefix', async () => {
    const stage = await staged(3);
    expect(await load(stage, 's3://b/dir')).toMatchObject({ state: 'SUCCEEDED', totalFiles: 3 });
    stage.origins.put('s3://b/dir', 77);
    expect(await load(stage, 's3://b/dir')).toMatchObject({ state: 'SUCCEEDED', totalFiles: 1, totalBytes: 77 });
    expect(await load(stage, dir)).toMatchObject({ state: 'SUCCEEDED', totalFiles: 3 });
  });

  it('fails where nothing exists, and succeeds with no file where only a marker does', async () => {
    const stage = await staged(0);
    const job = await load(stage, 's3://b/none/');
    expect(job.state).toBe('FAILED');
    expect(job.reason).toMatch(/^ORIGIN_NOT_FOUND: Nothing exists at 's3:\/\/b\/none\/'/);
    expect((await load(stage, 's3://b/none')).state).toBe('FAILED');
    stage.origins.put('s3://b/empty/', 0);
    expect(await load(stage, 's3://b/empty/')).toMatchObject({ state: 'SUCCEEDED', totalFiles: 0, scannedFiles: 1 });
  });

  it('tries a listing page again a few times when the origin is away', async () => {
    const stage = await staged(25);
    let faults = 0;
    stage.origins.before = (request) => {
      if (request === 'list' && stage.origins.asked.list === 2 && faults === 0) {
        faults += 1;
        throw new PrimedError('ORIGIN_UNREACHABLE', 'connect ECONNREFUSED');
      }
    };
    expect(await load(stage, dir)).toMatchObject({ state: 'SUCCEEDED', totalFiles: 25 });
    expect(faults).toBe(1);
    stage.origins.before = () => {
      throw new PrimedError('ORIGIN_UNREACHABLE', 's3://b/: connect ECONNREFUSED');
    };
    const before = stage.origins.asked.list;
    const job = await load(stage, dir);
    expect(job).toMatchObject({ state: 'FAILED', reason: 'ORIGIN_UNREACHABLE: s3://b/: connect ECONNREFUSED' });
    expect(stage.origins.asked.list - before).toBe(4);
  });

  it('keeps only files whose whole base name passes the filter', async () => {
    const stage = await staged(30);
    const job = await load(stage, dir, { fileFilterRegx: '0001[0-4]' });
    expect(job).toMatchObject({ state: 'SUCCEEDED', totalFiles: 5, scannedFiles: 30 });
    expect([...stage.worker.disk.files.keys()].map((path) => path.slice(-2))).toEqual(['10', '11', '12', '13', '14']);
  });

  it('fails instead of hanging on a filter that takes exponential time', async () => {
    const stage = await openStage();
    stage.origins.put(`${dir}${'a'.repeat(60)}!`, 1);
    const job = await load(stage, dir, { fileFilterRegx: '(a+)+b' });
    expect(job.state).toBe('FAILED');
    expect(job.reason).toMatch(/^REQUEST_INVALID: fileFilterRegx: '\(a\+\)\+b' takes longer than/);
  });
});

describe('skipping', () => {
  it('loads anew what an earlier load has cached, unless skipIfExists says otherwise', async () => {
    const stage = await staged(20);
    const first = await load(stage, dir);
    const again = await load(stage, dir);
    expect(again.loadId).not.toBe(first.loadId);
    expect(again).toMatchObject({ state: 'SUCCEEDED', loadedFiles: 20, skippedFiles: 0 });
    stage.origins.put(`${dir}00003`, 6000, 'v2');
    stage.origins.put(`${dir}99999`, 100);
    const third = await load(stage, dir, { skipIfExists: 'true' });
    expect(third).toMatchObject({
      state: 'SUCCEEDED',
      totalFiles: 21,
      loadedFiles: 2,
      loadedBytes: 6100,
      skippedFiles: 19,
      skippedBytes: 19 * 5000,
      totalBytes: 19 * 5000 + 6100,
    });
    expect(stage.worker.reservations.at(-1)?.bytes).toBe(alignUp(6000) + alignUp(100));
  });

  it('needs no room for what is cached', async () => {
    const stage = await staged(20);
    await load(stage, dir);
    stage.worker.disk.capacityBytes = 20 * alignUp(5000);
    expect(await load(stage, dir, { skipIfExists: 'true' })).toMatchObject({ state: 'SUCCEEDED', skippedFiles: 20 });
    expect((await load(stage, dir)).reason).toMatch(/^STORE_NO_ROOM/);
  });
});

describe('partial listing', () => {
  it('loads while the listing goes on, and has no totals until it ends', async () => {
    const stage = await staged(40);
    let open: () => void = () => undefined;
    const held = new Promise<void>((resolve) => {
      open = resolve;
    });
    stage.origins.before = (request) => (request === 'list' && stage.origins.asked.list === 3 ? held : undefined);
    const { jobId } = await stage.jobs.submit(
      { kind: 'path', path: dir },
      parseLoadOptions({ partialListing: 'true' }),
    );
    await until(() => stage.jobs.byId(jobId)?.loadedFiles === 20);
    const midway = stage.jobs.byId(jobId)!;
    expect(midway).toMatchObject({ state: 'RUNNING', listingDone: false });
    expect(midway).not.toHaveProperty('totalFiles');
    expect(midway).not.toHaveProperty('totalBytes');
    open();
    expect(await stage.jobs.ended(jobId)).toMatchObject({ state: 'SUCCEEDED', totalFiles: 40, loadedFiles: 40 });
  });

  it('lets the reservation follow the listing, and fails when it can no longer grow', async () => {
    const stage = await staged(40);
    stage.worker.flowing = false;
    stage.worker.disk.capacityBytes = 25 * alignUp(5000);
    const job = await load(stage, dir, { partialListing: true });
    expect(job.reason).toBe(`STORE_NO_ROOM: The load needs ${30 * 8192} bytes, and ${25 * 8192} are free.`);
    expect(stage.worker.reservations.map(({ bytes }) => bytes / alignUp(5000))).toEqual([10, 20]);
    expect(stage.worker.pending).toEqual([]);
  });

  it('fails the job when the listing fails, and drops what is in flight', async () => {
    const stage = await staged(40);
    stage.worker.flowing = false;
    stage.origins.before = (request) => {
      if (request === 'list' && stage.origins.asked.list > 2)
        throw new PrimedError('ORIGIN_DENIED', 's3://b/dir/: 403 AccessDenied');
    };
    const job = await load(stage, dir, { partialListing: true });
    expect(job).toMatchObject({ state: 'FAILED', reason: 'ORIGIN_DENIED: s3://b/dir/: 403 AccessDenied' });
    expect(stage.worker.pending).toEqual([]);
  });
});

describe('metadata', () => {
  it('is cached without data, and without room', async () => {
    const stage = await staged(25);
    stage.worker.disk.capacityBytes = 0;
    const job = await load(stage, dir, { loadMetadataOnly: 'true', batchSize: 4 });
    expect(job).toMatchObject({ state: 'SUCCEEDED', loadedFiles: 25, loadedBytes: 0, totalBytes: 0 });
    expect(stage.worker.disk.metadata.size).toBe(25);
    expect(stage.worker.loads).toBe(0);
  });

  it('that cannot be stored fails every file of the batch', async () => {
    const stage = await staged(3);
    stage.worker.loadMetadata = async () => {
      throw new PrimedError('STORE_IO', 'EIO');
    };
    expect(await load(stage, dir, { loadMetadataOnly: true })).toMatchObject({ state: 'FAILED', failedFiles: 3 });
  });
});
