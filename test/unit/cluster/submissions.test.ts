/** Who may start, who waits, and how a job is stopped. */
import { afterEach, describe, expect, it } from 'vitest';
import { parseLoadOptions } from '../../../src/core/load-options.ts';
import { cleanUp, codeOf, dir, hanging, load, openStage, staged, until } from './stage.ts';

afterEach(cleanUp);

describe('submission', () => {
  it('refuses wildcards, foreign paths and replicas that no worker can take', async () => {
    const stage = await openStage();
    const submit = (path: string, options = {}) =>
      codeOf(stage.jobs.submit({ kind: 'path', path }, parseLoadOptions(options)));
    expect(await submit('s3://b/*.txt')).toMatch(/^PATH_WILDCARD: Load does not support wildcard path/);
    expect(await submit('hdfs://x/y')).toMatch(/^PATH_INVALID/);
    expect(await submit(dir, { replicas: '2' })).toMatch(/^OPTION_UNSUPPORTED: replicas: 2 replicas .* 1 live worker/);
    expect(stage.jobs.list({})).toEqual([]);
  });

  it('of the same path and options answers with the running job', async () => {
    const stage = await staged(5);
    stage.worker.flowing = false;
    const [a, b] = await Promise.all([
      stage.jobs.submit({ kind: 'path', path: dir }, parseLoadOptions({ batchSize: '9' })),
      stage.jobs.submit({ kind: 'path', path: dir }, parseLoadOptions({ batchSize: 9 })),
    ]);
    expect(a).toMatchObject({ started: true, message: `Load '${dir}' is successfully submitted. JobId: ${a.jobId}` });
    expect(b).toEqual({ started: false, jobId: a.jobId, message: `Load already running for path '${dir}'` });
    expect(stage.jobs.list({})).toHaveLength(1);
  });

  it('of the same path with other options is a conflict that names the difference', async () => {
    const stage = await staged(5);
    stage.worker.flowing = false;
    await stage.jobs.submit({ kind: 'path', path: dir }, parseLoadOptions({}));
    const conflict = await codeOf(stage.jobs.submit({ kind: 'path', path: dir }, parseLoadOptions({ verify: true })));
    expect(conflict).toMatch(/^JOB_CONFLICT: .*verify is false, asked for true/);
    const kind = await codeOf(stage.jobs.submit({ kind: 'index', path: dir }, parseLoadOptions({})));
    expect(kind).toMatch(/^JOB_CONFLICT: .*index file/);
  });

  it('lets so many jobs run, others wait in order, and one more is refused', async () => {
    const stage = await openStage({ settings: { maxActive: 2, maxWaiting: 2 } });
    for (const name of 'abcde') stage.origins.put(`s3://b/${name}/x`, 10);
    stage.worker.flowing = false;
    const submit = (name: string) => stage.jobs.submit({ kind: 'path', path: `s3://b/${name}/` }, parseLoadOptions({}));
    const ids = [];
    for (const name of 'abcd') ids.push((await submit(name)).jobId);
    expect(stage.jobs.list({}).map((job) => job.state)).toEqual(['WAITING', 'WAITING', 'RUNNING', 'RUNNING']);
    expect(Object.fromEntries(stage.jobs.counts())).toEqual({ WAITING: 2, RUNNING: 2 });
    expect(stage.jobs.list({ states: ['WAITING'] }).map((job) => job.source.path)).toEqual(['s3://b/d/', 's3://b/c/']);
    expect(await codeOf(submit('e'))).toMatch(/^JOB_LIMIT: 2 jobs run and 2 wait/);
    expect(await stage.jobs.stop('s3://b/c/')).toBe(true);
    await until(() => stage.worker.pending.length === 2);
    stage.worker.release();
    await stage.jobs.ended(ids[0]!);
    expect(stage.jobs.byId(ids[3]!)?.state).toBe('RUNNING');
    await until(() => stage.worker.pending.length === 2);
    stage.worker.release(2);
    expect((await stage.jobs.ended(ids[3]!)).state).toBe('SUCCEEDED');
    expect(stage.jobs.byId(ids[2]!)?.state).toBe('STOPPED');
  });

  it('starts those that wait when more may run than before, and refuses by what holds then', async () => {
    const stage = await openStage({ settings: { maxActive: 1, maxWaiting: 2 } });
    for (const name of 'abcd') stage.origins.put(`s3://b/${name}/x`, 10);
    stage.worker.flowing = false;
    const submit = (name: string) => stage.jobs.submit({ kind: 'path', path: `s3://b/${name}/` }, parseLoadOptions({}));
    for (const name of 'abc') await submit(name);
    const states = () => stage.jobs.list({}).map((job) => job.state);
    expect(states()).toEqual(['WAITING', 'WAITING', 'RUNNING']);
    stage.jobs.reconfigure({ maxActive: 2, maxWaiting: 1 });
    expect(states()).toEqual(['WAITING', 'RUNNING', 'RUNNING']);
    expect(await codeOf(submit('d'))).toMatch(/^JOB_LIMIT: 2 jobs run and 1 wait/);
    // Fewer than run: those go on.
    stage.jobs.reconfigure({ maxActive: 1, maxWaiting: 2 });
    await submit('d');
    expect(states()).toEqual(['WAITING', 'WAITING', 'RUNNING', 'RUNNING']);
  });

  it('starts those that wait by priority, and in order within one', async () => {
    const stage = await openStage({ settings: { maxActive: 1 } });
    const names = ['first', 'low', 'high', 'highest', 'high too'];
    const priorities = [1, 5, 50, 100, 50];
    for (const name of names) stage.origins.put(`s3://b/${name}/x`, 10);
    stage.worker.flowing = false;
    const ids = [];
    for (const [at, name] of names.entries()) {
      const options = parseLoadOptions({ priority: priorities[at] });
      ids.push((await stage.jobs.submit({ kind: 'path', path: `s3://b/${name}/` }, options)).jobId);
    }
    const order: string[] = [];
    for (const [at, id] of ids.entries()) void stage.jobs.ended(id).then(() => order.push(names[at]!));
    for (let count = 1; count <= names.length; count += 1) {
      await until(() => stage.worker.pending.length === 1);
      stage.worker.release();
      await until(() => order.length === count);
    }
    expect(order).toEqual(['first', 'highest', 'high', 'high too', 'low']);
  });
});

describe('stopping', () => {
  it('drops what is in flight, keeps what is durable, and a new submission goes on from there', async () => {
    const stage = await staged(20);
    stage.worker.flowing = false;
    const { jobId } = await stage.jobs.submit({ kind: 'path', path: dir }, parseLoadOptions({}));
    await until(() => stage.worker.pending.length === 20);
    stage.worker.release(7);
    stage.worker.landPart(`${dir}00007`, 1000);
    await until(() => stage.jobs.byId(jobId)!.loadedFiles === 7);
    expect(await stage.jobs.stop(dir)).toBe(true);
    const stopped = stage.jobs.byId(jobId)!;
    expect(stopped).toMatchObject({ state: 'STOPPED', loadedFiles: 7, totalFiles: 20 });
    expect(stage.worker.pending).toEqual([]);
    expect(await stage.jobs.stop(dir)).toBe(false);

    stage.worker.flowing = true;
    const resumed = await load(stage, dir);
    expect(resumed.jobId).not.toBe(jobId);
    expect(resumed.runId).not.toBe(stopped.runId);
    expect(resumed.loadId).toBe(stopped.loadId);
    expect(resumed).toMatchObject({
      state: 'SUCCEEDED',
      loadedFiles: 13,
      skippedFiles: 7,
      loadedBytes: 13 * 5000 - 1000,
      skippedBytes: 7 * 5000 + 1000,
    });
    for (const [path, bytes] of stage.worker.disk.fetched) expect([path, bytes]).toEqual([path, 5000]);
  });

  it('does not wait for a listing that hangs', async () => {
    const stage = await staged(3);
    const { promise, reject } = hanging();
    stage.origins.before = (request) => (request === 'list' ? promise : undefined);
    const { jobId } = await stage.jobs.submit({ kind: 'path', path: dir }, parseLoadOptions({}));
    await until(() => stage.origins.asked.list === 1);
    const stopping = stage.jobs.stop(dir);
    reject(new DOMException('aborted', 'AbortError'));
    expect(await stopping).toBe(true);
    expect(stage.jobs.byId(jobId)?.state).toBe('STOPPED');
  });

  it('of an unknown or ended job says no', async () => {
    const stage = await staged(1);
    expect(await stage.jobs.stop(dir)).toBe(false);
    await load(stage, dir);
    expect(await stage.jobs.stop(dir)).toBe(false);
    expect(stage.jobs.snapshot(dir)?.state).toBe('SUCCEEDED');
  });

  it('a submission during the stop resumes after it', async () => {
    const stage = await staged(4);
    stage.worker.flowing = false;
    const first = await stage.jobs.submit({ kind: 'path', path: dir }, parseLoadOptions({}));
    await until(() => stage.worker.pending.length === 4);
    const stopping = stage.jobs.stop(dir);
    await Promise.resolve();
    const second = await stage.jobs.submit({ kind: 'path', path: dir }, parseLoadOptions({}));
    expect(await stopping).toBe(true);
    expect(second).toMatchObject({ started: true });
    expect(stage.jobs.byId(second.jobId)?.loadId).toBe(stage.jobs.byId(first.jobId)?.loadId);
  });
});
