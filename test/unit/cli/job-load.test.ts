import { afterEach, beforeEach, expect, test } from 'vitest';
import { runCli } from '../../../src/cli/run.ts';
import { PrimedError } from '../../../src/core/errors.ts';
import type { JobSnapshot, JobState } from '../../../src/core/job.ts';
import { defaultLoadOptions } from '../../../src/core/load-options.ts';
import type { JobId } from '../../../src/core/types.ts';
import { MiB } from '../../../src/core/units.ts';
import { type ScriptedCoordinator, startScriptedCoordinator } from '../../support/scripted-coordinator.ts';
import { snapshotOf } from '../../support/snapshot.ts';
import { makeWorld, type World } from './world.ts';

const path = 's3://b/dir/';
let coordinator: ScriptedCoordinator;
beforeEach(async () => {
  coordinator = await startScriptedCoordinator();
});
afterEach(() => coordinator.close());

function world(options: Parameters<typeof makeWorld>[0] = {}): World {
  return makeWorld({ ...options, env: { PRIMED_COORDINATOR: coordinator.url, ...options.env } });
}

const load = (io: World, ...args: string[]) => runCli(['job', 'load', ...args], io);

/** Progress answers one after the other; the last one stays. */
function script(...steps: Partial<JobSnapshot>[]): void {
  let step = 0;
  coordinator.jobs.onSnapshot = (asked) => snapshotOf(asked, steps[Math.min(step++, steps.length - 1)]);
}

const half = { loadedBytes: 200 * MiB, processedFiles: 2, bytesPerSecond: 50 * MiB, etaMs: 4000 };
const done = { state: 'SUCCEEDED' as JobState, loadedBytes: 400 * MiB, processedFiles: 4, loadedFiles: 4 };

test('--submit says the id, and every flag is an option of the request', async () => {
  const io = world();
  const flags =
    '--bandwidth 200MB --verify --partial-listing --metadata-only --skip-if-exists --replicas 1 --batch-size 300 --segment-size 8MB';
  expect(await load(io, path, '--submit', ...flags.split(' '), '--file-filter-regx', '.*\\.bin')).toBe(0);
  expect(io.out()).toBe(`Load '${path}' is successfully submitted. JobId: job-1\n`);
  expect(io.err()).toBe('');
  expect(coordinator.jobs.submissions).toEqual([
    {
      source: { kind: 'path', path },
      options: {
        ...defaultLoadOptions,
        bandwidthBytesPerSecond: 200 * MiB,
        verify: true,
        partialListing: true,
        loadMetadataOnly: true,
        skipIfExists: true,
        replicas: 1,
        batchSize: 300,
        segmentBytes: 8 * 1024 * 1024,
        fileFilterRegex: '.*\\.bin',
      },
    },
  ]);
});

test('the path comes as argument, as --path, or as --index-file, and exactly once', async () => {
  expect(await load(world(), '--submit', '--path', path)).toBe(0);
  expect(await load(world(), '--submit', '--index-file', '/lists/today')).toBe(0);
  expect(coordinator.jobs.submissions.map(({ source }) => source)).toEqual([
    { kind: 'path', path },
    { kind: 'index', path: '/lists/today' },
  ]);
  for (const args of [[], [path, '--path', path], [path, '--index-file', 'x'], ['--path', '']]) {
    const io = world();
    expect(await load(io, '--submit', ...args)).toBe(2);
    expect(io.err()).toContain('exactly one of <path>, --path and --index-file');
  }
  expect(coordinator.jobs.submissions).toHaveLength(2);
});

test('a load that runs already is said so, and is not a failure', async () => {
  coordinator.jobs.answer = { jobId: 'job-9', started: false, message: `Load already running for path '${path}'` };
  const io = world();
  expect(await load(io, path, '--submit')).toBe(0);
  expect(io.out()).toBe(`Load already running for path '${path}'\n`);
});

test('--progress prints the report, or that there is none (exit 4)', async () => {
  script(half);
  const io = world();
  expect(await load(io, path, '--progress')).toBe(0);
  expect(io.out()).toMatch(/^Progress for loading path 's3:\/\/b\/dir\/':\n\tSettings:\t/);
  expect(io.out()).toContain('\tBytes Loaded: 200.00MB out of 400.00MB\n');
  const json = world();
  expect(await load(json, path, '--progress', '--format', 'JSON')).toBe(0);
  expect(JSON.parse(json.out())).toMatchObject({ mJobState: 'RUNNING', mLoadedByteCount: 200 * MiB });
  coordinator.jobs.onSnapshot = () => undefined;
  const none = world();
  expect(await load(none, path, '--progress')).toBe(4);
  expect(none.out()).toBe(`Load for path '${path}' cannot be found.\n`);
});

test('--verbose names the files that failed', async () => {
  const failures = [{ path: 's3://b/dir/x', code: 'ORIGIN_DENIED' as const, message: '403 AccessDenied' }];
  script({ state: 'FAILED', reason: '1 file failed', failedFiles: 1, failures });
  const [quiet, verbose] = [world(), world()];
  await load(quiet, path, '--progress');
  await load(verbose, path, '--progress', '--verbose');
  expect(quiet.out()).not.toContain('AccessDenied');
  expect(verbose.out()).toContain('\t\ts3://b/dir/x: 403 AccessDenied\n');
});

test('--stop stops, or says that there is nothing to stop (exit 4)', async () => {
  coordinator.jobs.active.add(path);
  script({ state: 'STOPPED' });
  const io = world();
  expect(await load(io, path, '--stop')).toBe(0);
  expect(io.out()).toBe(`Load '${path}' is successfully stopped.\n`);
  const again = world();
  expect(await load(again, path, '--stop')).toBe(4);
  expect(again.out()).toBe(`Cannot find load job for path ${path}, it might have already been stopped or finished\n`);
});

test('while it is being listed the load says how far that is', async () => {
  script({ listingDone: false, scannedFiles: 3000 }, done, done);
  const io = world();
  expect(await load(io, path)).toBe(0);
  expect(io.err()).toContain('listing: 3000 keys so far');
});

test('without a terminal the load is followed by lines, and reported at the end', async () => {
  const steps = [
    {},
    { ...half, loadedBytes: MiB },
    ...Array.from({ length: 8 }, () => half),
    { state: 'VERIFYING' as JobState, verifiedBytes: MiB },
    done,
  ];
  script(...steps, done);
  const io = world();
  expect(await load(io, path)).toBe(0);
  const lines = io.err().trimEnd().split('\n');
  expect(lines).toEqual([
    'RUNNING 0.0%  0B of 400.00MB, 0 of 4 files',
    'RUNNING 50.0%  200.00MB of 400.00MB, 2 of 4 files, 50.00MB/s, ETA 4s',
    'VERIFYING 0.3%  verified 1024.00KB of 400.00MB',
    'SUCCEEDED 100.0%  400.00MB of 400.00MB, 4 of 4 files',
  ]);
  expect(io.out()).toMatch(
    new RegExp(`^Load '${path}' is successfully submitted. JobId: job-1\nProgress for loading path '${path}':\n`),
  );
  expect(io.out()).toContain('\tJob State: SUCCEEDED\n');
  expect(io.interruptHandlers()).toBe(0);
});

test('on a terminal there is a bar with rate and time left, in colour unless NO_COLOR', async () => {
  for (const env of [{}, { NO_COLOR: '1' }]) {
    let step = 0;
    coordinator.jobs.onSnapshot = (asked) => snapshotOf(asked, step++ < 3 ? half : done);
    const io = world({ terminal: true, env });
    // the bar draws on its own clock: hold the load at half until it has
    io.onSleep = async () => {
      if (step !== 3) return;
      const limitMs = performance.now() + 5_000;
      while (!io.err().includes('50.0%') && performance.now() < limitMs) await new Promise(setImmediate);
    };
    expect(await load(io, path)).toBe(0);
    expect(io.err()).toContain(`${'█'.repeat(15)}${'░'.repeat(15)}`);
    expect(io.err()).toContain('50.0%  200.00MB of 400.00MB, 2 of 4 files, 50.00MB/s, ETA 4s');
    expect(io.err()).toContain('100.0%  400.00MB of 400.00MB');
    expect(io.err().includes('\u001b[36m')).toBe(!('NO_COLOR' in env));
    expect(io.out()).toContain('\tJob State: SUCCEEDED\n');
  }
});

test.each([
  { columns: 80, begins: '████░░░  50.0%' },
  { columns: 77, begins: '50.0%' },
])('on a terminal of $columns columns the time left is not cut off', async ({ columns, begins }) => {
  let step = 0;
  coordinator.jobs.onSnapshot = (asked) => snapshotOf(asked, step++ < 3 ? { ...half, failedFiles: 17 } : done);
  const io = world({ terminal: true, columns, env: { NO_COLOR: '1' } });
  io.onSleep = async () => {
    if (step !== 3) return;
    const limitMs = performance.now() + 5_000;
    while (!io.err().includes('50.0%') && performance.now() < limitMs) await new Promise(setImmediate);
  };
  expect(await load(io, path)).toBe(0);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: what a terminal is told
  const lines = io.err().split(/\u001b\[[0-9;?]*[A-Za-z]/);
  const line = lines.find((one) => one.includes('50.0%'))!;
  expect(line).toMatch(/200\.00MB of 400\.00MB, 2 of 4 files, 50\.00MB\/s, ETA 4s, 17 failed$/);
  expect(line.length).toBeLessThanOrEqual(columns);
  expect(line.startsWith(begins)).toBe(true);
});

test('a followed load that fails or is stopped exits 1', async () => {
  for (const state of ['FAILED', 'STOPPED'] as const) {
    script({}, { state, reason: 'why' });
    const io = world();
    expect(await load(io, path)).toBe(1);
    expect(io.out()).toContain(`\tJob State: ${state} (why)\n`);
  }
});

test('with JSON asked for standard output is one JSON object', async () => {
  script({}, done);
  const io = world();
  expect(await load(io, path, '--format', 'JSON')).toBe(0);
  expect(JSON.parse(io.out())).toMatchObject({ mJobState: 'SUCCEEDED' });
  expect(io.err()).toContain('is successfully submitted');
});

test('Ctrl-C leaves the load running and says how to stop it', async () => {
  script(half);
  const io = world();
  io.onSleep = () => io.interrupt();
  expect(await load(io, path)).toBe(130);
  expect(coordinator.jobs.stops).toEqual([]);
  expect(io.err()).toContain(`To stop it: primed job load --stop '${path}'`);
  expect(io.interruptHandlers()).toBe(0);
});

test('a coordinator that is restarted meanwhile is waited for', async () => {
  script(half);
  const io = world();
  const port = Number(new URL(coordinator.url).port);
  let slept = 0;
  io.onSleep = async () => {
    slept += 1;
    if (slept === 2) await coordinator.close();
    if (slept === 5) {
      coordinator = await startScriptedCoordinator({ port });
      script(done);
    }
  };
  expect(await load(io, path)).toBe(0);
  expect(slept).toBeGreaterThanOrEqual(5);
  expect(io.err()).toMatch(/^waiting: The coordinator at .* cannot be reached/m);
  expect(io.err()).toContain('SUCCEEDED');
});

test('a coordinator that stays away ends the following after 30 s with exit 3', async () => {
  script(half);
  const io = world();
  io.onSleep = async () => {
    if (coordinator.app.server.listening) await coordinator.close();
  };
  expect(await load(io, path)).toBe(3);
  expect(io.now()).toBeGreaterThanOrEqual(30_000);
  expect(io.err()).toMatch(/primed: COORDINATOR_UNREACHABLE: The coordinator at .* cannot be reached/);
});

test('when a newer load of the path has begun, the end of the followed one is found by its id', async () => {
  script({}, { jobId: 'job-2' as JobId });
  coordinator.jobs.jobs = [snapshotOf(path, { jobId: 'job-2' as JobId }), snapshotOf(path, { state: 'FAILED' })];
  const io = world();
  expect(await load(io, path)).toBe(1);
  expect(io.out()).toContain(`Load '${path}' ended as FAILED; a newer load`);
});

test('what the coordinator refuses is said: bad values exit 2, conflicts 1', async () => {
  const local = world();
  expect(await load(local, path, '--submit', '--bandwidth', 'fast')).toBe(2);
  expect(local.err()).toMatch(/^primed: bandwidth: /);
  expect(coordinator.jobs.submissions).toHaveLength(0);
  coordinator.jobs.answer = new PrimedError('PATH_WILDCARD', 'Load does not support wildcard path');
  const wild = world();
  expect(await load(wild, 's3://b/*')).toBe(2);
  expect(wild.err()).toBe('primed: Load does not support wildcard path\n');
  coordinator.jobs.answer = new PrimedError('JOB_CONFLICT', 'verify is false, asked for true');
  expect(await load(world(), path)).toBe(1);
});

test('flags that would mean nothing are refused', async () => {
  for (const [args, said] of [
    [['--submit', '--stop'], '--submit and --stop exclude each other.'],
    [['--stop', '--verify', '--batch-size', '3'], '--verify, --batch-size mean nothing together with --stop.'],
    [['--progress', '--replicas', '2'], '--replicas means nothing together with --progress.'],
    [['--submit', '--verbose'], '--verbose means nothing together with --submit.'],
  ] as const) {
    const io = world();
    expect(await load(io, path, ...args)).toBe(2);
    expect(io.err()).toBe(`primed: ${said}\n`);
  }
  const unknown = world();
  expect(await load(unknown, path, '--bandwith', '1MB')).toBe(2);
  expect(unknown.err()).toContain("unknown option '--bandwith'");
  expect(unknown.err()).toContain('--bandwidth');
  expect(await load(world(), path, '--progress', '--format', 'XML')).toBe(2);
  expect(coordinator.jobs.submissions).toHaveLength(0);
});

test('nobody listens: exit 3 and what to check', async () => {
  const io = makeWorld();
  await coordinator.close();
  expect(await load(io, path, '--submit', '--coordinator', coordinator.url)).toBe(3);
  expect(io.err()).toContain(`The coordinator at ${coordinator.url} cannot be reached`);
  expect(io.err()).toContain('--coordinator or PRIMED_COORDINATOR');
});
