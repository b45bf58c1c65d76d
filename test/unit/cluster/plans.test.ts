/** Plans of loads over a worker in memory: what they answer, what they leave alone, and how they end early. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { Fleet } from '../../../src/cluster/fleet.ts';
import { openJobService } from '../../../src/cluster/job-service.ts';
import { plansAtOnce } from '../../../src/cluster/load-planner.ts';
import { fixedMembers } from '../../../src/cluster/members.ts';
import { parseLoadOptions } from '../../../src/core/load-options.ts';
import { FakeOrigins, silent } from './fakes.ts';
import { cleanUp, dir, folder, load, ManualClock, openStage, type Stage, staged } from './stage.ts';

afterEach(cleanUp);

const never = new AbortController().signal;
const plan = (stage: Stage, options: Record<string, unknown> = {}, signal = never, path = dir) =>
  stage.jobs.plan({ kind: 'path', path }, parseLoadOptions(options), signal);

it('counts what the load then asks for, and leaves the worker and the job store as they are', async () => {
  const stage = await staged(25);
  const { origins, worker } = stage;
  worker.disk.capacityBytes = 60 * 4096;
  const before = readFileSync(join(stage.dir, 'data.mdb'));
  const planned = await plan(stage);
  expect(origins.asked).toEqual({ list: 3, head: 0, read: 0 });
  expect(planned).toMatchObject({
    path: dir,
    resumed: false,
    listing: { scannedFiles: 25, files: 25, bytes: 125_000 },
    cached: { files: 0, bytes: 0 },
    load: { files: 25, bytes: 125_000 },
    requests: { list: 3, head: 0, rangedGet: 0, wholeGet: 25, total: 28, copies: 0 },
    originBytes: 125_000,
    workers: [{ id: 'local', bytes: 125_000, roomBytes: 25 * 8192, freeBytes: 60 * 4096, fits: true }],
    fits: true,
    notes: [expect.stringMatching(/No load of this kind/), expect.stringMatching(/No prices/)],
  });
  expect(planned.time).toBeUndefined();
  expect([worker.specs.size, worker.reservations, worker.loads, worker.disk.files.size]).toEqual([0, [], 0, 0]);
  expect(stage.jobs.list({})).toEqual([]);
  expect(readFileSync(join(stage.dir, 'data.mdb')).equals(before)).toBe(true);
  worker.disk.capacityBytes = 25 * 8192 - 1;
  expect(await plan(stage)).toMatchObject({ fits: false, workers: [{ fits: false }] });
});

it('says what is there, how long it took before, and that a load runs or was stopped', async () => {
  const stage = await staged(10);
  stage.worker.onLoad = () => {
    stage.clock.nowMs += 100;
  };
  await load(stage, dir);
  const again = await plan(stage, { skipIfExists: true });
  expect(again).toMatchObject({ cached: { files: 10, bytes: 50_000 }, load: { files: 0, bytes: 0 }, originBytes: 0 });
  const anew = await plan(stage);
  expect(anew.load.files).toBe(10);
  expect(anew.time).toMatchObject({ leastMs: 1000, mostMs: 1000, measuredLoads: 1 });
  stage.worker.flowing = false;
  const { jobId } = await stage.jobs.submit({ kind: 'path', path: dir }, parseLoadOptions({}));
  expect((await plan(stage)).runningJobId).toBe(jobId);
  await stage.jobs.stop(jobId);
  expect(await plan(stage)).toMatchObject({ resumed: true });
  expect((await plan(stage)).runningJobId).toBeUndefined();
});

it('is refused where a submission is, and where the source cannot be listed', async () => {
  const stage = await openStage();
  await expect(plan(stage)).rejects.toMatchObject({ code: 'ORIGIN_NOT_FOUND' });
  await expect(plan(stage, { replicas: 2 })).rejects.toMatchObject({ code: 'OPTION_UNSUPPORTED' });
  await expect(plan(stage, {}, never, 's3://b/*')).rejects.toMatchObject({ code: 'PATH_WILDCARD' });
});

it('ends with its client, or with the daemon; only so many are made at once', async () => {
  const stage = await staged(30);
  const waiting: (() => void)[] = [];
  stage.origins.before = () => new Promise<void>((resolve) => waiting.push(resolve));
  const asked = Array.from({ length: plansAtOnce }, () => new AbortController());
  const plans = asked.map(({ signal }) => plan(stage, {}, signal).catch((error: unknown) => error));
  await expect.poll(() => waiting.length).toBe(plansAtOnce);
  await expect(plan(stage)).rejects.toMatchObject({ code: 'TOO_BUSY' });
  asked[0]!.abort();
  expect(await plans[0]).toMatchObject({ name: 'AbortError' });
  // Its place is free.
  const another = plan(stage).catch((error: unknown) => error);
  await expect.poll(() => waiting.length).toBe(plansAtOnce + 1);
  await stage.jobs.close();
  expect(await another).toMatchObject({ code: 'STOPPING' });
  expect(await plans[1]).toMatchObject({ code: 'STOPPING' });
});

it('says that nobody is there, and counts what would be loaded all the same', async () => {
  const origins = new FakeOrigins();
  for (const name of ['a', 'b']) origins.put(`${dir}${name}`, 5000);
  const fleet = new Fleet({
    ...{ members: fixedMembers([]), placement: { owners: () => [], around: () => [] } },
    ...{ origins, maxRestarts: 0, log: silent },
  });
  const jobs = await openJobService({ ...{ dir: folder(), fleet, origins, clock: new ManualClock(), log: silent } });
  for (const skipIfExists of [false, true])
    expect(await jobs.plan({ kind: 'path', path: dir }, parseLoadOptions({ skipIfExists }), never)).toMatchObject({
      cached: { files: 0, bytes: 0 },
      load: { files: 2, bytes: 10_000 },
      workers: [],
      fits: false,
      notes: expect.arrayContaining(['No worker is there.']),
    });
  await jobs.close();
});
