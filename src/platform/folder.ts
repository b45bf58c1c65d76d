/** Folders. Node's own `mkdir -p` never returns below a file system that refuses new entries with ENOENT, as /proc does. */
import { mkdirSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { PrimedError } from '../core/errors.ts';

/**
 * Makes a folder, and those above it that are missing.
 * @throws PrimedError STORE_IO naming the folder and what the operating system said.
 */
export function makeFolder(path: string): void {
  const missing: string[] = [];
  let at = resolve(path);
  for (; statSync(at, { throwIfNoEntry: false }) === undefined; at = dirname(at)) missing.unshift(at);
  for (const folder of missing) {
    try {
      mkdirSync(folder);
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      // somebody else made it at the same moment
      if (code === 'EEXIST') continue;
      const advice = 'choose another folder, or give the user of the daemon the right to write there';
      throw new PrimedError('STORE_IO', `the folder ${folder} cannot be made: ${code ?? message}; ${advice}`, {
        folder,
      });
    }
  }
}
