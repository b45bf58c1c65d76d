/** What the loss of a coordinator, of its lease or of etcd costs the jobs that coordinators share: time. */
import { afterEach, expect, it, vi } from 'vitest';
import type { Transaction } from '../../../../src/cluster/etcd/types.ts';
import { type JobRecord, JobStore } from '../../../../src/cluster/job-store.ts';
import { codeOf, until } from '../stage.ts';
import { type Coordinator, dir, leaseMs, root, SharedStage, submit } from './stage.ts';

let stage: SharedStage;
afterEach(() => {
  vi.restoreAllMocks();
  return stage.close();
});

/** Two coordinators; the first runs a job, of which ten files are loaded. */
async function underWay(
  options: Record<string, unknown> = {},
  settings: SharedStage['settings'] = {},
): Promise<[Coordinator, Coordinator]> {
  stage = new SharedStage();
  stage.settings = settings;
  const [a, b] = [await stage.open('a'), await stage.open('b')];
  a.worker.flowing = false;
  await submit(a, options);
  await stage.time.until(() => a.worker.pending.length > 0);
  a.worker.release(10);
  await stage.time.until(() => b.jobs.snapshot(dir)?.loadedFiles === 10);
  return [a, b];
}

function termOf({ worker }: Coordinator): number | undefined {
  return [...worker.specs.values()][0]?.term;
}

it('a coordinator that is killed is followed by another: same run, higher term, and no durable byte is fetched again', async () => {
  const [a, b] = await underWay();
  const before = b.jobs.snapshot(dir)!;
  const term = termOf(a)!;
  b.worker.flowing = false;
  stage.kill(a);
  const tookMs = await stage.time.until(() => b.worker.pending.length > 0);
  expect(tookMs).toBeLessThan(leaseMs + 1000);
  expect(termOf(b)).toBeGreaterThan(term);
  b.worker.flowing = true;
  b.worker.release(100);
  await stage.untilState(b, 'SUCCEEDED');
  const job = b.jobs.snapshot(dir)!;
  expect([job.runId, job.loadId, job.submittedAtMs]).toEqual([before.runId, before.loadId, before.submittedAtMs]);
  expect(job).toMatchObject({ loadedFiles: 40, loadedBytes: 200_000, skippedFiles: 0, failedFiles: 0 });
  expect(stage.fetchedTwice()).toEqual([]);
  expect(job.ledger).toMatchObject({ originBytes: 200_000, cachedBytes: 200_000 });
});

it('files that were there before the job stay counted as skipped when it is taken over', async () => {
  stage = new SharedStage();
  const [a, b] = [await stage.open('a'), await stage.open('b')];
  await submit(a, {}, `${dir}00003`);
  await stage.untilState(a, 'SUCCEEDED', `${dir}00003`);
  a.worker.flowing = false;
  await submit(a, { skipIfExists: true });
  await stage.time.until(() => a.worker.pending.length > 0);
  a.worker.release(10);
  stage.kill(a);
  await stage.untilState(b, 'SUCCEEDED');
  expect(b.jobs.snapshot(dir)).toMatchObject({ loadedFiles: 39, skippedFiles: 1, skippedBytes: 5000 });
});

it('a job in its verification is verified by whoever takes it over', async () => {
  stage = new SharedStage();
  const [a, b] = [await stage.open('a'), await stage.open('b')];
  let verifying = false;
  a.worker.verify = () => {
    verifying = true;
    return new Promise(() => undefined);
  };
  await submit(a, { verify: true });
  await stage.time.until(() => verifying);
  stage.kill(a);
  await stage.untilState(b, 'SUCCEEDED');
  expect(b.jobs.snapshot(dir)).toMatchObject({ verifiedFiles: 40, loadedFiles: 40 });
  expect(b.worker.verified).toHaveLength(40);
  expect(stage.fetchedTwice()).toEqual([]);
});

it('the jobs of a lost coordinator go to those that have the fewest', async () => {
  stage = new SharedStage();
  stage.settings = { maxActive: 20 };
  const [a, b, c] = [await stage.open('a'), await stage.open('b'), await stage.open('c')];
  for (const { worker } of [a, b, c]) worker.flowing = false;
  const path = (n: number): string => `${dir}${String(n).padStart(5, '0')}`;
  for (let n = 0; n < 3; n += 1) await submit(a, {}, path(n));
  for (let n = 3; n < 9; n += 1) await submit(b, {}, path(n));
  stage.kill(a);
  const owners = (): string[] =>
    stage.etcd.keys(`${root}claim/`).map((key) => JSON.parse(stage.etcd.entries.get(key)!.value.toString()).url);
  await stage.time.until(() => owners().filter((url) => url === 'http://c:19999').length === 3);
  expect(owners().filter((url) => url === 'http://b:19999')).toHaveLength(6);
});

/** Two coordinators that may run two jobs each, and do; of each of these one of two files is loaded. At `b` one more waits. */
async function allBusy(): Promise<{ a: Coordinator; b: Coordinator; theirs: string[]; mine: string[]; waits: string }> {
  stage = new SharedStage(0);
  stage.settings = { maxActive: 2 };
  const [a, b] = [await stage.open('a'), await stage.open('b')];
  const paths = Array.from({ length: 5 }, (_, n) => `${dir}${n}/`);
  for (const path of paths) for (const file of ['x', 'y']) stage.origins.put(`${path}${file}`, 5000);
  const [theirs, mine, waits] = [paths.slice(0, 2), paths.slice(2, 4), paths[4]!];
  for (const [at, two] of [
    [a, theirs],
    [b, mine],
  ] as const) {
    at.worker.flowing = false;
    for (const path of two) await submit(at, {}, path);
    const { worker } = at;
    await stage.time.until(() => worker.pending.length === 4);
    worker.pending.sort((one, other) => one.entry.path.slice(-1).localeCompare(other.entry.path.slice(-1)));
    worker.release(2);
    await stage.time.until(() => two.every((path) => b.jobs.snapshot(path)?.loadedFiles === 1));
  }
  await submit(b, { priority: 90 }, waits);
  return { a, b, theirs, mine, waits };
}

it('jobs that are taken over wait for their turn, before those that have not run, and say so', async () => {
  const { a, b, theirs, mine, waits } = await allBusy();
  const before = theirs.map((path) => b.jobs.snapshot(path)!);
  stage.kill(a);
  const turn = 'waits for its turn: 2 jobs run already';
  await stage.time.until(() => theirs.every((path) => b.jobs.snapshot(path)!.reason === turn));
  expect(b.worker.specs.size).toBe(2);
  for (const [n, path] of theirs.entries())
    expect(b.jobs.snapshot(path)).toMatchObject({
      runId: before[n]!.runId,
      startedAtMs: before[n]!.startedAtMs,
      ledger: { originBytes: 5000, cachedBytes: 5000 },
    });
  expect(b.jobs.snapshot(waits)).toMatchObject({ state: 'WAITING', reason: turn });

  // Its turn does not come: it ends with what is known of it, and so does what workers have under way of it for the other.
  const calls: string[] = [];
  const { worker } = b;
  const { runId } = before[1]!;
  const [startRun, stopRun, endRun] = [worker.startRun, worker.stopRun, worker.endRun].map((call) =>
    call.bind(worker),
  ) as [typeof worker.startRun, typeof worker.stopRun, typeof worker.endRun];
  worker.startRun = (spec) => {
    if (spec.run === runId) calls.push(`begun under ${spec.term > termOf(a)! ? 'a higher' : 'the same'} term`);
    startRun(spec);
  };
  worker.stopRun = async (run) => {
    if (run === runId) calls.push('stopped');
    await stopRun(run);
  };
  worker.endRun = async (run) => {
    if (run === runId) calls.push('ended');
    await endRun(run);
  };
  let answered = false;
  const stop = b.jobs.stop(theirs[1]!).finally(() => {
    answered = true;
  });
  expect(await stage.time.until(() => answered)).toBeLessThan(2000);
  expect(await stop).toBe(true);
  expect(calls).toEqual(['begun under a higher term', 'stopped', 'ended']);
  expect(b.jobs.snapshot(theirs[1]!)).toMatchObject({ state: 'STOPPED', ledger: { cachedBytes: 5000 } });

  let most = 0;
  b.worker.onLoad = () => {
    most = Math.max(most, b.worker.specs.size);
  };
  b.worker.release(1);
  await stage.time.until(() => b.jobs.snapshot(theirs[0]!)!.state === 'RUNNING');
  expect(mine.filter((path) => b.jobs.snapshot(path)!.state === 'SUCCEEDED')).toHaveLength(1);
  expect(b.jobs.snapshot(waits)).toMatchObject({ state: 'WAITING', reason: turn });
  b.worker.flowing = true;
  b.worker.release(100);
  for (const path of [theirs[0]!, ...mine, waits]) await stage.untilState(b, 'SUCCEEDED', path);
  expect(most).toBeLessThanOrEqual(2);
  expect(stage.fetchedTwice()).toEqual([]);
});

it('of jobs that paused because etcd was away no more go on than may run', async () => {
  const { a, b, theirs, mine } = await allBusy();
  a.client.setCut(true);
  await stage.time.until(() => theirs.every((path) => /turn/.test(b.jobs.snapshot(path)!.reason ?? '')));
  stage.etcd.setDown(true);
  await stage.time.until(() => b.worker.specs.size === 0);
  stage.etcd.setDown(false);
  await stage.time.until(() => b.worker.specs.size === 2);
  const all = [...theirs, ...mine].map((path) => b.jobs.snapshot(path)!);
  const waiting = all.filter(({ reason }) => /^waits for its turn/.test(reason ?? ''));
  expect(waiting).toHaveLength(2);
  // Their clocks stand still, as they do.
  const activeMs = (): number[] => waiting.map(({ jobId }) => b.jobs.byId(jobId)!.activeMs);
  const before = activeMs();
  await stage.time.advance(5000);
  expect(activeMs()).toEqual(before);
  b.worker.flowing = true;
  b.worker.release(100);
  for (const path of [...theirs, ...mine]) await stage.untilState(b, 'SUCCEEDED', path);
  expect(stage.fetchedTwice()).toEqual([]);
});

it('a stop that was asked for while nobody ran the job is carried out by whoever takes it over', async () => {
  const [a, b] = await underWay();
  stage.kill(a);
  const stopped = b.jobs.stop(dir);
  await stage.untilState(b, 'STOPPED');
  expect(await stopped).toBe(true);
  expect(stage.etcd.keys(root).filter((key) => /claim|stop|active/.test(key))).toEqual([]);
});

it('while etcd is away jobs pause before a claim could be given away, say so, and then go on with what they had listed', async () => {
  const [a, b] = await underWay();
  const term = termOf(a);
  const listings = stage.origins.asked.list;
  stage.etcd.setDown(true);
  const pausedMs = await stage.time.until(() => a.worker.pending.length === 0);
  expect(pausedMs).toBeLessThan(leaseMs);
  for (const { jobs } of [a, b]) {
    await stage.time.until(() => jobs.trouble() !== undefined);
    expect(jobs.snapshot(dir)).toMatchObject({ state: 'RUNNING', reason: expect.stringMatching(/^waits for etcd: /) });
    expect(await codeOf(jobs.stop(dir))).toMatch(/^ETCD_UNAVAILABLE/);
    expect([...jobs.counts()]).toEqual([['RUNNING', 1]]);
  }
  expect(await codeOf(submit(b, {}, `${dir}00001`))).toMatch(/^ETCD_UNAVAILABLE: .*nothing is lost/);
  await stage.time.advance(15_000);
  a.worker.flowing = true;
  stage.etcd.setDown(false);
  await stage.untilState(b, 'SUCCEEDED');
  await stage.untilState(a, 'SUCCEEDED');
  expect(a.log.having('goes on with what this coordinator knows').length).toBe(0);
  expect([...a.worker.specs.values(), ...b.worker.specs.values()]).toEqual([]);
  expect(term).toBeGreaterThan(0);
  expect([stage.origins.asked.list, b.worker.loads]).toEqual([listings, 0]);
  expect(a.jobs.snapshot(dir)).toMatchObject({ loadedFiles: 40, loadedBytes: 200_000 });
  expect(stage.fetchedTwice()).toEqual([]);
});

it('a coordinator that alone does not reach etcd pauses before another one begins, and has nothing of the job when it is back', async () => {
  const [a, b] = await underWay();
  let pausedFirst: boolean | undefined;
  b.worker.onLoad = () => {
    pausedFirst ??= a.worker.pending.length === 0;
  };
  b.worker.flowing = false;
  a.client.setCut(true);
  await stage.time.until(() => b.worker.pending.length > 0);
  expect(pausedFirst).toBe(true);
  expect(a.jobs.snapshot(dir)!.reason).toMatch(/^waits for etcd/);
  a.client.setCut(false);
  await stage.time.until(() => a.jobs.trouble() === undefined);
  expect(a.jobs.snapshot(dir)).toMatchObject({ state: 'RUNNING' });
  b.worker.flowing = true;
  b.worker.release(100);
  await stage.untilState(a, 'SUCCEEDED');
  expect(stage.fetchedTwice()).toEqual([]);
  const loads = a.worker.loads;
  await stage.time.advance(5000);
  expect(a.worker.loads).toBe(loads);
  await a.jobs.close(100);
  const store = new JobStore(a.dir);
  expect([store.jobs(), store.manifests()]).toEqual([[], []]);
  await store.close();
});

it('a coordinator that loses its lease and is not followed goes on under a new claim with what it had listed', async () => {
  stage = new SharedStage();
  const a = await stage.open('a');
  a.worker.flowing = false;
  await submit(a);
  await stage.time.until(() => a.worker.pending.length > 0);
  const [term, listings] = [termOf(a)!, stage.origins.asked.list];
  a.client.setCut(true);
  await stage.time.until(() => stage.etcd.keys(`${root}claim/`).length === 0);
  a.client.setCut(false);
  await stage.time.until(() => a.worker.pending.length > 0);
  expect(termOf(a)).toBeGreaterThan(term);
  a.worker.flowing = true;
  a.worker.release(100);
  await stage.untilState(a, 'SUCCEEDED');
  expect(stage.origins.asked.list).toBe(listings);
  expect(a.log.having('goes on with what this coordinator knows').length).toBe(1);
});

it('a coordinator that stood still comes back late: it finds out by its clock, and says nothing', async () => {
  const [a, b] = await underWay();
  a.process.frozen = true;
  await stage.untilState(b, 'SUCCEEDED');
  const result = b.jobs.snapshot(dir)!;
  // Before any of its timers fires it hears its workers, and the job has ended as far as it knows.
  a.worker.failing.set(`${dir}00039`, 'late');
  a.worker.flowing = true;
  a.worker.release(100);
  await until(() => a.log.having('could not be published').length > 0);
  a.process.frozen = false;
  a.client.deliver();
  await stage.time.until(() => a.jobs.trouble() === undefined && a.jobs.snapshot(dir)?.state === 'SUCCEEDED');
  await stage.time.advance(10_000);
  expect([a.jobs.snapshot(dir), b.jobs.snapshot(dir)]).toEqual([result, result]);
  expect(result).toMatchObject({ state: 'SUCCEEDED', loadedFiles: 40, failedFiles: 0 });
});

it('what a coordinator said before it stood still, and etcd hears late, is refused by the term of its claim', async () => {
  const [a, b] = await underWay();
  b.worker.flowing = false;
  let late: Transaction | undefined;
  a.client.onTransaction = (transaction) => {
    if (!transaction.success?.some((one) => 'delete' in one)) return;
    late = transaction;
    a.process.frozen = true;
  };
  a.worker.failing.set(`${dir}00039`, 'late');
  a.worker.flowing = true;
  a.worker.release(100);
  await stage.time.until(() => late !== undefined);
  await stage.time.until(() => b.worker.specs.size > 0);
  a.client.onTransaction = () => undefined;
  a.process.frozen = false;
  await until(() => a.log.having('could not be published').length > 0);
  expect(a.log.having('could not be published')[0]!.facts.reason).toMatch(/^RUN_SUPERSEDED/);
  expect(b.jobs.snapshot(dir)).toMatchObject({ state: 'RUNNING' });
  b.worker.flowing = true;
  b.worker.release(100);
  await stage.untilState(b, 'SUCCEEDED');
  await stage.untilState(a, 'SUCCEEDED');
  expect(stage.fetchedTwice()).toEqual([]);
});

it('an end that could not be told because etcd was away is told when it is back', async () => {
  const [a, b] = await underWay();
  stage.etcd.setDown(true);
  a.worker.flowing = true;
  a.worker.release(100);
  await stage.time.until(() => a.worker.loads === 40);
  await stage.time.advance(10_000);
  expect(a.jobs.snapshot(dir)!.state).toBe('RUNNING');
  stage.etcd.setDown(false);
  await stage.untilState(b, 'SUCCEEDED');
  expect(a.worker.loads).toBe(40);
  expect(stage.fetchedTwice()).toEqual([]);
});

it('a stop whose end cannot be told because etcd went away is no failure of the coordinator', async () => {
  const [a, b] = await underWay({}, { stopDeadlineMs: 30_000 });
  const stopRun = a.worker.stopRun.bind(a.worker);
  vi.spyOn(a.worker, 'stopRun').mockImplementation((run) => {
    stage.etcd.setDown(true);
    return stopRun(run);
  });
  const stopped = codeOf(a.jobs.stop(dir));
  await stage.time.until(() => stage.etcd.down);
  await stage.time.until(() => a.log.lines.some(({ line }) => line.includes('a job is let go of')));
  expect(a.log.lines.map(({ line }) => line)).not.toContain('error something failed that must not');
  vi.restoreAllMocks();
  stage.etcd.setDown(false);
  await stage.untilState(b, 'STOPPED');
  await stopped;
});

it('a coordinator that goes down in good order leaves its jobs at once, and one that comes back alone goes on with them', async () => {
  const [a, b] = await underWay();
  b.worker.flowing = false;
  await a.jobs.close(100);
  expect(await stage.time.until(() => b.worker.pending.length > 0)).toBeLessThan(1000);
  const listings = stage.origins.asked.list;
  await b.jobs.close(100);
  const again = await stage.open('b', b.dir);
  await stage.untilState(again, 'SUCCEEDED');
  expect(stage.origins.asked.list).toBe(listings);
  expect(stage.fetchedTwice()).toEqual([]);
});

it('a coordinator that goes down while it takes a job over does not begin it', async () => {
  const [a, b] = await underWay();
  const { putJob } = JobStore.prototype;
  let closed: Promise<void> | undefined;
  vi.spyOn(JobStore.prototype, 'putJob').mockImplementation(function (this: JobStore, record) {
    closed ??= b.jobs.close(100);
    return putJob.call(this, record);
  });
  stage.kill(a);
  await stage.time.until(() => closed !== undefined);
  await closed;
  expect(b.worker.specs.size).toBe(0);
  expect(b.log.lines.map(({ line }) => line)).not.toContain('info a job was taken over');
});

it('a store that is closed says nothing, and does not ask LMDB', async () => {
  const [a] = await underWay();
  await a.jobs.close(100);
  const store = new JobStore(a.dir);
  const [{ definition }] = store.jobs() as [JobRecord];
  expect([...store.chunks(definition.number)].length).toBeGreaterThan(0);
  await store.close();
  expect([[...store.chunks(definition.number)], [...store.tallies(definition.number)]]).toEqual([[], []]);
});

it('before etcd was heard nothing is known, which is not the same as that there is nothing', async () => {
  stage = new SharedStage();
  stage.etcd.setDown(true);
  const opening = stage.open('a');
  await stage.time.advance(1000);
  stage.etcd.setDown(false);
  const a = await opening;
  expect(a.jobs.snapshot(dir)).toBeUndefined();
});

it('a stop that nobody carries out in time is said to be pending, and is done later', async () => {
  const [a, b] = await underWay();
  a.client.deaf = true;
  const stopped = codeOf(b.jobs.stop(dir));
  await stage.time.advance(25_000);
  expect(await stopped).toMatch(/^STOP_PENDING: .*as soon as one runs the job/);
  expect(b.jobs.snapshot(dir)!.state).toBe('RUNNING');
  a.client.deaf = false;
  a.client.deliver();
  await stage.untilState(b, 'STOPPED');
});

it('of a stop that is written down, who cannot hear of its end says so, and it is not asked for again', async () => {
  const [a, b] = await underWay();
  // It lies in etcd, and whoever runs the job has not heard of it.
  a.client.deaf = true;
  const stopped = codeOf(b.jobs.stop(dir));
  await stage.time.advance(1000);
  stage.etcd.setDown(true);
  await stage.time.advance(20_000);
  expect(await stopped).toMatch(/^STOP_PENDING: .*is written down, and whether it is carried out is not known here/);
  stage.etcd.setDown(false);
  a.client.deaf = false;
  a.client.deliver();
  await stage.untilState(b, 'STOPPED');
});

it('the bandwidth that was set while a load ran goes with it to whoever takes it over, also when nobody ran it just then', async () => {
  const [a, b] = await underWay({ bandwidth: '1MB' });
  expect(await b.jobs.limit(dir, 5000)).toBe(true);
  await stage.time.until(() => a.worker.bandwidths.length === 1);
  b.worker.flowing = false;
  stage.kill(a);
  await stage.time.until(() => b.worker.pending.length > 0);
  expect([...b.worker.specs.values()].map((spec) => spec.bandwidthBytesPerSecond)).toEqual([5000]);
  stage.kill(b);
  await stage.time.until(() => stage.etcd.keys(`${root}claim/`).length === 0);
  const c = await stage.open('c');
  c.worker.flowing = false;
  expect(await c.jobs.limit(dir, 6000)).toBe(true);
  await stage.time.until(() => c.worker.pending.length > 0);
  const [spec] = c.worker.specs.values();
  expect(c.worker.bandwidths.at(-1) ?? spec?.bandwidthBytesPerSecond).toBe(6000);
  stage.etcd.setDown(true);
  expect(await codeOf(c.jobs.limit(dir, 7000))).toMatch(/^ETCD_UNAVAILABLE/);
  stage.etcd.setDown(false);
});
