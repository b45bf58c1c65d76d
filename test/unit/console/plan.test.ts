/** A plan in a few lines. */
import { expect, test } from 'vitest';
import { planLines } from '../../../src/console/plan.ts';
import type { LoadPlan } from '../../../src/core/load-plan.ts';
import { GiB } from '../../../src/core/units.ts';

const plan = {
  resumed: false,
  listing: { scannedFiles: 5, files: 4, bytes: 4 * GiB, elapsedMs: 5 },
  refused: { files: 0, named: [] },
  cached: { files: 1, bytes: GiB },
  load: { files: 3, bytes: 3 * GiB },
  requests: { list: 1, head: 0, rangedGet: 384, wholeGet: 0, total: 1385, copies: 0 },
  workers: [],
  fits: true,
  notes: [],
} as unknown as LoadPlan;

test('what is listed, fetched and cached, and nothing of what is not known', () => {
  expect(planLines(plan)).toEqual([
    '4 files, 4.00 GiB; 1.00 GiB is cached.',
    'It fetches 3 files, 3.00 GiB, in 1,385 requests to the origin.',
  ]);
});

test('what is in its way, what it costs, and how long it takes', () => {
  const worker = { id: 'w1', fits: false, evicted: { files: 1, bytes: GiB, paths: [], counted: true } };
  const more = {
    ...plan,
    runningJobId: 'j',
    cached: { files: 0, bytes: 0 },
    refused: { files: 2, named: [] },
    price: { currency: 'USD', total: 1.234 },
    time: { leastMs: 60_000, mostMs: 125_000, measuredLoads: 3 },
    workers: [worker],
    notes: ['A note.'],
  } as unknown as LoadPlan;
  expect(planLines({ ...more, fits: false })).toEqual([
    'A load of this path is under way: a submission begins none.',
    '4 files, 4.00 GiB; none of it is cached.',
    'It fetches 3 files, 3.00 GiB, in 1,385 requests to the origin, for 1.23 USD.',
    'It does not fit on w1.',
    '2 files cannot be loaded: it would fail.',
    'It takes 1m 0s to 2m 5s, as loads of late.',
    'A note.',
  ]);
  expect(planLines(more)).toContain('1.00 GiB would be evicted for it.');
});
