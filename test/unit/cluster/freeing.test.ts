/** Jobs that free a path: on every worker, with the truth about those that do not answer, and through crashes. */
import { afterEach, describe, expect, it } from 'vitest';
import { Fleet } from '../../../src/cluster/fleet.ts';
import { openJobService } from '../../../src/cluster/job-service.ts';
import { ringPlacement } from '../../../src/cluster/placement.ts';
import type { JobService } from '../../../src/cluster/types.ts';
import type { WorkerId } from '../../../src/cluster/worker-link.ts';
import { parseLoadOptions } from '../../../src/core/load-options.ts';
import { jsonReport, listRow, textReport } from '../../../src/core/report.ts';
import type { LoadId, RunId } from '../../../src/core/types.ts';
import { FakeCluster } from './fake-links.ts';
import { FakeOrigins, silent } from './fakes.ts';
import { cleanUp, codeOf, crash, dir, folder, hanging, load, ManualClock, staged, until } from './stage.ts';

const services: JobService[] = [];
afterEach(async () => {
  for (const service of services.splice(0)) await service.close();
  await cleanUp();
});

const source = { kind: 'path', path: dir } as const;
const really = { dryRun: false };

/** Resolves with the id of a job that frees `dir`, and has come to the third of its pages: it goes no further. */
async function freeingHeld(stage: Awaited<ReturnType<typeof staged>>): Promise<string> {
  let pages = 0;
  const { promise: held } = hanging();
  stage.worker.onFree = (dryRun) => {
    pages += dryRun ? 0 : 1;
    return pages > 2 ? held : undefined;
  };
  const { jobId } = await stage.jobs.free(dir, really);
  await until(() => pages > 2);
  return jobId;
}

describe('freeing', () => {
  it('removes what is cached at and below the path, and counts it', async () => {
    const stage = await staged(5);
    stage.origins.put('s3://b/other', 10);
    await load(stage, dir);
    await load(stage, 's3://b/other');
    const { jobId, message } = await stage.jobs.free(dir, really);
    expect(message).toBe(`Free '${dir}' is successfully submitted. JobId: ${jobId}`);
    const job = await stage.jobs.ended(jobId);
    const worker = { worker: 'local', files: 5, bytes: 25_000, freedFiles: 5, freedBytes: 25_000, done: true };
    expect(job).toMatchObject({
      type: 'FREE',
      state: 'SUCCEEDED',
      free: { dryRun: false, workers: [worker], absent: [] },
    });
    expect([...stage.worker.disk.files.keys()]).toEqual(['s3://b/other']);
    expect(stage.jobs.snapshot(dir)?.type).toBe('LOAD');
    expect(stage.jobs.snapshot(dir, 'FREE')?.jobId).toBe(jobId);
    expect(stage.jobs.list({ types: ['FREE'] }).map((one) => one.jobId)).toEqual([jobId]);
    expect(textReport(job, { verbose: false })).toBe(
      `Progress for freeing path '${dir}':\n\tSettings:\tdry run: false\n\tJob State: SUCCEEDED\n\tFiles Freed: 5 out of 5\n\tBytes Freed: 24.41KB out of 24.41KB\n\tWorker local: 5 files, 24.41KB out of 5 files, 24.41KB\n`,
    );
    expect(jsonReport(job)).toMatchObject({
      mJobState: 'SUCCEEDED',
      freedFiles: 5,
      freedBytes: 25_000,
      workers: [worker],
    });
    expect(listRow(job)).toMatchObject({ type: 'FREE', path: dir, files: 5, freedBytes: 25_000, failures: 0 });
  });

  it('as a dry run says what would go, and removes nothing', async () => {
    const stage = await staged(5);
    await load(stage, dir);
    const { jobId } = await stage.jobs.free(dir, { dryRun: true });
    const job = await stage.jobs.ended(jobId);
    expect(job).toMatchObject({
      state: 'SUCCEEDED',
      free: { dryRun: true, workers: [{ files: 5, bytes: 25_000, freedFiles: 0, freedBytes: 0 }] },
    });
    expect(textReport(job, { verbose: false })).toContain('\tFiles To Free: 5\n');
    expect(stage.worker.disk.files.size).toBe(5);
  });

  it('of nothing succeeds, and of what is no path is refused', async () => {
    const stage = await staged(1);
    const { jobId } = await stage.jobs.free('s3://b/none', really);
    expect(await stage.jobs.ended(jobId)).toMatchObject({ state: 'SUCCEEDED' });
    expect(await codeOf(stage.jobs.free('s3://b/*', really))).toMatch(/^PATH_WILDCARD: Free does not support/);
    expect(await codeOf(stage.jobs.free('hdfs://b/', really))).toMatch(/^PATH_INVALID/);
  });

  it.each([
    ['the same path', dir],
    ['a path above', 's3://b/'],
    ['a path below', `${dir}00001`],
  ])('is refused while a load of %s is under way, by its name', async (_, path) => {
    const stage = await staged(3);
    stage.worker.flowing = false;
    const { jobId } = await stage.jobs.submit({ kind: 'path', path: dir }, parseLoadOptions({}));
    expect(await codeOf(stage.jobs.free(path, really))).toMatch(new RegExp(`^JOB_CONFLICT: .*job ${jobId}`));
    // A dry run is in nobody's way, and what lies beside is not either.
    await stage.jobs.ended((await stage.jobs.free(path, { dryRun: true })).jobId);
    await stage.jobs.ended((await stage.jobs.free('s3://b/dir-2/', really)).jobId);
    await stage.jobs.stop(dir);
    expect(await stage.jobs.ended((await stage.jobs.free(path, really)).jobId)).toMatchObject({ state: 'SUCCEEDED' });
  });

  it('and loads below it exclude each other the other way round, those of lists and index files too', async () => {
    const stage = await staged(3);
    await load(stage, dir);
    const { promise: held } = hanging();
    stage.worker.onFree = () => held;
    const { jobId } = await stage.jobs.free('s3://b/', really);
    const refused = new RegExp(`^JOB_CONFLICT: .*job ${jobId}`);
    const submit = (order: Parameters<JobService['submit']>[0]) =>
      codeOf(stage.jobs.submit(order, parseLoadOptions({})));
    expect(await submit(source)).toMatch(refused);
    expect(await submit({ kind: 'paths', path: 'x', paths: ['s3://c/', 's3://b/y'] })).toMatch(refused);
    expect(await submit({ kind: 'index', path: 's3://c/list' })).toMatch(refused);
    expect((await stage.jobs.submit({ kind: 'path', path: 's3://c/' }, parseLoadOptions({}))).started).toBe(true);
    expect(await stage.jobs.free('s3://b/', really)).toMatchObject({ started: false, jobId });
    expect(await codeOf(stage.jobs.free('s3://b/', { dryRun: true }))).toMatch(/^JOB_CONFLICT: .*dryRun is false/);
  });

  it('runs while as many loads run as may', async () => {
    const stage = await staged(3, { settings: { maxActive: 1, maxWaiting: 0 } });
    stage.worker.flowing = false;
    await stage.jobs.submit(source, parseLoadOptions({}));
    expect(await stage.jobs.ended((await stage.jobs.free('s3://c/', really)).jobId)).toMatchObject({
      state: 'SUCCEEDED',
    });
  });

  it('that is stopped keeps what is not gone by then', async () => {
    const stage = await staged(9);
    await load(stage, dir);
    const jobId = await freeingHeld(stage);
    expect(await stage.jobs.stop(dir, 'FREE')).toBe(true);
    expect(stage.jobs.byId(jobId)).toMatchObject({
      state: 'STOPPED',
      free: { workers: [{ files: 9, freedFiles: 4, freedBytes: 20_000, done: false }] },
    });
    expect(stage.worker.disk.files.size).toBe(5);
  });

  it('goes on after kill -9 of the coordinator, and says all that it has freed', async () => {
    const stage = await staged(9);
    await load(stage, dir);
    const jobId = await freeingHeld(stage);
    const next = await crash(stage);
    expect(await next.jobs.ended(jobId)).toMatchObject({
      state: 'SUCCEEDED',
      free: { workers: [{ files: 9, bytes: 45_000, freedFiles: 9, freedBytes: 45_000, done: true }] },
    });
    expect(next.worker.disk.files.size).toBe(0);
  });
});

describe('freeing on several workers', () => {
  async function clusterOf(...ids: string[]) {
    const cluster = new FakeCluster(...ids);
    const origins = new FakeOrigins();
    const jobs = await openJobService({
      dir: folder(),
      fleet: new Fleet({
        members: cluster,
        placement: ringPlacement(cluster),
        origins,
        maxRestarts: 3,
        log: silent,
      }),
      origins,
      clock: new ManualClock(),
      log: silent,
      settings: { tickMs: 20 },
    });
    services.push(jobs);
    for (const id of ids) {
      for (let at = 0; at < 3; at += 1) {
        const held = { etag: 'v1', length: 100, load: 'l' as LoadId, run: 'r' as RunId, visible: at > 0 };
        cluster.disk(id).segments.set(`s3://b/dir/f${at} 0`, held);
      }
    }
    const free = async (options = really) => jobs.ended((await jobs.free(dir, options)).jobId);
    return { cluster, jobs, free };
  }

  it('leaves none of them anything of the path', async () => {
    const { cluster, free } = await clusterOf('a', 'b', 'c');
    cluster.draining.add('b' as WorkerId);
    const job = await free();
    expect(job.state).toBe('SUCCEEDED');
    expect(job.free?.workers.map(({ worker, freedFiles }) => [worker, freedFiles])).toEqual([
      ['a', 3],
      ['b', 3],
      ['c', 3],
    ]);
    for (const id of ['a', 'b', 'c']) expect(cluster.disk(id).segments.size).toBe(0);
  });

  it.each([really, { dryRun: true }])('with a worker that is away fails, and names it (%j)', async (options) => {
    const { cluster, free } = await clusterOf('a', 'b');
    cluster.lose('b');
    const job = await free(options);
    expect(job).toMatchObject({ state: 'FAILED', free: { absent: ['b'], workers: [{ worker: 'a', done: true }] } });
    expect(job.reason).toContain('did not answer');
    expect(job.reason).toContain(': b');
    expect(cluster.disk('a').segments.size).toBe(options.dryRun ? 3 : 0);
    expect(cluster.disk('b').segments.size).toBe(3);
  });

  it('frees a worker that is lost in the middle and comes back, and counts what it had', async () => {
    const { cluster, jobs } = await clusterOf('a', 'b');
    const { promise: held, reject } = hanging();
    cluster.link('a').onFree = (dryRun) => (dryRun ? undefined : held.catch(() => undefined));
    let pages = 0;
    cluster.link('b').onFree = (dryRun) => {
      pages += dryRun ? 0 : 1;
      return pages > 1 ? new Promise(() => undefined) : undefined;
    };
    const { jobId } = await jobs.free(dir, really);
    await until(() => pages > 1);
    cluster.lose('b');
    cluster.join('b');
    reject(new Error());
    const job = await jobs.ended(jobId);
    expect(job).toMatchObject({ state: 'SUCCEEDED', free: { absent: [] } });
    expect(job.free?.workers).toEqual(
      ['a', 'b'].map((worker) => ({ worker, files: 3, bytes: 300, freedFiles: 3, freedBytes: 300, done: true })),
    );
    expect(cluster.disk('b').segments.size).toBe(0);
  });

  it('that fails on one worker fails by its error', async () => {
    const { cluster, free } = await clusterOf('a', 'b');
    cluster.link('b').onFree = () => {
      throw new Error('the disk is gone');
    };
    expect(await free()).toMatchObject({ state: 'FAILED', reason: expect.stringContaining('the disk is gone') });
  });
});
