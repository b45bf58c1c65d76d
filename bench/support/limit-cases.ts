/**
 * Loads in which one resource is slow, and nothing else: what the load says that limits it must be that one. The real
 * executable, on loopback: an origin with faults, a coordinator, two workers that reach each other by ways that can be slow,
 * and system calls and checksums that can be.
 */
import type { Limit, LimitCause } from '../../src/core/limit-causes.ts';
import type { Random } from '../../src/core/types.ts';
import { KiB, MiB } from '../../src/core/units.ts';
import type { SpawnedOrigin } from '../../src/demo/origin/api.ts';
import type { FaultRule } from '../../src/demo/origin/faults.ts';
import { openSlowCalls, type SlowCall, type SlowCalls } from '../faults/slow-calls.ts';
import { type SlowWay, startSlowWay } from '../faults/slow-way.ts';
import { startDemoOrigin } from '../origins/demo.ts';
import { type Cluster, openLocalCluster } from './cluster.ts';
import { insistOnSuccess, type Progress, progressUntil, submitLoad } from './jobs.ts';
import type { Workspace } from './workspace.ts';

export interface LimitStage {
  readonly cluster: Cluster<SpawnedOrigin>;
  readonly calls: SlowCalls;
  readonly ways: readonly SlowWay[];
}

/** Ends what was begun, and resolves with how often it slowed something down. */
type End = () => Promise<number> | number;

export interface LimitCase {
  readonly name: string;
  /** The answer. */
  readonly cause: LimitCause;
  readonly objects: { readonly count: number; readonly sizeBytes: number };
  readonly options?: Readonly<Record<string, string>>;
  /** @param factor how slow, around 1 */
  begin(stage: LimitStage, factor: number): Promise<End> | End;
}

const fault =
  (ruleOf: (factor: number) => FaultRule): LimitCase['begin'] =>
  async ({ cluster: { origin } }, factor) => {
    const id = await origin.setFault(ruleOf(factor));
    return async () => {
      await origin.clearFaults();
      return origin.fired(id);
    };
  };

const slowCall =
  (call: SlowCall, milliseconds: number): LimitCase['begin'] =>
  ({ calls }, factor) => {
    const before = calls.hits(call);
    calls.set(call, Math.round(milliseconds * factor));
    return () => {
      calls.set(call, 0);
      return calls.hits(call) - before;
    };
  };

/** Each lasts for a second or two, nearly all of that because of what is slow. */
export const limitCases: readonly LimitCase[] = [
  {
    ...{ name: 'first byte', cause: 'origin-first-byte', objects: { count: 40, sizeBytes: 32 * KiB } },
    begin: fault((factor) => ({ fault: { kind: 'latency', delayMs: Math.round(300 * factor) } })),
  },
  {
    ...{ name: 'transfer', cause: 'origin-transfer', objects: { count: 16, sizeBytes: 64 * KiB } },
    begin: fault((factor) => ({ fault: { kind: 'drip', bytesPerSecond: Math.round(100_000 / factor) } })),
  },
  {
    ...{ name: '503 SlowDown', cause: 'origin-throttling', objects: { count: 40, sizeBytes: 32 * KiB } },
    begin: fault(() => ({ fault: { kind: 'status', status: 503, retryAfterSeconds: 3 }, every: 2, times: 8 })),
  },
  {
    ...{ name: 'listing', cause: 'scheduler', objects: { count: 8, sizeBytes: 16 * KiB } },
    begin: fault((factor) => ({
      fault: { kind: 'latency', delayMs: Math.round(1500 * factor) },
      operation: ['ListObjectsV2', 'ListObjects'],
    })),
  },
  {
    ...{ name: 'listing throttled', cause: 'origin-throttling', objects: { count: 8, sizeBytes: 16 * KiB } },
    begin: fault(() => ({
      fault: { kind: 'status', status: 503, retryAfterSeconds: 2 },
      operation: 'ListObjectsV2',
      times: 2,
    })),
  },
  {
    ...{ name: 'bandwidth of the job', cause: 'operator-limit', objects: { count: 8, sizeBytes: 256 * KiB } },
    options: { bandwidth: '512KB' },
    begin: () => () => 1,
  },
  {
    ...{ name: 'requests a second', cause: 'operator-limit', objects: { count: 16, sizeBytes: 16 * KiB } },
    async begin({ cluster: { coordinator } }, factor) {
      await limitOrigin(coordinator.api, { requests: Math.max(4, Math.round(10 / factor)) });
      return async () => {
        await limitOrigin(coordinator.api, { reset: true });
        return 1;
      };
    },
  },
  {
    ...{ name: 'disk writes', cause: 'disk', objects: { count: 12, sizeBytes: 2 * MiB } },
    begin: slowCall('write', 500),
  },
  {
    ...{ name: 'disk flushes', cause: 'disk', objects: { count: 24, sizeBytes: 64 * KiB } },
    begin: slowCall('flush', 1500),
  },
  {
    ...{ name: 'index', cause: 'index', objects: { count: 24, sizeBytes: 64 * KiB } },
    begin: slowCall('commit', 1500),
  },
  {
    ...{ name: 'CPU', cause: 'cpu', objects: { count: 40, sizeBytes: 16 * KiB } },
    begin: slowCall('receive', 50),
  },
  {
    // Many calls, of which one in some is timed.
    ...{ name: 'checksums', cause: 'checksum', objects: { count: 96, sizeBytes: 16 * KiB } },
    begin: slowCall('checksum', 20),
  },
  {
    ...{ name: 'copies', cause: 'network', objects: { count: 8, sizeBytes: 128 * KiB } },
    options: { replicas: '2' },
    begin({ ways }, factor) {
      const slow = (): number => ways.reduce((sum, { slowBytes }) => sum + slowBytes, 0);
      const before = slow();
      for (const way of ways) way.setRate(Math.round(100_000 / factor));
      return () => {
        for (const way of ways) way.setRate(0);
        return slow() - before;
      };
    },
  },
];

export interface CaseAnswer {
  /** Largest first; undefined: the load did not say. */
  readonly limits: readonly Limit[] | undefined;
  /** How often, or how much, something was slowed down; 0: the case has proved nothing. */
  readonly slowed: number;
}

/** Everything ends with the workspace. */
export async function openLimitStage(workspace: Workspace): Promise<LimitStage> {
  const calls = openSlowCalls(workspace.folder('calls'));
  workspace.defer(() => calls.close());
  const ways: SlowWay[] = [];
  const cluster = await openLocalCluster({
    folder: workspace.folder('cluster'),
    startOrigin: () => startDemoOrigin(workspace, []),
    workers: ['w1', 'w2'],
    storeSize: '512MB',
    env: {
      ...calls.env,
      PRIMED_WORKER_LANES: '1',
      PRIMED_WORKER_SOCKETS_PER_LANE: '4',
      PRIMED_WORKER_MEMORY_BUDGET: '64MB',
      PRIMED_WORKER_DISK_ENGINE: 'threads',
    },
    async reachedAt(id, httpPort) {
      const host = id === 'w1' ? '127.0.0.2' : '127.0.0.3';
      const way = await startSlowWay({ host, port: httpPort, to: httpPort });
      workspace.defer(() => way.close());
      ways.push(way);
      return host;
    },
  });
  workspace.defer(() => cluster.close());
  // What is done once in the life of a process is no part of any case.
  await cluster.origin.add({ key: 'first/1', sizeBytes: KiB });
  await cluster.origin.add({ key: 'first/2', sizeBytes: KiB });
  await load(cluster.coordinator.api, `s3://${cluster.origin.bucket}/first/`, { replicas: '2' });
  return { cluster, calls, ways };
}

/** One load of the case. @param more how much more there is of it, and how much slower, around 1 */
export async function runLimitCase(
  stage: LimitStage,
  limitCase: LimitCase,
  more: { readonly name: string; readonly objects: number; readonly slower: number },
): Promise<CaseAnswer> {
  const { origin, coordinator } = stage.cluster;
  const { count, sizeBytes } = limitCase.objects;
  const prefix = `${more.name}/`;
  for (let n = 0; n < Math.max(1, Math.round(count * more.objects)); n += 1)
    await origin.add({ key: `${prefix}${n}`, sizeBytes });
  await origin.prepareEtags();
  const path = `s3://${origin.bucket}/${prefix}`;
  const end = await limitCase.begin(stage, more.slower);
  try {
    const progress = await load(coordinator.api, path, limitCase.options);
    return { limits: progress.limitedBy, slowed: await end() };
  } finally {
    await end();
  }
}

/** How much more, and how much slower, between half and twice as much. */
export function variation(random: Random): { objects: number; slower: number } {
  const around = (): number => 2 ** (2 * random() - 1);
  return { objects: around(), slower: around() };
}

async function load(api: string, path: string, options: Readonly<Record<string, string>> = {}): Promise<Progress> {
  await submitLoad(api, path, { skipIfExists: 'true', ...options });
  return insistOnSuccess(path, await progressUntil(api, path, () => false, { limitMs: 120_000 }));
}

async function limitOrigin(api: string, change: object): Promise<void> {
  const answer = await fetch(`${api}/api/v1/ufs/limit`, {
    method: 'PUT',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ path: 's3://demo', ...change }),
    signal: AbortSignal.timeout(30_000),
  });
  if (!answer.ok) throw new Error(`the limit was not set: ${await answer.text()}`);
}
