/** Many small objects from nginx, listing and index included, beside rclone where it is installed. */
import { rmSync } from 'node:fs';
import { KiB, MiB } from '../../src/core/units.ts';
import { runRclone } from '../ceilings/peers.ts';
import type { Transfer } from '../ceilings/receiver.ts';
import { startNginx } from '../origins/nginx.ts';
import { startDaemon } from '../support/daemon.ts';
import { makeDataset } from '../support/dataset.ts';
import { objectsRow, verdict } from '../support/results.ts';
import type { Scenario } from '../support/scenario.ts';

const objectBytes = 16 * KiB;

export const small: Scenario = {
  summary: '10,000 objects of 16 KiB from nginx, beside rclone',
  async run({ workspace, runs, quick, log }) {
    const count = quick ? 2000 : 10_000;
    log(`making ${count} objects`);
    const root = workspace.folder('origin');
    const dataset = makeDataset({ root, bucket: 'bench-small', count, objectBytes });
    const origin = await startNginx(workspace, { root, datasets: [dataset] });
    const store = { dir: workspace.folder('store'), sizeBytes: Math.max(64 * MiB, dataset.totalBytes * 4) };
    const daemon = await startDaemon(workspace, { origin: { endpoint: origin.endpoint }, stores: [store] });
    const loadOnce = () => daemon.load(`s3://${dataset.bucket}/`);
    const first = await loadOnce();

    const taken = { ours: [] as Transfer[], rclone: [] as (Transfer | undefined)[] };
    for (let run = 1; run <= runs; run += 1) {
      log(`run ${run} of ${runs}`);
      const target = workspace.folder('rclone');
      taken.rclone.push(runRclone({ endpoint: origin.endpoint, dataset, target }));
      rmSync(target, { recursive: true });
      taken.ours.push(await loadOnce());
    }
    const ours = objectsRow('primed, durable, checksummed, indexed', count, taken.ours)!;
    const rows = [
      ours,
      objectsRow('rclone, 64 transfers, into the page cache', count, taken.rclone),
      objectsRow('primed, first load of the process', count, [first]),
    ];
    return {
      title: 'Small objects, plain HTTP',
      about:
        'The whole job from the submission to SUCCEEDED: listing, fetching, checksums, writing, the index, everything durable at the end. Per busy core: objects for each second of CPU of all threads.',
      parameters: { objects: count, objectKiB: objectBytes / KiB },
      rows: rows.filter((row) => row !== undefined),
      verdicts: [
        verdict(
          'Objects of 16 KiB, for each busy core',
          ours.figures['per busy core']!.value,
          'objects/s',
          'at least',
          5000,
        ),
      ],
      notes: rows.includes(undefined) ? ['rclone is not installed and was left out'] : [],
    };
  },
};
