/** What is kept of files lies on the disk for the next start, within its bound, and says where it has gaps. */
import {
  appendFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmdirSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { FileEvent } from '../../../src/core/file-events.ts';
import { KiB } from '../../../src/core/units.ts';
import { EventJournal } from '../../../src/telemetry/event-journal.ts';
import { FilePast } from '../../../src/telemetry/file-past.ts';
import { temporaryFolder } from '../../support/files.ts';
import { memoryLog } from '../../support/store-fixture.ts';

const path = 's3://b/dir/a';
let folder: ReturnType<typeof temporaryFolder>;
let nowMs: number;
beforeEach(() => {
  folder = temporaryFolder('past');
  nowMs = 1_000_000;
});
afterEach(() => folder.remove());

const bounds = { maxBytes: 64 * KiB, perFile: 20, ageMs: 1_000_000 };
const opened = (log = memoryLog()) =>
  FilePast.open({ dir: join(folder.path, 'history'), now: () => nowMs, log, attempts: bounds, gone: bounds });
const attempt = {
  kind: 'attempt',
  path,
  job: 'j',
  etag: 'v1',
  offset: 0,
  length: 1,
  attempt: 1,
  result: 'reset',
  durationMs: 1,
} as const;
const evicted = (of: string) => ({ kind: 'gone', path: of, reason: 'space', bytes: 1, etag: 'e' }) as const;
const kinds = (past: FilePast, of = path) => past.of(of).events.map(({ kind }) => kind);

it('a start after an end knows what happened before, and has no gap', async () => {
  const past = await opened();
  past.happened(attempt);
  nowMs += 5;
  past.happened(evicted(path));
  expect(past.hasFailed(path)).toBe(true);
  await past.close();
  nowMs += 1_000;
  const next = await opened();
  expect(next.of(path)).toMatchObject({
    events: [
      { ...attempt, atMs: 1_000_000 },
      { ...evicted(path), atMs: 1_000_005 },
    ],
    ...{ gaps: [], keptSinceMs: 1_000_000, dropped: 0 },
  });
  await next.close();
});

it('a start after a crash knows what was written, and says that something may be missing', async () => {
  const past = await opened();
  past.happened(attempt);
  nowMs += 70;
  past.happened(evicted('other'));
  await past.flush();
  // What a write that was cut off leaves.
  appendFileSync(join(folder.path, 'history', 'attempts'), '{"atMs":1,"pa');
  nowMs += 1_000;
  const next = await opened();
  expect(kinds(next)).toEqual(['attempt']);
  expect(next.of(path).gaps).toEqual([{ fromMs: 1_000_070, toMs: 1_001_070, why: 'crash' }]);
  next.happened(attempt);
  await next.close();
  const third = await opened();
  expect(kinds(third)).toEqual(['attempt', 'attempt']);
  expect(third.of(path).gaps, 'it is told as long as what lies beside it').toHaveLength(1);
  await third.close();
});

it('the disk has no more than its bound, and memory as much as the bound says', async () => {
  let past = await opened();
  for (let n = 0; n < 5_000; n++) {
    nowMs += 1;
    past.happened(evicted(`s3://b/${n}`));
    if (n % 50 === 0) await past.flush();
  }
  const there = past.of('s3://b/4999');
  expect(there.events).toHaveLength(1);
  expect(past.of('s3://b/0').events).toEqual([]);
  const sinceMs = there.keptSinceMs;
  expect(sinceMs).toBeGreaterThan(1_000_000);
  const keptIn = (one: FilePast) => Array.from({ length: 5_000 }, (_, n) => one.of(`s3://b/${n}`).events.length > 0);
  const kept = keptIn(past);
  expect(kept.indexOf(true), 'what is oldest went, and nothing else').toBe(sinceMs - 1_000_000);
  expect(kept.lastIndexOf(false)).toBe(kept.indexOf(true) - 1);
  await past.close();
  const dir = join(folder.path, 'history');
  for (const name of readdirSync(dir)) expect(statSync(join(dir, name)).size).toBeLessThanOrEqual(bounds.maxBytes / 2);
  past = await opened();
  expect(keptIn(past), 'after a start it is the same').toEqual(kept);
  await past.close();
});

it('what went with a directory is told of a file below it, and of no other', async () => {
  const past = await opened();
  const freed = { kind: 'gone', reason: 'freed', run: 'r', bytes: 1, files: 2 } as const;
  for (const of of ['s3://b/', 's3://b/dir', 's3://b/dir/', 's3://b/di', 's3://b/dir/a', 's3://b/dir/ab'])
    past.happened({ ...freed, path: of });
  expect(past.of(path).events.map((event) => event.path)).toEqual([
    's3://b/dir/a',
    's3://b/',
    's3://b/dir',
    's3://b/dir/',
  ]);
  await past.close();
});

it.each([
  ['of another format', (at: string) => writeFileSync(at, '{"primed":"history","format":99,"sinceMs":1}\n')],
  ['no journal', (at: string) => writeFileSync(at, '\u0000'.repeat(500))],
  ['empty', (at: string) => truncateSync(at)],
  ['far too long', (at: string) => truncateSync(at, 10_000_000)],
])('a journal that is %s is begun anew', async (_, spoil) => {
  const at = join(folder.path, 'history', 'attempts');
  const past = await opened();
  past.happened(attempt);
  await past.close();
  spoil(at);
  nowMs += 10;
  const log = memoryLog();
  const next = await opened(log);
  expect(next.of(path)).toMatchObject({ events: [], keptSinceMs: 1_000_010 });
  expect(log.lines.map(({ message }) => message)).toEqual([expect.stringContaining('begun anew')]);
  await next.close();
  expect(readFileSync(at, 'utf8')).toContain('"format":1,"sinceMs":1000010');
});

it('where nothing can be written memory has it all the same, and the log says so once', async () => {
  writeFileSync(join(folder.path, 'history'), 'no folder');
  const log = memoryLog();
  const past = await opened(log);
  past.happened(attempt);
  await past.flush();
  expect(kinds(past)).toEqual(['attempt']);
  await past.close();
  expect(log.lines.map(({ message }) => message)).toEqual(Array(2).fill(expect.stringContaining('memory only')));
});

it('a journal that cannot take the place of the one before goes on when it can, and keeps nothing open meanwhile', async () => {
  const past = await opened();
  const before = join(folder.path, 'history', 'removals.before');
  mkdirSync(before);
  const openOnes = (): number =>
    readdirSync('/proc/self/fd').filter((fd) => linkOf(fd).startsWith(join(folder.path, 'history'))).length;
  const atFirst = openOnes();
  const writeMuch = async (name: string): Promise<void> => {
    for (let n = 0; n < 200; n += 1) past.happened(evicted(`${name}-${n}-${'x'.repeat(200)}`));
    await past.flush();
  };
  for (const name of ['a', 'b', 'c', 'd']) await writeMuch(name);
  expect(statSync(before).isDirectory()).toBe(true);
  expect(openOnes()).toBe(atFirst);
  rmdirSync(before);
  await writeMuch('e');
  expect(readFileSync(join(folder.path, 'history', 'removals'), 'utf8')).toContain('e-199-');
  expect(statSync(before).isFile()).toBe(true);
  expect(openOnes()).toBe(atFirst);
  await past.close();
});

const mostWaitingBytes = 1024 * 1024;

it('what is lost while the disk takes what came before is a gap of its own', async () => {
  const order = { path: join(folder.path, 'removals'), maxBytes: 64 * mostWaitingBytes, now: () => nowMs };
  const { journal } = await EventJournal.open({ ...order, log: memoryLog() });
  const append = (name: string) => journal.append({ ...evicted(name), atMs: nowMs } as FileEvent);
  append('before');
  const written = journal.flush();
  // The write begins in the next turn of promises, and takes as long as the disk does.
  await Promise.resolve();
  nowMs += 100;
  for (let n = 0; n < 3; n += 1) append('x'.repeat(mostWaitingBytes));
  nowMs += 100;
  await written;
  await journal.flush();
  append('after');
  await journal.close();
  const { journal: next, found } = await EventJournal.open({ ...order, log: memoryLog() });
  expect(found.gaps).toEqual([{ fromMs: 1_000_100, toMs: 1_000_200, why: 'unwritten' }]);
  expect(found.events.map(({ event }) => event.path.length)).toEqual([6, mostWaitingBytes, 5]);
  await next.close();
});

it('a gap begins when the first of what was not written happened', async () => {
  const past = await opened();
  const before = join(folder.path, 'history', 'removals.before');
  mkdirSync(before);
  // More than fits: the file has to take the place of a folder, and cannot.
  for (let n = 0; n < 200; n += 1) past.happened(evicted(`a-${n}-${'x'.repeat(200)}`));
  nowMs += 200;
  await past.flush();
  rmdirSync(before);
  past.happened(evicted('b'));
  nowMs += 50;
  await past.close();
  const next = await opened();
  expect(next.of('b').gaps).toEqual([{ fromMs: 1_000_000, toMs: 1_000_250, why: 'unwritten' }]);
  await next.close();
});

function linkOf(fd: string): string {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    return '';
  }
}
