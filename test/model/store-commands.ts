/** What is done to a store and to its model: random commands over a few files, runs and loads. */
import fc from 'fast-check';
import type { LoadId, RunId } from '../../src/core/types.ts';
import { MiB } from '../../src/core/units.ts';
import type { CrashPoint } from '../support/crashing-store.ts';

export const names = ['d/a', 'd/b', 'd/c', 'e/a', 'e/b'];
export const sizes = [0, 100, 4096, MiB, MiB + 1, 2 * MiB + 5000, 4 * MiB, 5 * MiB + 5000];
/** Those of few pages: several objects of each have room. */
const small = 6;
export const runs = ['run-1', 'run-2'] as RunId[];
export const loads = ['load-1', 'load-2'] as LoadId[];

const name = fc.nat(names.length - 1);
/** In four of five. */
const likely = fc.nat(4).map((draw) => draw > 0);
export const points = ['before sync', 'before commit', 'in commit', 'after commit'] as const;
/** In one command of six. */
const crash: fc.Arbitrary<CrashPoint | undefined> = fc.oneof(
  { arbitrary: fc.constant(undefined), weight: 5 },
  { arbitrary: fc.constantFrom(...points), weight: 1 },
);
export const command = fc.oneof(
  {
    arbitrary: fc.record({
      kind: fc.constant('load' as const),
      name,
      /** Of the version that is there, if one is. */
      known: likely,
      size: fc.nat(small - 1),
      run: fc.nat(1),
      load: fc.nat(1),
      reuse: fc.constantFrom('any' as const, 'load' as const),
      /** First page and number of pages of each part that lands, as shares of the file. */
      parts: fc.array(fc.tuple(fc.nat(99), fc.nat(99)), { maxLength: 4 }),
      /** Whatever is missing of what is asked for. */
      all: fc.boolean(),
      /** What is asked for, as shares of the file; null: all of it. */
      range: fc.option(fc.tuple(fc.nat(99), fc.nat(99))),
      /** What has landed is shown by the same commit. */
      show: fc.boolean(),
      leave: fc.boolean(),
      lostBytes: fc.nat(5000),
      crash,
    }),
    weight: 10,
  },
  { arbitrary: fc.record({ kind: fc.constant('abandon' as const), name, late: fc.boolean(), crash }), weight: 2 },
  {
    arbitrary: fc.record({
      kind: fc.constant('metadata' as const),
      name,
      size: fc.nat(small - 1),
      load: fc.nat(1),
      crash,
    }),
    weight: 2,
  },
  {
    arbitrary: fc.record({
      kind: fc.constant('show' as const),
      name,
      known: likely,
      size: fc.nat(small - 1),
      crash,
    }),
    weight: 4,
  },
  {
    arbitrary: fc.record({ kind: fc.constant('remove' as const), at: fc.constantFrom('d', 'd/a', 'd/b', 'e', 'e/') }),
    weight: 2,
  },
  /** Room for so many percent of the stores. */
  {
    arbitrary: fc.record({ kind: fc.constant('evict' as const), share: fc.integer({ min: 85, max: 105 }), crash }),
    weight: 6,
  },
  { arbitrary: fc.record({ kind: fc.constant('hold' as const), name }), weight: 3 },
  { arbitrary: fc.record({ kind: fc.constant('release' as const) }), weight: 1 },
  { arbitrary: fc.record({ kind: fc.constant('overwrite' as const) }), weight: 1 },
  { arbitrary: fc.record({ kind: fc.constant('reopen' as const) }), weight: 1 },
  { arbitrary: fc.record({ kind: fc.constant('crash' as const) }), weight: 1 },
);
export type Command = typeof command extends fc.Arbitrary<infer T> ? T : never;
/** All about one path, two large versions, and single pages of them: so that they are seldom whole. */
export const narrow = command.map((step): Command => {
  const one = { ...step, ...('name' in step && { name: 0 }), ...('size' in step && { size: small + (step.size % 2) }) };
  if (one.kind !== 'load') return one as Command;
  return { ...one, all: false, parts: one.parts.map(([from]) => [from, 0] as [number, number]).slice(0, 2) };
});
