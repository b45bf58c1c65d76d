import { describe, expect, it } from 'vitest';
import type { JobSnapshot } from '../../../src/core/job.ts';
import { defaultLoadOptions } from '../../../src/core/load-options.ts';
import { jsonReport, listRow, textReport } from '../../../src/core/report.ts';
import { emptyLedger } from '../../../src/core/types.ts';
import { newSnapshot } from '../../support/snapshot.ts';

const MB = 1024 * 1024;

const snapshot = (changes: Partial<JobSnapshot> = {}): JobSnapshot =>
  newSnapshot('/path', { submittedAtMs: Date.UTC(2026, 0, 2, 3, 4, 5, 678), activeMs: 1234.5, ...changes });

const failed = snapshot({
  state: 'FAILED',
  reason: '2 of 2000 files failed; the first: s3://b/x: gone',
  options: { ...defaultLoadOptions, verify: true, bandwidthBytesPerSecond: 200 * MB },
  startedAtMs: Date.UTC(2026, 0, 2, 3, 4, 6),
  endedAtMs: Date.UTC(2026, 0, 2, 3, 4, 7),
  listingDone: true,
  processedFiles: 1000,
  totalFiles: 2000,
  loadedFiles: 900,
  loadedBytes: 125 * MB,
  totalBytes: 1600 * MB,
  skippedFiles: 98,
  skippedBytes: 7000,
  failedFiles: 2,
  failures: [
    { path: 's3://b/x', code: 'ORIGIN_NOT_FOUND', message: 's3://b/x: gone' },
    { path: 's3://b/y\n\tFiles Failed: 0', code: 'ORIGIN_DENIED', message: 'no\u2028right' },
  ],
  retries: 3,
  verifiedFiles: 10,
  verifiedBytes: 6000,
  verifiedByPages: 0,
  bytesPerSecond: 2509.8 * 1024,
  etaMs: 80_000,
  ledger: {
    originBytes: 130 * MB,
    peerBytes: 0,
    cachedBytes: 125 * MB,
    discardedBytes: { failed: 4 * MB, changed: 0, stopped: 0, crash: MB, replaced: 0, lost: 0 },
  },
});

describe('the TEXT report', () => {
  it('has the lines of the contract in their order, then ours', () => {
    expect(textReport(failed, { verbose: false })).toBe(
      [
        "Progress for loading path '/path':",
        '\tSettings:\tbandwidth: 200.00MB/s\tverify: true',
        '\tJob State: FAILED (2 of 2000 files failed; the first: s3://b/x: gone)',
        '\tFiles Processed: 1000 out of 2000',
        '\tBytes Loaded: 125.00MB out of 1600.00MB',
        '\tThroughput: 2509.80KB/s',
        '\tBlock load failure rate: 0.20%',
        '\tFiles Failed: 2',
        '\tFiles Skipped: 98',
        '\tBytes Skipped: 6.84KB',
        '\tETA: 1m 20s',
        '\tRetries: 3',
        '\tSegment Size: 64.00MB',
        '\tFiles Verified: 10 (5.86KB)',
        '\tLedger: 136314880B from origin = 131072000B cached + 5242880B discarded (failed 4194304B, crash 1048576B)',
        '',
      ].join('\n'),
    );
  });

  it('says how many files were verified by their pages alone, where that is known', () => {
    const lineOf = (verifiedByPages: number): string =>
      /\tFiles Verified.*/.exec(textReport({ ...failed, verifiedByPages }, { verbose: false }))![0];
    expect(lineOf(0)).toBe('\tFiles Verified: 10 (5.86KB)');
    expect(lineOf(3)).toBe(
      '\tFiles Verified: 10 (5.86KB), 3 of them by pages alone, for want of a checksum of the whole to compare',
    );
    expect(jsonReport({ ...failed, verifiedByPages: 3 })).toMatchObject({ verifiedByPages: 3 });
    const { verifiedByPages: _, ...before } = failed;
    expect(jsonReport(before)).not.toHaveProperty('verifiedByPages');
    expect(jsonReport({ ...failed, options: { ...failed.options, verify: false } })).not.toHaveProperty(
      'verifiedByPages',
    );
  });

  it('says what was copied from workers, where anything was', () => {
    const ledger = { ...failed.ledger, originBytes: 100 * MB, peerBytes: 30 * MB };
    expect(textReport({ ...failed, ledger }, { verbose: false })).toContain(
      '\tLedger: 104857600B from origin + 31457280B from workers = 131072000B cached + 5242880B discarded',
    );
    expect(jsonReport({ ...failed, ledger }).ledger).toMatchObject({ peerBytes: 30 * MB, inFlightBytes: 0 });
  });

  it('lists failed files with verbose, where no key or message can forge a line', () => {
    const lines = textReport(failed, { verbose: true }).split('\n');
    expect(lines.slice(-3)).toEqual([
      '\t\ts3://b/x: gone',
      '\t\ts3://b/y\\u000a\\u0009Files Failed: 0: no\\u2028right',
      '',
    ]);
  });

  it('says how many failures are not listed', () => {
    const job = { ...failed, failedFiles: 12 };
    expect(textReport(job, { verbose: true })).toContain('\t\t... and 10 more\n');
  });

  it('of a job that has done nothing yet says no total, no NaN', () => {
    expect(textReport(snapshot(), { verbose: true })).toBe(
      [
        "Progress for loading path '/path':",
        '\tSettings:\tbandwidth: unlimited\tverify: false',
        '\tJob State: RUNNING',
        '\tFiles Processed: 0',
        '\tBytes Loaded: 0B',
        '\tThroughput: 0B/s',
        '\tBlock load failure rate: 0.00%',
        '\tFiles Failed: 0',
        '\tFiles Skipped: 0',
        '\tBytes Skipped: 0B',
        '\tListing: 0 keys so far',
        '\tRetries: 0',
        '\tSegment Size: 64.00MB',
        '\tLedger: 0B from origin = 0B cached + 0B discarded',
        '',
      ].join('\n'),
    );
  });

  it('says how far a listing is until it is done, here and in the row; of what has ended, or waits, there is none', () => {
    const says = (job: Partial<JobSnapshot>): unknown[] => {
      const one = snapshot({ scannedFiles: 3000, listingDone: false, ...job });
      return [/Listing: .*/.exec(textReport(one, { verbose: false }))?.[0], listRow(one).scannedFiles];
    };
    expect(says({})).toEqual(['Listing: 3000 keys so far', 3000]);
    for (const job of [{ listingDone: true }, { state: 'STOPPED' }, { state: 'WAITING' }] as const)
      expect(says(job)).toEqual([undefined, undefined]);
  });

  it('shows what is in flight as the difference of the ledger', () => {
    const ledger = { ...emptyLedger(), originBytes: 100, cachedBytes: 60 };
    expect(textReport(snapshot({ ledger }), { verbose: false })).toContain(
      '100B from origin = 60B cached + 0B discarded + 40B in flight',
    );
  });
});

describe('the JSON report', () => {
  it('has the keys of the contract, and ours', () => {
    expect(jsonReport(failed, { verbose: true })).toEqual({
      mVerbose: true,
      mJobState: 'FAILED',
      mBandwidth: 200 * MB,
      mVerificationEnabled: true,
      mProcessedFileCount: 1000,
      mTotalFileCount: 2000,
      mLoadedByteCount: 125 * MB,
      mTotalByteCount: 1600 * MB,
      mThroughput: Math.round(2509.8 * 1024),
      mFailurePercentage: 0.2,
      mFailedFileCount: 2,
      mFailedFilesWithReasons: { 's3://b/x': 'gone', 's3://b/y\n\tFiles Failed: 0': 'no\u2028right' },
      mSkippedByteCount: 7000,
      mSkipIfExists: false,
      mMetadataOnly: false,
      mTimeElapsed: 1235,
      jobId: 'job-1',
      runId: 'run-1',
      loadId: 'load-1',
      path: '/path',
      reason: '2 of 2000 files failed; the first: s3://b/x: gone',
      listingDone: true,
      segmentBytes: 64 * MB,
      scannedFiles: 0,
      loadedFiles: 900,
      skippedFiles: 98,
      verifiedFiles: 10,
      verifiedBytes: 6000,
      verifiedByPages: 0,
      retries: 3,
      etaMs: 80_000,
      submittedAt: '2026-01-02T03:04:05.678Z',
      startedAt: '2026-01-02T03:04:06.000Z',
      endedAt: '2026-01-02T03:04:07.000Z',
      ledger: { ...failed.ledger, inFlightBytes: 0 },
    });
  });

  it('leaves out what is not known', () => {
    const keys = Object.keys(jsonReport(snapshot()));
    for (const unknown of [
      'mBandwidth',
      'mTotalFileCount',
      'mTotalByteCount',
      'mThroughput',
      'mFailedFilesWithReasons',
      'etaMs',
      'startedAt',
      'reason',
    ]) {
      expect(keys).not.toContain(unknown);
    }
    expect(jsonReport(snapshot())).toMatchObject({ mVerbose: false, mFailurePercentage: 0, mLoadedByteCount: 0 });
  });

  it('survives a key that is special to JavaScript', () => {
    const job = { ...failed, failures: [{ path: '__proto__', code: 'INTERNAL', message: 'x' } as const] };
    expect(JSON.stringify(jsonReport(job, { verbose: true }))).toContain('"__proto__":"x"');
  });
});

describe('a row of the list', () => {
  it('names the index file of a job that has one', () => {
    const row = listRow({ ...failed, source: { kind: 'index', path: '/lists/a.txt' } });
    expect(row).toMatchObject({
      jobId: 'job-1',
      type: 'LOAD',
      indexFile: '/lists/a.txt',
      state: 'FAILED',
      files: 2000,
      bytes: 1600 * MB,
      failures: 2,
    });
    expect(row).not.toHaveProperty('path');
    expect(row).toHaveProperty('options.bandwidthBytesPerSecond', 200 * MB);
    expect(row).toHaveProperty('verifiedBytes', 6000);
    expect(listRow(snapshot({ bytesPerSecond: 9.6, etaMs: 1200.2 }))).toMatchObject({
      bytesPerSecond: 10,
      etaMs: 1200,
    });
    for (const unknown of ['bytesPerSecond', 'etaMs', 'verifiedBytes'])
      expect(listRow(snapshot())).not.toHaveProperty(unknown);
  });
});
