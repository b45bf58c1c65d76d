/** Windows of workers, with files handed to them and ending in any order. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Claim, Windows } from '../../src/core/windows.ts';

interface File {
  readonly claim: Claim<number>;
}

const limits = { filesEach: 3, segments: 8, parked: 5 };
const claim: fc.Arbitrary<Claim<number>> = fc.oneof(
  fc.record({ workers: fc.uniqueArray(fc.nat(4), { minLength: 1, maxLength: 3 }), segments: fc.constant(0) }),
  fc.record({ workers: fc.constant([]), segments: fc.integer({ min: 2, max: 12 }) }),
);

describe('windows', () => {
  it('hold their limits, park no more than they may, and let everything out once what went ends', () => {
    fc.assert(
      fc.property(fc.array(claim, { maxLength: 60 }), fc.infiniteStream(fc.nat(1000)), (claims, chances) => {
        const windows = new Windows<number, File>(limits);
        const going: Claim<number>[] = [];
        const check = (): void => {
          for (let worker = 0; worker < 5; worker += 1)
            expect(going.filter(({ workers }) => workers.includes(worker)).length).toBeLessThanOrEqual(
              limits.filesEach,
            );
          const cut = going.filter(({ segments }) => segments > 0);
          if (cut.length > 1)
            expect(cut.reduce((sum, { segments }) => sum + segments, 0)).toBeLessThanOrEqual(limits.segments);
          expect(windows.parked).toBeLessThanOrEqual(limits.parked);
        };
        const endOne = (): void => {
          const [one] = going.splice(chances.next().value % going.length, 1);
          windows.leave(one!, (file) => going.push(file.claim));
        };
        let handed = 0;
        for (const one of claims) {
          for (;;) {
            const answer = windows.offer({ claim: one });
            if (answer === 'go') going.push(one);
            if (answer !== 'full') break;
            // Nothing is full for ever: there is always something that will end.
            expect(going.length).toBeGreaterThan(0);
            endOne();
            check();
          }
          handed += 1;
          check();
        }
        let ended = 0;
        while (going.length > 0) {
          endOne();
          ended += 1;
          check();
        }
        expect(handed).toBe(claims.length);
        expect(ended).toBeLessThanOrEqual(claims.length);
        expect(windows.parked).toBe(0);
      }),
    );
  });

  it('of a worker that is slow keep no file of another one waiting', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(4), { maxLength: 60 }), (workers) => {
        const windows = new Windows<number, File>({ ...limits, parked: 100 });
        for (const worker of workers) {
          const one = { workers: [worker], segments: 0 };
          // Worker 0 ends nothing; the others at once.
          const answer = windows.offer({ claim: one });
          if (worker === 0) continue;
          expect(answer).toBe('go');
          windows.leave(one, () => expect.fail('nothing of another worker waits'));
        }
        expect(windows.parked).toBe(Math.max(0, workers.filter((worker) => worker === 0).length - limits.filesEach));
      }),
    );
  });
});
