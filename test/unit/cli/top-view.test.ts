/** `primed top` as lines: what is shown, what is left out where there is no room, and that no name commands the terminal. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { cutLine, paint, span, widthOf } from '../../../src/cli/spans.ts';
import { type Look, nothingSeen, withLook, withTrouble } from '../../../src/cli/top-state.ts';
import { shareRoom, topLines } from '../../../src/cli/top-view.ts';
import type { JobRow, WorkerInfo } from '../../../src/client/types.ts';
import { GiB, MiB } from '../../../src/core/units.ts';

const view = { coordinator: 'http://c:1', nowMs: 12_000 };
const everything = { columns: Number.POSITIVE_INFINITY, rows: Number.POSITIVE_INFINITY };

const job = (more: Partial<JobRow> = {}): JobRow => ({
  jobId: 'job-1',
  type: 'LOAD',
  path: 's3://b/dir/',
  state: 'RUNNING',
  files: 40,
  bytes: 400 * MiB,
  processedFiles: 10,
  loadedBytes: 90 * MiB,
  skippedBytes: 10 * MiB,
  bytesPerSecond: 50 * MiB,
  etaMs: 6000,
  failures: 0,
  ...more,
});
const worker = (id: string, more: Partial<WorkerInfo> = {}): WorkerInfo => ({
  ...{ id, state: 'LIVE', drains: false, host: 'h', httpPort: 1, s3Port: 2, version: '1', epoch: 1, files: 7 },
  ...{ capacityBytes: 10 * GiB, freeBytes: 5 * GiB, registeredAt: '2026-01-02T00:00:00.000Z' },
  ...{ lastSeenAt: '2026-01-02T00:00:00.000Z', leaseEndsAt: '2026-01-02T00:00:09.000Z' },
  ...more,
});
const textOf = (look: Look, room = everything): string[] =>
  topLines(withLook(nothingSeen, look, 0), view, room).map((line) => paint(line, false).trimEnd());

test('a load that is being listed says so, and how far', () => {
  const { files: _, bytes: __, etaMs: ___, ...early } = job({ processedFiles: 0, loadedBytes: 0, skippedBytes: 0 });
  const lines = textOf({ jobs: [{ ...early, scannedFiles: 3000, bytesPerSecond: 0 }], workers: [] });
  expect(lines).toContain('  is being listed, 3000 keys so far');
});

test('a wide terminal has everything of jobs and workers, what needs somebody first', () => {
  const lines = textOf({
    jobs: [
      job({ jobId: 'w', state: 'WAITING', path: 's3://b/later/', reason: 'waits for its turn', submittedAt: '3' }),
      job({ jobId: 'v', state: 'VERIFYING', verifiedBytes: 300 * MiB, path: 's3://b/check/', submittedAt: '1' }),
      job({ failures: 2, submittedAt: '2', options: { bandwidthBytesPerSecond: 200 * MiB } }),
    ],
    workers: [
      worker('w1'),
      worker('w2', { state: 'LOST' }),
      worker('w3', { state: 'REFUSED', reason: 'it has another token' }),
      worker('w4', { state: 'DRAINING', drains: true, freeBytes: 0 }),
    ],
  });
  expect(lines).toEqual([
    'primed top  http://c:1',
    'Loading 50.00MB/s   Jobs: 1 running, 1 verifying, 1 waiting',
    'Workers: 1 lost, 1 refused, 1 draining, 1 live   Used: 20.00GB of 30.00GB (67%)',
    '',
    'STATE      TYPE  PROGRESS       %  FILES     BYTES                      RATE  ETA  FAILED  PATH',
    'RUNNING    LOAD  ███░░░░░░░░░  25  10 of 40  100.00MB of 400.00MB  50.00MB/s   6s       2  s3://b/dir/',
    '  limited to 200.00MB/s a worker',
    'VERIFYING  LOAD  █████████░░░  75  10 of 40  300.00MB of 400.00MB                          s3://b/check/',
    'WAITING    LOAD                    10 of 40  100.00MB of 400.00MB                          s3://b/later/',
    '  waits for its turn',
    '',
    'STATE     WORKER  USED            %  BYTES                 FILES  NOTE',
    'LOST      w2      ██████░░░░░░   50  5120.00MB of 10.00GB      7  last heard 2026-01-02T00:00:00.000Z',
    'REFUSED   w3      ██████░░░░░░   50  5120.00MB of 10.00GB      7  it has another token',
    'DRAINING  w4      ████████████  100  10.00GB of 10.00GB        7  gets no new segments; nothing is free',
    'LIVE      w1      ██████░░░░░░   50  5120.00MB of 10.00GB      7',
  ]);
});

test('a narrow terminal keeps state, share, time left, failures and path', () => {
  const lines = textOf({ jobs: [job({ failures: 2 })], workers: [worker('w1')] }, { columns: 40, rows: 30 });
  expect(lines.slice(4, 6)).toEqual(['STATE     %  ETA  FAILED  PATH', 'RUNNING  25   6s       2  s3://b/dir/']);
  expect(lines.slice(7)).toEqual(['STATE  WORKER  USED           %  NOTE', 'LIVE   w1      ██████░░░░░░  50']);
});

const points = (...values: (number | null)[]) => ({
  fine: { agoMs: 0, values: [] },
  coarse: { agoMs: 3000, values },
});

test('curves of the last ten minutes are drawn where there is room, of the cluster and of each job', () => {
  const look = {
    jobs: [job(), job({ jobId: 'other' })],
    rates: {
      loading: points(...Array<number>(30).fill(0), ...Array<number>(30).fill(50 * MiB)),
      serving: points(2 * MiB, MiB),
      jobs: {
        'job-1': points(
          ...Array<number>(10).fill(50 * MiB),
          ...Array<null>(20).fill(null),
          ...Array<number>(30).fill(25 * MiB),
        ),
      },
    },
  };
  const lines = textOf(look, { columns: 140, rows: 30 });
  expect(lines[1]).toBe(
    `Loading 100.00MB/s  ${'▁'.repeat(15)}${'█'.repeat(15)} at most 50.00MB/s in 10 min   Jobs: 2 running`,
  );
  expect(lines[2]).toBe(`Serving 1024.00KB/s  ${' '.repeat(29)}█ at most 2048.00KB/s in 10 min`);
  expect(lines[4]).toContain('10 MIN        ETA  PATH');
  expect(lines[5]).toContain('  ██    ▅▅▅▅▅▅   6s  s3://b/dir/');
  const ascii = topLines(withLook(nothingSeen, look, 0), view, everything).map((line) => paint(line, true, false));
  expect(ascii[1]).toContain(`\u001b[36m${'_'.repeat(15)}${'#'.repeat(15)}\u001b[0m`);
  expect(ascii.join('')).not.toMatch(/[█░▁▂▃▄▅▆▇…]/);
  // Less room: the curves go first, and nothing is cut for them.
  const narrow = textOf(look, { columns: 70, rows: 10 });
  expect(narrow.slice(1, 4)).toEqual([
    'Loading 100.00MB/s   Jobs: 2 running',
    '',
    expect.not.stringContaining('10 MIN'),
  ]);
});

test('what was served before every worker was lost is not what is served now', () => {
  const none = points();
  const serving = { ...none, coarse: { agoMs: 60_000, values: [500 * MiB] } };
  const lines = textOf({ jobs: [job()], rates: { loading: none, serving, jobs: {} } }, { columns: 140, rows: 30 });
  expect(lines[2]).toMatch(/^Serving unknown .* at most 500[.]00MB/);
});

test('of 1,000 jobs and 1,000 workers those that have room are shown, and the others counted', () => {
  const jobs = Array.from({ length: 1000 }, (_, n) => job({ jobId: `${n}`, path: `s3://b/${n}/` }));
  const workers = Array.from({ length: 1000 }, (_, n) => worker(`w${n}`));
  const lines = textOf({ jobs, workers }, { columns: 100, rows: 24 });
  expect(lines).toHaveLength(24);
  expect(lines.filter((line) => line.startsWith('RUNNING'))).toHaveLength(8);
  expect(lines).toContain('… and 992 more jobs');
  expect(lines.filter((line) => line.startsWith('LIVE'))).toHaveLength(7);
  expect(lines.at(-1)).toBe('… and 993 more workers');
});

test('in very little room a job is shown without what it waits for', () => {
  const waiting = job({ reason: 'waits for its turn' });
  const shown = (rows: number) => textOf({ jobs: [waiting], workers: [worker('w1')] }, { columns: 80, rows });
  expect(shown(10)).toContain('  waits for its turn');
  expect(shown(8)).toContainEqual(expect.stringMatching(/^RUNNING/));
  expect(shown(8)).not.toContain('  waits for its turn');
  expect(shown(2)).toHaveLength(2);
});

test('nothing is there, nothing is known yet, and there is no answer', () => {
  expect(textOf({ jobs: [], workers: [] }).slice(1)).toEqual([
    'Loading 0B/s   Jobs: none',
    'Workers: none   Used: 0B of 0B',
    '',
    'No job runs or waits.',
    '',
    'No worker is registered.',
  ]);
  expect(textOf({ jobs: [] })).toHaveLength(4);
  const said = (state: typeof nothingSeen) => topLines(state, view, everything).map((line) => paint(line, false));
  expect(said(nothingSeen)[1]).toBe('Asking the coordinator.');
  const away = withTrouble(withTrouble(nothingSeen, 'refused', 2000), 'refused again', 9000);
  expect(said(away).slice(1)).toEqual(['No answer for 10s, trying on.', 'refused again']);
  const later = said(withTrouble(withLook(nothingSeen, { jobs: [job()] }, 0), 'refused', 11_000));
  expect(later[1]).toBe('No answer for 1s, trying on. What follows is what it said last.');
  expect(later.at(-1)).toContain('s3://b/dir/');
});

test('dry runs, metadata and index files have what there is to say of them', () => {
  const rows = [
    job({ type: 'FREE', options: { dryRun: true }, freedBytes: 0, freedFiles: 0 }),
    job({ options: { loadMetadataOnly: true }, loadedBytes: 0 }),
    job({ path: undefined, indexFile: '/lists/x', bytes: undefined, files: undefined, etaMs: undefined } as never),
  ].map((row, n) => ({ ...row, jobId: `${n}` }));
  const [dry, metadata, listed] = textOf({ jobs: rows }).slice(-3);
  expect(dry).toMatch(/^RUNNING {2}FREE .* 0 of 40 /);
  expect(dry).not.toContain('█');
  expect(metadata).toMatch(/LOAD {2}███░.* 25 {2}10 of 40 {18}50\.00MB/);
  expect(listed).toMatch(/ 10 {8}100\.00MB .*50\.00MB\/s {2,}\/lists\/x \(index file\)$/);
});

test('whatever the names and the room, lines fit and have no character that commands a terminal', () => {
  const text = fc.string({ unit: 'binary', maxLength: 60 });
  const amount = fc.integer({ min: 0, max: 1e15 });
  const jobs = fc.array(
    fc.record({
      ...{ jobId: fc.uuid(), path: text, reason: text, files: amount, bytes: amount, loadedBytes: amount },
      state: fc.constantFrom('RUNNING' as const, 'VERIFYING' as const, 'WAITING' as const),
      type: fc.constantFrom('LOAD', 'FREE'),
      ...{ etaMs: amount, bytesPerSecond: amount, failures: amount },
    }),
    { maxLength: 30 },
  );
  const workers = fc.array(
    fc
      .record({ id: text, reason: text, capacityBytes: amount, freeBytes: amount })
      .map(({ id, ...more }) => worker(id, more)),
    { maxLength: 30 },
  );
  const room = fc.record({ columns: fc.integer({ min: 1, max: 200 }), rows: fc.integer({ min: 1, max: 80 }) });
  fc.assert(
    fc.property(fc.record({ jobs, workers }), text, room, (look, message, { columns, rows }) => {
      const state = withTrouble(withLook(nothingSeen, look, 0), message, 0);
      const lines = topLines(state, view, { columns, rows });
      expect(lines.length).toBeLessThanOrEqual(rows);
      for (const line of lines) {
        expect(widthOf(line)).toBeLessThanOrEqual(columns);
        expect(paint(line, false)).not.toMatch(/[\p{Cc}\u2028\u2029]/u);
      }
    }),
  );
});

test('two lists share the room: no line is wasted, and none gets less than half that wants it', () => {
  const count = fc.integer({ min: 0, max: 2000 });
  fc.assert(
    fc.property(count, count, count, (room, first, second) => {
      const [forFirst, forSecond] = shareRoom(room, first, second);
      expect(forFirst + forSecond).toBe(Math.min(room, first + second));
      expect(forFirst).toBeGreaterThanOrEqual(Math.min(first, Math.floor(room / 2)));
      expect(forSecond).toBeGreaterThanOrEqual(Math.min(second, Math.floor(room / 2)));
    }),
  );
});

test('a line is cut between characters, and coloured only where colours are allowed', () => {
  const line = [span('ab', 'red'), span('😀😀😀')];
  expect(paint(cutLine(line, 4), true)).toBe('\u001b[31mab\u001b[0m😀…');
  expect(paint(cutLine(line, 5), false)).toBe('ab😀😀😀');
  expect(paint(cutLine(line, 1), false)).toBe('…');
  expect(paint([span('a\u001b[2Jb')], true)).toBe('a\\u001b[2Jb');
});
