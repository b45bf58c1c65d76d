/** Builds and runs reader.c, the client by which serving is measured. */
import { spawnSync } from 'node:child_process';
import type { DatasetObject } from '../support/dataset.ts';
import { cpuSecondsOf } from '../support/process.ts';
import { built } from './built.ts';
import type { Transfer } from './receiver.ts';

export interface ReadOrder {
  readonly port: number;
  /** Whose CPU is counted: all processes that answer. */
  readonly servers: readonly number[];
  readonly bucket: string;
  readonly objects: readonly DatasetObject[];
  readonly connections: number;
  readonly requests: number;
  /** Undefined: whole objects. */
  readonly rangeBytes?: number;
  readonly order?: 'sequential' | 'random';
  readonly method?: 'GET' | 'HEAD';
}

export interface Reading extends Transfer {
  readonly requests: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly clientCpuSeconds: number;
}

/** `cpuSeconds` are the servers'. Throws with the words of the client where an answer is not what it should be. */
export function runReader(order: ReadOrder): Reading {
  const words = [
    ...['--port', String(order.port)],
    ...['--connections', String(order.connections)],
    ...['--requests', String(order.requests)],
    ...['--order', order.order ?? 'sequential'],
    ...['--method', order.method ?? 'GET'],
    ...(order.rangeBytes === undefined ? [] : ['--range-bytes', String(order.rangeBytes)]),
  ];
  const lines = order.objects.map(({ key, bytes }) => `${bytes} /${order.bucket}/${key}`);
  const cpu = (): number => order.servers.reduce((sum, pid) => sum + cpuSecondsOf(pid), 0);
  const before = cpu();
  const done = spawnSync(built('reader'), words, {
    input: `${lines.join('\n')}\n`,
    encoding: 'utf8',
    timeout: 600_000,
  });
  if (done.status !== 0) throw new Error(`the reader failed: ${done.stderr || done.error}`);
  const said = JSON.parse(done.stdout) as Omit<Reading, 'clientCpuSeconds'>;
  return { ...said, clientCpuSeconds: said.cpuSeconds, cpuSeconds: cpu() - before };
}
