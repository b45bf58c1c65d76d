/**
 * An upgrade of what lies on disk, killed: it is the old database or the new one, and the next start goes on. By the stored
 * sample of the format before, in real processes that SIGKILL ends at each step of it.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { build } from 'esbuild';
import { open } from 'lmdb';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { upgradeJobStore } from '../../src/cluster/upgrade-job-store.ts';
import { seededRandom } from '../../src/core/random.ts';
import { upgradeIndex } from '../../src/store/upgrade-index.ts';
import { projectRoot, temporaryFolder } from '../support/files.ts';
import { withoutLinks } from '../support/no-links.ts';
import { unpackSample } from '../support/sample.ts';

const folder = temporaryFolder('upgrade-killed');
const sample = join(folder.path, 'sample');
/** Below the project, so that the packages are found. */
const script = join(folder.path, 'upgrade-child.mjs');
let copies = 0;

beforeAll(async () => {
  unpackSample('format-5', sample);
  await build({
    ...{ absWorkingDir: projectRoot, entryPoints: ['test/support/upgrade-child.ts'], outfile: script },
    ...{ bundle: true, format: 'esm', platform: 'node', target: 'node20.19', packages: 'external', logLevel: 'error' },
  });
});
afterAll(() => folder.remove());

function copyOf(from: string): string {
  copies += 1;
  const dir = join(folder.path, `copy-${copies}`);
  for (const part of ['index', 'jobs']) cpSync(join(from, part), join(dir, part), { recursive: true });
  return dir;
}

function start(dir: string, which: string, point: string, env = process.env): ChildProcess {
  return fork(script, [dir, which, point], { env, stdio: ['ignore', 'pipe', 'inherit', 'ipc'] });
}

async function textOf({ stdout }: ChildProcess): Promise<string> {
  return text(stdout!);
}

/** In this process, to the end. Resolves with what the log was told. */
async function upgraded(dir: string, which: string): Promise<string[]> {
  const said: string[] = [];
  const say = (_facts: object, message: string): void => void said.push(message);
  const watch = { log: { debug: say, info: say, warn: say, error: say } };
  await (which === 'index' ? upgradeIndex(join(dir, which), watch) : upgradeJobStore(join(dir, which), watch));
  return said;
}

/** Every row of every table, as bytes. */
async function rowsOf(dir: string): Promise<string[]> {
  const root = open({ path: dir, maxDbs: 12, readOnly: true });
  const rows: string[] = [];
  try {
    for (const table of Array.from(root.getKeys() as Iterable<string>)) {
      const options = { name: table, encoding: 'binary', keyEncoding: 'binary' } as const;
      for (const { key, value } of root.openDB<Buffer, Uint8Array>(options).getRange())
        rows.push(`${table} ${Buffer.from(key).toString('hex')} ${value.toString('hex')}`);
    }
  } finally {
    await root.close();
  }
  return rows;
}

test.each([
  ['index', 'index', true],
  ['jobs', 'job store', true],
  ['index', 'index', false],
  ['jobs', 'job store', false],
])(
  '%s: killed at any step, the %s is the old or the new one, and the next start makes it new (hard links: %s)',
  async (which, _what, links) => {
    const old = readFileSync(join(sample, which, 'data.mdb'));
    const whole = copyOf(sample);
    expect(await upgraded(whole, which)).toHaveLength(2);
    expect(await upgraded(whole, which)).toEqual([]);
    const wanted = await rowsOf(join(whole, which));
    expect(wanted.length).toBeGreaterThan(5);
    expect(readFileSync(join(whole, which, 'before-upgrade.mdb')).equals(old)).toBe(true);
    const env = { ...process.env, ...(links ? {} : withoutLinks(folder.path)) };
    for (const point of ['begun', 'copied', 'linked', 'renamed']) {
      const dir = copyOf(sample);
      // What an upgrade has left that was killed while it copied.
      if (!links) writeFileSync(join(dir, which, 'before-upgrade.new'), old.subarray(0, 5000));
      const child = start(dir, which, point, env);
      const said = textOf(child);
      expect([point, await once(child, 'exit')]).toEqual([point, [null, 'SIGKILL']]);
      const kept = point === 'linked' || point === 'renamed';
      expect([point, (await said).includes('it cannot have a second name here')]).toEqual([point, kept && !links]);
      expect(existsSync(join(dir, which, 'before-upgrade.mdb'))).toBe(kept);
      if (kept) expect(readFileSync(join(dir, which, 'before-upgrade.mdb')).equals(old)).toBe(true);
      const isOld = readFileSync(join(dir, which, 'data.mdb')).equals(old);
      expect([point, isOld]).toEqual([point, point !== 'renamed']);
      if (!isOld) expect(await rowsOf(join(dir, which))).toEqual(wanted);
      await upgraded(dir, which);
      expect(await rowsOf(join(dir, which))).toEqual(wanted);
      for (const left of ['upgrading.mdb', 'before-upgrade.new'])
        expect(existsSync(join(dir, which, left))).toBe(false);
    }
  },
);

test('one that cannot be made leaves the old one, and says why', async () => {
  const dir = copyOf(sample);
  const old = readFileSync(join(dir, 'index', 'data.mdb'));
  mkdirSync(join(dir, 'index', 'before-upgrade.mdb'));
  const failed = upgraded(dir, 'index');
  await expect(failed).rejects.toMatchObject({ code: 'STORE_IO', facts: { from: 5, format: 6 } });
  await expect(failed).rejects.toThrow(/before-upgrade\.mdb.*It is as it was\. Look into the kernel log/);
  expect(readFileSync(join(dir, 'index', 'data.mdb')).equals(old)).toBe(true);
});

test('killed again and again at steps in random order, it is new in the end', async () => {
  const random = seededRandom(11);
  const whole = copyOf(sample);
  await upgraded(whole, 'index');
  const dir = copyOf(sample);
  for (let turn = 0; turn < 5; turn += 1) {
    const point = ['begun', 'copied', 'linked'][Math.floor(random() * 3)]!;
    expect(await once(start(dir, 'index', point), 'exit')).toEqual([null, 'SIGKILL']);
  }
  await upgraded(dir, 'index');
  expect(await rowsOf(join(dir, 'index'))).toEqual(await rowsOf(join(whole, 'index')));
});
