/**
 * The store against a reference model: random operations, with crashes after which only what was synced survives.
 *
 * Every command makes one commit at most, so a crash before the commit leaves the state before the command and one after
 * it the state behind it; there is nothing between. Failures print a seed and a path that fast-check replays.
 */
import fc from 'fast-check';
import { afterEach, expect, test, vi } from 'vitest';
import { MiB } from '../../src/core/units.ts';
import { CrashingStore } from '../support/crashing-store.ts';
import { makeFixture } from '../support/store-fixture.ts';
import { type Command, command, narrow, points } from './store-commands.ts';
import { met, Scene } from './store-scene.ts';

/** How often each kind of crash fired, over all runs of the property. */
const fired = new Map<string, number>();
let grainsLost = 0;

afterEach(() => {
  vi.restoreAllMocks();
});

async function holdsWhatTheModelHolds(arbitrary: fc.Arbitrary<Command>, numRuns: number): Promise<void> {
  await fc.assert(
    fc.asyncProperty(
      fc.array(arbitrary, { minLength: 5, maxLength: 40, size: 'max' }),
      fc.integer(),
      async (commands, seed) => {
        const fixture = makeFixture({ stores: 2, sizeBytes: 33 * MiB });
        let state = seed;
        const crashing = new CrashingStore(fixture, () => {
          state = (Math.imul(state, 1664525) + 1013904223) | 0;
          return (state >>> 0) / 2 ** 32;
        });
        try {
          await crashing.open();
          const scene = new Scene(crashing);
          for (const step of commands) {
            await scene.run(step);
            await scene.check();
            if (step.kind === 'crash' || ('crash' in step && step.crash)) await scene.checkBytes();
          }
          await scene.end();
          for (const [point, times] of crashing.crashes) fired.set(point, (fired.get(point) ?? 0) + times);
          grainsLost += crashing.grainsLost;
        } finally {
          vi.restoreAllMocks();
          fixture.remove();
        }
      },
    ),
    { numRuns },
  );
}

test('whatever happens, the store holds what the model holds', { timeout: 300_000 }, async () => {
  await holdsWhatTheModelHolds(command, 30);
  for (const point of points) expect(fired.get(point), point).toBeGreaterThan(0);
  expect(met.evicted, 'files that were evicted').toBeGreaterThan(0);
  expect(grainsLost, 'grains that a crash took back').toBeGreaterThan(0);
});

test('whatever happens to a file that is here in part, too', { timeout: 300_000 }, async () => {
  await holdsWhatTheModelHolds(narrow, 20);
  expect(met.visibleInPart, 'files that were visible in part').toBeGreaterThan(0);
  expect(met.addedInPart, 'files that were added to while they were').toBeGreaterThan(0);
});
