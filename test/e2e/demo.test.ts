/** `primed demo` as a user types it: what it shows, and that it leaves nothing behind. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { plainEnvironment } from '../../bench/support/process.ts';
import { run, type Said } from '../support/cli.ts';
import { executable } from '../support/daemon.ts';
import { temporaryFolder } from '../support/files.ts';

let folder: ReturnType<typeof temporaryFolder>;
/** In the environment of the demo and of every process that it starts. */
let mark: string;
let env: Record<string, string>;
let data: string;
beforeEach(() => {
  folder = temporaryFolder('demo');
  mark = `DEMO_OF=${folder.path}`;
  data = join(folder.path, 'data');
  const TMPDIR = join(folder.path, 'tmp');
  for (const dir of [data, TMPDIR]) mkdirSync(dir);
  env = { TMPDIR, DEMO_OF: folder.path };
});
afterEach(() => folder.remove());

function processes(): number[] {
  const marked = (pid: string): boolean => {
    try {
      return readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').includes(mark);
    } catch {
      return false; // it has ended, or is another user's
    }
  };
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && marked(name))
    .map(Number);
}

/** The demo itself, its origin and its daemon. */
const allAtWork = () => expect.poll(processes, { timeout: 30_000, interval: 20 }).toHaveLength(3);
const leftovers = () => readdirSync(folder.path, { recursive: true }).toSorted();

interface Running {
  readonly child: ChildProcess;
  readonly ended: Promise<Said>;
}
function start(args: readonly string[]): Running {
  const child = spawn(process.execPath, [executable, 'demo', ...args], { env: plainEnvironment(env), stdio: 'pipe' });
  const outputs = Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit')]);
  return { child, ended: outputs.then(([stdout, stderr, [code]]) => ({ code, stdout, stderr })) };
}

it('loads, kills, continues and reads back: exit 0, the figures, and nothing left behind', {
  timeout: 180_000,
}, async () => {
  const { ended } = start(['--size', '64MB', '--data', data]);
  await allAtWork();
  const { code, stdout, stderr } = await ended;
  expect([code, stderr], stdout).toEqual([0, '']);
  const line = (name: string) => stdout.split('\n').find((one) => one.startsWith(`  ${name} `)) ?? 'missing';
  expect(line('Loaded')).toMatch(/\d+ files, 64\.0 MiB in [\d.]+ s: [\d.]+ [MG]iB\/s$/);
  expect(line('Verified')).toMatch(/every page read from disk/);
  expect(line('From the origin')).toMatch(/1\.0000 x the dataset$/);
  expect(line('Ledger')).toMatch(/67,108,864 B from the origin = 67,108,864 B cached$/);
  expect(line('Killed with -9')).toMatch(/of 16\.0 MiB; ready again .*, and went on by itself$/);
  expect(line('Cluster')).toMatch(
    /^ {2}Cluster +3 workers: .*, 8\.0 MiB, 2 replicas; node-3 killed with -9 at .*, and the job went on$/,
  );
  expect(stdout).toMatch(/\n {2}From the origin +1\.\d{4} x the dataset for 2 replicas; /);
  expect(stdout).toMatch(
    /\n {2}Read back +24\.0 MiB over S3, all of it through each of 3 workers, .*every SHA-256 right, 0 B from the origin/,
  );
  expect(line('Read back')).toMatch(/80\.0 MiB over S3 .*every SHA-256 right, 0 B from the origin$/);
  expect(stdout).not.toContain('NOT AS PROMISED');
  expect(leftovers()).toEqual(['data', 'tmp']);
  expect(processes()).toEqual([]);
});

it('that is ended in the middle cleans up as well', async () => {
  const { child, ended } = start(['--size', '64MB', '--data', data]);
  await allAtWork();
  expect(leftovers().length).toBeGreaterThan(3);
  child.kill('SIGTERM');
  const { code, stdout } = await ended;
  expect([code, stdout]).toEqual([130, expect.stringMatching(/\nInterrupted\.\n$/)]);
  expect(leftovers()).toEqual(['data', 'tmp']);
  expect(processes()).toEqual([]);
});

const usage = 2;
it.each<[string, () => string[], number, RegExp]>([
  ['of no size', () => ['--size', '0'], usage, /--size is 0 B; the demo needs at least 16\.0 MiB/],
  ['of a size that is none', () => ['--size', 'plenty'], usage, /--size: 'plenty' is not a size/],
  [
    'larger than any disk',
    () => ['--size', '900TB', '--data', data],
    1,
    /needs [\d.]+ GiB on a disk, and found .*data \([\d.]+ .iB free\)/,
  ],
  ['in a folder that is not there', () => ['--data', join(data, 'no')], 1, /no folder it may write to in .*data\/no/],
  [
    'in a folder that nobody may write to',
    () => ['--data', '/proc/self'],
    1,
    /no folder it may write to in \/proc\/self/,
  ],
  ['in a file', () => ['--data', join(data, 'file')], 1, /no folder it may write to in .*data\/file/],
])('%s: a demo that cannot work says why, and is not 0', async (_, argsOf, wanted, reason) => {
  writeFileSync(join(data, 'file'), '');
  const { code, stdout, stderr } = await run(process.execPath, [executable, 'demo', ...argsOf()], env);
  expect([code, stdout + stderr]).toEqual([wanted, expect.stringMatching(reason)]);
  expect(leftovers()).toEqual(['data', 'data/file', 'tmp']);
});
