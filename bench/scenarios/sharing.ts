/** What a coordinator spends on very many small files, beside the workers that load them. */
import { KiB, MiB } from '../../src/core/units.ts';
import { startNginx } from '../origins/nginx.ts';
import { openLocalCluster } from '../support/cluster.ts';
import { makeDataset } from '../support/dataset.ts';
import { insistOnSuccess, progressUntil, submitLoad } from '../support/jobs.ts';
import { cpuSecondsOf } from '../support/process.ts';
import { figure, verdict } from '../support/results.ts';
import type { Scenario } from '../support/scenario.ts';

const objectBytes = 16 * KiB;
const workers = ['w1', 'w2', 'w3', 'w4'];

export const sharing: Scenario = {
  summary: '100,000 objects of 16 KiB over 4 workers: CPU of the coordinator beside that of the workers',
  async run({ workspace, runs, quick, log }) {
    const count = quick ? 5000 : 100_000;
    log(`making ${count} objects`);
    const root = workspace.folder('origin');
    const dataset = makeDataset({ root, bucket: 'bench-sharing', count, objectBytes, sparse: true });
    const origin = await startNginx(workspace, { root, datasets: [dataset] });
    const taken = { seconds: [] as number[], coordinator: [] as number[], workers: [] as number[] };
    for (let run = 1; run <= runs; run += 1) {
      log(`run ${run} of ${runs}`);
      const cluster = await openLocalCluster({
        folder: workspace.folder('cluster'),
        startOrigin: async () => origin,
        workers,
        storeSize: `${Math.ceil(dataset.totalBytes / MiB) + 256}MB`,
        env: { PRIMED_LOG_LEVEL: 'warn' },
      });
      workspace.defer(() => cluster.close());
      const pids = [cluster.coordinator.pid, ...Array.from(cluster.workers.values(), ({ pid }) => pid)];
      const before = pids.map(cpuSecondsOf);
      const startedMs = performance.now();
      const path = `s3://${dataset.bucket}/`;
      await submitLoad(cluster.coordinator.api, path);
      const end = await progressUntil(cluster.coordinator.api, path, () => false, { everyMs: 250 });
      taken.seconds.push((performance.now() - startedMs) / 1000);
      const [coordinator, ...others] = pids.map((pid, index) => cpuSecondsOf(pid) - before[index]!);
      taken.coordinator.push(coordinator!);
      taken.workers.push(others.reduce((sum, spent) => sum + spent, 0));
      if (insistOnSuccess(path, end).loadedFiles !== count) throw new Error(`${end.loadedFiles} files were loaded`);
      await cluster.close();
    }
    const shares = taken.coordinator.map((spent, run) => (100 * spent) / taken.workers[run]!);
    const rates = taken.seconds.map((seconds) => count / seconds);
    const share = figure('%', shares);
    return {
      title: 'Small objects over several workers',
      about:
        'The whole job from the submission to SUCCEEDED, coordinator and workers on one machine, from nginx. CPU is that of all threads of a process.',
      parameters: { objects: count, objectKiB: objectBytes / KiB, workers: workers.length },
      rows: [
        {
          name: `${count.toLocaleString('en-US')} objects`,
          figures: {
            rate: figure('objects/s', rates),
            'CPU of the coordinator': figure('s', taken.coordinator),
            'of all workers': figure('s', taken.workers),
            share,
          },
        },
      ],
      verdicts: [verdict('CPU of the coordinator, of that of its workers', share.value, '%', 'at most', 15)],
      notes: [],
    };
  },
};
