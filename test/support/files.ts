/** Where a test keeps files: a folder of its own on a real disk, gone afterwards. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const projectRoot = fileURLToPath(new URL('../..', import.meta.url));

/**
 * A new folder below the project's tmp/ (not in version control). Not the system's: that may be a tmpfs, where O_DIRECT
 * does not work and the path of a byte is another.
 */
export function temporaryFolder(name: string): { readonly path: string; remove(): void } {
  const parent = join(projectRoot, 'tmp');
  mkdirSync(parent, { recursive: true });
  const path = mkdtempSync(join(parent, `${name}-`));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}
