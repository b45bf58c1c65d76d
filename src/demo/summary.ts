/** The figures of a demo run, and how they are told. */
import type { Ledger } from '../core/types.ts';
import { discardReasons, ledgerDifference } from '../core/types.ts';
import { GiB } from '../core/units.ts';
import { humanBytes, humanCount, humanRate, humanSeconds } from './human.ts';

export interface LoadFigures {
  readonly files: number;
  readonly bytes: number;
  readonly loadMs: number;
  readonly verifyMs: number;
  readonly loadCpuSeconds: number;
  /** Bytes of objects that the origin sent for this load, by its own count. */
  readonly originBytes: number;
  readonly ledger: Ledger;
}

export interface CrashFigures {
  readonly bytes: number;
  /** What the daemon had reported as durable just before it was killed: never more than what really was. */
  readonly durableBeforeKillBytes: number;
  /** What the origin had sent by then. */
  readonly sentBeforeKillBytes: number;
  /** What it had sent in the end. */
  readonly sentBytes: number;
  /** From the start of the new process to ready. */
  readonly restartMs: number;
  readonly ledger: Ledger;
}

export interface ClusterFigures {
  readonly workers: number;
  readonly replicas: number;
  readonly files: number;
  readonly bytes: number;
  /** Of the worker that was killed. */
  readonly killed: string;
  readonly durableBeforeKillBytes: number;
  /** What that worker had fetched from the origin until then, at most: nothing else can be lost with it. */
  readonly killedHeldBytes: number;
  /** What the origin has sent in the end. */
  readonly sentBytes: number;
  readonly loadMs: number;
  readonly ledger: Ledger;
  /** Through each of the workers. */
  readonly readBackBytes: number;
  readonly readBackMs: number;
  readonly readBackFiles: number;
  readonly originBytesInReadBack: number;
}

export interface DemoFigures {
  readonly load: LoadFigures;
  readonly crash?: CrashFigures;
  readonly cluster?: ClusterFigures;
  readonly diskBytesPerSecond: number;
  readonly diskIsDirect: boolean;
  readonly originBytesPerSecond: number;
  readonly readBackBytes: number;
  readonly readBackMs: number;
  readonly readBackFiles: number;
  /** What the origin sent while everything was read back. */
  readonly originBytesInReadBack: number;
}

/** Bytes that the origin sent more than once. */
export function sentTwiceBytes({ sentBytes, bytes }: { sentBytes: number; bytes: number }): number {
  return Math.max(0, sentBytes - bytes);
}

/**
 * Bytes that cannot have been durable at the kill, by what was known just before, and those that failed on the way:
 * the most that may be sent twice.
 */
export function lostAtKillBytes({ sentBeforeKillBytes, durableBeforeKillBytes, ledger }: CrashFigures): number {
  return Math.max(0, sentBeforeKillBytes - durableBeforeKillBytes) + ledger.discardedBytes.failed;
}

/** What did not hold, in words; empty: everything the demo promises held. */
export function brokenPromises(figures: DemoFigures): string[] {
  const broken: string[] = [];
  const { load, crash } = figures;
  if (ledgerDifference(load.ledger) !== 0)
    broken.push(`the ledger of the load does not balance: ${ledgerLine(load.ledger)}`);
  if (load.ledger.cachedBytes !== load.bytes) broken.push(`${load.ledger.cachedBytes} bytes cached of ${load.bytes}`);
  if (figures.originBytesInReadBack > 0) {
    broken.push(`reading back took ${humanBytes(figures.originBytesInReadBack)} from the origin`);
  }
  if (figures.cluster !== undefined) broken.push(...brokenByCluster(figures.cluster));
  if (crash === undefined) return broken;
  if (ledgerDifference(crash.ledger) !== 0) {
    broken.push(`the ledger of the killed load does not balance: ${ledgerLine(crash.ledger)}`);
  }
  if (sentTwiceBytes(crash) > lostAtKillBytes(crash)) {
    const [twice, lost] = [humanBytes(sentTwiceBytes(crash)), humanBytes(lostAtKillBytes(crash))];
    broken.push(`${twice} were fetched twice, but only ${lost} can have been lost by the kill`);
  }
  return broken;
}

function brokenByCluster(cluster: ClusterFigures): string[] {
  const { ledger, bytes, replicas, killed, killedHeldBytes, originBytesInReadBack } = cluster;
  const broken: string[] = [];
  if (ledgerDifference(ledger) !== 0) broken.push(`the ledger of the cluster does not balance: ${ledgerLine(ledger)}`);
  if (ledger.cachedBytes !== bytes * replicas)
    broken.push(`the cluster holds ${ledger.cachedBytes} bytes, and ${replicas} replicas are ${bytes * replicas}`);
  if (sentTwiceBytes(cluster) > killedHeldBytes) {
    const [twice, held] = [humanBytes(sentTwiceBytes(cluster)), humanBytes(killedHeldBytes)];
    broken.push(`${twice} were fetched twice, but ${killed} had fetched only ${held} when it was killed`);
  }
  if (originBytesInReadBack > 0)
    broken.push(`reading back from the cluster took ${humanBytes(originBytesInReadBack)} from the origin`);
  return broken;
}

export function summaryLines(figures: DemoFigures): string[] {
  const { load, crash } = figures;
  const rate = (load.bytes / load.loadMs) * 1000;
  const share = (ceiling: number) => `${Math.round((100 * rate) / ceiling)}%`;
  const disk = figures.diskIsDirect
    ? 'O_DIRECT writes'
    : 'buffered writes and a sync; this file system has no O_DIRECT';
  const lines = [
    [
      'Loaded',
      `${humanCount(load.files)} files, ${humanBytes(load.bytes)} in ${humanSeconds(load.loadMs)}: ${humanRate(rate)}`,
    ],
    ['Of the disk', `${share(figures.diskBytesPerSecond)} of ${humanRate(figures.diskBytesPerSecond)} (${disk})`],
    [
      'Of the origin',
      `${share(figures.originBytesPerSecond)} of ${humanRate(figures.originBytesPerSecond)} (large ranges, read and dropped)`,
    ],
    ['CPU of the daemon', `${((load.loadCpuSeconds * GiB) / load.bytes).toFixed(2)} CPU-seconds a GiB`],
    ['Verified', `every page read from disk and checked in ${humanSeconds(load.verifyMs)}`],
    ['From the origin', `${(load.originBytes / load.bytes).toFixed(4)} x the dataset`],
    ['Ledger', ledgerLine(load.ledger)],
  ];
  if (crash !== undefined) {
    lines.push(
      [
        'Killed with -9',
        `at ${humanBytes(crash.durableBeforeKillBytes)} durable of ${humanBytes(crash.bytes)}; ready again after ${humanSeconds(crash.restartMs)}, and went on by itself`,
      ],
      [
        'Fetched twice',
        `${humanBytes(sentTwiceBytes(crash))}; not yet durable at the kill: at most ${humanBytes(lostAtKillBytes(crash))}`,
      ],
      ['Its ledger', ledgerLine(crash.ledger)],
    );
  }
  lines.push([
    'Read back',
    `${humanCount(figures.readBackFiles)} files, ${humanBytes(figures.readBackBytes)} over S3 in ${humanSeconds(figures.readBackMs)}, every SHA-256 right, ${humanBytes(figures.originBytesInReadBack)} from the origin`,
  ]);
  if (figures.cluster !== undefined) lines.push(...clusterLines(figures.cluster));
  const width = Math.max(...lines.map(([name]) => name!.length));
  return lines.map(([name, text]) => `  ${name!.padEnd(width)}  ${text}`);
}

function clusterLines(cluster: ClusterFigures): [string, string][] {
  const { workers, replicas, files, bytes, killed, durableBeforeKillBytes, sentBytes, ledger } = cluster;
  const twice = sentTwiceBytes(cluster);
  const times = `${(sentBytes / bytes).toFixed(4)} x the dataset for ${replicas} replicas`;
  return [
    [
      'Cluster',
      `${workers} workers: ${humanCount(files)} files, ${humanBytes(bytes)}, ${replicas} replicas; ${killed} killed with -9 at ${humanBytes(durableBeforeKillBytes)}, and the job went on`,
    ],
    [
      'From the origin',
      `${times}; ${twice === 0 ? 'nothing' : `${humanBytes(twice)}, lost with ${killed},`} fetched twice`,
    ],
    ['Its ledger', ledgerLine(ledger)],
    [
      'Read back',
      `${humanBytes(cluster.readBackBytes)} over S3, all of it through each of ${workers} workers, in ${humanSeconds(cluster.readBackMs)}, every SHA-256 right, ${humanBytes(cluster.originBytesInReadBack)} from the origin`,
    ],
  ];
}

function ledgerLine(ledger: Ledger): string {
  const discarded = discardReasons.filter((reason) => ledger.discardedBytes[reason] > 0);
  const parts = discarded.map((reason) => ` + ${humanCount(ledger.discardedBytes[reason])} B discarded (${reason})`);
  const open = ledgerDifference(ledger);
  const rest = open === 0 ? '' : `, ${humanCount(open)} B unaccounted for`;
  const peers = ledger.peerBytes === 0 ? '' : ` + ${humanCount(ledger.peerBytes)} B from workers`;
  return `${humanCount(ledger.originBytes)} B from the origin${peers} = ${humanCount(ledger.cachedBytes)} B cached${parts.join('')}${rest}`;
}
