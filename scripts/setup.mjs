#!/usr/bin/env node
// Brings a clone to the state in which it can run: dependencies, the native addon, the bundles in dist/.
// Each step keeps a stamp of what it was made from, so that a repeated run does only what is missing.
// Uses nothing but Node itself, because it runs before anything is installed.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const minimumNode = [20, 19];

function fail(message) {
  console.error(`setup: ${message}`);
  process.exit(1);
}

/** Every file below the given ones, in a stable order. */
function* filesBelow(path) {
  const names = readdirSync(path, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1));
  for (const entry of names) {
    if (entry.name === 'build') continue;
    const child = join(path, entry.name);
    if (entry.isDirectory()) yield* filesBelow(child);
    else yield child;
  }
}

function digest(paths) {
  const hash = createHash('sha256').update(process.version).update(process.arch);
  for (const path of paths) hash.update(path).update('\0').update(readFileSync(path));
  return hash.digest('hex');
}

function step(name, { inputs, output, run }) {
  const stampPath = join(root, 'node_modules', '.primed', `${name}.stamp`);
  const wanted = digest(inputs);
  if (existsSync(output) && existsSync(stampPath) && readFileSync(stampPath, 'utf8') === wanted) return;
  console.error(`setup: ${name}`);
  run();
  mkdirSync(dirname(stampPath), { recursive: true });
  writeFileSync(stampPath, wanted);
}

function command(program, args, hint) {
  const done = spawnSync(program, args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] });
  if (done.error?.code === 'ENOENT') fail(`${program} is not installed. ${hint}`);
  if (done.status !== 0) fail(`${program} ${args.join(' ')} failed. ${hint}`);
}

const [major, minor] = process.versions.node.split('.').map(Number);
if (major < minimumNode[0] || (major === minimumNode[0] && minor < minimumNode[1])) {
  fail(`Node ${minimumNode.join('.')} or newer is needed; this is ${process.versions.node}.`);
}

step('dependencies', {
  inputs: [join(root, 'package.json'), join(root, 'package-lock.json')],
  output: join(root, 'node_modules', 'lmdb'),
  // Not `npm ci`: it refuses a lock file that was written where a registry offers only this platform's optional
  // packages. `--no-save` takes the locked versions all the same, and leaves the lock file as it is.
  run: () => command('npm', ['install', '--no-save', '--no-audit', '--no-fund'], 'The lines above say what is wrong.'),
});

step('native addon', {
  inputs: [...filesBelow(join(root, 'native')), join(root, 'scripts', 'build-native.mjs')],
  output: join(root, 'native', 'build', 'primed.node'),
  run: () => command(process.execPath, [join(root, 'scripts', 'build-native.mjs')], 'See the message above.'),
});

step('build', {
  inputs: [
    ...filesBelow(join(root, 'src')),
    ...filesBelow(join(root, 'bench')),
    join(root, 'scripts', 'bundle.mjs'),
    join(root, 'package.json'),
  ],
  output: join(root, 'dist', 'main.js'),
  run: () => command(process.execPath, [join(root, 'scripts', 'bundle.mjs')], 'The lines above name the file.'),
});
