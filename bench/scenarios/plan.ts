/** What a plan of a million keys takes beyond listing them, and what memory: nothing is loaded. */
import { MiB } from '../../src/core/units.ts';
import { openOrigins } from '../../src/origin/origins.ts';
import { clusterCredentials } from '../support/cluster.ts';
import { openListedCluster, listedPath as path, listedWorkers as workers } from '../support/listed-cluster.ts';
import { cpuSecondsOf, memoryOf } from '../support/process.ts';
import { figure, ratioOfRuns, verdict } from '../support/results.ts';
import type { Scenario } from '../support/scenario.ts';

export const plan: Scenario = {
  summary: 'a plan of a million keys over 4 workers, beside their listing (--size N: keys)',
  async run({ workspace, quick, runs, sizeBytes, log }) {
    const keys = sizeBytes ?? (quick ? 100_000 : 1_000_000);
    const { origin, cluster } = await openListedCluster(workspace, keys);
    const { api, pid } = cluster.coordinator;
    const planned: number[] = [];
    const listed: number[] = [];
    const cpu: number[] = [];
    const idle = memoryOf(pid);
    for (let run = 0; run <= runs; run += 1) {
      const list = await listingSeconds(origin.endpoint, keys);
      const cpuBefore = cpuSecondsOf(pid);
      const plan = await planSeconds(api, keys);
      log(`listed in ${list.toFixed(2)} s, planned in ${plan.toFixed(2)} s`);
      // The first one meets cold code on both sides.
      if (run === 0) continue;
      listed.push(list);
      planned.push(plan);
      cpu.push(cpuSecondsOf(pid) - cpuBefore);
    }
    const peak = memoryOf(pid);
    const [planning, listing] = [figure('s', planned), figure('s', listed)];
    const ratio = ratioOfRuns(planning, listing);
    return {
      title: 'A plan of a million keys',
      about:
        'In turns: the listing alone, by the client that the coordinator has, with the next page asked for before one is looked at; and the plan of a load of the same keys, from the request to the answer. The origin makes its pages on the spot, some milliseconds each, so that the work of the coordinator shows; an origin across a network takes longer for each.',
      parameters: { keys, workers: workers.length, runs },
      rows: [
        { name: 'listing alone', figures: { duration: listing } },
        { name: 'plan', figures: { duration: planning, 'CPU of the coordinator': figure('s', cpu) } },
        {
          name: 'memory of the coordinator',
          figures: {
            peak: figure('MiB', [peak.peakBytes / MiB]),
            'before it': figure('MiB', [idle.residentBytes / MiB]),
          },
        },
      ],
      verdicts: [
        verdict(`Plan of ${keys.toLocaleString('en-US')} keys, of the listing time`, ratio, 'x', 'at most', 1.1),
        verdict('Peak memory of the coordinator', peak.peakBytes / MiB, 'MiB', 'at most', 512),
      ],
      notes: [],
    };
  },
};

async function listingSeconds(endpoint: string, keys: number): Promise<number> {
  const origins = openOrigins({
    ufs: [{ prefix: 's3://', endpoint, region: 'us-east-1', anonymous: false, pathStyle: true, ...clusterCredentials }],
    timeouts: { connectMs: 5_000, firstByteMs: 30_000, stallMs: 30_000 },
    retry: { attempts: 1 },
    log: { debug() {}, info() {}, warn() {}, error() {} },
  });
  const startedMs = performance.now();
  try {
    const { path: prefix } = origins.resolve(path);
    let count = 0;
    const ask = (after?: string) => origins.list(prefix, { maxKeys: 1000, ...(after === undefined ? {} : { after }) });
    for (let coming: ReturnType<typeof ask> | undefined = ask(); coming !== undefined; ) {
      const { entries, next }: Awaited<ReturnType<typeof ask>> = await coming;
      coming = next === undefined ? undefined : ask(next);
      count += entries.length;
    }
    if (count !== keys) throw new Error(`${count} of ${keys} keys were listed`);
    return (performance.now() - startedMs) / 1000;
  } finally {
    await origins.close();
  }
}

async function planSeconds(api: string, keys: number): Promise<number> {
  const startedMs = performance.now();
  const answer = await fetch(`${api}/api/v1/master/plan_job/load`, {
    method: 'POST',
    signal: AbortSignal.timeout(1_800_000),
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ path }),
  });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`the plan was answered ${answer.status}: ${text}`);
  const { listing } = JSON.parse(text) as { listing: { files: number } };
  if (listing.files !== keys) throw new Error(`${listing.files} of ${keys} keys were planned`);
  return (performance.now() - startedMs) / 1000;
}
