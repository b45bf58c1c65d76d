/** What is told about jobs: snapshots while they run, and the observer. */
import { afterEach, describe, expect, it } from 'vitest';
import type { JobObserver } from '../../../src/cluster/types.ts';
import { parseLoadOptions } from '../../../src/core/load-options.ts';
import { FakeDisk, FakeOrigins } from './fakes.ts';
import { cleanUp, dir, load, openStage, staged, until } from './stage.ts';

afterEach(cleanUp);

describe('progress', () => {
  it('shows durable bytes of a file under way, the rate, and the ETA', async () => {
    const origins = new FakeOrigins();
    origins.put('s3://b/huge', 100_000_000);
    const stage = await openStage({ origins, disk: new FakeDisk() });
    stage.worker.flowing = false;
    const { jobId } = await stage.jobs.submit({ kind: 'path', path: 's3://b/huge' }, parseLoadOptions({}));
    await until(() => stage.worker.pending.length === 1);
    for (let part = 0; part < 2; part += 1) {
      stage.clock.nowMs += 1000;
      stage.worker.landPart('s3://b/huge', 20_000_000);
      expect(stage.jobs.byId(jobId)?.loadedBytes).toBe((part + 1) * 20_000_000);
    }
    const { etaMs, ...shown } = stage.jobs.byId(jobId)!;
    expect(shown).toMatchObject({ processedFiles: 0, bytesPerSecond: 20_000_000, activeMs: 2000 });
    // What a file costs beside its bytes is paid by one that is under way.
    expect(etaMs).toBeCloseTo(3000, 0);
    stage.worker.release();
    const job = await stage.jobs.ended(jobId);
    expect(job).toMatchObject({ loadedBytes: 100_000_000, state: 'SUCCEEDED', bytesPerSecond: 50_000_000 });
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
