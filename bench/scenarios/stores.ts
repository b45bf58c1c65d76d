/** Two stores on one disk against one: the second must not cost anything. Two daemons take turns. */
import { MiB } from '../../src/core/units.ts';
import type { Transfer } from '../ceilings/receiver.ts';
import { startNginx } from '../origins/nginx.ts';
import { startDaemon } from '../support/daemon.ts';
import { makeDataset } from '../support/dataset.ts';
import { ratioOfRuns, transferRow, verdict } from '../support/results.ts';
import type { Scenario } from '../support/scenario.ts';

const count = 4;

export const stores: Scenario = {
  summary: 'a load onto two stores on one disk, beside one store',
  async run({ workspace, runs, quick, log }) {
    const objectBytes = (quick ? 64 : 512) * MiB;
    const root = workspace.folder('origin');
    const dataset = makeDataset({ root, bucket: 'bench-large', count, objectBytes });
    const origin = await startNginx(workspace, { root, datasets: [dataset] });
    const capacityBytes = Math.ceil(dataset.totalBytes * 2.5);
    const daemonWith = (storeCount: number) =>
      startDaemon(workspace, {
        origin: { endpoint: origin.endpoint },
        stores: Array.from({ length: storeCount }, () => ({
          dir: workspace.folder('store'),
          sizeBytes: Math.ceil(capacityBytes / storeCount / MiB) * MiB + 32 * MiB,
        })),
      });
    const one = await daemonWith(1);
    const two = await daemonWith(2);
    const path = `s3://${dataset.bucket}/`;
    for (const daemon of [one, two, one, two]) await daemon.load(path);

    const taken = { one: [] as Transfer[], two: [] as Transfer[] };
    for (let run = 1; run <= runs; run += 1) {
      log(`run ${run} of ${runs}`);
      const first = run % 2 === 1;
      if (first) taken.one.push(await one.load(path));
      taken.two.push(await two.load(path));
      if (!first) taken.one.push(await one.load(path));
    }
    const rowOne = transferRow('one store', taken.one)!;
    const rowTwo = transferRow('two stores on the same disk', taken.two)!;
    return {
      title: 'Two stores on one disk',
      about: 'The load of large objects onto one store, and onto two of half the size on the same disk, in turns.',
      parameters: { objects: count, objectMiB: objectBytes / MiB },
      rows: [rowOne, rowTwo],
      verdicts: [
        verdict(
          'Two stores on one disk: throughput against one (5% for the noise)',
          ratioOfRuns(rowTwo.figures.throughput!, rowOne.figures.throughput!),
          'x',
          'at least',
          0.95,
        ),
      ],
      notes: [],
    };
  },
};
