/** Jobs that load what an index file names. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { parseLoadOptions } from '../../../src/core/load-options.ts';
import { alignUp } from '../../../src/core/units.ts';
import { cleanUp, crash, dir, folder, openStage, type Stage, staged, until } from './stage.ts';

afterEach(cleanUp);

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
      totalFiles: 1,
      loadedFiles: 1,
      skippedFiles: 0,
      loadedBytes: 5000,
      totalBytes: 5000,
    });
    expect(stage.worker.reservations).toEqual([{ run: job.runId, bytes: alignUp(5000) }]);
    expect(stage.worker.disk.fetched.get(`${dir}00000`)).toBe(5000);
  });

  it('that names files again on later pages, and after a crash, counts and verifies each once', async () => {
    const stage = await staged(25);
    const missing = 's3://b/missing';
    stage.origins.texts.set(index, `${missing}\n${dir}\n${dir}00003\n${missing}\n${dir}00024\n${dir}\n`);
    stage.origins.put(index, 10);
    expect(await loadIndex(stage, index, { partialListing: true })).toMatchObject({
      totalFiles: 26,
      loadedFiles: 25,
      failedFiles: 1,
    });
    stage.origins.put(missing, 70);
    // the crash comes when the first pages are durable
    stage.worker.flowing = false;
    let pages = 0;
    let hold = true;
    stage.origins.before = (request) => {
      if (request === 'list') pages += 1;
      return hold && pages > 3 ? new Promise<void>(() => undefined) : undefined;
    };
    const { jobId } = await stage.jobs.submit(
      { kind: 'index', path: index },
      parseLoadOptions({ partialListing: true, verify: true }),
    );
    await until(() => stage.worker.pending.length >= 10);
    hold = false;
    const next = await crash(stage);
    stage.origins.before = () => undefined;
    expect(await next.jobs.ended(jobId)).toMatchObject({
      state: 'SUCCEEDED',
      totalFiles: 26,
      loadedFiles: 26,
      verifiedFiles: 26,
      totalBytes: 25 * 5000 + 70,
      loadedBytes: 25 * 5000 + 70,
    });
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
