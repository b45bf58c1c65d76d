/** What a coordinator spends on a manifest of ten million keys: its memory, its pace, and how soon it answers meanwhile. */
import { setTimeout as sleep } from 'node:timers/promises';
import { MiB } from '../../src/core/units.ts';
import { hasEnded, type Progress, progressOf, submitLoad } from '../support/jobs.ts';
import { openListedCluster, listedPath as path, listedWorkers as workers } from '../support/listed-cluster.ts';
import { cpuSecondsOf, memoryOf } from '../support/process.ts';
import { figure, quantile, verdict } from '../support/results.ts';
import type { Scenario } from '../support/scenario.ts';

/** Often enough for a quantile, seldom enough to cost nothing. */
const probeEveryMs = 25;

export const manifest: Scenario = {
  summary: 'a manifest of 10 million keys over 4 workers: memory, pace and answers of the coordinator (--size N: keys)',
  async run({ workspace, quick, sizeBytes, log }) {
    const keys = sizeBytes ?? (quick ? 100_000 : 10_000_000);
    const { origin, cluster } = await openListedCluster(workspace, keys);
    const { api, pid } = cluster.coordinator;
    const idle = memoryOf(pid);
    const pids = [pid, ...Array.from(cluster.workers.values(), (worker) => worker.pid), origin.pid];
    const cpuBefore = pids.map(cpuSecondsOf);
    const startedMs = performance.now();
    await submitLoad(api, path, { partialListing: 'false' });
    const answersMs: number[] = [];
    let progress: Progress;
    let saidMs = startedMs;
    for (;;) {
      const askedMs = performance.now();
      progress = await progressOf(api, path);
      const nowMs = performance.now();
      if (progress.listingDone || hasEnded(progress)) break;
      answersMs.push(nowMs - askedMs);
      if (nowMs - saidMs > 10_000) {
        saidMs = nowMs;
        log(`${progress.scannedFiles} of ${keys} keys, ${Math.round(memoryOf(pid).residentBytes / MiB)} MiB`);
      }
      await sleep(probeEveryMs);
    }
    const seconds = (performance.now() - startedMs) / 1000;
    if (progress.scannedFiles !== keys)
      throw new Error(
        `${progress.scannedFiles} of ${keys} keys were planned: ${progress.mJobState} ${progress.reason}`,
      );
    const [coordinatorCpu, ...otherCpu] = pids.map((one, index) => cpuSecondsOf(one) - cpuBefore[index]!);
    const workerCpu = otherCpu.slice(0, workers.length).reduce((sum, spent) => sum + spent, 0);
    const peak = memoryOf(pid);
    const pace = keys / seconds;
    const late = quantile(answersMs, 0.99);
    return {
      title: 'A manifest of millions of keys',
      about:
        'From the submission until every key is listed, planned (all workers are asked what they have of it) and durable in the manifest. The origin makes its pages on the spot, and there is no room for what is listed, so that nothing is loaded. Workers and origin, which would be on other machines, give way to the coordinator (nice).',
      parameters: { keys, workers: workers.length },
      rows: [
        {
          name: `${keys.toLocaleString('en-US')} keys`,
          figures: {
            planned: figure('keys/s', [pace]),
            'peak memory': figure('MiB', [peak.peakBytes / MiB]),
            'not backed by files': figure('MiB', [peak.anonymousBytes / MiB]),
            'before it': figure('MiB', [idle.residentBytes / MiB]),
          },
        },
        {
          name: 'CPU',
          figures: {
            coordinator: figure('s', [coordinatorCpu!]),
            'all workers': figure('s', [workerCpu]),
            origin: figure('s', [otherCpu.at(-1)!]),
          },
        },
        {
          name: 'progress, asked while it lists',
          figures: {
            median: figure('ms', [quantile(answersMs, 0.5)]),
            p99: figure('ms', [late]),
            slowest: figure('ms', [Math.max(...answersMs)]),
          },
        },
      ],
      verdicts: [
        verdict(
          `Coordinator memory, ${keys.toLocaleString('en-US')} keys`,
          peak.peakBytes / MiB,
          'MiB',
          'at most',
          1024,
        ),
        verdict('Keys planned', pace, 'keys/s', 'at least', 30_000),
        verdict('Progress answered, p99', late, 'ms', 'at most', 10),
      ],
      notes: [],
    };
  },
};
