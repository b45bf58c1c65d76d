/** The pure parts of a plan. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { Heap } from '../../src/core/heap.ts';
import { noShorterThan, timeRange } from '../../src/core/plan-time.ts';
import { type RequestKind, RequestTally, requestKinds } from '../../src/core/price.ts';
import { allSteps } from '../../src/core/segment-plan.ts';

const someWorkers = fc.uniqueArray(fc.integer({ min: 0, max: 9 }), { maxLength: 5 });

it('every owner gets a segment once, one of them from the origin, and that only where nobody has it', () => {
  fc.assert(
    fc.property(someWorkers, someWorkers, fc.boolean(), (owners, sources, follows) => {
      const steps = [...allSteps({ owners, sources, follows })];
      expect(steps.map(({ worker }) => worker).sort()).toEqual([...owners].sort());
      const has = new Set(sources);
      for (const [at, { worker, source, follow }] of steps.entries()) {
        if (source === undefined) expect(sources.length === 0 || sources.includes(worker)).toBe(true);
        else
          expect(source !== worker && (has.has(source) || (follow === true && steps[0]!.worker === source))).toBe(true);
        if (at === 0 || !follows) has.add(worker);
      }
      const lacking = steps.filter(({ worker, source }) => source === undefined && !sources.includes(worker));
      expect(lacking.length).toBe(sources.length === 0 && owners.length > 0 ? 1 : 0);
    }),
  );
});

const load = fc.record({
  files: fc.integer({ min: 1, max: 1_000_000 }),
  bytes: fc.integer({ min: 0, max: 2 ** 45 }),
  activeMs: fc.integer({ min: 500, max: 10_000_000 }),
});

it('the time of a load lies in the range that others of any mix say of it, where bytes and files have one price each', () => {
  const cost = fc.record({
    perFile: fc.double({ min: 0.01, max: 10, noNaN: true }),
    perByte: fc.double({ min: 1e-9, max: 1e-3, noNaN: true }),
  });
  const mix = fc.record({ files: fc.integer({ min: 1, max: 1e6 }), bytes: fc.integer({ min: 1, max: 2 ** 40 }) });
  fc.assert(
    fc.property(cost, mix, fc.array(mix, { minLength: 1, maxLength: 5 }), ({ perFile, perByte }, planned, mixes) => {
      const timeOf = ({ files, bytes }: typeof planned): number => files * perFile + bytes * perByte;
      const loads = mixes.map((one) => ({ ...one, activeMs: Math.max(500, timeOf(one)) }));
      fc.pre(loads.every((one) => timeOf(one) >= 500));
      const range = timeRange(planned, loads)!;
      expect(range.leastMs).toBeLessThanOrEqual(timeOf(planned) * 1.000001 + 1);
      expect(range.mostMs).toBeGreaterThanOrEqual(timeOf(planned) * 0.999999 - 1);
    }),
  );
});

it('a range is one, of the loads that were measured, and no shorter than a floor', () => {
  fc.assert(
    fc.property(load, fc.array(load), fc.nat(), (planned, loads, floor) => {
      const range = timeRange(planned, loads);
      if (range === undefined) {
        expect(loads).toEqual([]);
        return;
      }
      expect(range.leastMs).toBeLessThanOrEqual(range.mostMs);
      expect(range.measuredLoads).toBeLessThanOrEqual(loads.length);
      expect(noShorterThan(range, floor).leastMs).toBeGreaterThanOrEqual(floor);
    }),
  );
});

it('each request has the price of the longest prefix, and none is lost', () => {
  const kind = fc.constantFrom<RequestKind>(...requestKinds);
  const prefix = fc.constantFrom('', 's3://', 's3://a/', 's3://a/b/');
  const rows = fc.uniqueArray(
    fc.record({ prefix, list: fc.nat(9), head: fc.nat(9), get: fc.nat(9), transfer: fc.nat(9) }),
    {
      selector: (row) => row.prefix,
    },
  );
  const asked = fc.array(
    fc.record({
      path: fc.constantFrom('s3://a/b/c', 's3://a/x', 's3://z/', 'file:///d'),
      kind,
      count: fc.nat(50),
      bytes: fc.nat(1000),
    }),
  );
  fc.assert(
    fc.property(rows, asked, (table, requests) => {
      const tally = new RequestTally({ currency: 'X', rows: table });
      let [total, unpriced, bytes] = [0, 0, 0];
      for (const { path, kind: of, count, bytes: some } of requests) {
        tally.add(path, of, count, some);
        bytes += some;
        const [row] = table
          .filter((one) => path.startsWith(one.prefix))
          .sort((a, b) => b.prefix.length - a.prefix.length);
        if (row === undefined) unpriced += count;
        else total += (count * row[of === 'list' || of === 'head' ? of : 'get']) / 1000 + (some * row.transfer) / 1e9;
      }
      expect(tally.unpriced).toBe(unpriced);
      expect(tally.bytes).toBe(bytes);
      expect(tally.price('X').total).toBeCloseTo(total, 9);
      const counted = requestKinds.reduce((sum, one) => sum + tally.counts[one], 0);
      expect(counted).toBe(requests.reduce((sum, { count }) => sum + count, 0));
    }),
  );
});

it('a heap gives what it was given, the first one first', () => {
  fc.assert(
    fc.property(fc.array(fc.oneof(fc.integer(), fc.constant(undefined))), (steps) => {
      const heap = new Heap<number>((a, b) => a < b);
      const model: number[] = [];
      for (const step of steps) {
        if (step === undefined) expect(heap.pop()).toBe(model.shift());
        else {
          heap.push(step);
          model.push(step);
          model.sort((a, b) => a - b);
        }
        expect([heap.size, heap.peek()]).toEqual([model.length, model[0]]);
      }
    }),
  );
});
