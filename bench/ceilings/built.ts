/** The C programs of this folder, compiled at first use, and again when a source is newer. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { projectRoot, resultsDir } from '../support/workspace.ts';

/** Where the program is. Throws with the compiler's words. */
export function built(name: 'receiver' | 'reader'): string {
  const folder = join(projectRoot, 'bench', 'ceilings');
  const source = join(folder, `${name}.c`);
  const sources = [source, join(folder, 'common.h')];
  const output = join(resultsDir, 'build', name);
  if (existsSync(output) && sources.every((one) => statSync(output).mtimeMs >= statSync(one).mtimeMs)) return output;
  mkdirSync(join(resultsDir, 'build'), { recursive: true });
  const done = spawnSync('cc', ['-O2', '-Wall', '-o', output, source], { encoding: 'utf8' });
  if (done.error)
    throw new Error(
      'cc is not installed; the ceilings need a C compiler (Debian: apt install gcc libc6-dev linux-libc-dev)',
    );
  if (done.status !== 0) throw new Error(`${name}.c does not compile:\n${done.stderr}`);
  return output;
}
