import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { newFree } from '../../src/core/free-job.ts';
import {
  addTally,
  emptyTally,
  isEnded,
  type JobEvent,
  type JobProgress,
  maxFailuresKept,
  newJob,
  nextState,
  processedFiles,
  type Tally,
} from '../../src/core/job-machine.ts';

/** What a coordinator may do to a job: files are listed before they are settled, each once; anything else at any time. */
interface Driver {
  job: JobProgress;
  nowMs: number;
  unsettled: { bytes: number }[];
  everListed: number;
  everFailed: number;
}

type Step =
  | { kind: 'list'; sizes: number[] }
  | { kind: 'settle'; result: 'loaded' | 'skipped' | 'failed'; grown: number; split: number }
  | { kind: 'verify'; lost: boolean; found: number; seen: number }
  | { kind: 'event'; event: JobEvent }
  | { kind: 'wait'; ms: number };

const size = fc.nat({ max: 1_000_000 });
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('list' as const), sizes: fc.array(size, { maxLength: 4 }) }) },
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('settle' as const),
      result: fc.constantFrom('loaded' as const, 'loaded' as const, 'skipped' as const, 'failed' as const),
      grown: fc.integer({ min: 0, max: 100 }),
      split: fc.double({ min: 0, max: 1, noNaN: true }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('verify' as const),
      lost: fc.boolean(),
      found: fc.nat({ max: 2 }),
      seen: fc.nat(5),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('event' as const),
      event: fc.constantFrom<JobEvent>(
        { type: 'started' },
        { type: 'queued', reason: 'busy' },
        { type: 'listingEnded' },
        { type: 'loadingEnded' },
        { type: 'verifyEnded' },
        { type: 'stopRequested' },
        { type: 'stopped' },
        { type: 'recovered' },
        { type: 'ticked' },
        { type: 'paused' },
        { type: 'failed', reason: 'no room' },
      ),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('wait' as const), ms: fc.integer({ min: -1000, max: 5000 }) }),
  },
);

function apply(driver: Driver, event: JobEvent): void {
  driver.job = nextState(driver.job, event, driver.nowMs);
}

function take(driver: Driver, next: Step): void {
  switch (next.kind) {
    case 'wait':
      driver.nowMs += next.ms;
      return;
    case 'event':
      apply(driver, next.event);
      return;
    case 'list': {
      if (driver.job.state !== 'RUNNING' || driver.job.listingDone) return;
      const bytes = next.sizes.reduce((a, b) => a + b, 0);
      apply(driver, { type: 'listed', page: { scannedFiles: next.sizes.length + 1, files: next.sizes.length, bytes } });
      driver.unsettled.push(...next.sizes.map((each) => ({ bytes: each })));
      driver.everListed += next.sizes.length;
      return;
    }
    case 'settle': {
      const file = driver.unsettled.shift();
      if (file === undefined) return;
      if (next.result === 'failed') driver.everFailed += 1;
      apply(driver, { type: 'settled', tally: tallyFor(file.bytes, next) });
      return;
    }
    case 'verify': {
      if (driver.job.state !== 'VERIFYING') return;
      const { tally } = driver.job;
      const canLose = next.lost && tally.loadedFiles + tally.skippedFiles > 0;
      if (canLose) driver.everFailed += 1;
      driver.everListed += next.found;
      apply(driver, {
        type: 'verified',
        byPages: 0,
        files: 1,
        bytes: 10,
        found: { scannedFiles: 0, files: next.found, bytes: next.found * 7 },
        tally: { ...emptyTally, loadedFiles: next.found, loadedBytes: next.found * 7 },
        seenAgain: { files: next.found + next.seen, bytes: next.found * 7 + next.seen * 5 },
        lost: canLose ? [{ failure: { path: 's3://b/bad', code: 'STORE_CORRUPT', message: 'bad' }, sizeBytes: 5 }] : [],
      });
    }
  }
}

function tallyFor(bytes: number, { result, grown, split }: Extract<Step, { kind: 'settle' }>): Tally {
  if (result === 'failed') {
    return {
      ...emptyTally,
      failedFiles: 1,
      failedBytes: bytes,
      failures: [{ path: 's3://b/k', code: 'INTERNAL', message: 'x' }],
    };
  }
  const size = bytes + grown;
  const loadedBytes = result === 'skipped' ? 0 : Math.floor(size * split);
  return {
    ...emptyTally,
    loadedFiles: result === 'loaded' ? 1 : 0,
    skippedFiles: result === 'skipped' ? 1 : 0,
    loadedBytes,
    skippedBytes: size - loadedBytes,
    grownBytes: grown,
  };
}

function driverOf(verify: boolean): Driver {
  return { job: newJob({ verify }, 1000), nowMs: 1000, unsettled: [], everListed: 0, everFailed: 0 };
}

const steps = fc.array(step, { maxLength: 60 });
const seen = new Map<string, number>();

describe('the job machine, whatever happens', () => {
  it('succeeds only when every listed file is accounted for, and none failed', () => {
    fc.assert(
      fc.property(fc.boolean(), steps, fc.boolean(), (verify, random, orderly) => {
        const driver = driverOf(verify);
        if (orderly) apply(driver, { type: 'started' });
        for (const next of random) take(driver, next);
        if (orderly) {
          apply(driver, { type: 'listingEnded' });
          while (driver.unsettled.length > 0) take(driver, { kind: 'settle', result: 'loaded', grown: 0, split: 1 });
          apply(driver, { type: 'loadingEnded' });
          apply(driver, { type: 'verifyEnded' });
        }
        const { job } = driver;
        seen.set(job.state, (seen.get(job.state) ?? 0) + 1);
        if (job.state !== 'SUCCEEDED') return;
        expect(driver.everFailed).toBe(0);
        expect(job.tally.failedFiles).toBe(0);
        expect(driver.unsettled).toEqual([]);
        // A verified job counts what the second listing had, and no file that it has not listed.
        const counted = verify ? Math.min(driver.everListed, job.seenAgain.files) : driver.everListed;
        expect(processedFiles(job.tally)).toBe(counted);
        expect(job.listing.files).toBe(counted);
        expect(job.listingDone).toBe(true);
        expect(job.tally.loadedBytes + job.tally.skippedBytes).toBe(job.listing.bytes + job.tally.grownBytes);
      }),
      { numRuns: 2000 },
    );
    // The property says something only when these ends are reached.
    for (const state of ['SUCCEEDED', 'FAILED', 'STOPPED']) expect(seen.get(state) ?? 0, state).toBeGreaterThan(20);
  });

  it('never counts beyond its totals, nor below zero', () => {
    fc.assert(
      fc.property(fc.boolean(), steps, (verify, random) => {
        const driver = driverOf(verify);
        apply(driver, { type: 'started' });
        for (const next of random) {
          take(driver, next);
          const { tally, listing } = driver.job;
          expect(processedFiles(tally)).toBeLessThanOrEqual(listing.files);
          expect(tally.loadedBytes + tally.skippedBytes).toBeLessThanOrEqual(listing.bytes + tally.grownBytes);
          for (const figure of [tally.loadedFiles, tally.skippedFiles, tally.loadedBytes, tally.skippedBytes]) {
            expect(figure).toBeGreaterThanOrEqual(0);
          }
        }
      }),
      { numRuns: 1000 },
    );
  });

  it('ends STOPPED after a stop was asked for, whatever comes between', () => {
    fc.assert(
      fc.property(fc.boolean(), steps, steps, (verify, before, after) => {
        const driver = driverOf(verify);
        for (const next of before) take(driver, next);
        fc.pre(!isEnded(driver.job.state));
        apply(driver, { type: 'stopRequested' });
        for (const next of after) take(driver, next);
        apply(driver, { type: 'stopped' });
        expect(driver.job.state).toBe('STOPPED');
        expect(driver.job.endedAtMs).toBeDefined();
      }),
      { numRuns: 1000 },
    );
  });

  it('changes nothing once it has ended', () => {
    fc.assert(
      fc.property(steps, steps, (before, after) => {
        const driver = driverOf(false);
        apply(driver, { type: 'started' });
        for (const next of before) take(driver, next);
        apply(driver, { type: 'failed', reason: 'enough' });
        const ended = structuredClone(driver.job);
        for (const next of after) {
          take(driver, next);
          expect(driver.job).toEqual(ended);
        }
      }),
      { numRuns: 300 },
    );
  });

  it('counts active time forward only, and not while nothing runs', () => {
    fc.assert(
      fc.property(steps, (random) => {
        const driver = driverOf(false);
        let last = 0;
        for (const next of random) {
          const resting = driver.job.activeSinceMs === undefined;
          take(driver, next);
          expect(driver.job.activeMs).toBeGreaterThanOrEqual(last);
          if (resting) expect(driver.job.activeMs).toBe(last);
          last = driver.job.activeMs;
        }
      }),
      { numRuns: 500 },
    );
  });

  it('adds tallies up in any grouping, so that chunks can be folded after a crash', () => {
    const tally = fc
      .record({ bytes: size, result: fc.constantFrom('loaded' as const, 'skipped' as const, 'failed' as const) })
      .map(({ bytes, result }) => tallyFor(bytes, { kind: 'settle', result, grown: 3, split: 0.5 }));
    fc.assert(
      fc.property(fc.array(tally, { maxLength: 30 }), fc.nat({ max: 30 }), (tallies, at) => {
        const fold = (some: Tally[]) => some.reduce(addTally, emptyTally);
        expect(addTally(fold(tallies.slice(0, at)), fold(tallies.slice(at)))).toEqual(fold(tallies));
      }),
    );
  });
});

describe('the job machine', () => {
  const started = nextState(newJob({ verify: false }, 0), { type: 'started' }, 0);

  it('keeps a bounded number of failures, and counts all', () => {
    let job = nextState(started, { type: 'listed', page: { scannedFiles: 3000, files: 3000, bytes: 0 } }, 0);
    for (let i = 0; i < 3000; i += 1) {
      const failures = [{ path: `s3://b/${i}`, code: 'INTERNAL' as const, message: 'x' }];
      job = nextState(job, { type: 'settled', tally: { ...emptyTally, failedFiles: 1, failures } }, 0);
    }
    expect(job.tally.failedFiles).toBe(3000);
    expect(job.tally.failures).toHaveLength(maxFailuresKept);
    job = nextState(nextState(job, { type: 'listingEnded' }, 0), { type: 'loadingEnded' }, 0);
    expect(job).toMatchObject({ state: 'FAILED', reason: '3000 of 3000 files failed; the first: s3://b/0: x' });
  });

  it('does not take the end of loading for success while a file is missing', () => {
    let job = nextState(started, { type: 'listed', page: { scannedFiles: 2, files: 2, bytes: 10 } }, 0);
    job = nextState(job, { type: 'settled', tally: { ...emptyTally, loadedFiles: 1, loadedBytes: 10 } }, 0);
    job = nextState(nextState(job, { type: 'listingEnded' }, 0), { type: 'loadingEnded' }, 0);
    expect(job.state).toBe('FAILED');
    expect(job.reason).toContain('1 files are unaccounted for');
  });

  it('does not take the end of loading for success while a byte is missing', () => {
    let job = nextState(started, { type: 'listed', page: { scannedFiles: 1, files: 1, bytes: 10 } }, 0);
    job = nextState(job, { type: 'settled', tally: { ...emptyTally, loadedFiles: 1, loadedBytes: 9 } }, 0);
    job = nextState(nextState(job, { type: 'listingEnded' }, 0), { type: 'loadingEnded' }, 0);
    expect(job).toMatchObject({ state: 'FAILED', reason: expect.stringContaining('1 bytes are unaccounted for') });
  });

  it('has a job that ran wait for its turn as it stands, with a clock that stands still', () => {
    const reason = 'waits for its turn';
    let job = nextState(started, { type: 'queued', reason }, 1000);
    job = nextState(job, { type: 'ticked' }, 9000);
    expect(job).toMatchObject({ state: 'RUNNING', reason, activeMs: 1000 });
    job = nextState(nextState(job, { type: 'started' }, 10_000), { type: 'ticked' }, 12_000);
    expect(job).toMatchObject({ state: 'RUNNING', startedAtMs: 0, activeMs: 3000 });
    expect(job.reason).toBeUndefined();
  });

  it('of a crash counts the time up to the last tick, and goes on', () => {
    let job = nextState(started, { type: 'ticked' }, 5000);
    job = nextState(job, { type: 'recovered' }, 60_000);
    job = nextState(job, { type: 'ticked' }, 61_000);
    expect(job).toMatchObject({ state: 'RUNNING', activeMs: 6000, startedAtMs: 0 });
  });

  it('ends a load whose stop was cut off by a crash when nothing of it is under way, whatever comes before', () => {
    let job = nextState(nextState(started, { type: 'stopRequested' }, 10), { type: 'recovered' }, 99);
    expect(job).toMatchObject({ state: 'RUNNING', stopping: true });
    job = nextState(nextState(job, { type: 'started' }, 100), { type: 'failed', reason: 'x' }, 150);
    expect(job).toMatchObject({ state: 'STOPPED', endedAtMs: 150, activeMs: 0 });
  });

  it('ends a free whose stop was cut off by a crash', () => {
    const free = nextState(newJob({ verify: false, free: newFree(false) }, 0), { type: 'started' }, 0);
    const job = nextState(nextState(free, { type: 'stopRequested' }, 10), { type: 'recovered' }, 99);
    expect(job).toMatchObject({ state: 'STOPPED', endedAtMs: 99 });
  });
});
