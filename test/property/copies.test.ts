/** Decisions about copies: sets of bytes, and who gets a segment from whom. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bytesOf, rangesInBoth, rangesWithout } from '../../src/core/ranges.ts';
import { makeRing, workerIdentity } from '../../src/core/ring.ts';
import { nextSteps, type SegmentState } from '../../src/core/segment-plan.ts';
import type { ByteRange } from '../../src/core/types.ts';
import { Feed } from '../../src/ingest/feed.ts';

const size = 64;
const bytes = fc.array(fc.boolean(), { minLength: size, maxLength: size });

function rangesOf(set: readonly boolean[]): ByteRange[] {
  const ranges: ByteRange[] = [];
  for (let at = 0; at < set.length; at += 1) {
    if (!set[at]) continue;
    const last = ranges.at(-1);
    if (last !== undefined && last.offset + last.length === at)
      ranges[ranges.length - 1] = { ...last, length: last.length + 1 };
    else ranges.push({ offset: at, length: 1 });
  }
  return ranges;
}

function setOf(ranges: readonly ByteRange[]): boolean[] {
  const set = new Array<boolean>(size).fill(false);
  for (const { offset, length } of ranges) set.fill(true, offset, offset + length);
  return set;
}

describe('sets of bytes', () => {
  it('are taken from each other, and in common, as sets are', () => {
    fc.assert(
      fc.property(bytes, bytes, (a, b) => {
        const without = rangesWithout(rangesOf(a), rangesOf(b));
        expect(setOf(without)).toEqual(a.map((here, at) => here && !b[at]));
        const both = rangesInBoth(rangesOf(a), rangesOf(b));
        expect(both).toEqual(rangesOf(a.map((here, at) => here && b[at]!)));
        expect(bytesOf(without) + bytesOf(both)).toBe(a.filter(Boolean).length);
      }),
    );
  });

  it('that arrive bit by bit, more than once and in any order, are each taken once', () => {
    const partBytes = fc.integer({ min: 1, max: size });
    fc.assert(
      fc.property(bytes, fc.array(bytes, { maxLength: 8 }), partBytes, (missing, arrivals, part) => {
        const feed = new Feed(rangesOf(missing), part);
        const taken: ByteRange[] = [];
        const take = (): void => {
          for (let next = feed.next(); next.done !== true; next = feed.next()) taken.push(next.value);
        };
        for (const some of arrivals) {
          const before = taken.length;
          const news = feed.arrived(rangesOf(some));
          take();
          expect(taken.length > before).toBe(news);
        }
        const wanted = missing.map((here, at) => here && arrivals.some((some) => some[at]));
        const sorted = [...taken].sort((x, y) => x.offset - y.offset);
        expect(setOf(taken)).toEqual(wanted);
        expect(bytesOf(sorted)).toBe(wanted.filter(Boolean).length);
        expect(feed.complete).toBe(missing.every((here, at) => !here || wanted[at]));
        for (const { offset, length } of taken)
          expect(Math.floor(offset / part)).toBe(Math.floor((offset + length - 1) / part));
      }),
    );
  });
});

const worker = fc.integer({ min: 0, max: 7 });
const state = fc.record({
  owners: fc.uniqueArray(worker, { minLength: 1, maxLength: 4 }),
  done: fc.array(worker).map((some) => new Set(some)),
  sources: fc.uniqueArray(worker, { maxLength: 4 }),
  barred: fc.array(worker, { maxLength: 3 }).map((some) => new Set(some)),
  follows: fc.boolean(),
});

describe('the steps of a segment', () => {
  it('are for owners that lack it, each once, and one at most asks the origin', () => {
    fc.assert(
      fc.property(state, (of: SegmentState<number>) => {
        const steps = nextSteps(of);
        const missing = of.owners.filter((id) => !of.done.has(id));
        if (steps === 'stuck') {
          expect(of.sources).toEqual([]);
          expect(missing.length).toBeGreaterThan(0);
          expect(missing.every((id) => of.barred.has(id))).toBe(true);
          return;
        }
        const workers = steps.map((step) => step.worker);
        expect(new Set(workers).size).toBe(workers.length);
        for (const id of workers) expect(missing).toContain(id);
        if (of.sources.length > 0 || of.follows) expect(workers.length > 0).toBe(missing.length > 0);
        const atOrigin = steps.filter(({ source }) => source === undefined);
        expect(atOrigin.length).toBeLessThanOrEqual(1);
        for (const { worker: id, source, follow } of steps) {
          expect(source).not.toBe(id);
          if (source !== undefined && follow !== true) expect(of.sources).toContain(source);
          if (follow === true) expect(source).toBe(atOrigin[0]?.worker);
          // Only who has it, as was heard, may be barred and asked all the same.
          if (source === undefined && of.barred.has(id)) expect(of.sources).toEqual([id]);
        }
      }),
    );
  });

  it('come to an end, whatever fails: every owner has it, or nobody is left to ask', () => {
    fc.assert(
      fc.property(state, fc.infiniteStream(fc.integer({ min: 0, max: 3 })), (start, chances) => {
        const done = new Set<number>();
        const refused = new Set<number>();
        const barred = new Set(start.barred);
        for (let round = 0; round < 40; round += 1) {
          const sources = [...new Set([...done, ...start.sources])].filter((id) => !refused.has(id));
          const steps = nextSteps({ ...start, done, sources, barred });
          if (steps === 'stuck') return;
          if (steps.length === 0) {
            for (const id of start.owners) expect(done.has(id)).toBe(true);
            return;
          }
          const fetched = new Set<number>();
          for (const { worker: id, source, follow } of steps) {
            const fails = chances.next().value === 0;
            if (follow === true && !fetched.has(source!)) continue;
            if (!fails) fetched.add(id);
            if (!fails) done.add(id);
            else if (source === undefined) barred.add(id);
            else if (follow !== true) refused.add(source);
            if (fails && source === undefined) refused.add(id);
          }
        }
        expect.fail('it goes on and on');
      }),
    );
  });
});

it('who owned a key before up to 8 workers joined is among the 9 around it', () => {
  const workerOf = (name: string) => ({ name, identity: workerIdentity(name) });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 30 }), fc.integer({ min: 1, max: 8 }), fc.string(), (count, joined, key) => {
      const before = makeRing(
        Array.from({ length: count }, (_, i) => workerOf(`w${i}`)),
        { virtualNodes: 50 },
      );
      const after = before.next([...before.workers, ...Array.from({ length: joined }, (_, i) => workerOf(`late${i}`))]);
      const [owner] = before.owners(key, 1);
      const around = after.around(key, 9, 1);
      expect(around).toHaveLength(Math.min(9, count + joined));
      expect(around[0]).toBe(after.owners(key, 1)[0]);
      expect(around).toContain(owner);
    }),
    { numRuns: 200 },
  );
});
