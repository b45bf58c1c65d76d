/** Builds and runs receiver.c, the C program that a load is measured against. */
import { spawnSync } from 'node:child_process';
import { MiB } from '../../src/core/units.ts';
import type { Dataset } from '../support/dataset.ts';
import { built } from './built.ts';

export interface Transfer {
  readonly bytes: number;
  readonly seconds: number;
  readonly cpuSeconds: number;
}

/** As many connections as a lane keeps busy, so that both sides ask the origin for the same. */
const connections = 16;
const partBytes = 8 * MiB;

/**
 * Receives a dataset once. `file` makes it write: O_DIRECT by io_uring into that file, which is made and allocated
 * before the clock starts, and kept, so that a second run overwrites it as a store is overwritten.
 */
export function runReceiver(order: { port: number; dataset: Dataset; file?: string }): Transfer {
  const mode = order.file === undefined ? ['--mode', 'drop'] : ['--mode', 'write', '--file', order.file];
  const shape = ['--connections', String(connections), '--part-bytes', String(partBytes)];
  const lines = order.dataset.objects.map(({ key, bytes }) => `${bytes} /${order.dataset.bucket}/${key}`);
  const done = spawnSync(built('receiver'), ['--port', String(order.port), ...mode, ...shape], {
    input: `${lines.join('\n')}\n`,
    encoding: 'utf8',
    timeout: 600_000,
  });
  if (done.status !== 0) throw new Error(`the C receiver failed: ${done.stderr || done.error}`);
  return JSON.parse(done.stdout) as Transfer;
}
