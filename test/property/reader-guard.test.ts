import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  beginGuard,
  breathMs,
  type GuardMode,
  type GuardSeen,
  type GuardSettings,
  type GuardState,
  holdMs,
  nextGuard,
  starvedMs,
} from '../../src/core/reader-guard.ts';

interface Turn {
  readonly afterMs: number;
  readonly reads: boolean;
  readonly sending: boolean;
  /** Lanes fetch what a reader waits for. */
  readonly awaited: boolean;
  /** Which lanes had a core. */
  readonly turned: readonly boolean[];
}

interface Told extends Turn {
  readonly atMs: number;
  readonly mode: GuardMode;
}

const lanes = 2;
const turns = fc.array(
  fc.record({
    afterMs: fc.integer({ min: 50, max: 400 }),
    reads: fc.boolean(),
    sending: fc.boolean(),
    awaited: fc.constant(false),
    turned: fc.array(fc.boolean(), { minLength: lanes, maxLength: lanes }),
  }),
  { minLength: 1, maxLength: 200 },
);
const floors = fc.double({ min: 0.01, max: 0.9, noNaN: true });

function run(order: readonly Turn[], settings: (turn: number) => GuardSettings): Told[] {
  let seen: GuardSeen = { reads: 0, open: 0, turns: new Array(lanes).fill(0), awaited: false };
  let atMs = 0;
  let state: GuardState = beginGuard(atMs, seen);
  return order.map((turn, index) => {
    atMs += turn.afterMs;
    seen = {
      reads: seen.reads + Number(turn.reads),
      open: Number(turn.sending),
      turns: seen.turns.map((count, lane) => count + Number(turn.turned[lane])),
      awaited: turn.awaited,
    };
    state = nextGuard(state, atMs, seen, settings(index));
    return { ...turn, atMs, mode: state.mode };
  });
}

test('loads give way when somebody reads, and are at full speed once nobody has for a while', () => {
  fc.assert(
    fc.property(turns, floors, (order, floor) => {
      let readAtMs = Number.NEGATIVE_INFINITY;
      for (const { atMs, mode, reads, sending } of run(order, () => ({ enabled: true, floor }))) {
        if (reads || sending) readAtMs = atMs;
        expect(mode !== 'full').toBe(atMs - readAtMs < holdMs);
      }
    }),
  );
});

test('while every lane gets its turns, a load gives way for as long as there are readers', () => {
  fc.assert(
    fc.property(turns, floors, (order, floor) => {
      const served = order.map((turn) => ({ ...turn, turned: [true, true] }));
      const modes = run(served, () => ({ enabled: true, floor })).map(({ mode }) => mode);
      expect(modes).not.toContain('breath');
    }),
  );
});

test('whatever readers do, a lane that gets nothing runs as without them for its share of the time', () => {
  const oneStarved = turns.map((order) => order.map((turn) => ({ ...turn, turned: [true, false] })));
  fc.assert(
    fc.property(oneStarved, floors, (order, floor) => {
      const told = run(order, () => ({ enabled: true, floor }));
      let sinceMs = 0;
      for (const [at, { atMs, mode, afterMs }] of told.entries()) {
        const before = told[at - 1]?.mode ?? 'full';
        if (before === 'yielding' && mode === 'yielding') expect(atMs - sinceMs).toBeLessThan(starvedMs + afterMs);
        if (before === 'breath' && mode === 'yielding') expect(atMs - sinceMs).toBeGreaterThanOrEqual(breathMs(floor));
        if (mode !== before) sinceMs = atMs;
      }
    }),
  );
  expect(breathMs(0.25) / (breathMs(0.25) + starvedMs)).toBeCloseTo(0.25);
});

test('it is switched off and on while it runs', () => {
  fc.assert(
    fc.property(turns, fc.array(fc.boolean(), { minLength: 200, maxLength: 200 }), (order, enabled) => {
      const told = run(order, (turn) => ({ enabled: enabled[turn]!, floor: 0.1 }));
      for (const [turn, { mode, reads, sending }] of told.entries()) {
        if (!enabled[turn]) expect(mode).toBe('full');
        else if (reads || sending) expect(mode).not.toBe('full');
      }
    }),
  );
});

test('while a reader waits for what lanes fetch, nothing yields, and afterwards it does again', () => {
  const some = turns.chain((order) =>
    fc
      .array(fc.boolean(), { minLength: order.length, maxLength: order.length })
      .map((awaited) => order.map((turn, at) => ({ ...turn, awaited: awaited[at]! }))),
  );
  fc.assert(
    fc.property(some, floors, (order, floor) => {
      for (const { mode, awaited, reads, sending } of run(order, () => ({ enabled: true, floor }))) {
        if (awaited) expect(mode).toBe('full');
        else if (reads || sending) expect(mode).not.toBe('full');
      }
    }),
  );
});
