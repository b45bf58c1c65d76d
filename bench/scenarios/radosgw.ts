/** The same two loads from a real S3 server, which is slower than the disk: what is measured is what it costs us. */
import { join } from 'node:path';
import { GiB, KiB, MiB } from '../../src/core/units.ts';
import { runReceiver, type Transfer } from '../ceilings/receiver.ts';
import { startRadosgw } from '../origins/radosgw.ts';
import { startDaemon } from '../support/daemon.ts';
import { makeDataset } from '../support/dataset.ts';
import { objectsRow, ratioOfRuns, transferRow, verdict } from '../support/results.ts';
import type { Scenario } from '../support/scenario.ts';

export const radosgw: Scenario = {
  summary: '4 x 128 MiB and 2,000 objects of 16 KiB from radosgw, beside a C receiver',
  async run({ workspace, runs, quick, log }) {
    const root = workspace.folder('origin');
    const large = makeDataset({ root, bucket: 'bench-large', count: 4, objectBytes: (quick ? 32 : 128) * MiB });
    const small = makeDataset({ root, bucket: 'bench-small', count: quick ? 500 : 2000, objectBytes: 16 * KiB });
    log('starting radosgw and filling it');
    const origin = await startRadosgw(workspace, [large, small]);
    if (origin === undefined)
      throw new Error('radosgw is not installed (Debian: apt install radosgw ceph-mon ceph-osd ceph-common)');
    const store = { dir: workspace.folder('store'), sizeBytes: 2 * GiB };
    const daemon = await startDaemon(workspace, { origin: origin.settings, stores: [store] });
    const file = join(workspace.folder('ceilings'), 'received');
    await daemon.load(`s3://${large.bucket}/`);
    await daemon.load(`s3://${small.bucket}/`);

    const taken = { ours: [] as Transfer[], ceiling: [] as Transfer[], small: [] as Transfer[] };
    for (let run = 1; run <= runs; run += 1) {
      log(`run ${run} of ${runs}`);
      taken.ceiling.push(runReceiver({ port: origin.port, dataset: large, file }));
      taken.ours.push(await daemon.load(`s3://${large.bucket}/`));
      taken.small.push(await daemon.load(`s3://${small.bucket}/`));
    }
    const ours = transferRow('large objects: primed', taken.ours)!;
    const ceiling = transferRow('large objects: C, receive and O_DIRECT write', taken.ceiling)!;
    return {
      title: 'From radosgw, a real S3 server',
      about:
        'Signed requests to radosgw (Ceph, data in memory) on the same cores. The C program fetches the large objects unsigned.',
      parameters: {
        largeObjects: 4,
        largeMiB: large.totalBytes / 4 / MiB,
        smallObjects: small.objects.length,
        smallKiB: 16,
      },
      rows: [ours, ceiling, objectsRow('small objects: primed', small.objects.length, taken.small)!],
      verdicts: [
        verdict(
          'Large objects from radosgw: throughput, share of a C program',
          ratioOfRuns(ours.figures.throughput!, ceiling.figures.throughput!),
          'x',
          'at least',
          0.8,
        ),
      ],
      notes: [],
    };
  },
};
