/** `primed top`, on a terminal and without one. */
import { expect, onTestFinished, test } from 'vitest';
import { runCli } from '../../../src/cli/run.ts';
import type { RateBook } from '../../../src/core/rate-book.ts';
import type { JobId } from '../../../src/core/types.ts';
import { MiB } from '../../../src/core/units.ts';
import { startScriptedCoordinator } from '../../support/scripted-coordinator.ts';
import { snapshotOf } from '../../support/snapshot.ts';
import { makeWorld, type World } from './world.ts';

const enter = '\u001b[?1049h\u001b[?25l\u001b[?7l';
const leave = '\u001b[?7h\u001b[?25h\u001b[?1049l';

async function coordinatorWithJobs(options: { token?: string; port?: number } = {}) {
  const coordinator = await startScriptedCoordinator(options);
  onTestFinished(() => coordinator.close());
  coordinator.jobs.jobs = [
    snapshotOf('s3://b/ended/', { jobId: 'job-2' as JobId, state: 'FAILED' }),
    snapshotOf('s3://b/new/', { loadedBytes: 100 * MiB, bytesPerSecond: 20 * MiB, etaMs: 15_000.4 }),
  ];
  return coordinator;
}

interface Watching {
  readonly io: World;
  /** Called at each pause between two looks. */
  readonly onPause: (nth: number) => void | Promise<void>;
}

async function watch(url: string, { io, onPause }: Watching, ...args: string[]): Promise<number> {
  let pauses = 0;
  io.onSleep = async () => {
    pauses += 1;
    if (pauses > 20) throw new Error('nobody left');
    await onPause(pauses);
  };
  return runCli(['top', '--coordinator', url, ...args], io);
}

/** Of 100 seconds: the job and the cluster at 1 MiB/s in the second half of them. */
function sampleRates(book: RateBook): void {
  const nowMs = performance.timeOrigin + performance.now();
  const running = { state: 'RUNNING', doneBytes: 0, loads: true };
  for (let ago = 100; ago >= 0; ago -= 1)
    book.sample(nowMs - ago * 1000, [{ id: 'job-1', bytesPerSecond: ago > 50 ? 0 : MiB, ...running }], 7);
}

/** What was written after the last start of a picture. */
const lastPicture = (io: World): string => io.out().split('\u001b[H').at(-1)!;

function expectRestored(io: World): void {
  expect(io.out().startsWith(enter)).toBe(true);
  expect(io.out().endsWith(leave)).toBe(true);
  expect(io.out().split(enter)).toHaveLength(2);
  expect(io.stdin.raw).toBe(false);
  expect(io.interruptHandlers()).toBe(0);
}

test('without a terminal it is shown once: jobs that have not ended, as text or JSON', async () => {
  const { url } = await coordinatorWithJobs();
  const text = makeWorld();
  expect(await runCli(['top', '--coordinator', url], text)).toBe(0);
  expect(text.out().split('\n')).toEqual([
    `primed top  ${url}`,
    'Loading 20.00MB/s   Jobs: 1 running',
    '',
    'STATE    TYPE  PROGRESS       %  FILES   BYTES                      RATE  ETA  PATH',
    'RUNNING  LOAD  ███░░░░░░░░░  25  0 of 4  100.00MB of 400.00MB  20.00MB/s  15s  s3://b/new/',
    '',
  ]);
  const json = makeWorld({ terminal: true });
  expect(await runCli(['top', '--coordinator', url, '--format', 'json'], json)).toBe(0);
  expect(JSON.parse(json.out())).toMatchObject({
    ...{ coordinator: url, bytesPerSecond: 20 * MiB, usedBytes: 0, capacityBytes: 0 },
    jobs: [{ jobId: 'job-1', state: 'RUNNING', etaMs: 15_000, bytesPerSecond: 20 * MiB }],
  });
  // As a terminal of a script or a container is, of which nobody has said how large it is.
  const unsized = makeWorld({ terminal: true, columns: 0, env: { NO_COLOR: '1' } });
  expect(await runCli(['top', '--coordinator', url, '--once'], unsized)).toBe(0);
  expect(unsized.out()).toBe(text.out());
  const once = makeWorld({ terminal: true, columns: 30, env: { NO_COLOR: '1' } });
  expect(await runCli(['top', '--coordinator', url, '--once'], once)).toBe(0);
  expect(once.out()).not.toContain('\u001b');
  expect(
    Math.max(
      ...once
        .out()
        .split('\n')
        .map((line) => line.length),
    ),
  ).toBeLessThanOrEqual(30);
});

test('how fast it was comes with it: as curves, in ASCII where the locale has no more, and as points in JSON', async () => {
  const { url, rates } = await coordinatorWithJobs();
  sampleRates(rates.book);
  const text = makeWorld({ terminal: true, columns: 160, env: { LANG: 'de_DE.UTF-8' } });
  expect(await runCli(['top', '--coordinator', url, '--once'], text)).toBe(0);
  expect(text.out()).toMatch(/Loading 20\.00MB\/s.* ▁+[▁-█]█+.* at most 1024\.00KB\/s in 10 min/);
  expect(text.out()).toMatch(/RUNNING.* ▁+[▁-█]█+/);
  const ascii = makeWorld({ terminal: true, columns: 160, env: { LC_ALL: 'C', NO_COLOR: '1' } });
  expect(await runCli(['top', '--coordinator', url, '--once'], ascii)).toBe(0);
  expect(ascii.out()).toMatch(/RUNNING {2}LOAD {2}###\.\.\..* _+.?#+ /);
  expect(ascii.out()).toMatch(/^[\n\x20-\x7e]*$/);
  const json = makeWorld();
  expect(await runCli(['top', '--coordinator', url, '--format', 'json'], json)).toBe(0);
  const { stepMs, loading, serving, jobs } = JSON.parse(json.out()).rates;
  expect([stepMs, Object.keys(jobs), loading]).toEqual([10_000, ['job-1'], jobs['job-1']]);
  expect([loading.values[0], loading.values.at(-1), serving.values.at(-1)]).toEqual([0, MiB, 7]);
  expect(loading.agoMs).toBeLessThan(3_600_000);
});

test.each<[string, number, (io: World) => void]>([
  ['q', 0, (io) => io.stdin.write('q')],
  ['Ctrl-C as a key', 130, (io) => io.stdin.write('\u0003')],
  ['SIGINT', 130, (io) => io.interrupt()],
  ['SIGTERM', 143, (io) => io.terminate('SIGTERM')],
  ['SIGHUP', 129, (io) => io.terminate('SIGHUP')],
  ['the end of its input', 0, (io) => io.stdin.end()],
])('%s leaves it, and the terminal is as before', async (_how, code, act) => {
  const { url } = await coordinatorWithJobs();
  const io = makeWorld({ terminal: true });
  const gone = new Promise((resolve) => io.stdin.once('pause', resolve));
  const onPause = async (): Promise<void> => {
    expect(io.stdin.raw).toBe(true);
    act(io);
    // A key arrives a turn later.
    await new Promise(setImmediate);
  };
  expect(await watch(url, { io, onPause })).toBe(code);
  await gone;
  expectRestored(io);
});

test('a process that ends in between gives the terminal back, and only once', async () => {
  const { url } = await coordinatorWithJobs();
  const io = makeWorld({ terminal: true });
  const onPause = (): void => {
    expect(io.out()).not.toContain(leave);
    io.exit();
    expect(io.out().endsWith(leave)).toBe(true);
    io.interrupt();
  };
  expect(await watch(url, { io, onPause }), io.err()).toBe(130);
  const before = io.out();
  io.exit();
  expect(io.out()).toBe(before);
});

test('it looks again and again; another size is drawn at once; keys that mean nothing change nothing', async () => {
  const coordinator = await coordinatorWithJobs();
  const io = makeWorld({ terminal: true, columns: 120, rows: 30 });
  const code = await watch(coordinator.url, {
    io,
    onPause: (nth) => {
      if (nth === 1) {
        expect(lastPicture(io)).toContain('\u001b[32mRUNNING\u001b[0m');
        coordinator.jobs.jobs = Array.from({ length: 50 }, (_, n) =>
          snapshotOf(`s3://b/${n}/`, { jobId: `${n}` as JobId }),
        );
        io.stdin.write('x');
      } else if (nth === 2) {
        expect(lastPicture(io)).toContain('… and 25 more jobs');
        Object.assign(io.stdout, { rows: 10 });
        io.stdout.emit('resize');
        expect(lastPicture(io)).toContain('… and 45 more jobs');
        io.stdin.write('q');
      }
    },
  });
  expect(code, io.err()).toBe(0);
  expectRestored(io);
});

test('curves are asked for every five seconds, however often it looks', async () => {
  const coordinator = await coordinatorWithJobs();
  let asked = 0;
  sampleRates(coordinator.rates.book);
  const answerOf = coordinator.rates.answer.bind(coordinator.rates);
  coordinator.rates.answer = (...args) => {
    asked += 1;
    return answerOf(...args);
  };
  const io = makeWorld({ terminal: true, columns: 160 });
  const askedAt: number[] = [];
  const onPause = (nth: number): void => {
    askedAt.push(asked);
    expect(lastPicture(io)).toContain('in 10 min');
    if (nth === 12) io.stdin.write('q');
  };
  expect(await watch(coordinator.url, { io, onPause }, '--interval', '1'), io.err()).toBe(0);
  // At 0, 5 and 10 s; what is known is drawn in between.
  expect(askedAt).toEqual([1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 3, 3]);
});

test('a coordinator that is away is waited for, and said', async () => {
  const first = await coordinatorWithJobs();
  const port = Number(new URL(first.url).port);
  const io = makeWorld({ terminal: true });
  const code = await watch(
    first.url,
    {
      io,
      onPause: async (nth) => {
        if (nth === 1) await first.close();
        if (nth === 3) {
          expect(lastPicture(io)).toContain('No answer for 2s, trying on.');
          expect(lastPicture(io)).toContain('cannot be reached');
          expect(lastPicture(io)).toContain('s3://b/new/');
          await coordinatorWithJobs({ port });
        }
        if (nth === 4) {
          expect(lastPicture(io)).not.toContain('No answer');
          io.stdin.write('q');
        }
      },
    },
    '--interval',
    '2',
  );
  expect(code).toBe(0);
  expectRestored(io);
  expect(await runCli(['top', '--coordinator', 'http://127.0.0.1:1', '--once'], makeWorld())).toBe(3);
});

test('what waiting does not mend ends it, with the terminal as before', async () => {
  const { url } = await coordinatorWithJobs({ token: 'secret' });
  const io = makeWorld({ terminal: true });
  expect(await watch(url, { io, onPause: () => {} })).toBe(1);
  expect(io.err()).toContain('UNAUTHENTICATED');
  expectRestored(io);
});

test.each([['0'], ['0.1'], ['2h'], ['soon']])('an interval of %s is refused', async (interval) => {
  const io = makeWorld();
  expect(await runCli(['top', '--interval', interval], io)).toBe(2);
  expect(io.err()).toContain('--interval');
});
