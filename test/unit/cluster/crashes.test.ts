/** Jobs go on after kill -9, and nothing durable is fetched twice. */
import { afterEach, describe, expect, it } from 'vitest';
import { parseLoadOptions } from '../../../src/core/load-options.ts';
import { alignUp } from '../../../src/core/units.ts';
import { cleanUp, crash, dir, hanging, openStage, staged, storedJobs, until } from './stage.ts';

afterEach(cleanUp);

describe('after kill -9', () => {
  it.each([false, true])(
    'the job goes on by itself, and fetches no durable byte twice (partial listing: %s)',
    async (partialListing) => {
      const stage = await staged(45);
      stage.worker.flowing = false;
      stage.worker.retries = 3;
      const { jobId } = await stage.jobs.submit(
        { kind: 'path', path: dir },
        parseLoadOptions({ partialListing, batchSize: 8 }),
      );
      await until(() => stage.worker.pending.length === 16);
      for (let i = 0; i < 23; i += 1) {
        await until(() => stage.worker.pending.length === 16);
        stage.worker.release();
      }
      await until(() => stage.worker.pending.length === 16);
      stage.worker.landPart(stage.worker.pending[0]!.entry.path, 4096);
      const before = stage.jobs.byId(jobId)!;
      expect(before.loadedFiles).toBe(23);

      const next = await crash(stage);
      const job = await next.jobs.ended(jobId);
      expect(job).toMatchObject({
        state: 'SUCCEEDED',
        jobId,
        runId: before.runId,
        loadId: before.loadId,
        totalFiles: 45,
        scannedFiles: 45,
        loadedFiles: 45,
        loadedBytes: 45 * 5000,
        skippedFiles: 0,
        skippedBytes: 0,
        ledger: { originBytes: 45 * 5000, cachedBytes: 45 * 5000 },
      });
      expect(next.worker.disk.fetched.size).toBe(45);
      for (const [path, bytes] of next.worker.disk.fetched) expect([path, bytes]).toEqual([path, 5000]);
      // Two chunks were done: their files are not even looked at.
      expect(next.worker.loads).toBeLessThanOrEqual(25);
    },
  );

  it('during the listing goes on from the last page', async () => {
    const stage = await staged(45);
    const { promise: held } = hanging();
    stage.origins.before = (request) => (request === 'list' && stage.origins.asked.list === 4 ? held : undefined);
    const { jobId } = await stage.jobs.submit({ kind: 'path', path: dir }, parseLoadOptions({}));
    await until(() => stage.jobs.byId(jobId)?.scannedFiles === 30);
    await expect.poll(async () => (await storedJobs(stage))[0]?.chunks).toBe(3);
    const next = await crash(stage);
    stage.origins.before = () => undefined;
    expect(await next.jobs.ended(jobId)).toMatchObject({
      state: 'SUCCEEDED',
      totalFiles: 45,
      loadedFiles: 45,
      scannedFiles: 45,
    });
    expect(stage.origins.asked.list).toBe(6);
  });

  it('reserves only what is still to be loaded', async () => {
    const stage = await staged(30);
    stage.worker.flowing = false;
    const { jobId } = await stage.jobs.submit({ kind: 'path', path: dir }, parseLoadOptions({}));
    await until(() => stage.worker.pending.length === 30);
    stage.worker.release(13);
    await until(() => stage.jobs.byId(jobId)?.loadedFiles === 13);
    stage.worker.disk.capacityBytes = 30 * alignUp(5000);
    const next = await crash(stage);
    expect(await next.jobs.ended(jobId)).toMatchObject({ state: 'SUCCEEDED', loadedFiles: 30 });
    expect(next.worker.reservations[0]?.bytes).toBe(17 * alignUp(5000));
  });

  it('with partial listing too: a store that is nearly full of this very load has room for the rest of it', async () => {
    const stage = await staged(8, { settings: { listingKeys: 100 } });
    stage.worker.flowing = false;
    const options = parseLoadOptions({ partialListing: 'true' });
    const { jobId } = await stage.jobs.submit({ kind: 'path', path: dir }, options);
    await until(() => stage.worker.pending.length === 8);
    stage.worker.release(6);
    await until(() => stage.jobs.byId(jobId)?.loadedFiles === 6);
    stage.worker.disk.capacityBytes = 8 * alignUp(5000);
    const next = await crash(stage, { listingKeys: 100 });
    expect(await next.jobs.ended(jobId)).toMatchObject({ state: 'SUCCEEDED', loadedFiles: 8 });
    expect(next.worker.reservations[0]?.bytes).toBe(2 * alignUp(5000));
  });

  it('a page that is listed late asks for no room that files under way have drawn already', async () => {
    const stage = await openStage({ settings: { listingKeys: 1 } });
    stage.origins.put(`${dir}1-large`, 80_000);
    stage.origins.put(`${dir}2-small`, 5000);
    stage.worker.disk.capacityBytes = alignUp(80_000) + alignUp(5000);
    stage.worker.flowing = false;
    let goOn: () => void = () => undefined;
    const held = new Promise<void>((resolve) => {
      goOn = resolve;
    });
    stage.origins.before = () => (stage.origins.asked.list > 1 ? held : undefined);
    const { jobId } = await stage.jobs.submit(
      { kind: 'path', path: dir },
      parseLoadOptions({ partialListing: 'true' }),
    );
    await until(() => stage.worker.pending.length === 1);
    stage.worker.landPart(`${dir}1-large`, 65_536);
    goOn();
    await until(() => stage.worker.pending.length === 2 || stage.jobs.byId(jobId)?.state === 'FAILED');
    stage.worker.release(2);
    expect(await stage.jobs.ended(jobId)).toMatchObject({ state: 'SUCCEEDED', loadedFiles: 2 });
  });

  it('a resumed job still tells its own bytes from those of the job that it resumes', async () => {
    const stage = await staged(20);
    stage.worker.flowing = false;
    await stage.jobs.submit({ kind: 'path', path: dir }, parseLoadOptions({}));
    await until(() => stage.worker.pending.length === 20);
    stage.worker.release(5);
    await stage.jobs.stop(dir);
    const { jobId } = await stage.jobs.submit({ kind: 'path', path: dir }, parseLoadOptions({}));
    await until(() => stage.worker.pending.length === 15);
    stage.worker.release(6);
    await until(() => stage.jobs.byId(jobId)?.loadedFiles === 6);
    const next = await crash(stage);
    expect(await next.jobs.ended(jobId)).toMatchObject({
      state: 'SUCCEEDED',
      loadedFiles: 15,
      skippedFiles: 5,
      loadedBytes: 15 * 5000,
    });
  });

  it('verification goes on behind its last page', async () => {
    const stage = await staged(30);
    const { promise: held } = hanging();
    const real = stage.worker.verify.bind(stage.worker);
    stage.worker.verify = async (run, entry) => {
      if (entry.path.endsWith('15')) await held;
      return real(run, entry);
    };
    const { jobId } = await stage.jobs.submit({ kind: 'path', path: dir }, parseLoadOptions({ verify: true }));
    await until(() => (stage.jobs.byId(jobId)?.verifiedFiles ?? 0) >= 17);
    const next = await crash(stage);
    const job = await next.jobs.ended(jobId);
    expect(job).toMatchObject({ state: 'SUCCEEDED', verifiedFiles: 30, loadedFiles: 30 });
    expect(next.worker.verified).toHaveLength(20);
  });

  it('waiting jobs wait again, and a new number is never an old one', async () => {
    const stage = await openStage({ settings: { maxActive: 1 } });
    for (const name of 'abc') stage.origins.put(`s3://b/${name}/x`, 10);
    stage.worker.flowing = false;
    const ids = [];
    for (const name of 'abc')
      ids.push((await stage.jobs.submit({ kind: 'path', path: `s3://b/${name}/` }, parseLoadOptions({}))).jobId);
    const next = await crash(stage, { maxActive: 1 });
    expect(next.jobs.list({}).map((job) => job.jobId)).toEqual(ids.toReversed());
    expect((await next.jobs.ended(ids[2]!)).state).toBe('SUCCEEDED');
  });

  it('an index file that has changed meanwhile is listed anew', async () => {
    const index = 's3://b/list';
    const stage = await staged(3);
    stage.origins.put(index, 10);
    stage.origins.put('s3://b/other/a', 10);
    stage.origins.texts.set(index, `${dir}\ns3://b/other/\n`);
    const { promise: held } = hanging();
    stage.origins.before = (request, path) => (request === 'list' && path.includes('other') ? held : undefined);
    const { jobId } = await stage.jobs.submit(
      { kind: 'index', path: index },
      parseLoadOptions({ partialListing: true }),
    );
    await until(() => stage.jobs.byId(jobId)?.loadedFiles === 3);
    stage.origins.put(index, 11, 'v2');
    stage.origins.texts.set(index, `${dir}\ns3://b/other/b\n`);
    stage.origins.put('s3://b/other/b', 10);
    stage.origins.before = () => undefined;
    const next = await crash(stage);
    expect(await next.jobs.ended(jobId)).toMatchObject({
      state: 'SUCCEEDED',
      totalFiles: 4,
      loadedFiles: 4,
      loadedBytes: 3 * 5000 + 10,
    });
    for (const [path, bytes] of next.worker.disk.fetched)
      expect([path, bytes]).toEqual([path, path.startsWith(dir) ? 5000 : 10]);
  });
});
