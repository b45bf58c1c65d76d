/** What is kept of jobs: over a close, after their end, and for how long. */
import { afterEach, describe, expect, it } from 'vitest';
import { parseLoadOptions } from '../../../src/core/load-options.ts';
import { cleanUp, codeOf, dir, load, openStage, staged, until } from './stage.ts';

afterEach(cleanUp);

describe('closing', () => {
  it('saves running jobs, refuses new ones, and the next process goes on', async () => {
    const stage = await staged(20);
    stage.worker.flowing = false;
    const { jobId } = await stage.jobs.submit({ kind: 'path', path: dir }, parseLoadOptions({}));
    await until(() => stage.worker.pending.length === 20);
    stage.worker.release(5);
    await until(() => stage.jobs.byId(jobId)?.loadedFiles === 5);
    stage.clock.nowMs += 5000;
    const ending = codeOf(stage.jobs.ended(jobId));
    await stage.jobs.close();
    expect(await ending).toMatch(/^STOPPING/);
    expect(stage.worker.pending).toEqual([]);
    expect(await codeOf(stage.jobs.submit({ kind: 'path', path: dir }, parseLoadOptions({})))).toMatch(/^STOPPING/);
    stage.clock.nowMs += 3_600_000;
    const next = await openStage({
      dir: stage.dir,
      origins: stage.origins,
      disk: stage.worker.disk,
      clock: stage.clock,
    });
    const job = await next.jobs.ended(jobId);
    expect(job).toMatchObject({ state: 'SUCCEEDED', loadedFiles: 20, loadedBytes: 20 * 5000, activeMs: 5000 });
    for (const [path, bytes] of next.worker.disk.fetched) expect([path, bytes]).toEqual([path, 5000]);
  });

  it('a worker that closes first fails no file: the job goes on later', async () => {
    const stage = await staged(20);
    stage.worker.flowing = false;
    const { jobId } = await stage.jobs.submit({ kind: 'path', path: dir }, parseLoadOptions({}));
    await until(() => stage.worker.pending.length === 20);
    await stage.worker.close();
    await stage.jobs.close();
    const next = await openStage({ dir: stage.dir, origins: stage.origins, disk: stage.worker.disk });
    expect(await next.jobs.ended(jobId)).toMatchObject({ state: 'SUCCEEDED', loadedFiles: 20 });
  });
});

describe('records of ended jobs', () => {
  it('keep all that the report says, over restarts', async () => {
    const stage = await staged(30);
    for (let i = 0; i < 30; i += 1) stage.worker.failing.set(`${dir}${String(i).padStart(5, '0')}`, `no ${i}`);
    stage.worker.retries = 4;
    const job = await load(stage, dir);
    expect(job).toMatchObject({ failedFiles: 30, retries: 4 });
    await stage.jobs.close();
    const next = await openStage({ dir: stage.dir, origins: stage.origins });
    expect(next.jobs.snapshot(dir)).toEqual(stage.jobs.list({}).length === 1 ? { ...job } : undefined);
    expect(next.jobs.snapshot(dir)?.failures).toHaveLength(30);
    expect(next.jobs.list({})[0]?.failures).toHaveLength(10);
    expect(await next.jobs.ended(job.jobId)).toMatchObject({ state: 'FAILED' });
    expect(await codeOf(next.jobs.ended('nobody'))).toMatch(/^JOB_NOT_FOUND/);
  });

  it('go after the retention time, and the oldest when there are too many', async () => {
    const settings = { maxEnded: 2, retentionMs: 3_600_000 };
    const stage = await openStage({ settings });
    const listed = () => stage.jobs.list({}).map((job) => job.source.path);
    for (const name of 'abc') {
      stage.origins.put(`s3://b/${name}/x`, 10);
      await load(stage, `s3://b/${name}/`);
    }
    await until(() => listed().length === 2);
    expect(listed()).toEqual(['s3://b/c/', 's3://b/b/']);
    stage.clock.nowMs += settings.retentionMs;
    stage.origins.put('s3://b/d/x', 10);
    await load(stage, 's3://b/d/');
    await until(() => listed().length === 2);
    // to the millisecond it is not older than it may be
    expect(listed()).toEqual(['s3://b/d/', 's3://b/c/']);
    stage.clock.nowMs += 1;
    await until(() => listed().length === 1);
    expect(listed()).toEqual(['s3://b/d/']);
    await stage.jobs.close();
    const next = await openStage({ dir: stage.dir, clock: stage.clock, settings });
    expect(next.jobs.list({}).map((job) => job.source.path)).toEqual(['s3://b/d/']);
  });
});
