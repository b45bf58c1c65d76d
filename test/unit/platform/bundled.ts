/**
 * Code that runs outside vitest (worker threads, processes of their own) gets platform as one plain file, bundled as
 * in dist/. The addon is looked for above import.meta.url, which is set to where the source lies.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const platform = new URL('../../../src/platform/', import.meta.url);

/** Bundles platform into `folder`; scripts in the same folder import it as `./platform.mjs`. */
export async function bundlePlatform(folder: string): Promise<void> {
  await build({
    stdin: {
      contents:
        "export * from './index.ts'; export { addon } from './addon.ts'; export { addressOf } from './address.ts';",
      resolveDir: fileURLToPath(platform),
      loader: 'ts',
    },
    outfile: join(folder, 'platform.mjs'),
    bundle: true,
    format: 'esm',
    platform: 'node',
    define: { 'import.meta.url': JSON.stringify(new URL('addon.ts', platform).href) },
    logLevel: 'error',
  });
}

/** Writes a script into `folder` and returns its path. */
export function writeScript(folder: string, name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

export interface Ran {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end; one that does not end within the limit is killed, and has that signal. */
export async function runToEnd(program: string, args: readonly string[]): Promise<Ran> {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], timeout: 30_000, killSignal: 'SIGKILL' });
  const text = { stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (piece: string) => {
    text.stdout += piece;
  });
  child.stderr.setEncoding('utf8').on('data', (piece: string) => {
    text.stderr += piece;
  });
  const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
  return { code, signal, ...text };
}
