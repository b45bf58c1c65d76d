/** What is kept of files stays within its bounds, and what goes is the oldest. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { eventOverheadBytes, KeptEvents } from '../../src/core/kept-events.ts';

const bounds = { maxBytes: 20 * (eventOverheadBytes + 50), perFile: 3, ageMs: 1_000 };
const step = fc.record({
  path: fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k'),
  bytes: fc.integer({ min: 0, max: 3_000 }),
  afterMs: fc.oneof({ weight: 9, arbitrary: fc.nat(40) }, fc.nat(1_500)),
});

it('is what a list of all events, cut from its old end, has', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const kept = new KeptEvents<{ atMs: number; path: string; n: number }>(bounds, 0);
      let model: { atMs: number; path: string; n: number; bytes: number }[] = [];
      let newestLostMs = 0;
      let nowMs = 10_000;
      const lose = (): void => {
        newestLostMs = Math.max(newestLostMs, model.shift()!.atMs);
      };
      for (const [n, { path, bytes, afterMs }] of steps.entries()) {
        nowMs += afterMs;
        kept.add({ atMs: nowMs, path, n }, bytes, nowMs);
        model.push({ atMs: nowMs, path, n, bytes: bytes + eventOverheadBytes });
        const ofPath = model.filter((one) => one.path === path);
        if (ofPath.length > bounds.perFile) model = model.filter((one) => one !== ofPath[0]);
        const sum = (): number => model.reduce((all, one) => all + one.bytes, 0);
        while (sum() > bounds.maxBytes) lose();
        while (model.length > 0 && model[0]!.atMs < nowMs - bounds.ageMs) lose();
        expect(kept.bytes).toBe(sum());
        expect(kept.bytes).toBeLessThanOrEqual(bounds.maxBytes);
        for (const one of 'abcdefghijk') {
          const wanted = model.filter((event) => event.path === one).map((event) => event.n);
          expect(kept.of(one).events.map((event) => event.n)).toEqual(wanted);
          expect(kept.has(one)).toBe(wanted.length > 0);
        }
        expect(kept.sinceMs).toBe(Math.max(newestLostMs, nowMs - bounds.ageMs));
      }
    }),
    { numRuns: 200 },
  );
});

it('one file with very many events fills nothing', () => {
  const kept = new KeptEvents<{ atMs: number; path: string }>({ ...bounds, maxBytes: 1_000_000 }, 0);
  kept.add({ atMs: 0, path: 'other' }, 10, 0);
  for (let n = 0; n < 100_000; n++) kept.add({ atMs: 1, path: 'one' }, 10, 1);
  expect(kept.of('one')).toMatchObject({ dropped: 99_997, events: { length: 3 } });
  expect(kept.of('other').events).toHaveLength(1);
  expect(kept.queued).toBeLessThan(8_000);
});
