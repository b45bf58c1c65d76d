/** The plan of a load over REST: what it is asked with, what it answers, and how it ends when nobody waits for it. */
import { once } from 'node:events';
import { request } from 'node:http';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { PrimedClient } from '../../../src/client/client.ts';
import { PrimedError } from '../../../src/core/errors.ts';
import { planText } from '../../../src/core/plan-text.ts';
import { plannedLoad } from '../../support/plan.ts';
import { type ScriptedCoordinator, startScriptedCoordinator } from '../../support/scripted-coordinator.ts';

let coordinator: ScriptedCoordinator;
let client: PrimedClient;
beforeEach(async () => {
  coordinator = await startScriptedCoordinator();
  client = new PrimedClient({ coordinator: coordinator.url });
});
afterEach(async () => {
  await client.close();
  await coordinator.close();
});

it('is asked with what a submission is, and answered as it is made', async () => {
  const plan = await client.plan({ path: 's3://b/dir/' }, { replicas: 2, skipIfExists: 'true' });
  expect(plan).toEqual(plannedLoad({ path: 's3://b/dir/' }));
  await client.plan({ indexFile: 's3://b/list' });
  expect(coordinator.jobs.plans).toMatchObject([
    { source: { kind: 'path', path: 's3://b/dir/' }, options: { replicas: 2, skipIfExists: true } },
    { source: { kind: 'index', path: 's3://b/list' } },
  ]);
  expect(coordinator.jobs.submissions).toEqual([]);
});

it('refuses what a submission refuses, and says when there are too many', async () => {
  await expect(client.plan({ path: 's3://b/' }, { replicas: 0 })).rejects.toMatchObject({ code: 'REQUEST_INVALID' });
  await expect(client.plan({ path: 's3://b/' }, { colour: 1 })).rejects.toMatchObject({ code: 'REQUEST_INVALID' });
  expect(coordinator.jobs.plans).toEqual([]);
  coordinator.jobs.onPlan = async () => {
    throw new PrimedError('TOO_BUSY', '2 plans are being made here.');
  };
  await expect(client.plan({ path: 's3://b/' })).rejects.toMatchObject({ code: 'TOO_BUSY' });
});

it('ends with the client that asked for it', async () => {
  const begun = new Promise<AbortSignal>((resolve) => {
    coordinator.jobs.onPlan = async () => {
      const { signal } = coordinator.jobs.plans.at(-1)!;
      resolve(signal);
      await once(signal, 'abort');
      throw signal.reason;
    };
  });
  const asking = request(`${coordinator.url}/api/v1/master/plan_job/load`, {
    ...{ method: 'POST', agent: false, headers: { 'content-type': 'application/json' } },
  });
  asking.once('error', () => undefined);
  asking.end(JSON.stringify({ path: 's3://b/dir/' }));
  const signal = await begun;
  expect(signal.aborted).toBe(false);
  asking.destroy();
  if (!signal.aborted) await once(signal, 'abort');
  expect(signal.aborted).toBe(true);
});

it('is read by people as lines', () => {
  const price = { currency: 'EUR', list: 0.005, head: 0, get: 1.25, transfer: 94.37, total: 95.625 };
  const time = { leastMs: 60_000, mostMs: 3_600_000, measuredLoads: 3 };
  const refused = { files: 7, named: [{ path: 's3://b/\n', code: 'ORIGIN_NOT_FOUND' as const, message: 'no' }] };
  expect(planText(plannedLoad({ price, time, refused, runningJobId: 'j-1', notes: ['Mind this.'] }))).toBe(
    [
      "Plan of loading 's3://bucket/dir/' (nothing was loaded):",
      '\tRunning: job j-1; a submission begins no other',
      '\tFiles: 3 (1024.00MB), listed in 2s',
      '\tAlready cached: 1 files (24.00MB)',
      '\tTo load: 2 files (1000.00MB)',
      '\tFrom the origin: 1000.00MB in 128 requests (1 lists, 1 HEADs, 125 ranged GETs, 1 whole GETs)',
      '\tBetween workers: 0B in 0 copies',
      '\tPrice: 95.63 EUR (lists 0.0050, HEADs 0.00, GETs 1.25, transfer 94.37)',
      '\tTime: 1m 0s to 1h 0m, by the last 3 loads of its kind',
      '\tFits: yes',
      '\tWorker w1: 1000.00MB (needs 1000.00MB, free 900.00MB of 2048.00MB)',
      '\t\tEvicts 7 files (100.00MB)',
      '\t\ts3://bucket/old/1',
      '\t\ts3://bucket/old/2',
      '\t\t... and 5 more',
      '\tRefused: 7 files',
      '\t\ts3://b/\\u000a: ORIGIN_NOT_FOUND',
      '\t\t... and 6 more',
      '\tNote: Mind this.',
      '',
    ].join('\n'),
  );
});
