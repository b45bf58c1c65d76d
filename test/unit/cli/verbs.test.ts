import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, onTestFinished, test } from 'vitest';
import { type RegisterVerb, runs } from '../../../src/cli/context.ts';
import { daemonVerb } from '../../../src/cli/daemon-verb.ts';
import { runCli } from '../../../src/cli/run.ts';
import type { Config } from '../../../src/config/config.ts';
import type { JobState } from '../../../src/core/job.ts';
import { defaultLoadOptions } from '../../../src/core/load-options.ts';
import type { JobId } from '../../../src/core/types.ts';
import { MiB, pageBytes } from '../../../src/core/units.ts';
import { patterned } from '../../support/bytes.ts';
import { type ScriptedCoordinator, startScriptedCoordinator } from '../../support/scripted-coordinator.ts';
import { freeSnapshot, newSnapshot, snapshotOf } from '../../support/snapshot.ts';
import { makeWorld, type World } from './world.ts';

let coordinator: ScriptedCoordinator;
beforeEach(async () => {
  coordinator = await startScriptedCoordinator();
});
afterEach(() => coordinator.close());

async function run(...args: string[]): Promise<{ code: number; io: World }> {
  const io = makeWorld({ env: { PRIMED_COORDINATOR: coordinator.url } });
  return { code: await runCli(args, io), io };
}

const done = { state: 'SUCCEEDED' as JobState, processedFiles: 4, loadedBytes: 400 * MiB };

test('job list shows jobs in a table, by state on request, or as JSON', async () => {
  coordinator.jobs.jobs = [
    newSnapshot('s3://b/listed/', { processedFiles: 12 }),
    snapshotOf('s3://b/new/', { jobId: 'job-22' as JobId, processedFiles: 2, loadedBytes: 7 * MiB, skippedBytes: MiB }),
    snapshotOf('s3://b/old/', { ...done, state: 'FAILED', failedFiles: 2, loadedBytes: 300 * MiB }),
    snapshotOf('s3://b/meta/', { ...done, loadedBytes: 0, options: { ...defaultLoadOptions, loadMetadataOnly: true } }),
    snapshotOf('/lists/x', { ...done, source: { kind: 'index', path: '/lists/x\u001b[2J' } }),
    snapshotOf('', { alias: 'two', source: { kind: 'paths', path: 'two', paths: ['s3://b/1', 's3://b/2'] } }),
    freeSnapshot('s3://b/gone/'),
  ];
  const all = await run('job', 'list');
  expect(all.code).toBe(0);
  expect(all.io.out().split('\n')).toEqual([
    'JOB ID  TYPE  STATE      FILES   BYTES                   FAILED  SUBMITTED                 PATH',
    'job-1   LOAD  RUNNING    12      -                       0       2026-01-02T00:00:00.000Z  s3://b/listed/',
    'job-22  LOAD  RUNNING    2 of 4  8.00MB of 400.00MB      0       2026-01-02T00:00:00.000Z  s3://b/new/',
    'job-1   LOAD  FAILED     4       300.00MB of 400.00MB    2       2026-01-02T00:00:00.000Z  s3://b/old/',
    'job-1   LOAD  SUCCEEDED  4       400.00MB                0       2026-01-02T00:00:00.000Z  s3://b/meta/',
    'job-1   LOAD  SUCCEEDED  4       400.00MB                0       2026-01-02T00:00:00.000Z  /lists/x\\u001b[2J (index file)',
    'job-1   LOAD  RUNNING    0 of 4  0B of 400.00MB          0       2026-01-02T00:00:00.000Z  two (2 paths)',
    'job-1   FREE  RUNNING    3 of 4  3072.00KB of 4096.00KB  0       2026-01-02T00:00:00.000Z  s3://b/gone/',
    '',
  ]);
  const failed = await run('job', 'list', '--job-type', 'load', '--job-state', 'failed', '--format', 'JSON');
  expect(JSON.parse(failed.io.out())).toMatchObject([{ state: 'FAILED', path: 's3://b/old/' }]);
  const wrong = await run('job', 'list', '--job-state', 'BUSY');
  expect(wrong.code).toBe(2);
  expect(wrong.io.err()).toContain('job-state');
  expect((await run('job', 'list', '--job-type', 'copy')).code).toBe(2);
});

test('fs ls lists all pages, in lines or JSON, and stops at the limit', async () => {
  for (let i = 0; i < 1500; i++) coordinator.files.put(`s3://b/many/${String(i).padStart(4, '0')}`, 'x');
  coordinator.files.put('s3://b/part', Buffer.alloc(8), { state: 'loading', cachedBytes: 2 });
  coordinator.files.put('s3://b/evil\u001b[2J\nname', 'x');
  const many = await run('fs', 'ls', 's3://b/many/');
  expect(many.code).toBe(0);
  expect(many.io.out().trimEnd().split('\n')).toHaveLength(1500);
  const limited = await run('fs', 'ls', '-r', 's3://b/', '--limit', '1200', '--format', 'JSON');
  const entries = limited.io
    .out()
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  expect(entries).toHaveLength(1200);
  const top = (await run('fs', 'ls', 's3://b/')).io.out().split('\n');
  expect(top).toEqual([
    expect.stringMatching(/^ {8}1B {2}complete {3}2026-01-02T03:04:05.678Z {2}s3:\/\/b\/evil\\u001b\[2J\\u000aname$/),
    expect.stringMatching(/- {2}directory .* s3:\/\/b\/many\/$/),
    expect.stringMatching(/8B {2}25% .* s3:\/\/b\/part$/),
    '',
  ]);
  const none = await run('fs', 'ls', 's3://b/none/');
  expect([none.code, none.io.err()]).toEqual([
    1,
    'primed: FILE_NOT_CACHED: Nothing at or below s3://b/none/ is in the cache.\n',
  ]);
  expect((await run('fs', 'ls', 's3://b/', '--limit', '0')).code).toBe(2);
});

test('fs stat says how much of a path is cached', async () => {
  coordinator.files.put('s3://b/d/whole', Buffer.alloc(6 * MiB), { etag: 'e1' });
  coordinator.files.put('s3://b/d/part', Buffer.alloc(2 * MiB), { state: 'loading', cachedBytes: MiB });
  const directory = await run('fs', 'stat', 's3://b/d/');
  expect(directory.io.out()).toBe(
    'Path:          s3://b/d/\nType:          directory\nFiles cached:  1 of 2\nBytes cached:  7.00MB of 8.00MB (87.5%)\n',
  );
  const file = await run('fs', 'stat', 's3://b/d/whole');
  expect(file.io.out()).toContain('State:         complete\nETag:          e1\n');
  expect(JSON.parse((await run('fs', 'stat', 's3://b/d/part', '--format', 'JSON')).io.out())).toMatchObject({
    cachedBytes: MiB,
  });
});

test('fs cat writes exactly the bytes that were asked for', async () => {
  const bytes = Buffer.from(patterned(2 * pageBytes + 5, 1));
  coordinator.files.put('s3://b/f', bytes);
  const whole = await run('fs', 'cat', 's3://b/f');
  expect(whole.code).toBe(0);
  expect(whole.io.outBytes().equals(bytes)).toBe(true);
  const part = await run('fs', 'cat', 's3://b/f', '--offset', '1MB', '--length', '4k');
  expect(part.io.outBytes().equals(bytes.subarray(MiB, MiB + 4096))).toBe(true);
  coordinator.files.spoilPage('s3://b/f', 2);
  const bad = await run('fs', 'cat', 's3://b/f');
  expect(bad.code).toBe(1);
  expect(bad.io.err()).toContain('broke off its answer');
  expect((await run('fs', 'cat', 's3://b/f', '--offset', 'x')).code).toBe(2);
});

test('fs cat ends quietly when its reader has had enough', async () => {
  coordinator.files.put('s3://b/f', patterned(8 * pageBytes, 1));
  const io = makeWorld({ env: { PRIMED_COORDINATOR: coordinator.url } });
  let written = 0;
  io.stdout.write = ((piece: Uint8Array) => {
    written += piece.length;
    (io.stdout as unknown as { destroy(error: Error): void }).destroy(
      Object.assign(new Error('write EPIPE'), { code: 'EPIPE' }),
    );
    return false;
  }) as typeof io.stdout.write;
  expect(await runCli(['fs', 'cat', 's3://b/f'], io)).toBe(0);
  expect(written).toBeGreaterThan(0);
  expect(written).toBeLessThan(8 * pageBytes);
  expect(io.err()).toBe('');
});

test('fs check exits 1 and names the page when one is bad', async () => {
  coordinator.files.put('s3://b/d/one', patterned(3 * pageBytes, 1));
  coordinator.files.put('s3://b/d/soon', 'x', { state: 'loading', cachedBytes: 0 });
  const good = await run('fs', 'check', 's3://b/d/');
  expect([good.code, good.io.out()]).toEqual([
    0,
    's3://b/d/: OK: 1 files, 3072.00KB checked\n\t1 files are not complete in the cache, and were not checked\n',
  ]);
  coordinator.files.spoilPage('s3://b/d/one', 1);
  const bad = await run('fs', 'check', 's3://b/d/one');
  expect(bad.code).toBe(1);
  expect(bad.io.out()).toContain(
    's3://b/d/one: BAD: 1 files, 2048.00KB checked, 1 bad pages\n\ts3://b/d/one: page 1 (bytes 1048576 to 2097151): ',
  );
  expect(JSON.parse((await run('fs', 'check', 's3://b/d/one', '--format', 'JSON')).io.out())).toMatchObject({
    ok: false,
    badPageCount: 1,
  });
});

test('version, help and what is not a verb', async () => {
  expect((await run('version')).io.out()).toMatch(/^primed test \(Node \d+\./);
  const flag = await run('--version');
  expect([flag.code, flag.io.out()]).toEqual([0, 'test\n']);
  const help = await run('job', 'load', '--help');
  expect(help.code).toBe(0);
  for (const name of [
    '--bandwidth',
    '--verify',
    '--partial-listing',
    '--metadata-only',
    '--skip-if-exists',
    '--file-filter-regx',
    '--replicas',
    '--batch-size',
    '--submit',
    '--progress',
    '--stop',
    '--index-file',
    '--format',
    '--verbose',
    '--coordinator',
  ]) {
    expect(help.io.out()).toContain(name);
  }
  const none = await run();
  expect([none.code, none.io.err()]).toEqual([2, expect.stringContaining('Usage: primed')]);
  expect((await run('job')).code).toBe(2);
});

test.each([
  ['jbo', 'primed job'],
  ['NOPE', 'primed top'],
  ['help NOPE', 'primed top'],
  ['JOB', 'primed job'],
  ['job lod', 'primed job load'],
  ['help job lod', 'primed job load'],
  ['job help lod', 'primed job load'],
  ['help worker lis', 'primed worker list'],
  ['list', 'primed job list or primed worker list or primed ufs list'],
])('what is no verb is named with the nearest one: %s', async (line, nearest) => {
  const word = line.split(' ').at(-1);
  const { code, io } = await run(...line.split(' '));
  const said = `unknown command '${word}'; did you mean ${nearest}?`;
  expect([code, io.out(), io.err()]).toEqual([2, '', `error: ${said}\n(--help says more)\n`]);
  const json = await run(...line.split(' '), '--format', 'JSON');
  expect([json.code, json.io.out(), JSON.parse(json.io.err())]).toEqual([
    ...[2, '', { error: { code: 'USAGE', message: said } }],
  ]);
});

test.each([
  ['help', 'Usage: primed [options]'],
  ['help job load', 'Usage: primed job load'],
  ['job help load', 'Usage: primed job load'],
  ['help fs ls s3://b/', 'Usage: primed fs ls'],
  ['worker help', 'Usage: primed worker'],
  ['help job load --format json', 'Usage: primed job load'],
])('primed %s shows that help', async (line, usage) => {
  const { code, io } = await run(...line.split(' '));
  expect([code, io.err()]).toEqual([0, '']);
  expect(io.out().startsWith(usage)).toBe(true);
});

test('where JSON is wanted what went wrong is a line of JSON, whatever it is, and nothing else is said', async () => {
  const said = async (...args: string[]) => {
    const { code, io } = await run(...args);
    expect([args, io.out(), io.err().split('\n').length]).toEqual([args, '', 2]);
    return { code, ...JSON.parse(io.err()).error };
  };
  expect(await said('job', 'load', 's3://b/x/', '--progress', '--format', 'json')).toMatchObject({
    ...{ code: 'JOB_NOT_FOUND', message: expect.stringContaining('s3://b/x/') },
  });
  expect(await said('job', 'list', '--format=json', '--coordinator', 'http://127.0.0.1:1')).toMatchObject({
    ...{ code: 'COORDINATOR_UNREACHABLE', facts: expect.any(Object) },
  });
  const usage = { code: 'USAGE', message: "unknown option '--sate'" };
  expect(await said('job', 'list', '--format', 'json', '--sate', 'x')).toEqual(usage);
  expect(await said('config', 'check', '--format', 'json', '--config', '/nowhere')).toMatchObject({
    ...{ code: 'CONFIG_INVALID', message: expect.stringContaining('/nowhere') },
  });
  expect(await said('job', 'list', '--format', 'JSON', '--sate', 'x')).toEqual(usage);
  expect(await said('job', 'list', '--format=Json', '--sate', 'x')).toEqual(usage);
  // What is behind `--` is no flag.
  const { io } = await run('why', '--', '--format=json', 'x');
  expect(io.err()).toMatch(/^error: too many arguments/);
});

test('a word behind worker that is no verb of it starts no daemon', async () => {
  const started: string[] = [];
  const worker = daemonVerb({
    ...{ role: 'worker', description: 'run one' },
    start: async ({ role }) => {
      started.push(role);
      return 0;
    },
  });
  const io = makeWorld();
  expect(await runCli(['worker', 'lst'], io, [worker])).toBe(2);
  expect(io.err()).toContain("unknown command 'lst' of worker: list, drain, undrain, remove; nothing runs the daemon");
  expect(started).toEqual([]);
  expect(await runCli(['worker'], makeWorld(), [worker])).toBe(0);
  expect(started).toEqual(['worker']);
});

test('other verbs can be registered, and their exit code is that of the program', async () => {
  const io = makeWorld();
  const seen: unknown[] = [];
  const registerStandalone: RegisterVerb = (program, context) => {
    runs(program.command('standalone').option('--data <dir>'), context, async (flags: { data?: string }) => {
      seen.push(flags);
      return 7;
    });
  };
  expect(await runCli(['standalone', '--data', '/x'], io, [registerStandalone])).toBe(7);
  expect(seen).toEqual([{ data: '/x' }]);
});

test('a daemon verb reads its flags into the configuration, and refuses those of other roles', async () => {
  const started: Config[] = [];
  const verbs = (['standalone', 'coordinator', 'worker'] as const).map((role) =>
    daemonVerb({ role, description: role, start: async (config) => started.push(config) }),
  );
  const daemon = async (...args: string[]) => {
    const io = makeWorld({ env: { PRIMED_LOG_LEVEL: 'warn' } });
    return { code: await runCli(args, io, verbs), io };
  };
  const data = mkdtempSync(join(tmpdir(), 'primed-verbs-'));
  onTestFinished(() => rmSync(data, { recursive: true }));
  const places = ['--api', 'localhost:0', '--http', '127.0.0.1:0', '--s3', '[::1]:0'];
  const flags = ['--data', data, '--store-size', '64MB', ...places];
  expect((await daemon('standalone', ...flags)).code).toBe(1);
  expect(started[0]).toMatchObject({
    role: 'standalone',
    dataDir: data,
    api: { listen: { host: 'localhost' } },
    worker: {
      httpListen: { host: '127.0.0.1' },
      s3Listen: { host: '::1' },
      stores: [{ dir: join(data, 'store'), sizeBytes: 64 * MiB }],
    },
    log: { level: 'warn' },
  });
  const rest = ['--http', '127.0.0.1:0', '--s3', '127.0.0.1:0', '--data', data];
  const wrong = await daemon('standalone', '--api', '0.0.0.0:0', '--store-size', 'big', ...rest);
  expect(wrong.code).toBe(78);
  expect(wrong.io.err()).toMatch(/^primed: The configuration has 2 errors:\n {2}--store-size: .*\n {2}--api: .*\n$/);
  expect((await daemon('coordinator', '--s3', '127.0.0.1:3')).code).toBe(2);
  expect((await daemon('worker', '--api', '127.0.0.1:3')).code).toBe(2);
  expect(started).toHaveLength(1);
});
