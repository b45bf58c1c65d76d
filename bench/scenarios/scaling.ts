/** Whether four workers load four times as fast as one, where the link of each is what limits it. */
import { rmSync } from 'node:fs';
import { makeRing, segmentKey, workerIdentity } from '../../src/core/ring.ts';
import { KiB, MiB } from '../../src/core/units.ts';
import { startNginx } from '../origins/nginx.ts';
import { openNetCluster } from '../support/cluster.ts';
import { datasetKey, makeDataset } from '../support/dataset.ts';
import { insistOnSuccess, progressUntil, submitLoad } from '../support/jobs.ts';
import { whyNoNetwork } from '../support/netns.ts';
import { type Figure, figure, ratioOfRuns, verdict } from '../support/results.ts';
import type { Context, Scenario } from '../support/scenario.ts';

const bitsPerSecond = 400e6;
const segmentBytes = 16 * MiB;
const workers = ['w1', 'w2', 'w3', 'w4'];
/** A run takes nine minutes. */
const mostRuns = 3;

interface Shape {
  readonly objects: number;
  readonly objectBytes: number;
}

export const scaling: Scenario = {
  summary: '4 workers against one, each behind a link of 400 Mbit/s (needs root and network namespaces)',
  async run(context) {
    const { quick, log } = context;
    const runs = Math.min(context.runs, mostRuns);
    const problem = whyNoNetwork();
    if (problem !== undefined) throw new Error(`scaling needs machines of network namespaces: ${problem}`);
    const many: Shape = { objects: quick ? 1024 : 131_072, objectBytes: 128 * KiB };
    const few: Shape = { objects: quick ? 4 : 64, objectBytes: 64 * MiB };
    const taken = { one: [] as number[], four: [] as number[], few: [] as number[] };
    for (let run = 1; run <= runs; run += 1) {
      log(`run ${run} of ${runs}`);
      const bucket = nameOf(run);
      taken.four.push(await rateOf(context, { workers, bucket, ...many }));
      taken.one.push(await rateOf(context, { workers: workers.slice(0, 1), bucket, ...many }));
      taken.few.push(await rateOf(context, { workers, bucket, ...few }));
    }
    const names = Array.from({ length: runs }, (_, at) => nameOf(at + 1));
    const shares = (shape: Shape): Figure =>
      figure(
        'x',
        names.map((bucket) => largestShare(bucket, shape)),
      );
    const rates = { one: figure('MiB/s', taken.one), four: figure('MiB/s', taken.four) };
    return {
      title: 'Workers behind links of 400 Mbit/s',
      about: `Each process in a network namespace of its own, with the link of each worker shaped to ${bitsPerSecond / 1e6} Mbit/s in both directions (${(bitsPerSecond / 8 / MiB).toFixed(1)} MiB/s, of which headers take 5%), and nginx behind a link without limit. Whole jobs, from the submission to SUCCEEDED, into stores that are empty; another bucket in each run. The load of many files is long enough that its first two seconds, in which one coordinator lists and all workers warm up on the cores that they share here, are little of it. The ring says which worker gets what, so the one with the largest share ends last: of many files it has little more than the mean, of some hundred segments much more.`,
      parameters: {
        ...{ objects: many.objects, objectKiB: many.objectBytes / KiB, largeObjects: few.objects },
        ...{ largeObjectMiB: few.objectBytes / MiB, segmentMiB: segmentBytes / MiB, mbitPerSecond: 400 },
      },
      rows: [
        { name: '1 worker', figures: { throughput: rates.one } },
        {
          name: `${workers.length} workers`,
          figures: { throughput: rates.four, 'largest share, of the mean': shares(many) },
        },
        {
          name: `${workers.length} workers, few large objects`,
          figures: { throughput: figure('MiB/s', taken.few), 'largest share, of the mean': shares(few) },
        },
      ],
      verdicts: [verdict('4 workers, against one', ratioOfRuns(rates.four, rates.one), 'x', 'at least', 3.8)],
      notes: [],
    };
  },
};

/** MiB a second. */
async function rateOf(
  { workspace }: Context,
  order: Shape & { workers: readonly string[]; bucket: string },
): Promise<number> {
  const { bucket, objects: count, objectBytes } = order;
  const root = workspace.folder('origin');
  const dataset = makeDataset({ root, bucket, count, objectBytes, sparse: true });
  const folder = workspace.folder('cluster');
  const cluster = await openNetCluster({
    folder,
    startOrigin: (machine) => startNginx(workspace, { root, datasets: [dataset], machine }),
    workers: order.workers,
    storeSize: `${Math.ceil((dataset.totalBytes / MiB / order.workers.length) * 1.5) + 256}MB`,
    bitsPerSecond,
    env: { PRIMED_LOG_LEVEL: 'warn', PRIMED_JOB_SEGMENT_SIZE: `${segmentBytes / MiB}MB` },
  });
  workspace.defer(() => cluster.close());
  const { api } = cluster.coordinator;
  const path = `s3://${bucket}/`;
  const startedMs = performance.now();
  await submitLoad(api, path);
  insistOnSuccess(path, await progressUntil(api, path, () => false));
  const seconds = (performance.now() - startedMs) / 1000;
  await cluster.close();
  await cluster.origin.stop();
  // The stores of all runs together may be more than the disk has.
  rmSync(folder, { recursive: true });
  return dataset.totalBytes / MiB / seconds;
}

const nameOf = (run: number): string => `bench-scaling-${run}`;

/** What the worker that has most has, over the mean. */
function largestShare(bucket: string, { objects, objectBytes }: Shape): number {
  const ring = makeRing(workers.map((id) => ({ identity: workerIdentity(id), id })));
  const segments = Math.ceil(objectBytes / segmentBytes);
  const counts = new Map<string, number>();
  for (let object = 0; object < objects; object += 1) {
    for (let index = 0; index < segments; index += 1) {
      const { id } = ring.owners(segmentKey(`s3://${bucket}/${datasetKey(object)}`, index), 1)[0]!;
      counts.set(id, (counts.get(id) ?? 0) + 1);
    }
  }
  return (Math.max(...counts.values()) * workers.length) / (objects * segments);
}
