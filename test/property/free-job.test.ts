/** What a free says to have freed is what has gone, whatever dies in the middle. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type FreeProgress, freeTotals, newFree, nextFree, unfreed } from '../../src/core/free-job.ts';
import { overlap } from '../../src/core/path-scope.ts';

const fileBytes = 10;

type Step =
  /** A page goes, and is told, or not: the worker or the coordinator dies over the answer. */
  | { readonly kind: 'page'; readonly worker: number; readonly files: number; readonly told: boolean }
  /** The worker is asked anew for all that it has. */
  | { readonly kind: 'again'; readonly worker: number };

const steps = fc.array(
  fc.oneof(
    fc.record({
      kind: fc.constant('page' as const),
      worker: fc.nat(2),
      files: fc.integer({ min: 1, max: 5 }),
      told: fc.boolean(),
    }),
    fc.record({ kind: fc.constant('again' as const), worker: fc.nat(2) }),
  ),
);

test('files and bytes that were there are freed in the end, and never more', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(20), { minLength: 3, maxLength: 3 }), steps, (had, sequence: Step[]) => {
      const left = [...had];
      let free = newFree(false);
      const found = (worker: number): FreeProgress =>
        nextFree(free, { type: 'found', worker: `w${worker}`, files: left[worker]!, bytes: left[worker]! * fileBytes });
      for (const worker of left.keys()) free = found(worker);
      for (const step of sequence) {
        if (step.kind === 'again') {
          free = found(step.worker);
          continue;
        }
        const files = Math.min(step.files, left[step.worker]!);
        left[step.worker]! -= files;
        if (step.told)
          free = nextFree(free, { type: 'freed', worker: `w${step.worker}`, files, bytes: files * fileBytes });
        const gone = had.reduce((sum, count, at) => sum + count - left[at]!, 0);
        expect(freeTotals(free).freedFiles).toBeLessThanOrEqual(gone);
      }
      expect(unfreed(free, [])).toBeDefined();
      for (const worker of left.keys()) {
        free = found(worker);
        free = nextFree(free, {
          ...{ type: 'freed', worker: `w${worker}` },
          ...{ files: left[worker]!, bytes: left[worker]! * fileBytes },
        });
        left[worker] = 0;
        free = found(worker);
        free = nextFree(free, { type: 'workerFreed', worker: `w${worker}` });
      }
      const all = had.reduce((sum, count) => sum + count, 0);
      expect(freeTotals(free)).toEqual({
        ...{ files: all, freedFiles: all },
        ...{ bytes: all * fileBytes, freedBytes: all * fileBytes },
      });
      expect(unfreed(free, [])).toBeUndefined();
      expect(unfreed(free, ['w9'])).toContain('w9');
    }),
  );
});

test('what is said of a worker that was never asked changes nothing', () => {
  const free = newFree(false);
  expect(nextFree(free, { type: 'freed', worker: 'x', files: 1, bytes: 1 })).toBe(free);
  expect(nextFree(free, { type: 'workerFreed', worker: 'x' })).toBe(free);
});

test('paths overlap when one is the other or lies below it, whichever comes first', () => {
  const names = fc.array(fc.constantFrom('a', 'b', 'ab'), { minLength: 1, maxLength: 3 });
  fc.assert(
    fc.property(names, names, fc.boolean(), fc.boolean(), (one, other, oneFolder, otherFolder) => {
      const path = (parts: string[], folder: boolean) => `s3://x/${parts.join('/')}${folder ? '/' : ''}`;
      const [a, b] = [path(one, oneFolder), path(other, otherFolder)];
      const [short, long] = one.length < other.length ? [one, other] : [other, one];
      const nested = short.every((part, at) => part === long[at]);
      // The file `dir` does not lie below `dir/`, but what is below `dir/` is below both.
      expect(overlap(a, b)).toBe(nested);
      expect(overlap(a, b)).toBe(overlap(b, a));
    }),
  );
});
