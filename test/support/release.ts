/** An earlier release as a program that runs, from its stored sample: test/samples/make-release.mjs says how that was made. */
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { projectRoot } from './files.ts';
import { unpackSample } from './sample.ts';

/**
 * Unpacks `release-<name>` into a folder below the project, where it finds the packages, with its addon: built, or that of today
 * where it comes from the same sources. Returns its executable.
 */
export function unpackRelease(name: string, dir: string): string {
  unpackSample(`release-${name}`, dir);
  if (sourcesOf(dir) === sourcesOf(projectRoot))
    cpSync(join(projectRoot, 'native', 'build', 'primed.node'), join(dir, 'native', 'build', 'primed.node'));
  else buildAddon(dir);
  return join(dir, 'dist', 'main.js');
}

function buildAddon(dir: string): void {
  const headers = join(projectRoot, 'node_modules', 'node-api-headers', 'include');
  mkdirSync(join(dir, 'native', 'build'), { recursive: true });
  execFileSync('make', ['-C', join(dir, 'native'), '-s', '-j2', `NAPI_INCLUDE=${headers}`], { stdio: 'inherit' });
}

/** All of them as one text. */
function sourcesOf(root: string): string {
  const paths = ['src', 'napi'].flatMap((part) =>
    readdirSync(join(root, 'native', part))
      .sort()
      .map((file) => join('native', part, file)),
  );
  return ['native/Makefile', ...paths].map((path) => `${path}\0${readFileSync(join(root, path), 'utf8')}`).join('\0');
}
