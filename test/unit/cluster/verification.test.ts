/** The phase after the load: list again, check, repair. */
import { afterEach, describe, expect, it } from 'vitest';
import { cleanUp, dir, load, staged } from './stage.ts';

afterEach(cleanUp);

describe('verification', () => {
  it('checks every file, after the origin was listed again', async () => {
    const stage = await staged(25);
    const job = await load(stage, dir, { verify: 'true' });
    expect(job).toMatchObject({ state: 'SUCCEEDED', verifiedFiles: 25, verifiedBytes: 25 * 5000, verifiedByPages: 25 });
    expect(new Set(stage.worker.verified).size).toBe(25);
    expect(stage.origins.asked.list).toBe(6);
  });

  it('loads what is new or has changed meanwhile', async () => {
    const stage = await staged(12);
    let loads = 0;
    stage.worker.onLoad = () => {
      loads += 1;
      if (loads !== 12) return;
      stage.origins.put(`${dir}00003`, 100, 'v2');
      stage.origins.put(`${dir}new`, 50);
    };
    const job = await load(stage, dir, { verify: true });
    expect(job).toMatchObject({ state: 'SUCCEEDED', totalFiles: 13, loadedFiles: 13, verifiedFiles: 13 });
    expect(stage.worker.disk.files.get(`${dir}00003`)?.entry.etag).toBe('v2');
    expect(job).toMatchObject({ loadedBytes: 11 * 5000 + 150, totalBytes: 11 * 5000 + 150 });
  });

  it.each([{}, { loadMetadataOnly: true }])('counts what the origin has at the end: %j', async (options) => {
    const stage = await staged(12);
    let listings = 0;
    stage.origins.before = (request) => {
      if (request === 'list') listings += 1;
      // the third page is the first one of the second listing
      if (listings !== 3 || !stage.origins.objects.has(`${dir}00005`)) return;
      stage.origins.objects.delete(`${dir}00005`);
      stage.origins.objects.delete(`${dir}00006`);
      stage.origins.put(`${dir}new`, 50);
    };
    const job = await load(stage, dir, { ...options, verify: true });
    const bytes = 'loadMetadataOnly' in options ? 0 : 10 * 5000 + 50;
    expect(job).toMatchObject({ state: 'SUCCEEDED', totalFiles: 11, loadedFiles: 11, verifiedFiles: 11 });
    expect(job).toMatchObject({ loadedBytes: bytes, totalBytes: bytes, verifiedBytes: bytes });
  });

  it('loads a bad file anew, once, and checks it again', async () => {
    const stage = await staged(12);
    stage.worker.badLoads.set(`${dir}00004`, 1);
    const job = await load(stage, dir, { verify: true });
    expect(job).toMatchObject({ state: 'SUCCEEDED', verifiedFiles: 12, failedFiles: 0 });
    expect(stage.worker.disk.fetched.get(`${dir}00004`)).toBe(10_000);
    expect(job.ledger).toMatchObject({ originBytes: 13 * 5000, cachedBytes: 13 * 5000 });
    expect(stage.worker.disk.files.get(`${dir}00004`)?.bad).toBe(0);
  });

  it('fails with the file that stays bad', async () => {
    const stage = await staged(12);
    stage.worker.badLoads.set(`${dir}00004`, 99);
    const job = await load(stage, dir, { verify: true });
    expect(job).toMatchObject({
      state: 'FAILED',
      verifiedFiles: 11,
      failedFiles: 1,
      loadedFiles: 11,
      loadedBytes: 11 * 5000,
    });
    expect(job.failures[0]).toMatchObject({ path: `${dir}00004`, code: 'STORE_CORRUPT' });
    expect(stage.worker.disk.fetched.get(`${dir}00004`)).toBe(10_000);
  });

  it('is left out when the load has failed already', async () => {
    const stage = await staged(3);
    stage.worker.failing.set(`${dir}00001`, 'no');
    expect(await load(stage, dir, { verify: true })).toMatchObject({ state: 'FAILED', verifiedFiles: 0 });
    expect(stage.worker.verified).toEqual([]);
  });
});
