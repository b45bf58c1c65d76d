/** The disk alone: fio, sequential, O_DIRECT by io_uring, into or from a file that it keeps between runs. */
import { execFileSync } from 'node:child_process';
import { MiB } from '../../src/core/units.ts';
import { hasProgram } from '../support/process.ts';
import type { Transfer } from './receiver.ts';

/** Undefined where fio is not installed. */
export function runFio(order: {
  file: string;
  bytes: number;
  direction: 'read' | 'write';
  depth?: number;
  blockBytes?: number;
}): Transfer | undefined {
  if (!hasProgram('fio')) return undefined;
  const words = [
    '--name=ceiling',
    `--filename=${order.file}`,
    `--rw=${order.direction}`,
    `--size=${order.bytes}`,
    `--bs=${order.blockBytes ?? 8 * MiB}`,
    `--iodepth=${order.depth ?? 8}`,
    '--ioengine=io_uring',
    '--direct=1',
    '--fallocate=posix',
    // Written over, not made anew: a store file is not truncated between loads either.
    '--overwrite=0',
    '--end_fsync=1',
    '--output-format=json',
  ];
  const report = JSON.parse(
    execFileSync('fio', words, { encoding: 'utf8', timeout: 600_000, maxBuffer: 1 << 26 }),
  ) as FioReport;
  const job = report.jobs[0]!;
  const seconds = job.job_runtime / 1000;
  return {
    bytes: job[order.direction].io_bytes,
    // `runtime` of the direction stops before the last fsync; the job's run time holds it.
    seconds,
    cpuSeconds: ((job.usr_cpu + job.sys_cpu) / 100) * seconds,
  };
}

interface FioReport {
  readonly jobs: readonly {
    readonly job_runtime: number;
    readonly usr_cpu: number;
    readonly sys_cpu: number;
    readonly read: { readonly io_bytes: number };
    readonly write: { readonly io_bytes: number };
  }[];
}
