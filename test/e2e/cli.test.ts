import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { KiB, MiB } from '../../src/core/units.ts';
import { contentAt } from '../../src/demo/origin/content.ts';
import { ended, loaded } from '../support/api.ts';
import { primed, run, runBytes, type Said } from '../support/cli.ts';
import { executable } from '../support/daemon.ts';
import { projectRoot } from '../support/files.ts';
import { smallDataset } from '../support/origin.ts';
import { openScene, type Scene } from '../support/scene.ts';

const path = 's3://demo/data/';
let scene: Scene;
const cli = (...args: string[]): Promise<Said> => primed(scene.daemon.api, args);

beforeAll(async () => {
  scene = await openScene();
});
afterAll(() => scene?.close());

describe('primed job load', () => {
  it('submits, and says the id', async () => {
    const said = await cli('job', 'load', path, '--submit');
    expect(said).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^Load 's3:\/\/demo\/data\/' is successfully submitted\. JobId: [0-9a-f-]{36}\n$/),
    });
    // the next submission has other options, and would be refused while this one runs
    await ended(scene.daemon.api, path);
  });

  it('follows to the end, reports, and exits 0; plain lines without a terminal', async () => {
    const said = await cli('job', 'load', path, '--verify', '--batch-size', '4');
    expect(said.code).toBe(0);
    expect(said.stdout).toContain(
      `Progress for loading path '${path}':\n\tSettings:\tbandwidth: unlimited\tverify: true\n\tJob State: SUCCEEDED\n`,
    );
    expect(said.stdout + said.stderr).not.toContain('\u001b');
    await scene.readBack(smallDataset);
  });

  it('has no workers to list where a daemon is both, and says where to look', async () => {
    const said = await cli('worker', 'list');
    expect([said.code, said.stdout]).toEqual([1, '']);
    expect(said.stderr).toMatch(/only the coordinator of a cluster tells of workers; `primed top` shows/);
  });

  it('shows progress as TEXT and JSON', async () => {
    const text = await cli('job', 'load', path, '--progress');
    expect(text).toMatchObject({ code: 0, stdout: expect.stringContaining('\tFiles Failed: 0\n') });
    const json = await cli('job', 'load', '--path', path, '--progress', '--format', 'JSON', '--verbose');
    expect(json.code).toBe(0);
    expect(JSON.parse(json.stdout)).toMatchObject({ mJobState: 'SUCCEEDED', mVerbose: true });
  });

  it('stops a running one, and joins it before', async () => {
    scene.origin.add({ key: 'slow/x.bin', sizeBytes: 40 * MiB });
    scene.origin.setKnobs({ bytesPerSecond: 4 * MiB });
    const slow = 's3://demo/slow/';
    const id = /JobId: (.*)\n/.exec((await cli('job', 'load', slow, '--submit')).stdout)![1];
    expect((await cli('job', 'load', slow, '--submit')).stdout).toBe(`Load already running for path '${slow}'\n`);
    const conflict = await cli('job', 'load', slow, '--submit', '--skip-if-exists');
    expect(conflict).toMatchObject({ code: 1, stderr: expect.stringContaining('skipIfExists') });
    const running = await cli('job', 'list', '--job-state', 'RUNNING');
    expect(running.stdout).toContain(id);
    expect(await cli('job', 'load', slow, '--stop')).toMatchObject({
      code: 0,
      stdout: `Load '${slow}' is successfully stopped.\n`,
    });
    expect(await cli('job', 'load', slow, '--stop')).toMatchObject({
      code: 4,
      stdout: `Cannot find load job for path ${slow}, it might have already been stopped or finished\n`,
    });
    scene.origin.setKnobs({ bytesPerSecond: 0 });
    expect((await cli('job', 'list', '--job-type', 'load', '--job-state', 'STOPPED')).stdout).toContain(id);
  });

  it.each([
    ['its output', '| true'],
    ['its notes', '2>&1 >/dev/null | true'],
  ])('does not mind a reader that leaves %s', async (_what, reader) => {
    const line = `"$0" "$1" job load "$2" --verify ${reader}; echo "\${PIPESTATUS[0]}"`;
    const said = await run('bash', ['-c', line, process.execPath, executable, path], {
      PRIMED_COORDINATOR: scene.daemon.api,
    });
    expect(said.stdout).toBe('0\n');
  });

  it('that fails exits 1 and names what failed', async () => {
    scene.origin.add({ key: 'bad/x.bin', sizeBytes: 10 * KiB });
    scene.origin.add({ key: 'bad/y.bin', sizeBytes: 10 * KiB });
    const rule = scene.origin.setFault({
      fault: { kind: 'status', status: 403, code: 'AccessDenied' },
      key: 'bad/x.bin',
    });
    const said = await cli('job', 'load', 's3://demo/bad/', '--verbose');
    expect(scene.origin.fired(rule)).toBeGreaterThan(0);
    expect(said.code).toBe(1);
    expect(said.stdout).toMatch(/\tJob State: FAILED/);
    expect(said.stdout).toMatch(/\t\ts3:\/\/demo\/bad\/x\.bin: .*AccessDenied/);
    scene.origin.clearFaults();
    const why = await cli('why', 's3://demo/bad/x.bin');
    expect(why).toMatchObject({ code: 0, stderr: '' });
    expect(why.stdout).toMatch(/ of s3:\/\/demo\/bad\/ ended, FAILED: the file FAILED: .*403.*AccessDenied/);
    expect(why.stdout).toMatch(/^s3:\/\/demo\/bad\/x\.bin: Nothing of it is cached: .* gave it up: ORIGIN_DENIED/);
    const beside = (await cli('why', 's3://demo/bad/y.bin')).stdout;
    expect(beside).toContain('s3://demo/bad/ ended, FAILED: what is cached of the file came with it');
    expect(beside).toMatch(/^s3:\/\/demo\/bad\/y\.bin: It is cached whole: .*10\.00KB/);
  });

  it('of what nobody submitted exits 4', async () => {
    expect(await cli('job', 'load', 's3://demo/never/', '--progress')).toMatchObject({
      code: 4,
      stdout: "Load for path 's3://demo/never/' cannot be found.\n",
    });
  });
});

describe('bad usage exits 2 and says what', () => {
  it.each<[string[], RegExp]>([
    [['job', 'load'], /path/],
    [['job', 'load', path, '--submit', '--stop'], /--submit.*--stop/],
    [['job', 'load', path, '--index-file', 's3://demo/i'], /exactly one/],
    [['job', 'load', path, '--no-such-flag'], /--no-such-flag/],
    [['job', 'load', path, '--batch-size', 'many'], /batchSize/],
    [['job', 'load', path, '--bandwidth', 'fast'], /bandwidth/],
    [['job', 'load', path, '--stop', '--verify'], /--verify/],
    [['job', 'load', 's3://demo/*.bin'], /Load does not support wildcard path/],
    [['job', 'list', '--job-state', 'SLEEPING'], /SLEEPING/],
    [['fs', 'ls'], /path/],
    [['fs', 'cat', path], /'s3:\/\/demo\/data\/' is a directory/],
    [['no-such-verb'], /no-such-verb/],
  ])('%j', async (args, message) => {
    const said = await cli(...args);
    expect([said.code, said.stderr]).toEqual([2, expect.stringMatching(message)]);
  });

  it('a coordinator that is not there is 3', async () => {
    expect((await primed('http://127.0.0.1:1', ['job', 'list'])).code).toBe(3);
  });
});

/** The paths that a listing names, in code unit order. */
async function pathsBy(...args: string[]): Promise<string[]> {
  const { code, stdout } = await cli(...args);
  expect(code).toBe(0);
  return [...stdout.matchAll(/ (s3:\/\/.*)$/gm)].map(([, found]) => found!).sort();
}

describe('primed fs', () => {
  beforeAll(async () => {
    await loaded(scene.daemon.api, path, { skipIfExists: true });
  });

  it('ls, stat and check', async () => {
    const all = smallDataset.map(({ key }) => `s3://demo/${key}`);
    const direct = all.filter((one) => !one.includes('/sub/'));
    expect(await pathsBy('fs', 'ls', path)).toEqual([...direct, `${path}sub/`].sort());
    expect(await pathsBy('fs', 'ls', '-r', path)).toEqual(all.sort());
    expect((await cli('fs', 'stat', path)).stdout).toContain(
      `Files cached:  ${smallDataset.length} of ${smallDataset.length}\n`,
    );
    expect(await cli('fs', 'check', path)).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(new RegExp(`OK: ${smallDataset.length} files`)),
    });
    expect(await cli('fs', 'stat', 's3://demo/none')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('s3://demo/none'),
    });
  });

  it.each(smallDataset.filter(({ sizeBytes }) => sizeBytes < 16 * MiB))(
    'cat gives the bytes of $key',
    async ({ key, sizeBytes }) => {
      const said = await runBytes(process.execPath, [executable, 'fs', 'cat', `s3://demo/${key}`], {
        PRIMED_COORDINATOR: scene.daemon.api,
      });
      expect([said.code, said.stderr]).toEqual([0, '']);
      expect(said.stdout.equals(contentAt(key, 1, 0, sizeBytes))).toBe(true);
    },
  );
});

it('primed --version says the version of the package, --help the verbs', async () => {
  const { version } = JSON.parse(readFileSync(join(projectRoot, 'package.json'), 'utf8'));
  expect(await cli('--version')).toMatchObject({ code: 0, stdout: expect.stringContaining(version) });
  expect(await cli('--help')).toMatchObject({ code: 0, stdout: expect.stringMatching(/standalone[\s\S]*job/) });
});

it('a reader that leaves is no error', async () => {
  const child = spawn(process.execPath, [executable, '--help'], { stdio: ['ignore', 'pipe', 'pipe'] });
  child.stdout.destroy();
  const said: Buffer[] = [];
  child.stderr.on('data', (piece: Buffer) => said.push(piece));
  const [code] = await once(child, 'close');
  expect([code, Buffer.concat(said).toString()]).toEqual([0, '']);
});
