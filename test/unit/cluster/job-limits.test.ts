/** The coordinator's account of what limits a job, from workers that speak now and then, each at its own time. */
import { expect, it } from 'vitest';
import { JobLimits } from '../../../src/cluster/job-limits.ts';
import { totalOf } from '../../../src/core/limit-account.ts';
import type { LimitSums } from '../../../src/core/limit-causes.ts';

const saying = (words: Record<string, LimitSums>): Map<string, LimitSums> => new Map(Object.entries(words));

it('takes no worker that is silent between two words for one without work', () => {
  const limits = new JobLimits({});
  for (let ms = 0; ms <= 5_000; ms += 50) {
    // One speaks at whole seconds, the other in between: at each look at most one of them has said something new.
    const busy = Math.floor(ms / 1000) * 1000;
    const idle = Math.floor((ms + 500) / 1000) * 1000;
    limits.look(ms, saying({ busy: { 'disk-write': busy }, idle: { work: idle } }), false);
  }
  expect(limits.recent?.[0]).toMatchObject({ cause: 'disk' });
  expect(limits.recent![0]!.share).toBeGreaterThan(0.75);
});

it('charges the time that passes, once something is known of it, and not before', () => {
  const limits = new JobLimits({ transfer: 1000 });
  limits.look(0, saying({}), true);
  limits.look(400, saying({ w: {} }), true);
  expect([limits.recent, limits.sums]).toEqual([undefined, { transfer: 1000 }]);
  limits.look(1000, saying({ w: { work: 100 } }), true);
  expect(limits.recent).toEqual([{ cause: 'scheduler', share: 1, detail: 'listing' }]);
  limits.look(1500, saying({ w: { work: 100, transfer: 50 } }), false);
  expect(limits.sums).toEqual({ listing: 1000, transfer: 1500 });
  expect(totalOf(limits.sums)).toBe(2500);
});

it('forgets a worker that says nothing any more', () => {
  const limits = new JobLimits({});
  for (let ms = 0; ms <= 30_000; ms += 500)
    limits.look(ms, saying({ gone: { 'disk-write': 1 }, here: { work: ms + 1 } }), false);
  expect(limits.recent).toEqual([{ cause: 'scheduler', share: 1, detail: 'waiting for work' }]);
});

it('takes no worker that is silent for long during a listing for one that has nothing to say', () => {
  const limits = new JobLimits({});
  // The worker does not come to speak between 2 s and 12 s.
  for (let ms = 0; ms <= 12_000; ms += 500) {
    const transfer = ms <= 2_000 || ms === 12_000 ? ms : 2_000;
    limits.look(ms, saying({ w: { transfer } }), true, { listing: 500 });
  }
  expect(limits.sums).toEqual({ transfer: 12_000 });
});

it('a listing that no worker has begun to work for is what the coordinator knows of it', () => {
  const limits = new JobLimits({});
  for (let ms = 0; ms <= 3_000; ms += 500) limits.look(ms, saying({ w: { transfer: 0 } }), true, { listing: 500 });
  expect(limits.sums).toEqual({ listing: 3_000 });
});
