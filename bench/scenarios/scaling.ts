/** Whether four workers load four times as fast as one, where the link of each is what limits it. */
import { makeRing, segmentKey, workerIdentity } from '../../src/core/ring.ts';
import { MiB } from '../../src/core/units.ts';
import { startNginx } from '../origins/nginx.ts';
import { openNetCluster } from '../support/cluster.ts';
import { datasetKey, makeDataset } from '../support/dataset.ts';
import { insistOnSuccess, progressUntil, submitLoad } from '../support/jobs.ts';
import { whyNoNetwork } from '../support/netns.ts';
import { type Figure, figure, ratioOfRuns, verdict } from '../support/results.ts';
import type { Context, Scenario } from '../support/scenario.ts';

const bitsPerSecond = 400e6;
const objectBytes = 64 * MiB;
const segmentBytes = 16 * MiB;
const workers = ['w1', 'w2', 'w3', 'w4'];
/** Names of buckets that are tried for one whose segments the ring spreads evenly; the first ones say what is usual. */
const namesTried = 100_000;
const usualNames = 101;
/** A run takes two minutes. */
const mostRuns = 3;

export const scaling: Scenario = {
  summary: '4 workers against one, each behind a link of 400 Mbit/s (needs root and network namespaces)',
  async run(context) {
    const { quick, log } = context;
    const runs = Math.min(context.runs, mostRuns);
    const problem = whyNoNetwork();
    if (problem !== undefined) throw new Error(`scaling needs machines of network namespaces: ${problem}`);
    const objects = quick ? 4 : 64;
    const bucket = evenBucket(objects);
    const one: number[] = [];
    const four: number[] = [];
    for (let run = 1; run <= runs; run += 1) {
      log(`run ${run} of ${runs}`);
      four.push(await rateOf(context, { workers, bucket, objects }));
      one.push(await rateOf(context, { workers: workers.slice(0, 1), bucket, objects }));
    }
    const rates = { four: figure('MiB/s', four), one: figure('MiB/s', one) };
    return {
      title: 'Workers behind links of 400 Mbit/s',
      about: `Each process in a network namespace of its own, with the link of each worker shaped to ${bitsPerSecond / 1e6} Mbit/s in both directions (${(bitsPerSecond / 8 / MiB).toFixed(1)} MiB/s, of which headers take 5%), and nginx behind a link without limit. Whole jobs, from the submission to SUCCEEDED, into stores that are empty. The bucket has a name for which the ring gives each worker as many segments as the others, so that the links are compared and not luck; with a usual name the worker with the largest share ends last.`,
      parameters: { objects, objectMiB: objectBytes / MiB, segmentMiB: segmentBytes / MiB, mbitPerSecond: 400 },
      rows: [
        { name: '1 worker', figures: { throughput: rates.one } },
        { name: `${workers.length} workers`, figures: { throughput: rates.four } },
        { name: 'a usual name of a bucket', figures: { 'largest share, of the mean': usualShare(objects) } },
      ],
      verdicts: [verdict('4 workers, against one', ratioOfRuns(rates.four, rates.one), 'x', 'at least', 3.8)],
      notes: [],
    };
  },
};

/** MiB a second. */
async function rateOf(
  { workspace }: Context,
  order: { workers: readonly string[]; bucket: string; objects: number },
): Promise<number> {
  const { bucket, objects: count } = order;
  const root = workspace.folder('origin');
  const dataset = makeDataset({ root, bucket, count, objectBytes, sparse: true });
  const cluster = await openNetCluster({
    folder: workspace.folder('cluster'),
    startOrigin: (machine) => startNginx(workspace, { root, datasets: [dataset], machine }),
    workers: order.workers,
    storeSize: `${dataset.totalBytes / MiB + 256}MB`,
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
  return dataset.totalBytes / MiB / seconds;
}

/** One whose segments are as many on each worker. */
function evenBucket(objects: number): string {
  const ring = ringOfWorkers();
  for (let attempt = 0; attempt < namesTried; attempt += 1) {
    if (largestShare(ring, objects, nameOf(attempt)) === 1) return nameOf(attempt);
  }
  throw new Error(`none of ${namesTried} names of buckets spreads the segments of ${objects} objects evenly`);
}

function usualShare(objects: number): Figure {
  const ring = ringOfWorkers();
  const names = Array.from({ length: usualNames }, (_, attempt) => nameOf(attempt));
  return figure(
    'x',
    names.map((name) => largestShare(ring, objects, name)),
  );
}

const nameOf = (attempt: number): string => `bench-scaling-${attempt}`;

function ringOfWorkers() {
  return makeRing(workers.map((id) => ({ identity: workerIdentity(id), id })));
}

/** Segments of the worker that has most, over the mean. */
function largestShare(ring: ReturnType<typeof ringOfWorkers>, objects: number, bucket: string): number {
  const segments = objectBytes / segmentBytes;
  const counts = new Map<string, number>();
  for (let object = 0; object < objects; object += 1) {
    for (let index = 0; index < segments; index += 1) {
      const { id } = ring.owners(segmentKey(`s3://${bucket}/${datasetKey(object)}`, index), 1)[0]!;
      counts.set(id, (counts.get(id) ?? 0) + 1);
    }
  }
  return (Math.max(...counts.values()) * workers.length) / (objects * segments);
}
