/** Jobs over a list of paths, and the alias that they are found by. */
import { afterEach, describe, expect, it } from 'vitest';
import { parseLoadOptions } from '../../../src/core/load-options.ts';
import { cleanUp, codeOf, crash, openStage, type Stage, staged, until } from './stage.ts';

afterEach(cleanUp);

const listOf = (alias: string, ...paths: string[]) => ({ kind: 'paths', path: alias, paths }) as const;

async function loadPaths(stage: Stage, alias: string, ...paths: string[]) {
  const { jobId } = await stage.jobs.submit(listOf(alias, ...paths), parseLoadOptions({}));
  return stage.jobs.ended(jobId);
}

describe('a list of paths', () => {
  it('is one job over all of them, in their order, and each file counts once', async () => {
    const stage = await staged(12);
    stage.origins.put('s3://b/single', 7);
    const job = await loadPaths(stage, 'today', 's3://b/single', 's3://b/dir/', 's3://b/dir/00003');
    expect(job).toMatchObject({
      state: 'SUCCEEDED',
      alias: 'today',
      source: { kind: 'paths', path: 'today' },
      totalFiles: 13,
      loadedFiles: 13,
      loadedBytes: 12 * 5000 + 7,
    });
    expect(stage.jobs.list({})).toHaveLength(1);
  });

  it('of which the origin does not have one fails, names it, and loads the others', async () => {
    const stage = await staged(3);
    const job = await loadPaths(stage, 'today', 's3://b/none', 's3://b/dir/');
    expect(job).toMatchObject({ state: 'FAILED', loadedFiles: 3, failedFiles: 1 });
    expect(job.reason).toContain('s3://b/none');
  });

  it('is found by alias and by id, and has one name of each at a time', async () => {
    const stage = await staged(3);
    stage.worker.flowing = false;
    const { jobId } = await stage.jobs.submit(listOf('today', 's3://b/dir/', 's3://b/x'), parseLoadOptions({}));
    expect(stage.jobs.snapshot('today')?.jobId).toBe(jobId);
    expect(stage.jobs.snapshot(jobId)?.alias).toBe('today');
    expect(stage.jobs.snapshot('today', 'FREE')).toBeUndefined();
    const again = await stage.jobs.submit(listOf('today', 's3://b/x', 's3://b/dir/'), parseLoadOptions({}));
    expect(again).toMatchObject({ jobId, started: false });
    const renamed = stage.jobs.submit(listOf('later', 's3://b/dir/', 's3://b/x'), parseLoadOptions({}));
    expect(await codeOf(renamed)).toMatch(/^JOB_CONFLICT: .*its alias is today, asked for later/);
    const other = stage.jobs.submit(listOf('today', 's3://b/y', 's3://b/z'), parseLoadOptions({}));
    expect(await codeOf(other)).toMatch(new RegExp(`^JOB_CONFLICT: .*job ${jobId}.*alias 'today'`));
    expect(await codeOf(stage.jobs.submit(listOf('w', 's3://b/*', 's3://b/z'), parseLoadOptions({})))).toMatch(
      /^PATH_WILDCARD/,
    );
    expect(await stage.jobs.stop('today')).toBe(true);
    expect(stage.jobs.snapshot('today')?.state).toBe('STOPPED');
  });

  it('after kill -9 goes on at the path that it was at, under its alias', async () => {
    const stage = await openStage({ settings: { listingKeys: 2 } });
    for (const at of ['a', 'b', 'c']) for (let i = 0; i < 5; i += 1) stage.origins.put(`s3://b/${at}/${i}`, 100);
    let lists = 0;
    // The first page of the second path is listed, and the next one does not come.
    stage.origins.before = (request) => {
      if (request === 'list') lists += 1;
      return lists > 4 ? new Promise(() => undefined) : undefined;
    };
    const paths = ['s3://b/a/', 's3://b/b/', 's3://b/c/'];
    const { jobId } = await stage.jobs.submit(listOf('three', ...paths), parseLoadOptions({ partialListing: true }));
    await until(() => (stage.jobs.byId(jobId)?.loadedFiles ?? 0) >= 7);
    const next = await crash(stage, { listingKeys: 2 });
    next.origins.before = () => undefined;
    next.origins.asked.list = 0;
    const job = await next.jobs.ended(next.jobs.snapshot('three')!.jobId);
    expect(job).toMatchObject({ jobId, state: 'SUCCEEDED', alias: 'three', totalFiles: 15, loadedFiles: 15 });
    // Two pages of b are left, and three of c.
    expect(next.origins.asked.list).toBe(5);
    for (const [path, bytes] of next.worker.disk.fetched) expect([path, bytes]).toEqual([path, 100]);
  });
});
