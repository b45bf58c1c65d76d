/** What every benchmark is given. */
import { statfsSync } from 'node:fs';
import type { Outcome } from './results.ts';
import type { Workspace } from './workspace.ts';

export interface Context {
  readonly workspace: Workspace;
  /** How often each side is measured, in turns. */
  readonly runs: number;
  /** A smaller amount of everything, to see whether it works; never published. */
  readonly quick: boolean;
  /** `--size`: bytes of what the benchmark loads, where it has a choice. */
  readonly sizeBytes: number | undefined;
  log(message: string): void;
}

export interface Scenario {
  readonly summary: string;
  run(context: Context): Promise<Outcome>;
}

/** What the disk below the workspace can still take. */
export function freeDiskBytes(workspace: Workspace): number {
  const { bavail, bsize } = statfsSync(workspace.dir);
  return bavail * bsize;
}
