/** Builds and runs reader.c, the client by which serving is measured. */
import { spawn, spawnSync } from 'node:child_process';
import { text } from 'node:stream/consumers';
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
  /** Requests a second that are due, whatever became of those before. Undefined: each connection asks again at once. */
  readonly rate?: number;
}

export interface Reading extends Transfer {
  readonly requests: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly clientCpuSeconds: number;
}

/** `cpuSeconds` are the servers'. Throws with the words of the client where an answer is not what it should be. */
export function runReader(order: ReadOrder): Reading {
  const cpuBefore = cpuOf(order);
  const { status, stdout, stderr, error } = spawnSync(built('reader'), wordsOf(order), {
    ...{ input: inputOf(order), encoding: 'utf8', timeout: limitMs },
  });
  if (status !== 0) throw new Error(`the reader failed: ${stderr || error}`);
  return reading(stdout, cpuOf(order) - cpuBefore);
}

/** The same, while something else goes on. @param by what the command line begins with */
export async function readMeanwhile(order: ReadOrder, by: readonly string[] = []): Promise<Reading> {
  const cpuBefore = cpuOf(order);
  const [command, ...words] = [...by, built('reader'), ...wordsOf(order)];
  const client = spawn(command!, words, { stdio: ['pipe', 'pipe', 'pipe'], timeout: limitMs });
  const status = new Promise<number | null>((resolve, reject) => {
    client.once('error', reject);
    client.once('close', resolve);
  });
  client.stdin.end(inputOf(order));
  const [stdout, stderr] = await Promise.all([text(client.stdout), text(client.stderr)]);
  if ((await status) !== 0) throw new Error(`the reader failed: ${stderr}`);
  return reading(stdout, cpuOf(order) - cpuBefore);
}

const limitMs = 600_000;

function wordsOf(order: ReadOrder): string[] {
  return [
    ...['--port', String(order.port)],
    ...['--connections', String(order.connections)],
    ...['--requests', String(order.requests)],
    ...['--order', order.order ?? 'sequential'],
    ...['--method', order.method ?? 'GET'],
    ...(order.rangeBytes === undefined ? [] : ['--range-bytes', String(order.rangeBytes)]),
    ...(order.rate === undefined ? [] : ['--rate', String(order.rate)]),
  ];
}

function inputOf({ objects, bucket }: ReadOrder): string {
  return `${objects.map(({ key, bytes }) => `${bytes} /${bucket}/${key}`).join('\n')}\n`;
}

function cpuOf({ servers }: ReadOrder): number {
  return servers.reduce((sum, pid) => sum + cpuSecondsOf(pid), 0);
}

function reading(stdout: string, cpuSeconds: number): Reading {
  const said = JSON.parse(stdout) as Omit<Reading, 'clientCpuSeconds'>;
  return { ...said, clientCpuSeconds: said.cpuSeconds, cpuSeconds };
}
