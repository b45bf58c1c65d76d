import { describe, expect, it } from 'vitest';
import { tallyOf } from '../../../src/cluster/settle.ts';
import type { FileOutcome } from '../../../src/ingest/types.ts';
import { entryOf } from './fakes.ts';

const entry = entryOf('s3://b/k', 100);
const outcome = (changes: Partial<FileOutcome>): FileOutcome => ({
  path: entry.path,
  result: 'loaded',
  loadedBytes: 0,
  skippedBytes: 0,
  ...changes,
});

describe('the tally of a file', () => {
  it.each([
    ['loaded whole', outcome({ loadedBytes: 100 }), { loadedFiles: 1, loadedBytes: 100, skippedBytes: 0 }],
    [
      'loaded in part',
      outcome({ loadedBytes: 60, skippedBytes: 40 }),
      { loadedFiles: 1, loadedBytes: 60, skippedBytes: 40 },
    ],
    [
      'skipped',
      outcome({ result: 'skipped', skippedBytes: 100 }),
      { skippedFiles: 1, loadedFiles: 0, skippedBytes: 100 },
    ],
    [
      'grown',
      outcome({ loadedBytes: 150, version: entryOf(entry.path, 150, 'v2') }),
      { loadedFiles: 1, loadedBytes: 150, grownBytes: 50, skippedBytes: 0 },
    ],
    [
      'shrunk, with bytes of the old version among the loaded ones',
      outcome({ loadedBytes: 90, version: entryOf(entry.path, 30, 'v2') }),
      { loadedFiles: 1, loadedBytes: 30, grownBytes: -70, skippedBytes: 0 },
    ],
    [
      'failed',
      outcome({ result: 'failed', loadedBytes: 50, error: { code: 'ORIGIN_RESET', message: 'x' } }),
      { failedFiles: 1, failedBytes: 100, loadedBytes: 0 },
    ],
    [
      'with bytes unaccounted for',
      outcome({ loadedBytes: 60, skippedBytes: 39 }),
      { failedFiles: 1, loadedFiles: 0, loadedBytes: 0 },
    ],
  ])('%s', (_, result, tally) => {
    expect(tallyOf(entry, result)).toMatchObject(tally);
  });

  it('of a stopped file there is none', () => {
    expect(tallyOf(entry, outcome({ result: 'stopped' }))).toBeUndefined();
  });
});
