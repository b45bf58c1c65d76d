import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import type { JobObserver } from '../../../src/cluster/types.ts';
import { PrimedError } from '../../../src/core/errors.ts';
import { parseLoadOptions } from '../../../src/core/load-options.ts';
import { alignUp } from '../../../src/core/units.ts';
import { entryOf, FakeDisk, FakeOrigins } from './fakes.ts';
import { cleanUp, crash, folder, load, openStage, type Stage, until } from './stage.ts';

afterEach(cleanUp);

const dir = 's3://b/dir/';

async function staged(files: number, options: Parameters<typeof openStage>[0] = {}, sizeBytes = 5000): Promise<Stage> {
  const stage = await openStage(options);
  for (let i = 0; i < files; i += 1) stage.origins.put(`${dir}${String(i).padStart(5, '0')}`, sizeBytes);
  return stage;
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => 'none',
    (error: unknown) =>
      error instanceof PrimedError ? `${error.code}: ${error.message}` : `not of the catalogue: ${String(error)}`,
  );
}

describe('a load of a directory', () => {
  it('loads every file and says so', async () => {
    const stage = await staged(35);
    stage.origins.put('s3://b/directory-beside', 1);
    const job = await load(stage, dir);
    expect(job).toMatchObject({
      state: 'SUCCEEDED',
      totalFiles: 35,
      processedFiles: 35,
      loadedFiles: 35,
      loadedBytes: 35 * 5000,
      totalBytes: 35 * 5000,
      skippedFiles: 0,
      failedFiles: 0,
      scannedFiles: 35,
      ledger: { originBytes: 35 * 5000, cachedBytes: 35 * 5000 },
    });
    expect(stage.worker.disk.files.size).toBe(35);
    expect(stage.origins.asked.list).toBe(4);
  });

  it('keeps two batches with the worker, and no more', async () => {
    const stage = await staged(50);
    await load(stage, dir, { batchSize: 3 });
    expect(stage.worker.mostPending).toBe(6);
  });

  it('reserves room for the whole before the first byte, in the footprint of each file', async () => {
    const stage = await staged(25);
    let reservedAtFirstLoad: unknown;
    stage.worker.onLoad = () => {
      reservedAtFirstLoad ??= [...stage.worker.reservations];
    };
    const job = await load(stage, dir);
    expect(reservedAtFirstLoad).toEqual([{ run: job.runId, bytes: 25 * alignUp(5000) }]);
  });

  it('fails without room before any byte is fetched, with needed and free bytes', async () => {
    const stage = await staged(25);
    stage.worker.disk.capacityBytes = 100_000;
    const job = await load(stage, dir);
    expect(job.state).toBe('FAILED');
    expect(job.reason).toBe(`STORE_NO_ROOM: The load needs ${25 * 8192} bytes, and 100000 are free.`);
    expect(stage.worker.loads).toBe(0);
  });

  it('fails when one file fails, names it, and loads the others', async () => {
    const stage = await staged(30);
    stage.worker.failing.set(`${dir}00007`, `${dir}00007: HTTP 500`);
    const job = await load(stage, dir);
    expect(job).toMatchObject({
      state: 'FAILED',
      loadedFiles: 29,
      failedFiles: 1,
      processedFiles: 30,
      loadedBytes: 29 * 5000,
    });
    expect(job.reason).toBe(`1 of 30 files failed; the first: ${dir}00007: HTTP 500`);
    expect(job.failures).toEqual([
      { path: `${dir}00007`, code: 'ORIGIN_SERVER_ERROR', message: `${dir}00007: HTTP 500` },
    ]);
  });

  it('counts a file that changed under the load with its new size', async () => {
    const stage = await staged(3);
    stage.worker.changing.set(`${dir}00001`, entryOf(`${dir}00001`, 9000, 'v2'));
    const job = await load(stage, dir);
    expect(job).toMatchObject({ state: 'SUCCEEDED', loadedBytes: 19_000, totalBytes: 19_000 });
  });

  it('is no success when the worker leaves bytes unaccounted for', async () => {
    const stage = await staged(3);
    const real = stage.worker.load.bind(stage.worker);
    stage.worker.load = async (run, entry) => {
      const outcome = await real(run, entry);
      return entry.path.endsWith('2') ? { ...outcome, loadedBytes: outcome.loadedBytes - 1 } : outcome;
    };
    expect(await load(stage, dir)).toMatchObject({ state: 'FAILED', failedFiles: 1 });
  });

  it('takes s3://b/dir for the object where there is one, else for the prefix', async () => {
    const stage = await staged(3);
    expect(await load(stage, 's3://b/dir')).toMatchObject({ state: 'SUCCEEDED', totalFiles: 3 });
    stage.origins.put('s3://b/dir', 77);
    expect(await load(stage, 's3://b/dir')).toMatchObject({ state: 'SUCCEEDED', totalFiles: 1, totalBytes: 77 });
    expect(await load(stage, dir)).toMatchObject({ state: 'SUCCEEDED', totalFiles: 3 });
  });

  it('fails where nothing exists, and succeeds with no file where only a marker does', async () => {
    const stage = await staged(0);
    const job = await load(stage, 's3://b/none/');
    expect(job.state).toBe('FAILED');
    expect(job.reason).toMatch(/^ORIGIN_NOT_FOUND: Nothing exists at 's3:\/\/b\/none\/'/);
    expect((await load(stage, 's3://b/none')).state).toBe('FAILED');
    stage.origins.put('s3://b/empty/', 0);
    expect(await load(stage, 's3://b/empty/')).toMatchObject({ state: 'SUCCEEDED', totalFiles: 0, scannedFiles: 1 });
  });

  it('tries a listing page again a few times when the origin is away', async () => {
    const stage = await staged(25);
    let faults = 0;
    stage.origins.before = (request) => {
      if (request === 'list' && stage.origins.asked.list === 2 && faults === 0) {
        faults += 1;
        throw new PrimedError('ORIGIN_UNREACHABLE', 'connect ECONNREFUSED');
      }
    };
    expect(await load(stage, dir)).toMatchObject({ state: 'SUCCEEDED', totalFiles: 25 });
    expect(faults).toBe(1);
    stage.origins.before = () => {
      throw new PrimedError('ORIGIN_UNREACHABLE', 's3://b/: connect ECONNREFUSED');
    };
    const before = stage.origins.asked.list;
    const job = await load(stage, dir);
    expect(job).toMatchObject({ state: 'FAILED', reason: 'ORIGIN_UNREACHABLE: s3://b/: connect ECONNREFUSED' });
    expect(stage.origins.asked.list - before).toBe(4);
  });

  it('keeps only files whose whole base name passes the filter', async () => {
    const stage = await staged(30);
    const job = await load(stage, dir, { fileFilterRegx: '0001[0-4]' });
    expect(job).toMatchObject({ state: 'SUCCEEDED', totalFiles: 5, scannedFiles: 30 });
    expect([...stage.worker.disk.files.keys()].map((path) => path.slice(-2))).toEqual(['10', '11', '12', '13', '14']);
  });

  it('fails instead of hanging on a filter that takes exponential time', async () => {
    const stage = await openStage();
    stage.origins.put(`${dir}${'a'.repeat(60)}!`, 1);
    const job = await load(stage, dir, { fileFilterRegx: '(a+)+b' });
    expect(job.state).toBe('FAILED');
    expect(job.reason).toMatch(/^REQUEST_INVALID: fileFilterRegx: '\(a\+\)\+b' takes longer than/);
  });
});

describe('skipping', () => {
  it('loads anew what an earlier load has cached, unless skipIfExists says otherwise', async () => {
    const stage = await staged(20);
    const first = await load(stage, dir);
    const again = await load(stage, dir);
    expect(again.loadId).not.toBe(first.loadId);
    expect(again).toMatchObject({ state: 'SUCCEEDED', loadedFiles: 20, skippedFiles: 0 });
    stage.origins.put(`${dir}00003`, 6000, 'v2');
    stage.origins.put(`${dir}99999`, 100);
    const third = await load(stage, dir, { skipIfExists: 'true' });
    expect(third).toMatchObject({
      state: 'SUCCEEDED',
      totalFiles: 21,
      loadedFiles: 2,
      loadedBytes: 6100,
      skippedFiles: 19,
      skippedBytes: 19 * 5000,
      totalBytes: 19 * 5000 + 6100,
    });
    expect(stage.worker.reservations.at(-1)?.bytes).toBe(alignUp(6000) + alignUp(100));
  });

  it('needs no room for what is cached', async () => {
    const stage = await staged(20);
    await load(stage, dir);
    stage.worker.disk.capacityBytes = 20 * alignUp(5000);
    expect(await load(stage, dir, { skipIfExists: 'true' })).toMatchObject({ state: 'SUCCEEDED', skippedFiles: 20 });
    expect((await load(stage, dir)).reason).toMatch(/^STORE_NO_ROOM/);
  });
});

describe('partial listing', () => {
  it('loads while the listing goes on, and has no totals until it ends', async () => {
    const stage = await staged(40);
    let open: () => void = () => undefined;
    const held = new Promise<void>((resolve) => {
      open = resolve;
    });
    stage.origins.before = (request) => (request === 'list' && stage.origins.asked.list === 3 ? held : undefined);
    const { jobId } = await stage.jobs.submit(
      { kind: 'path', path: dir },
      parseLoadOptions({ partialListing: 'true' }),
    );
    await until(() => stage.jobs.byId(jobId)?.loadedFiles === 20);
    const midway = stage.jobs.byId(jobId)!;
    expect(midway).toMatchObject({ state: 'RUNNING', listingDone: false });
    expect(midway).not.toHaveProperty('totalFiles');
    expect(midway).not.toHaveProperty('totalBytes');
    open();
    expect(await stage.jobs.ended(jobId)).toMatchObject({ state: 'SUCCEEDED', totalFiles: 40, loadedFiles: 40 });
  });

  it('lets the reservation follow the listing, and fails when it can no longer grow', async () => {
    const stage = await staged(40);
    stage.worker.flowing = false;
    stage.worker.disk.capacityBytes = 25 * alignUp(5000);
    const job = await load(stage, dir, { partialListing: true });
    expect(job.reason).toBe(`STORE_NO_ROOM: The load needs ${30 * 8192} bytes, and ${25 * 8192} are free.`);
    expect(stage.worker.reservations.map(({ bytes }) => bytes / alignUp(5000))).toEqual([10, 20]);
    expect(stage.worker.pending).toEqual([]);
  });

  it('fails the job when the listing fails, and drops what is in flight', async () => {
    const stage = await staged(40);
    stage.worker.flowing = false;
    stage.origins.before = (request) => {
      if (request === 'list' && stage.origins.asked.list > 2)
        throw new PrimedError('ORIGIN_DENIED', 's3://b/dir/: 403 AccessDenied');
    };
    const job = await load(stage, dir, { partialListing: true });
    expect(job).toMatchObject({ state: 'FAILED', reason: 'ORIGIN_DENIED: s3://b/dir/: 403 AccessDenied' });
    expect(stage.worker.pending).toEqual([]);
  });
});

describe('metadata', () => {
  it('is cached without data, and without room', async () => {
    const stage = await staged(25);
    stage.worker.disk.capacityBytes = 0;
    const job = await load(stage, dir, { loadMetadataOnly: 'true', batchSize: 4 });
    expect(job).toMatchObject({ state: 'SUCCEEDED', loadedFiles: 25, loadedBytes: 0, totalBytes: 0 });
    expect(stage.worker.disk.metadata.size).toBe(25);
    expect(stage.worker.loads).toBe(0);
  });

  it('that cannot be stored fails every file of the batch', async () => {
    const stage = await staged(3);
    stage.worker.loadMetadata = async () => {
      throw new PrimedError('STORE_IO', 'EIO');
    };
    expect(await load(stage, dir, { loadMetadataOnly: true })).toMatchObject({ state: 'FAILED', failedFiles: 3 });
  });
});

describe('an index file', () => {
  const index = 's3://b/lists/today.txt';

  async function loadIndex(stage: Stage, path: string, options = {}) {
    const { jobId } = await stage.jobs.submit({ kind: 'index', path }, parseLoadOptions(options));
    return stage.jobs.ended(jobId);
  }

  it('names files and directories; empty lines, CRLF, a BOM and UTF-8 are fine', async () => {
    const stage = await staged(12);
    stage.origins.put('s3://b/single', 7);
    stage.origins.put('s3://b/größe', 8);
    stage.origins.texts.set(
      index,
      Buffer.from('\ufeffs3://b/single\r\n\n\r\ns3://b/dir/\ns3://b/größe', 'utf8').toString('latin1'),
    );
    stage.origins.put(index, 10);
    const job = await loadIndex(stage, index);
    expect(job).toMatchObject({
      state: 'SUCCEEDED',
      totalFiles: 14,
      loadedBytes: 12 * 5000 + 15,
      source: { kind: 'index', path: index },
    });
    expect(stage.worker.disk.files.has('s3://b/größe')).toBe(true);
    expect(stage.jobs.snapshot(index)?.jobId).toBe(job.jobId);
  });

  it('may lie on the coordinator, by path or URL, as one and the same job', async () => {
    const stage = await staged(2);
    const file = join(folder(), 'list.txt');
    writeFileSync(file, 's3://b/dir/\n');
    const job = await loadIndex(stage, file);
    expect(job).toMatchObject({ state: 'SUCCEEDED', totalFiles: 2 });
    expect(stage.jobs.snapshot(`file://${file}`)?.jobId).toBe(job.jobId);
  });

  it.each([
    ['s3://b/dir/\n\nnot a path\n', 'Line 3 '],
    ['s3://B_A_D!/x\n', 'Line 1 '],
    ['s3://b/a\ns3://b/\xff\xfe\n', 'Line 2 '],
    [`s3://b/${'k'.repeat(9000)}\n`, 'Line 1 '],
    ['root:x:0:0\n', 'Line 1 '],
  ])('with a bad line fails and names the line (%#)', async (text, where) => {
    const stage = await staged(2);
    stage.origins.texts.set(index, text);
    stage.origins.put(index, 10);
    const job = await loadIndex(stage, index);
    expect(job.state).toBe('FAILED');
    expect(job.reason).toContain(`PATH_INVALID: ${where}`);
    expect(job.reason).not.toContain('root:x');
    expect(stage.worker.loads).toBe(0);
  });

  it('with a missing file fails for that file, and loads the others', async () => {
    const stage = await staged(2);
    stage.origins.texts.set(index, 's3://b/dir/00000\ns3://b/gone\ns3://b/nothing/\ns3://b/dir/00001\n');
    stage.origins.put(index, 10);
    const job = await loadIndex(stage, index);
    expect(job).toMatchObject({ state: 'FAILED', totalFiles: 4, loadedFiles: 2, failedFiles: 2 });
    expect(job.failures.map(({ path, code }) => [path, code])).toEqual([
      ['s3://b/gone', 'ORIGIN_NOT_FOUND'],
      ['s3://b/nothing/', 'ORIGIN_NOT_FOUND'],
    ]);
  });

  it('that does not exist fails', async () => {
    const stage = await openStage();
    expect((await loadIndex(stage, '/no/such/list')).reason).toMatch(
      /^ORIGIN_NOT_FOUND: The index file '\/no\/such\/list'/,
    );
    expect((await loadIndex(stage, index)).reason).toMatch(/^ORIGIN_NOT_FOUND/);
  });

  it('that names a file twice loads it once', async () => {
    const stage = await staged(1);
    stage.origins.texts.set(index, `${dir}00000\n${dir}00000\n${dir}\n`);
    stage.origins.put(index, 10);
    const job = await loadIndex(stage, index);
    expect(job).toMatchObject({
      state: 'SUCCEEDED',
      totalFiles: 3,
      loadedFiles: 1,
      skippedFiles: 2,
      loadedBytes: 5000,
      skippedBytes: 10_000,
    });
    expect(stage.worker.disk.fetched.get(`${dir}00000`)).toBe(5000);
  });

  it('of many files in one directory lists it instead of asking for each', async () => {
    const stage = await staged(3000, { settings: { listingKeys: 1000 } });
    const names = [...stage.origins.objects.keys()];
    stage.origins.texts.set(index, `${names.join('\n')}\n${dir}missing\n`);
    stage.origins.put(index, 10);
    const job = await loadIndex(stage, index);
    expect(job).toMatchObject({ totalFiles: 3001, loadedFiles: 3000, failedFiles: 1 });
    expect(stage.origins.asked.list).toBe(3);
    expect(stage.origins.asked.head).toBeLessThan(10);
  });

  it('of few files in a huge directory gives the listing up', async () => {
    const stage = await staged(20_000, { settings: { listingKeys: 1000 } }, 10);
    const names = [...stage.origins.objects.keys()].filter((_, i) => i >= 10_000 && i % 100 === 0);
    stage.origins.texts.set(index, names.join('\n'));
    stage.origins.put(index, 10);
    const job = await loadIndex(stage, index);
    expect(job).toMatchObject({ state: 'SUCCEEDED', totalFiles: 100 });
    expect(stage.origins.asked.list).toBeLessThanOrEqual(3);
    expect(stage.origins.asked.head).toBeGreaterThanOrEqual(100);
  });
});

describe('verification', () => {
  it('checks every file, after the origin was listed again', async () => {
    const stage = await staged(25);
    const job = await load(stage, dir, { verify: 'true' });
    expect(job).toMatchObject({ state: 'SUCCEEDED', verifiedFiles: 25, verifiedBytes: 25 * 5000 });
    expect(new Set(stage.worker.verified).size).toBe(25);
    expect(stage.origins.asked.list).toBe(6);
  });

  it('loads what is new or has changed meanwhile', async () => {
    const stage = await staged(12);
    let loads = 0;
    stage.worker.onLoad = () => {
      loads += 1;
      if (loads !== 12) return;
      stage.origins.put(`${dir}00003`, 100, 'v2');
      stage.origins.put(`${dir}new`, 50);
    };
    const job = await load(stage, dir, { verify: true });
    expect(job).toMatchObject({ state: 'SUCCEEDED', totalFiles: 14, loadedFiles: 14, verifiedFiles: 13 });
    expect(stage.worker.disk.files.get(`${dir}00003`)?.entry.etag).toBe('v2');
    expect(job.loadedBytes).toBe(12 * 5000 + 150);
  });

  it('loads a bad file anew, once, and checks it again', async () => {
    const stage = await staged(12);
    stage.worker.badLoads.set(`${dir}00004`, 1);
    const job = await load(stage, dir, { verify: true });
    expect(job).toMatchObject({ state: 'SUCCEEDED', verifiedFiles: 12, failedFiles: 0 });
    expect(stage.worker.disk.fetched.get(`${dir}00004`)).toBe(10_000);
    expect(job.ledger).toMatchObject({ originBytes: 13 * 5000, cachedBytes: 13 * 5000 });
    expect(stage.worker.disk.files.get(`${dir}00004`)?.bad).toBe(0);
  });

  it('fails with the file that stays bad', async () => {
    const stage = await staged(12);
    stage.worker.badLoads.set(`${dir}00004`, 99);
    const job = await load(stage, dir, { verify: true });
    expect(job).toMatchObject({
      state: 'FAILED',
      verifiedFiles: 11,
      failedFiles: 1,
      loadedFiles: 11,
      loadedBytes: 11 * 5000,
    });
    expect(job.failures[0]).toMatchObject({ path: `${dir}00004`, code: 'STORE_CORRUPT' });
    expect(stage.worker.disk.fetched.get(`${dir}00004`)).toBe(10_000);
  });

  it('is left out when the load has failed already', async () => {
    const stage = await staged(3);
    stage.worker.failing.set(`${dir}00001`, 'no');
    expect(await load(stage, dir, { verify: true })).toMatchObject({ state: 'FAILED', verifiedFiles: 0 });
    expect(stage.worker.verified).toEqual([]);
  });
});

describe('submission', () => {
  it('refuses wildcards, foreign paths and replicas that no worker can take', async () => {
    const stage = await openStage();
    const submit = (path: string, options = {}) =>
      codeOf(stage.jobs.submit({ kind: 'path', path }, parseLoadOptions(options)));
    expect(await submit('s3://b/*.txt')).toMatch(/^PATH_WILDCARD: Load does not support wildcard path/);
    expect(await submit('hdfs://x/y')).toMatch(/^PATH_INVALID/);
    expect(await submit(dir, { replicas: '2' })).toMatch(/^OPTION_UNSUPPORTED: replicas: 2 replicas .* 1 live worker/);
    expect(stage.jobs.list({})).toEqual([]);
  });

  it('of the same path and options answers with the running job', async () => {
    const stage = await staged(5);
    stage.worker.flowing = false;
    const [a, b] = await Promise.all([
      stage.jobs.submit({ kind: 'path', path: dir }, parseLoadOptions({ batchSize: '9' })),
      stage.jobs.submit({ kind: 'path', path: dir }, parseLoadOptions({ batchSize: 9 })),
    ]);
    expect(a).toMatchObject({ started: true, message: `Load '${dir}' is successfully submitted. JobId: ${a.jobId}` });
    expect(b).toEqual({ started: false, jobId: a.jobId, message: `Load already running for path '${dir}'` });
    expect(stage.jobs.list({})).toHaveLength(1);
  });

  it('of the same path with other options is a conflict that names the difference', async () => {
    const stage = await staged(5);
    stage.worker.flowing = false;
    await stage.jobs.submit({ kind: 'path', path: dir }, parseLoadOptions({}));
    const conflict = await codeOf(stage.jobs.submit({ kind: 'path', path: dir }, parseLoadOptions({ verify: true })));
    expect(conflict).toMatch(/^JOB_CONFLICT: .*verify is false, asked for true/);
    const kind = await codeOf(stage.jobs.submit({ kind: 'index', path: dir }, parseLoadOptions({})));
    expect(kind).toMatch(/^JOB_CONFLICT: .*index file/);
  });

  it('lets so many jobs run, others wait in order, and one more is refused', async () => {
    const stage = await openStage({ settings: { maxActive: 2, maxWaiting: 2 } });
    for (const name of 'abcde') stage.origins.put(`s3://b/${name}/x`, 10);
    stage.worker.flowing = false;
    const submit = (name: string) => stage.jobs.submit({ kind: 'path', path: `s3://b/${name}/` }, parseLoadOptions({}));
    const ids = [];
    for (const name of 'abcd') ids.push((await submit(name)).jobId);
    expect(stage.jobs.list({}).map((job) => job.state)).toEqual(['WAITING', 'WAITING', 'RUNNING', 'RUNNING']);
    expect(stage.jobs.list({ states: ['WAITING'] }).map((job) => job.source.path)).toEqual(['s3://b/d/', 's3://b/c/']);
    expect(await codeOf(submit('e'))).toMatch(/^JOB_LIMIT: 2 jobs run and 2 wait/);
    expect(await stage.jobs.stop('s3://b/c/')).toBe(true);
    await until(() => stage.worker.pending.length === 2);
    stage.worker.release();
    await stage.jobs.ended(ids[0]!);
    expect(stage.jobs.byId(ids[3]!)?.state).toBe('RUNNING');
    await until(() => stage.worker.pending.length === 2);
    stage.worker.release(2);
    expect((await stage.jobs.ended(ids[3]!)).state).toBe('SUCCEEDED');
    expect(stage.jobs.byId(ids[2]!)?.state).toBe('STOPPED');
  });
});

describe('stopping', () => {
  it('drops what is in flight, keeps what is durable, and a new submission goes on from there', async () => {
    const stage = await staged(20);
    stage.worker.flowing = false;
    const { jobId } = await stage.jobs.submit({ kind: 'path', path: dir }, parseLoadOptions({}));
    await until(() => stage.worker.pending.length === 20);
    stage.worker.release(7);
    stage.worker.landPart(`${dir}00007`, 1000);
    expect(await stage.jobs.stop(dir)).toBe(true);
    const stopped = stage.jobs.byId(jobId)!;
    expect(stopped).toMatchObject({ state: 'STOPPED', loadedFiles: 7, totalFiles: 20 });
    expect(stage.worker.pending).toEqual([]);
    expect(await stage.jobs.stop(dir)).toBe(false);

    stage.worker.flowing = true;
    const resumed = await load(stage, dir);
    expect(resumed.jobId).not.toBe(jobId);
    expect(resumed.runId).not.toBe(stopped.runId);
    expect(resumed.loadId).toBe(stopped.loadId);
    expect(resumed).toMatchObject({
      state: 'SUCCEEDED',
      loadedFiles: 13,
      skippedFiles: 7,
      loadedBytes: 13 * 5000 - 1000,
      skippedBytes: 7 * 5000 + 1000,
    });
    for (const [path, bytes] of stage.worker.disk.fetched) expect([path, bytes]).toEqual([path, 5000]);
  });

  it('does not wait for a listing that hangs', async () => {
    const stage = await staged(3);
    const { promise, reject } = hanging();
    stage.origins.before = (request) => (request === 'list' ? promise : undefined);
    const { jobId } = await stage.jobs.submit({ kind: 'path', path: dir }, parseLoadOptions({}));
    await until(() => stage.origins.asked.list === 1);
    const stopping = stage.jobs.stop(dir);
    reject(new DOMException('aborted', 'AbortError'));
    expect(await stopping).toBe(true);
    expect(stage.jobs.byId(jobId)?.state).toBe('STOPPED');
  });

  it('of an unknown or ended job says no', async () => {
    const stage = await staged(1);
    expect(await stage.jobs.stop(dir)).toBe(false);
    await load(stage, dir);
    expect(await stage.jobs.stop(dir)).toBe(false);
    expect(stage.jobs.snapshot(dir)?.state).toBe('SUCCEEDED');
  });

  it('a submission during the stop resumes after it', async () => {
    const stage = await staged(4);
    stage.worker.flowing = false;
    const first = await stage.jobs.submit({ kind: 'path', path: dir }, parseLoadOptions({}));
    await until(() => stage.worker.pending.length === 4);
    const stopping = stage.jobs.stop(dir);
    await Promise.resolve();
    const second = await stage.jobs.submit({ kind: 'path', path: dir }, parseLoadOptions({}));
    expect(await stopping).toBe(true);
    expect(second).toMatchObject({ started: true });
    expect(stage.jobs.byId(second.jobId)?.loadId).toBe(stage.jobs.byId(first.jobId)?.loadId);
  });
});

function hanging(): { promise: Promise<void>; reject: (error: unknown) => void } {
  let reject: (error: unknown) => void = () => undefined;
  const promise = new Promise<void>((_, no) => {
    reject = no;
  });
  return { promise, reject };
}

describe('after kill -9', () => {
  it.each([false, true])(
    'the job goes on by itself, and fetches no durable byte twice (partial listing: %s)',
    async (partialListing) => {
      const stage = await staged(45);
      stage.worker.flowing = false;
      stage.worker.retries = 3;
      const { jobId } = await stage.jobs.submit(
        { kind: 'path', path: dir },
        parseLoadOptions({ partialListing, batchSize: 8 }),
      );
      await until(() => stage.worker.pending.length === 16);
      for (let i = 0; i < 23; i += 1) {
        await until(() => stage.worker.pending.length === 16);
        stage.worker.release();
      }
      await until(() => stage.worker.pending.length === 16);
      stage.worker.landPart(stage.worker.pending[0]!.entry.path, 4096);
      const before = stage.jobs.byId(jobId)!;
      expect(before.loadedFiles).toBe(23);

      const next = await crash(stage);
      const job = await next.jobs.ended(jobId);
      expect(job).toMatchObject({
        state: 'SUCCEEDED',
        jobId,
        runId: before.runId,
        loadId: before.loadId,
        totalFiles: 45,
        scannedFiles: 45,
        loadedFiles: 45,
        loadedBytes: 45 * 5000,
        skippedFiles: 0,
        skippedBytes: 0,
        ledger: { originBytes: 45 * 5000, cachedBytes: 45 * 5000 },
      });
      expect(next.worker.disk.fetched.size).toBe(45);
      for (const [path, bytes] of next.worker.disk.fetched) expect([path, bytes]).toEqual([path, 5000]);
      // Two chunks were done: their files are not even looked at.
      expect(next.worker.loads).toBeLessThanOrEqual(25);
    },
  );

  it('during the listing goes on from the last page', async () => {
    const stage = await staged(45);
    const { promise } = hanging();
    stage.origins.before = (request) => (request === 'list' && stage.origins.asked.list === 4 ? promise : undefined);
    const { jobId } = await stage.jobs.submit({ kind: 'path', path: dir }, parseLoadOptions({}));
    await until(() => stage.jobs.byId(jobId)?.scannedFiles === 30);
    // The chunk must be committed before the "crash" copies the store.
    await new Promise((resolve) => setTimeout(resolve, 50));
    const next = await crash(stage);
    stage.origins.before = () => undefined;
    expect(await next.jobs.ended(jobId)).toMatchObject({
      state: 'SUCCEEDED',
      totalFiles: 45,
      loadedFiles: 45,
      scannedFiles: 45,
    });
    expect(stage.origins.asked.list).toBe(6);
  });

  it('reserves only what is still to be loaded', async () => {
    const stage = await staged(30);
    stage.worker.flowing = false;
    const { jobId } = await stage.jobs.submit({ kind: 'path', path: dir }, parseLoadOptions({}));
    await until(() => stage.worker.pending.length === 30);
    stage.worker.release(13);
    await until(() => stage.jobs.byId(jobId)?.loadedFiles === 13);
    stage.worker.disk.capacityBytes = 30 * alignUp(5000);
    const next = await crash(stage);
    expect(await next.jobs.ended(jobId)).toMatchObject({ state: 'SUCCEEDED', loadedFiles: 30 });
    expect(next.worker.reservations[0]?.bytes).toBe(17 * alignUp(5000));
  });

  it('with partial listing too: a store that is nearly full of this very load has room for the rest of it', async () => {
    const stage = await staged(8, { settings: { listingKeys: 100 } });
    stage.worker.flowing = false;
    const options = parseLoadOptions({ partialListing: 'true' });
    const { jobId } = await stage.jobs.submit({ kind: 'path', path: dir }, options);
    await until(() => stage.worker.pending.length === 8);
    stage.worker.release(6);
    await until(() => stage.jobs.byId(jobId)?.loadedFiles === 6);
    stage.worker.disk.capacityBytes = 8 * alignUp(5000);
    const next = await crash(stage, { listingKeys: 100 });
    expect(await next.jobs.ended(jobId)).toMatchObject({ state: 'SUCCEEDED', loadedFiles: 8 });
    expect(next.worker.reservations[0]?.bytes).toBe(2 * alignUp(5000));
  });

  it('a page that is listed late asks for no room that files under way have drawn already', async () => {
    const stage = await openStage({ settings: { listingKeys: 1 } });
    stage.origins.put(`${dir}1-large`, 80_000);
    stage.origins.put(`${dir}2-small`, 5000);
    stage.worker.disk.capacityBytes = alignUp(80_000) + alignUp(5000);
    stage.worker.flowing = false;
    let goOn: () => void = () => undefined;
    const promise = new Promise<void>((resolve) => {
      goOn = resolve;
    });
    stage.origins.before = () => (stage.origins.asked.list > 1 ? promise : undefined);
    const { jobId } = await stage.jobs.submit(
      { kind: 'path', path: dir },
      parseLoadOptions({ partialListing: 'true' }),
    );
    await until(() => stage.worker.pending.length === 1);
    stage.worker.landPart(`${dir}1-large`, 65_536);
    goOn();
    await until(() => stage.worker.pending.length === 2 || stage.jobs.byId(jobId)?.state === 'FAILED');
    stage.worker.release(2);
    expect(await stage.jobs.ended(jobId)).toMatchObject({ state: 'SUCCEEDED', loadedFiles: 2 });
  });

  it('a resumed job still tells its own bytes from those of the job that it resumes', async () => {
    const stage = await staged(20);
    stage.worker.flowing = false;
    await stage.jobs.submit({ kind: 'path', path: dir }, parseLoadOptions({}));
    await until(() => stage.worker.pending.length === 20);
    stage.worker.release(5);
    await stage.jobs.stop(dir);
    const { jobId } = await stage.jobs.submit({ kind: 'path', path: dir }, parseLoadOptions({}));
    await until(() => stage.worker.pending.length === 15);
    stage.worker.release(6);
    await until(() => stage.jobs.byId(jobId)?.loadedFiles === 6);
    const next = await crash(stage);
    expect(await next.jobs.ended(jobId)).toMatchObject({
      state: 'SUCCEEDED',
      loadedFiles: 15,
      skippedFiles: 5,
      loadedBytes: 15 * 5000,
    });
  });

  it('verification goes on behind its last page', async () => {
    const stage = await staged(30);
    const { promise } = hanging();
    const real = stage.worker.verify.bind(stage.worker);
    stage.worker.verify = async (run, entry) => {
      if (entry.path.endsWith('15')) await promise;
      return real(run, entry);
    };
    const { jobId } = await stage.jobs.submit({ kind: 'path', path: dir }, parseLoadOptions({ verify: true }));
    await until(() => (stage.jobs.byId(jobId)?.verifiedFiles ?? 0) >= 17);
    const next = await crash(stage);
    const job = await next.jobs.ended(jobId);
    expect(job).toMatchObject({ state: 'SUCCEEDED', verifiedFiles: 30, loadedFiles: 30 });
    expect(next.worker.verified).toHaveLength(20);
  });

  it('waiting jobs wait again, and a new number is never an old one', async () => {
    const stage = await openStage({ settings: { maxActive: 1 } });
    for (const name of 'abc') stage.origins.put(`s3://b/${name}/x`, 10);
    stage.worker.flowing = false;
    const ids = [];
    for (const name of 'abc')
      ids.push((await stage.jobs.submit({ kind: 'path', path: `s3://b/${name}/` }, parseLoadOptions({}))).jobId);
    const next = await crash(stage, { maxActive: 1 });
    expect(next.jobs.list({}).map((job) => job.jobId)).toEqual(ids.toReversed());
    expect((await next.jobs.ended(ids[2]!)).state).toBe('SUCCEEDED');
  });

  it('an index file that has changed meanwhile is listed anew', async () => {
    const index = 's3://b/list';
    const stage = await staged(3);
    stage.origins.put(index, 10);
    stage.origins.put('s3://b/other/a', 10);
    stage.origins.texts.set(index, `${dir}\ns3://b/other/\n`);
    const { promise } = hanging();
    stage.origins.before = (request, path) => (request === 'list' && path.includes('other') ? promise : undefined);
    const { jobId } = await stage.jobs.submit(
      { kind: 'index', path: index },
      parseLoadOptions({ partialListing: true }),
    );
    await until(() => stage.jobs.byId(jobId)?.loadedFiles === 3);
    stage.origins.put(index, 11, 'v2');
    stage.origins.texts.set(index, `${dir}\ns3://b/other/b\n`);
    stage.origins.put('s3://b/other/b', 10);
    stage.origins.before = () => undefined;
    const next = await crash(stage);
    expect(await next.jobs.ended(jobId)).toMatchObject({
      state: 'SUCCEEDED',
      totalFiles: 4,
      loadedFiles: 4,
      loadedBytes: 3 * 5000 + 10,
    });
    for (const [path, bytes] of next.worker.disk.fetched)
      expect([path, bytes]).toEqual([path, path.startsWith(dir) ? 5000 : 10]);
  });
});

describe('closing', () => {
  it('saves running jobs, refuses new ones, and the next process goes on', async () => {
    const stage = await staged(20);
    stage.worker.flowing = false;
    const { jobId } = await stage.jobs.submit({ kind: 'path', path: dir }, parseLoadOptions({}));
    await until(() => stage.worker.pending.length === 20);
    stage.worker.release(5);
    await until(() => stage.jobs.byId(jobId)?.loadedFiles === 5);
    stage.clock.nowMs += 5000;
    const ending = codeOf(stage.jobs.ended(jobId));
    await stage.jobs.close();
    expect(await ending).toMatch(/^STOPPING/);
    expect(stage.worker.pending).toEqual([]);
    expect(await codeOf(stage.jobs.submit({ kind: 'path', path: dir }, parseLoadOptions({})))).toMatch(/^STOPPING/);
    stage.clock.nowMs += 3_600_000;
    const next = await openStage({
      dir: stage.dir,
      origins: stage.origins,
      disk: stage.worker.disk,
      clock: stage.clock,
    });
    const job = await next.jobs.ended(jobId);
    expect(job).toMatchObject({ state: 'SUCCEEDED', loadedFiles: 20, loadedBytes: 20 * 5000, activeMs: 5000 });
    for (const [path, bytes] of next.worker.disk.fetched) expect([path, bytes]).toEqual([path, 5000]);
  });

  it('a worker that closes first fails no file: the job goes on later', async () => {
    const stage = await staged(20);
    stage.worker.flowing = false;
    const { jobId } = await stage.jobs.submit({ kind: 'path', path: dir }, parseLoadOptions({}));
    await until(() => stage.worker.pending.length === 20);
    await stage.worker.close();
    await stage.jobs.close();
    const next = await openStage({ dir: stage.dir, origins: stage.origins, disk: stage.worker.disk });
    expect(await next.jobs.ended(jobId)).toMatchObject({ state: 'SUCCEEDED', loadedFiles: 20 });
  });
});

describe('records of ended jobs', () => {
  it('keep all that the report says, over restarts', async () => {
    const stage = await staged(30);
    for (let i = 0; i < 30; i += 1) stage.worker.failing.set(`${dir}${String(i).padStart(5, '0')}`, `no ${i}`);
    stage.worker.retries = 4;
    const job = await load(stage, dir);
    expect(job).toMatchObject({ failedFiles: 30, retries: 4 });
    await stage.jobs.close();
    const next = await openStage({ dir: stage.dir, origins: stage.origins });
    expect(next.jobs.snapshot(dir)).toEqual(stage.jobs.list({}).length === 1 ? { ...job } : undefined);
    expect(next.jobs.snapshot(dir)?.failures).toHaveLength(30);
    expect(next.jobs.list({})[0]?.failures).toHaveLength(10);
    expect(await next.jobs.ended(job.jobId)).toMatchObject({ state: 'FAILED' });
    expect(await codeOf(next.jobs.ended('nobody'))).toMatch(/^JOB_NOT_FOUND/);
  });

  it('go after the retention time, and the oldest when there are too many', async () => {
    const stage = await openStage({ settings: { maxEnded: 2, retentionMs: 1000 } });
    for (const name of 'abc') {
      stage.origins.put(`s3://b/${name}/x`, 10);
      await load(stage, `s3://b/${name}/`);
    }
    stage.clock.nowMs += 60_001;
    stage.origins.put('s3://b/d/x', 10);
    await load(stage, 's3://b/d/');
    await until(() => stage.jobs.list({}).length === 1);
    expect(stage.jobs.list({})[0]?.source.path).toBe('s3://b/d/');
    await stage.jobs.close();
    const next = await openStage({ dir: stage.dir, settings: { maxEnded: 2, retentionMs: 1000 } });
    expect(next.jobs.list({}).map((job) => job.source.path)).toEqual(['s3://b/d/']);
  });
});

describe('progress', () => {
  it('shows durable bytes of a file under way, the rate, and the ETA', async () => {
    const origins = new FakeOrigins();
    origins.put('s3://b/huge', 1_000_000);
    const stage = await openStage({ origins, disk: new FakeDisk() });
    stage.worker.flowing = false;
    const { jobId } = await stage.jobs.submit({ kind: 'path', path: 's3://b/huge' }, parseLoadOptions({}));
    await until(() => stage.worker.pending.length === 1);
    stage.clock.nowMs += 2000;
    stage.worker.landPart('s3://b/huge', 400_000);
    expect(stage.jobs.byId(jobId)).toMatchObject({
      loadedBytes: 400_000,
      processedFiles: 0,
      bytesPerSecond: 200_000,
      etaMs: 3000,
      activeMs: 2000,
    });
    stage.worker.release();
    const job = await stage.jobs.ended(jobId);
    expect(job).toMatchObject({ loadedBytes: 1_000_000, state: 'SUCCEEDED', bytesPerSecond: 500_000 });
    expect(job).not.toHaveProperty('etaMs');
  });
});

describe('the observer', () => {
  it('is told about each submission, file, verification and end, once', async () => {
    const seen = { submitted: 0, loaded: 0, failed: 0, verifiedBytes: 0, ends: [] as string[] };
    const observe: JobObserver = {
      submitted: () => {
        seen.submitted += 1;
      },
      settled: (tally) => {
        seen.loaded += tally.loadedFiles;
        seen.failed += tally.failedFiles;
      },
      verified: (bytes) => {
        seen.verifiedBytes += bytes;
      },
      ended: (state) => {
        seen.ends.push(state);
      },
    };
    const stage = await staged(15, { observe });
    await load(stage, dir, { verify: true });
    stage.worker.failing.set(`${dir}00001`, 'no');
    await load(stage, dir);
    expect(seen).toEqual({
      submitted: 2,
      loaded: 29,
      failed: 1,
      verifiedBytes: 15 * 5000,
      ends: ['SUCCEEDED', 'FAILED'],
    });
  });
});
