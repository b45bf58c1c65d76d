/**
 * Where a benchmark works, and what it leaves behind: nothing. One temporary folder on a real disk (O_DIRECT does not
 * work on tmpfs, so not $TMPDIR), and a stack of things to undo, which is run at the end, on an error and on a signal.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The bundler moves this module about, so the project's folder is looked for, not counted in `..`. */
function findProjectRoot(): string {
  for (let dir = dirname(fileURLToPath(import.meta.url)); dir !== dirname(dir); dir = dirname(dir)) {
    try {
      if (JSON.parse(readFileSync(join(dir, 'package.json'), 'utf8')).name === 'primed') return dir;
    } catch {
      // no package.json here: one folder up
    }
  }
  throw new Error('the project folder was not found above this file');
}

export const projectRoot = findProjectRoot();
export const resultsDir = join(projectRoot, 'bench-results');

export interface Workspace {
  readonly dir: string;
  /** An empty folder of its own below `dir`. */
  folder(name: string): string;
  /** Runs `undo` when the workspace closes; the last one first. */
  defer(undo: () => Promise<void> | void): void;
  close(): Promise<void>;
}

/** `parent` must lie on the device that is to be measured. */
export function openWorkspace(parent: string = resultsDir): Workspace {
  mkdirSync(parent, { recursive: true });
  const dir = mkdtempSync(join(parent, 'work-'));
  const undoing: (() => Promise<void> | void)[] = [() => rmSync(dir, { recursive: true, force: true })];
  let folders = 0;
  return {
    dir,
    folder(name) {
      folders += 1;
      const path = join(dir, `${name}-${folders}`);
      mkdirSync(path, { recursive: true });
      return path;
    },
    defer: (undo) => void undoing.push(undo),
    async close() {
      for (let undo = undoing.pop(); undo !== undefined; undo = undoing.pop()) await undo();
    },
  };
}
