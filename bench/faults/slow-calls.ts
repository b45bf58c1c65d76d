/**
 * Makes calls of daemons slow while they run: of the disk, of the index, of a lane's share of a core (slow-calls.c), and of
 * checksums (slow-checksums.cjs).
 */
import { spawnSync } from 'node:child_process';
import { closeSync, openSync, readSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { projectRoot } from '../support/workspace.ts';

/** In the order of slow-calls.c. */
const kinds = ['write', 'flush', 'commit', 'receive', 'checksum'] as const;
export type SlowCall = (typeof kinds)[number];

export interface SlowCalls {
  /** With it a daemon is under control. */
  readonly env: Readonly<Record<string, string>>;
  /** From now on; 0: as fast as they are. */
  set(call: SlowCall, milliseconds: number): void;
  /** How often calls of the kind were made slow. */
  hits(call: SlowCall): number;
  close(): void;
}

/** Compiles the library into `folder`. Throws with the compiler's words. */
export function openSlowCalls(folder: string): SlowCalls {
  const library = join(folder, 'slow-calls.so');
  const source = join(projectRoot, 'bench', 'faults', 'slow-calls.c');
  const done = spawnSync('cc', ['-O2', '-Wall', '-shared', '-fPIC', '-o', library, source, '-ldl'], {
    encoding: 'utf8',
  });
  if (done.status !== 0) throw new Error(`slow-calls.c does not compile: ${done.error?.message ?? done.stderr}`);
  const preloaded = join(projectRoot, 'bench', 'faults', 'slow-checksums.cjs');
  const path = join(folder, 'slow-calls');
  writeFileSync(path, Buffer.alloc(2 * kinds.length * 4));
  const file = openSync(path, 'r+');
  const cell = Buffer.alloc(4);
  return {
    env: { LD_PRELOAD: library, SLOW_CALLS: path, NODE_OPTIONS: `--require ${JSON.stringify(preloaded)}` },
    set(call, milliseconds) {
      cell.writeUInt32LE(milliseconds * 1000);
      writeSync(file, cell, 0, 4, kinds.indexOf(call) * 4);
    },
    hits(call) {
      readSync(file, cell, 0, 4, (kinds.length + kinds.indexOf(call)) * 4);
      return cell.readUInt32LE();
    },
    close: () => closeSync(file),
  };
}
