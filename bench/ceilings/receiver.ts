/** Builds and runs receiver.c, the C program that a load is measured against. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { MiB } from '../../src/core/units.ts';
import type { Dataset } from '../support/dataset.ts';
import { projectRoot, resultsDir } from '../support/workspace.ts';

export interface Transfer {
  readonly bytes: number;
  readonly seconds: number;
  readonly cpuSeconds: number;
}

/** As many connections as a lane keeps busy, so that both sides ask the origin for the same. */
const connections = 16;
const partBytes = 8 * MiB;

let builtPath: string | undefined;

/** Compiles at first use, and again when the source is newer. Throws with the compiler's words. */
function build(): string {
  if (builtPath !== undefined) return builtPath;
  const source = join(projectRoot, 'bench', 'ceilings', 'receiver.c');
  const output = join(resultsDir, 'build', 'receiver');
  if (!existsSync(output) || statSync(output).mtimeMs < statSync(source).mtimeMs) {
    mkdirSync(join(resultsDir, 'build'), { recursive: true });
    const done = spawnSync('cc', ['-O2', '-Wall', '-o', output, source], { encoding: 'utf8' });
    if (done.error)
      throw new Error(
        'cc is not installed; the ceilings need a C compiler (Debian: apt install gcc libc6-dev linux-libc-dev)',
      );
    if (done.status !== 0) throw new Error(`receiver.c does not compile:\n${done.stderr}`);
  }
  builtPath = output;
  return output;
}

/**
 * Receives a dataset once. `file` makes it write: O_DIRECT by io_uring into that file, which is made and allocated
 * before the clock starts, and kept, so that a second run overwrites it as a store is overwritten.
 */
export function runReceiver(order: { port: number; dataset: Dataset; file?: string }): Transfer {
  const mode = order.file === undefined ? ['--mode', 'drop'] : ['--mode', 'write', '--file', order.file];
  const shape = ['--connections', String(connections), '--part-bytes', String(partBytes)];
  const lines = order.dataset.objects.map(({ key, bytes }) => `${bytes} /${order.dataset.bucket}/${key}`);
  const done = spawnSync(build(), ['--port', String(order.port), ...mode, ...shape], {
    input: `${lines.join('\n')}\n`,
    encoding: 'utf8',
    timeout: 600_000,
  });
  if (done.status !== 0) throw new Error(`the C receiver failed: ${done.stderr || done.error}`);
  return JSON.parse(done.stdout) as Transfer;
}
