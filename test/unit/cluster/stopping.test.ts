/**
 * A worker that does not let go: the end of a job, or of the daemon, waits for it once and not step by step. And one that
 * goes on with what a coordinator before this one had begun: a job that is STOPPED has nothing under way there.
 */
import { afterEach, expect, it, vi } from 'vitest';
import { Fleet } from '../../../src/cluster/fleet.ts';
import { openJobService } from '../../../src/cluster/job-service.ts';
import { JobStore } from '../../../src/cluster/job-store.ts';
import { LocalLink } from '../../../src/cluster/local-link.ts';
import { fixedMembers } from '../../../src/cluster/members.ts';
import { soloFleet } from '../../../src/cluster/solo-fleet.ts';
import type { JobService } from '../../../src/cluster/types.ts';
import type { WorkerId } from '../../../src/cluster/worker-link.ts';
import { parseLoadOptions } from '../../../src/core/load-options.ts';
import type { Log } from '../../../src/core/types.ts';
import { FakeOrigins, FakeWorker, silent } from './fakes.ts';
import { cleanUp, codeOf, copied, dir, folder, hanging, ManualClock, openStage, until } from './stage.ts';

afterEach(async () => {
  vi.useRealTimers();
  await cleanUp();
});

const limitMs = 300;

/** Holds on to its run and to the file that it verifies. */
class DeafWorker extends FakeWorker {
  override stopRun = () => hanging().promise;
  override verify = () => {
    this.asked = true;
    return hanging().promise as Promise<never>;
  };
  asked = false;
}

async function verifying() {
  const late: { what: string; limitMs: number }[] = [];
  const error: Log['error'] = (facts) => void late.push(facts as (typeof late)[0]);
  const [worker, origins] = [new DeafWorker(), new FakeOrigins()];
  origins.put(`${dir}file`, 5000);
  const jobs = await openJobService({
    ...{ dir: folder(), origins, clock: new ManualClock(), log: { ...silent, error } },
    fleet: soloFleet(worker, origins, silent),
    settings: { stopDeadlineMs: limitMs },
  });
  const { jobId } = await jobs.submit({ kind: 'path', path: dir }, parseLoadOptions({ verify: 'true' }));
  await until(() => worker.asked);
  return { jobs, late, jobId };
}

/** Turns a clock that stands still otherwise: each wait begins at a time that is known. */
async function turnUntil(ended: Promise<unknown>): Promise<void> {
  let over = false;
  void ended.then(() => (over = true));
  const steps = [limitMs, 0];
  while (!over) {
    await until(() => over || vi.getTimerCount() > 0);
    if (!over) await vi.advanceTimersByTimeAsync(steps.shift() ?? 1);
  }
}

/** Both were waited for, and the second only for what the first had left of the time. */
const oneWait = [
  { what: 'stopRun', limitMs },
  { what: 'the phases of the job', limitMs: 0 },
];

it('a daemon that ends waits for it as long as it was told to, and saves the job all the same', async () => {
  const { jobs, late, jobId } = await verifying();
  const ended = codeOf(jobs.ended(jobId));
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
  await turnUntil(jobs.close(limitMs));
  expect(late).toMatchObject(oneWait);
  expect(late).toHaveLength(oneWait.length);
  expect(await ended).toMatch(/^STOPPING: /);
});

it('a job that is stopped is STOPPED after one such wait', async () => {
  const { jobs, late } = await verifying();
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
  const stopped = jobs.stop(dir);
  await turnUntil(stopped);
  expect(await stopped).toBe(true);
  expect(late).toMatchObject(oneWait);
  expect(late).toHaveLength(oneWait.length);
  vi.useRealTimers();
  await jobs.close();
});

it('what a listing finds after the job has ended without it leaves nothing in its store', async () => {
  const worker = new FakeWorker();
  const room = hanging();
  let asked = false;
  worker.reserveMore = () => {
    asked = true;
    return room.promise.catch(() => undefined);
  };
  const origins = new FakeOrigins();
  origins.put(`${dir}file`, 5000);
  const stage = await openStage({ origins, worker, settings: { stopDeadlineMs: 10 } });
  const { jobId } = await stage.jobs.submit({ kind: 'path', path: dir }, parseLoadOptions({ partialListing: true }));
  await until(() => asked);
  expect(await stage.jobs.stop(jobId)).toBe(true);
  room.reject(new Error('only now'));
  // What the listing writes now is written before this.
  await new Promise((resolve) => setImmediate(resolve));
  await stage.jobs.close();
  const store = new JobStore(stage.dir);
  expect(store.manifests()).toEqual([]);
  await store.close();
});

it('a stop that outlives its wait, because a worker does not end its run, answers when the job is STOPPED', async () => {
  const worker = new FakeWorker();
  worker.endRun = () => hanging().promise;
  worker.flowing = false;
  const origins = new FakeOrigins();
  origins.put(`${dir}file`, 5000);
  const jobs = await openJobService({
    ...{ dir: folder(), origins, clock: new ManualClock(), log: silent },
    fleet: soloFleet(worker, origins, silent),
    settings: { stopDeadlineMs: limitMs },
  });
  await jobs.submit({ kind: 'path', path: dir }, parseLoadOptions({}));
  await until(() => worker.pending.length === 1);
  expect(await jobs.stop(dir)).toBe(true);
  expect(jobs.snapshot(dir)?.state).toBe('STOPPED');
  await jobs.close();
});

/** A coordinator with a load under way, and the next one after its kill -9: the worker lives on, and is not back yet. */
async function afterKill(options: { stopped?: boolean } = {}) {
  const worker = new FakeWorker();
  worker.flowing = false;
  const origins = new FakeOrigins();
  origins.put(`${dir}file`, 5000);
  const dead = await openStage({ worker, origins });
  const { jobId } = await dead.jobs.submit({ kind: 'path', path: dir }, parseLoadOptions({}));
  await until(() => worker.pending.length === 1);
  const left = copied(dead.dir);
  if (options.stopped) {
    const store = new JobStore(left);
    const [record] = [...store.jobs()];
    await store.putJob({ ...record!, progress: { ...record!.progress, stopping: true, state: 'RUNNING' } });
    await store.close();
  }
  const id = 'w' as WorkerId;
  const member = { id, url: '', takes: true, link: new LocalLink(id, worker) };
  let back: () => void = () => undefined;
  const settled = new Promise<void>((resolve) => {
    back = resolve;
  });
  const placement = { owners: () => [member], around: () => [member] };
  const fleet = new Fleet({
    ...{ members: fixedMembers([member]), placement, origins, maxRestarts: 0, log: silent, settled },
  });
  const jobs: JobService = await openJobService({
    ...{ dir: left, origins, clock: new ManualClock(), log: silent, fleet },
    settings: { stopDeadlineMs: limitMs },
  });
  return { worker, jobs, jobId, back };
}

/** Nothing that was under way lands any more. */
function expectNothingLands(worker: FakeWorker): void {
  expect(worker.pending).toEqual([]);
  expect([...worker.specs.keys()]).toEqual([]);
  expect(worker.disk.files.size).toBe(0);
}

it('a load of a coordinator that was killed is stopped at the workers, though they are not back when that is asked', async () => {
  const { worker, jobs, jobId, back } = await afterKill();
  const stopped = jobs.stop(dir);
  await new Promise((resolve) => setImmediate(resolve));
  back();
  expect(await stopped).toBe(true);
  expect(jobs.byId(jobId)).toMatchObject({ state: 'STOPPED' });
  expectNothingLands(worker);
  await jobs.close();
});

it('it is STOPPED in time without a worker that does not come back, and ended there when that comes after all', async () => {
  const { worker, jobs, back } = await afterKill();
  expect(await jobs.stop(dir)).toBe(true);
  expect(worker.pending).toHaveLength(1);
  back();
  await until(() => worker.specs.size === 0);
  expectNothingLands(worker);
  await jobs.close();
});

it('one that was being stopped when its coordinator was killed is STOPPED when it has ended at the workers', async () => {
  const { worker, jobs, jobId, back } = await afterKill({ stopped: true });
  expect(jobs.byId(jobId)?.state).toBe('RUNNING');
  back();
  expect(await jobs.ended(jobId)).toMatchObject({ state: 'STOPPED' });
  expectNothingLands(worker);
  await jobs.close();
});
