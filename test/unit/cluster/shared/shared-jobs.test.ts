/** Jobs that several coordinators share: any of them answers, one of them runs each job. */
import { afterEach, expect, it } from 'vitest';
import { parseLoadOptions } from '../../../../src/core/load-options.ts';
import { codeOf } from '../stage.ts';
import { type Coordinator, dir, root, SharedStage, submit } from './stage.ts';

let stage: SharedStage;
afterEach(() => stage.close());

async function two(files?: number): Promise<[Coordinator, Coordinator]> {
  stage = new SharedStage(files);
  return [await stage.open('a'), await stage.open('b')];
}

it('a job that one coordinator runs is answered for by both, to its end, which leaves nothing but its record', async () => {
  const [a, b] = await two();
  const { jobId } = await submit(a);
  await stage.untilState(a, 'SUCCEEDED');
  await stage.untilState(b, 'SUCCEEDED');
  for (const { jobs } of [a, b]) {
    expect(jobs.byId(jobId)).toMatchObject({ jobId, state: 'SUCCEEDED', loadedFiles: 40, loadedBytes: 200_000 });
    expect(jobs.list({}).map((job) => job.jobId)).toEqual([jobId]);
    expect(jobs.list({ states: ['RUNNING'] })).toEqual([]);
    expect([...jobs.counts()]).toEqual([['SUCCEEDED', 1]]);
    expect((await jobs.ended(jobId)).state).toBe('SUCCEEDED');
  }
  expect(b.jobs.snapshot(dir)).toEqual(a.jobs.snapshot(dir));
  expect([a.worker.loads, b.worker.loads]).toEqual([40, 0]);
  expect(stage.etcd.keys(root).filter((key) => !key.includes('coordinator'))).toEqual([
    `${root}job/${jobId}`,
    `${root}order`,
    `${root}state/${jobId}`,
  ]);
});

it('progress of a job is known to the coordinator that does not run it, while it runs', async () => {
  const [a, b] = await two();
  a.worker.flowing = false;
  await submit(a, { batchSize: 5 });
  await stage.time.until(() => a.worker.pending.length > 0);
  a.worker.release(3);
  await stage.time.until(() => b.jobs.snapshot(dir)?.loadedFiles === 3);
  expect(b.jobs.snapshot(dir)).toMatchObject({ state: 'RUNNING', processedFiles: 3, totalFiles: 40 });
});

it('one path submitted at both at once gives one job; other options are refused by either', async () => {
  const [a, b] = await two();
  a.worker.flowing = false;
  b.worker.flowing = false;
  const [one, other] = await Promise.all([submit(a), submit(b)]);
  expect(one.jobId).toBe(other.jobId);
  expect([one.started, other.started].sort()).toEqual([false, true]);
  expect(await codeOf(submit(b, { verify: true }))).toMatch(/^JOB_CONFLICT: .*verify/);
  expect(await codeOf(submit(a, { verify: true }))).toMatch(/^JOB_CONFLICT: .*verify/);
  expect(a.jobs.list({})).toHaveLength(1);
  expect(stage.etcd.keys(`${root}claim/`)).toHaveLength(1);
});

it('many submissions of many paths at three coordinators give one job a path', async () => {
  stage = new SharedStage();
  const all = await Promise.all(['a', 'b', 'c'].map((name) => stage.open(name)));
  for (const { worker } of all) worker.flowing = false;
  const paths = Array.from({ length: 4 }, (_, n) => `${dir}0000${n}`);
  const answers = await Promise.all(all.flatMap((one) => paths.map((path) => submit(one, {}, path))));
  expect(answers.filter(({ started }) => started)).toHaveLength(4);
  expect(new Set(answers.map(({ jobId }) => jobId)).size).toBe(4);
});

it('a job is stopped through the coordinator that does not run it, and resumed by it', async () => {
  const [a, b] = await two();
  a.worker.flowing = false;
  await submit(a);
  await stage.time.until(() => a.worker.pending.length > 0);
  a.worker.release(4);
  const stopped = b.jobs.stop(dir);
  await stage.untilState(b, 'STOPPED');
  expect(await stopped).toBe(true);
  await stage.untilState(a, 'STOPPED');
  expect(a.worker.pending).toHaveLength(0);
  expect(await b.jobs.stop(dir)).toBe(false);
  const before = b.jobs.snapshot(dir)!;
  expect(before.loadedFiles).toBe(4);
  await submit(b);
  await stage.untilState(b, 'SUCCEEDED');
  const after = b.jobs.snapshot(dir)!;
  expect([after.loadId, after.runId === before.runId]).toEqual([before.loadId, false]);
  expect([after.skippedFiles, after.loadedFiles]).toEqual([4, 36]);
  expect(stage.fetchedTwice()).toEqual([]);
});

it('a job that waits for its turn is stopped where it waits, and a submission behind a stop waits for that', async () => {
  stage = new SharedStage();
  stage.settings = { maxActive: 1, maxWaiting: 1 };
  const [a, b] = [await stage.open('a'), await stage.open('b')];
  a.worker.flowing = false;
  await submit(a);
  await submit(a, {}, `${dir}00001`);
  await stage.time.until(() => b.jobs.snapshot(`${dir}00001`)?.reason !== undefined);
  expect(b.jobs.snapshot(`${dir}00001`)).toMatchObject({ state: 'WAITING', reason: expect.stringMatching(/turn/) });
  expect(await codeOf(submit(a, {}, `${dir}00002`))).toMatch(/^JOB_LIMIT/);
  // Its coordinator does not hear of it at once.
  a.client.setCut(true);
  const stopped = b.jobs.stop(`${dir}00001`);
  await stage.time.until(() => stage.etcd.keys(`${root}stop/`).length === 1);
  const again = submit(b, {}, `${dir}00001`);
  a.client.setCut(false);
  await stage.time.until(() => b.jobs.list({ states: ['STOPPED'] }).length === 1);
  expect(await stopped).toBe(true);
  expect((await again).started).toBe(true);
});

it('an answer that is lost leaves no doubt: the job runs, and is found running', async () => {
  const [a, b] = await two();
  a.worker.flowing = false;
  a.client.mute = 1;
  expect(await codeOf(submit(a))).toMatch(/^ETCD_UNAVAILABLE/);
  await stage.time.until(() => a.worker.pending.length > 0);
  expect((await submit(a)).started).toBe(false);
  expect((await submit(b)).started).toBe(false);
  a.client.mute = 1;
  a.worker.flowing = true;
  a.worker.release(100);
  await stage.untilState(b, 'SUCCEEDED');
  await stage.untilState(a, 'SUCCEEDED');
  expect(a.client.mute).toBe(0);
  expect(stage.fetchedTwice()).toEqual([]);
});

it('an index file that lies on one machine is refused, saying where it belongs', async () => {
  const [a] = await two();
  const answer = a.jobs.submit({ kind: 'index', path: '/lists/today.txt' }, parseLoadOptions({}));
  expect(await codeOf(answer)).toMatch(/^PATH_INVALID: .*one machine.*s3:/);
});

it('old and surplus jobs are forgotten by all, whoever ran them', async () => {
  stage = new SharedStage();
  stage.settings = { maxEnded: 2 };
  const [a, b] = [await stage.open('a'), await stage.open('b')];
  for (const n of [1, 2, 3, 4]) {
    const path = `${dir}0000${n}`;
    await submit(n % 2 === 0 ? a : b, {}, path);
    await stage.untilState(a, 'SUCCEEDED', path);
  }
  await stage.time.until(() => stage.etcd.keys(`${root}state/`).length === 2);
  await stage.time.until(() => a.jobs.list({}).length === 2 && b.jobs.list({}).length === 2);
  expect(a.jobs.list({}).map(({ source }) => source.path)).toEqual([`${dir}00004`, `${dir}00003`]);
});

it('what a job failed with is kept within what etcd takes, and the count goes on', async () => {
  const [a, b] = await two(300);
  for (const path of stage.origins.objects.keys()) a.worker.failing.set(path, 'x'.repeat(5000));
  const { jobId } = await submit(a);
  await stage.untilState(b, 'FAILED');
  const job = b.jobs.byId(jobId)!;
  expect([job.failedFiles, job.failures.length]).toEqual([300, 100]);
  expect(stage.etcd.entries.get(`${root}state/${jobId}`)!.value.length).toBeLessThan(128 * 1024);
});

it('a load and a free of one path exclude each other over all coordinators, also when both are submitted at once', async () => {
  const [a, b] = await two();
  for (const { worker } of [a, b]) worker.flowing = false;
  const answers = await Promise.all([
    codeOf(submit(a)),
    codeOf(b.jobs.free(`${dir}00001`, { dryRun: false })),
    codeOf(b.jobs.free('s3://b/', { dryRun: false })),
  ]);
  const refused = answers.filter((answer) => /^JOB_CONFLICT/.test(answer));
  const begun = answers.filter((answer) => answer === 'none');
  expect([refused.length, begun.length]).toEqual(answers[0] === 'none' ? [2, 1] : [1, 2]);
  await stage.time.until(() => a.jobs.list({}).length === begun.length && b.jobs.list({}).length === begun.length);
});

it('a job is found by its alias at every coordinator, and an alias is given once', async () => {
  const [a, b] = await two();
  a.worker.flowing = false;
  const { jobId } = await a.jobs.submit({ kind: 'path', path: dir }, parseLoadOptions({}), 'nightly');
  await stage.time.until(() => b.jobs.snapshot('nightly')?.jobId === jobId);
  const other = b.jobs.submit({ kind: 'path', path: `${dir}00001` }, parseLoadOptions({}), 'nightly');
  expect(await codeOf(other)).toMatch(/^JOB_CONFLICT: .*alias 'nightly'/);
  expect(b.jobs.snapshot(jobId)).toMatchObject({ jobId, alias: 'nightly', type: 'LOAD' });
});

it('a free is done by one coordinator and reported by all', async () => {
  const [a, b] = await two();
  await submit(a);
  await stage.untilState(b, 'SUCCEEDED');
  const { jobId } = await b.jobs.free(dir, { dryRun: false });
  await stage.time.until(() => a.jobs.byId(jobId)?.state === 'SUCCEEDED');
  expect(a.jobs.byId(jobId)).toMatchObject({
    type: 'FREE',
    free: { workers: [{ files: 40, freedFiles: 40, done: true }] },
  });
  expect(a.jobs.list({ types: ['FREE'] }).map((job) => job.jobId)).toEqual([jobId]);
  expect(stage.disk.files.size).toBe(0);
});

it('a free whose coordinator dies over its first pages is reported whole by the next one', async () => {
  const [a, b] = await two();
  await submit(a);
  await stage.untilState(b, 'SUCCEEDED');
  let pages = 0;
  a.worker.onFree = (dryRun) => {
    pages += dryRun ? 0 : 1;
    return pages > 2 ? new Promise(() => undefined) : undefined;
  };
  const { jobId } = await a.jobs.free(dir, { dryRun: false });
  const startedMs = stage.time.nowMs;
  await stage.time.until(() => pages > 2);
  expect([stage.disk.files.size, stage.time.nowMs - startedMs < 1000]).toEqual([36, true]);
  stage.kill(a);
  await stage.time.until(() => b.jobs.byId(jobId)?.state === 'SUCCEEDED');
  expect(b.jobs.byId(jobId)?.free?.workers).toMatchObject([{ files: 40, freedFiles: 40, done: true }]);
});

it('what one coordinator has answered another knows when it is asked, though its watch is late', async () => {
  const [a, b] = await two();
  a.worker.flowing = false;
  b.client.deaf = true;
  const { jobId } = await submit(a);
  expect(b.jobs.snapshot(dir)).toBeUndefined();
  const found = b.jobs.caughtUp().then(() => b.jobs.snapshot(dir)?.jobId);
  b.client.deaf = false;
  b.client.deliver();
  await stage.time.advance(1);
  expect(await found).toBe(jobId);
});

it('a submission that was not first goes on at once, whatever else is written to etcd meanwhile', async () => {
  const [a, b] = await two();
  for (const { worker } of [a, b]) worker.flowing = false;
  const others = stage.etcd.client(stage.time.process());
  for (const client of [a.client, b.client]) client.onTransaction = () => void others.put('/other/key', 'value');
  const fromMs = stage.time.nowMs;
  const answers = await Promise.all([submit(a), submit(b), submit(a, {}, `${dir}00001`), submit(b, {}, `${dir}00001`)]);
  expect(answers.filter(({ started }) => started)).toHaveLength(2);
  expect(stage.time.nowMs).toBe(fromMs);
});

it('the bandwidth of a load is changed through the coordinator that does not run it, and through the one that does', async () => {
  const [a, b] = await two();
  a.worker.flowing = false;
  const { jobId } = await submit(a, { bandwidth: '1MB' });
  await stage.time.until(() => a.worker.pending.length > 0);
  expect(await b.jobs.limit(dir, 5000)).toBe(true);
  await stage.time.until(() => a.worker.bandwidths.length === 1);
  expect(await a.jobs.limit(dir, undefined)).toBe(true);
  expect(a.worker.bandwidths).toEqual([5000, undefined]);
  await stage.time.until(() => b.jobs.snapshot(dir)?.options.bandwidthBytesPerSecond === undefined);
  expect(await b.jobs.limit(dir, 7000)).toBe(true);
  for (const { jobs } of [b, a])
    await stage.time.until(() => jobs.snapshot(dir)?.options.bandwidthBytesPerSecond === 7000);
  a.worker.flowing = true;
  a.worker.release(100);
  await stage.untilState(b, 'SUCCEEDED');
  expect(a.worker.bandwidths).toEqual([5000, undefined, 7000]);
  expect(await b.jobs.limit(dir, 1)).toBe(false);
  expect(b.jobs.byId(jobId)?.options.bandwidthBytesPerSecond).toBe(7000);
  expect(await a.jobs.limit('s3://b/other/', 1)).toBe(false);
});
