#!/usr/bin/env node
// Builds native/build/primed.node with make and the system's C++ compiler. Only what changed is compiled again.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const headers = join(root, 'node_modules', 'node-api-headers', 'include');
const compiler = process.env.CXX || 'g++';

function fail(message) {
  console.error(`build-native: ${message}`);
  process.exit(1);
}

function runs(program) {
  const [name, ...flags] = program.split(' ');
  return spawnSync(name, [...flags, '--version'], { stdio: 'ignore' }).status === 0;
}

if (process.platform !== 'linux') fail(`the native addon is for Linux; this is ${process.platform}.`);
const missing = ['make', compiler].filter((program) => !runs(program));
if (missing.length > 0) {
  fail(
    `${missing.join(' and ')} cannot be run. The native addon is compiled from source: ` +
      'install a C++ compiler and make (Debian, Ubuntu: `apt install g++ make`), then run `npm run setup` again.',
  );
}
if (!existsSync(join(headers, 'node_api.h'))) fail(`${headers} has no node_api.h; run \`npm ci\` first.`);

const targets = process.argv.slice(2);
const args = ['-C', join(root, 'native'), `-j${availableParallelism()}`, `CXX=${compiler}`, `NAPI_INCLUDE=${headers}`];
const done = spawnSync('make', ['--no-print-directory', '-s', ...args, ...targets], { stdio: 'inherit' });
if (done.error) fail(`make could not be run: ${done.error.message}`);
if (done.status !== 0) fail(`make ${targets.join(' ')} failed; the compiler's lines above name the file.`);
