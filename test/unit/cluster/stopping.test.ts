/** A worker that does not let go: the end of a job, or of the daemon, waits for it once and not step by step. */
import { afterEach, expect, it } from 'vitest';
import { openJobService } from '../../../src/cluster/job-service.ts';
import { soloFleet } from '../../../src/cluster/solo-fleet.ts';
import { parseLoadOptions } from '../../../src/core/load-options.ts';
import type { Log } from '../../../src/core/types.ts';
import { FakeOrigins, FakeWorker, silent } from './fakes.ts';
import { cleanUp, codeOf, dir, folder, hanging, ManualClock, until } from './stage.ts';

afterEach(cleanUp);

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

/** Both were waited for, and the second only for what the first had left of the time. */
function expectOneWait(late: readonly { what: string; limitMs: number }[]): void {
  expect(late.map(({ what }) => what)).toEqual(['stopRun', 'the phases of the job']);
  expect(late[0]!.limitMs).toBe(limitMs);
  expect(late[1]!.limitMs).toBeLessThanOrEqual(1);
}

it('a daemon that ends waits for it as long as it was told to, and saves the job all the same', async () => {
  const { jobs, late, jobId } = await verifying();
  const ended = codeOf(jobs.ended(jobId));
  await jobs.close(limitMs);
  expectOneWait(late);
  expect(await ended).toMatch(/^STOPPING: /);
});

it('a job that is stopped is STOPPED after one such wait', async () => {
  const { jobs, late } = await verifying();
  expect(await jobs.stop(dir)).toBe(true);
  expectOneWait(late);
  await jobs.close();
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
