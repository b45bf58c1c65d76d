/** How long it takes until the work of a dead worker is with others. */
import { setTimeout as sleep } from 'node:timers/promises';
import { MiB } from '../../src/core/units.ts';
import { startDemoOrigin } from '../origins/demo.ts';
import { openLocalCluster, workersOf } from '../support/cluster.ts';
import { insistOnSuccess, progressOf, progressUntil, submitLoad } from '../support/jobs.ts';
import { figure, verdict } from '../support/results.ts';
import type { Context, Scenario } from '../support/scenario.ts';

const path = 's3://demo/data/';
const leaseSeconds = 10;
const graceSeconds = 2;
const objects = Array.from({ length: 12 }, (_, n) => ({ key: `data/object-${n}.bin`, sizeBytes: 32 * MiB + n }));
const totalBytes = objects.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
/** The load lasts for longer than the fail-over. */
const pacedBytesPerSecond = totalBytes / 20;

export const failover: Scenario = {
  summary: 'from the death of a worker until others have its work, with the default lease of 10 s',
  async run(context) {
    const { runs, quick, log } = context;
    const lost: number[] = [];
    for (let run = 1; run <= (quick ? 1 : runs); run += 1) {
      log(`run ${run} of ${runs}`);
      lost.push(await workerLost(context));
    }
    const time = figure('s', lost);
    return {
      title: 'Fail-over',
      about: `A worker of three is killed (SIGKILL) in the middle of a load, with the default lease of ${leaseSeconds} s, which it renews three times in that time. Measured until the coordinator has placed its segments anew; then the load ends as SUCCEEDED.`,
      parameters: { workers: 3, leaseSeconds },
      rows: [{ name: 'worker', figures: { 'fail-over': time } }],
      verdicts: [verdict('Fail-over of a worker', Math.max(...lost), 's', 'at most', leaseSeconds + graceSeconds)],
      notes: [],
    };
  },
};

/** Seconds. */
async function workerLost({ workspace }: Context): Promise<number> {
  const cluster = await openLocalCluster({
    folder: workspace.folder('cluster'),
    startOrigin: () => startDemoOrigin(workspace, objects),
    workers: ['w1', 'w2', 'w3'],
    storeSize: `${Math.ceil(totalBytes / MiB) + 64}MB`,
    env: { PRIMED_LOG_LEVEL: 'warn' },
  });
  workspace.defer(() => cluster.close());
  const { api } = cluster.coordinator;
  await cluster.origin.setKnobs({ bytesPerSecond: pacedBytesPerSecond });
  await submitLoad(api, path);
  await progressUntil(api, path, ({ ledger }) => ledger.cachedBytes > totalBytes / 8 && ledger.inFlightBytes > 0);
  await cluster.kill('w2');
  const diedMs = performance.now();
  while ((await workersOf(cluster)).find(({ id }) => id === 'w2')?.state !== 'LOST') await sleep(10);
  const seconds = (performance.now() - diedMs) / 1000;
  if ((await progressOf(api, path)).mJobState !== 'RUNNING')
    throw new Error('the load ended before the worker was lost: nothing failed over');
  await cluster.origin.setKnobs({ bytesPerSecond: 0 });
  insistOnSuccess(path, await progressUntil(api, path, () => false));
  await cluster.close();
  return seconds;
}
