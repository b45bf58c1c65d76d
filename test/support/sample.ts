/** Data folders as earlier releases have left them: test/samples/make-sample.mjs says how they were made. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { brotliDecompressSync } from 'node:zlib';
import { projectRoot } from './files.ts';

/** Unpacks a sample, `format-5`, into a folder that is made. */
export function unpackSample(name: string, dir: string): void {
  mkdirSync(dir, { recursive: true });
  const tar = brotliDecompressSync(readFileSync(join(projectRoot, 'test', 'samples', `${name}.tar.br`)));
  execFileSync('tar', ['-x', '--sparse', '-C', dir], { input: tar });
}
