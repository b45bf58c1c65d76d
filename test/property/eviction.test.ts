/** Which file goes next: queues that are looked at lazily let files go in the order that a list of all of them would. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Facts, nextOf, verdictOn, type Waiting } from '../../src/core/eviction.ts';
import { defaultClass, Pins, pinnedClass, pinOf, Retention, type RetentionRule } from '../../src/core/retention.ts';

const rules = new Map<number, RetentionRule>([
  [1, { prefix: 's3://b/low/', priority: -1, pinned: false }],
  [2, { prefix: 's3://b/high/', priority: 5, pinned: false }],
  [3, { prefix: 's3://b/high/kept/', priority: 0, pinned: true }],
]);
const folders = ['low/', 'high/', 'high/kept/', 'high/lower/', ''];

interface File {
  readonly folder: number;
  readonly cachedMs: number;
  readonly usedMs: number | undefined;
  readonly held: boolean;
  readonly read: boolean;
  /** The class in which it waits, as rules were at an earlier time. */
  readonly sortedWrong: boolean;
}

const file: fc.Arbitrary<File> = fc.record({
  folder: fc.nat(folders.length - 1),
  cachedMs: fc.integer({ min: 0, max: 20 }),
  usedMs: fc.option(fc.integer({ min: 0, max: 40 }), { nil: undefined }),
  held: fc.boolean(),
  read: fc.constant(false),
  sortedWrong: fc.boolean(),
});
const pathOf = (one: File, at: number): string => `s3://b/${folders[one.folder]}${at}`;

/** Lets files go as a store does, one look at a time. */
function evictAll(files: readonly File[], retention: Retention): { gone: number[]; looks: number } {
  let waiting: Waiting[] = files.map((one, at) => {
    const path = pathOf(one, at);
    const of = one.sortedWrong ? defaultClass : retention.classOf(path);
    return { class: of, sinceMs: one.cachedMs, fileId: at, path };
  });
  const facts: Facts = {
    pinnedClass,
    nowMs: 50,
    classOf: (path) => retention.classOf(path),
    usedMs: (at) => files[at]!.usedMs,
    isHeld: ({ fileId }) => files[fileId]!.held,
    isRead: (at) => files[at]!.read,
  };
  const gone: number[] = [];
  for (let looks = 0; ; looks += 1) {
    const heads = waiting.filter((one) => one.class !== pinnedClass);
    const next = nextOf(heads, (of) => retention.priorityOf(of));
    if (next === undefined) return { gone, looks };
    const verdict = verdictOn(next, facts);
    waiting = waiting.filter((one) => one !== next);
    if (verdict.do === 'evict') gone.push(next.fileId);
    else if (verdict.do === 'move') waiting.push({ ...next, class: verdict.class, sinceMs: verdict.sinceMs });
  }
}

test('files go by priority, then by when they were used last, and neither pinned nor held ones do', () => {
  fc.assert(
    fc.property(
      fc.array(file, { maxLength: 30 }),
      fc.subarray(['s3://b/low/', 's3://b/high/3', 's3://b/1']),
      (files, pins) => {
        const retention = new Retention(rules, new Pins(pins));
        const { gone, looks } = evictAll(files, retention);
        const wanted = files
          .map((one, at) => ({ at, ...one, of: retention.classOf(pathOf(one, at)) }))
          .filter(({ of, held }) => of !== pinnedClass && !held);
        expect(new Set(gone)).toEqual(new Set(wanted.map(({ at }) => at)));
        // Who waits in a class that was right once is met there first, and moves; it may be late by that.
        if (!files.some(({ sortedWrong }) => sortedWrong)) {
          const order = wanted.sort(
            (a, b) =>
              retention.priorityOf(a.of) - retention.priorityOf(b.of) ||
              Math.max(a.usedMs ?? 0, a.cachedMs) - Math.max(b.usedMs ?? 0, b.cachedMs) ||
              a.at - b.at,
          );
          expect(gone).toEqual(order.map(({ at }) => at));
        }
        // Each is looked at to go or to stay, and moves twice at most: into its class, and to its time.
        expect(looks).toBeLessThanOrEqual(3 * files.length);
      },
    ),
    { numRuns: 500 },
  );
});

test('what is being read moves to the end, and stays there as long as it is read', () => {
  const one: Waiting = { class: 0, sinceMs: 10, fileId: 7, path: 's3://b/x' };
  const facts: Facts = {
    ...{ pinnedClass, nowMs: 5000, classOf: () => 0, usedMs: () => undefined, isHeld: () => false },
    isRead: () => true,
  };
  expect(verdictOn(one, facts)).toEqual({ do: 'move', class: 0, sinceMs: 5000 });
  expect(verdictOn({ ...one, sinceMs: 5000 }, facts)).toEqual({ do: 'stay' });
  expect(verdictOn({ ...one, sinceMs: 5000 }, { ...facts, isRead: () => false })).toEqual({ do: 'evict' });
});

test('a path belongs to the longest prefix, and pins come before rules', () => {
  const retention = new Retention(rules, new Pins(['s3://b/low/x', 's3://b/high/deep/']));
  const classes = ['low/a', 'low/x', 'low/x2', 'high/a', 'high/kept/a', 'high/deep/a/b', 'high/deep', 'other'];
  expect(classes.map((name) => retention.classOf(`s3://b/${name}`))).toEqual([
    1,
    pinnedClass,
    1,
    2,
    pinnedClass,
    pinnedClass,
    2,
    defaultClass,
  ]);
});

test('a pin covers what begins with it, as looking at each of them would say', () => {
  const piece = fc.constantFrom('a', 'b', '/', 'a/', '//', 'ab');
  const path = fc.array(piece, { minLength: 1, maxLength: 6 }).map((pieces) => `s3://bucket/${pieces.join('')}`);
  fc.assert(
    fc.property(fc.array(path, { maxLength: 8 }), path, (pins, at) => {
      const slow = pins.some((pin) => at === pin || (pin.endsWith('/') && at.startsWith(pin)));
      expect(new Pins(pins).covers(at)).toBe(slow);
    }),
  );
});

test('what cannot be pinned is refused by name', () => {
  expect(pinOf('s3://bucket')).toBe('s3://bucket/');
  expect(pinOf('file:///data/x')).toBe('file:///data/x');
  for (const bad of ['bucket/x', 's3://', 'http://x/y', `s3://b/${'x'.repeat(1200)}`])
    expect(() => pinOf(bad)).toThrow(/^path: /);
});
