import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PrimedError } from '../../src/core/errors.ts';
import {
  isMember,
  type MembersEvent,
  type MembersState,
  mostLostKept,
  nextMembers,
  noMembers,
  type WorkerReport,
  type WorkerRow,
} from '../../src/core/membership.ts';
import type { WorkerId } from '../../src/core/types.ts';

const leaseMs = 10_000;
const figures = { capacityBytes: 100, freeBytes: 50, files: 3 };
const reportAt = (host: string): WorkerReport => ({
  ...figures,
  host,
  httpPort: 28_080,
  s3Port: 29_998,
  version: '1.0.0',
  protocol: 1,
});
const w = (id: string) => id as WorkerId;

const ids = ['w1', 'w2'].map(w);
const hosts = ['h1', 'h2', 'h3'];
const instances = ['i1', 'i2', 'i3', 'i4'];

/** `back`: so many registrations ago, of those of the id; 0 speaks for the newest. */
type Step =
  | { kind: 'register'; id: WorkerId; instance: string; host: string }
  | { kind: 'renew' | 'goodbye'; id: WorkerId; back: number; instance: string | undefined }
  | { kind: 'drain' | 'undrain' | 'remove'; id: WorkerId }
  | { kind: 'wait'; ms: number; unheardMs: number };

const id = fc.constantFrom(...ids);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('register' as const),
      id,
      instance: fc.constantFrom(...instances),
      host: fc.constantFrom(...hosts),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constantFrom('renew' as const, 'renew' as const, 'renew' as const, 'goodbye' as const),
      id,
      back: fc.constantFrom(0, 0, 0, 1, 2),
      instance: fc.constantFrom(undefined, undefined, undefined, ...instances),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constantFrom('drain' as const, 'drain' as const, 'undrain' as const, 'remove' as const),
      id,
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('wait' as const),
      ms: fc.constantFrom(10, 3_000, 9_999, 10_000, 30_000),
      unheardMs: fc.constantFrom(0, 0, 0, 5_000),
    }),
  },
);

interface Driver {
  state: MembersState;
  nowMs: number;
  /** What each id was given, oldest first. */
  readonly given: Map<WorkerId, { epoch: number; instance: string }[]>;
}

interface Taken {
  readonly before: MembersState;
  readonly nowMs: number;
  readonly event: MembersEvent;
  readonly refused?: PrimedError;
}

function eventOf(driver: Driver, next: Step): MembersEvent | undefined {
  switch (next.kind) {
    case 'wait':
      driver.nowMs += next.ms;
      return { type: 'tick', unheardMs: Math.min(next.unheardMs, next.ms) };
    case 'register':
      return { type: 'register', id: next.id, instance: next.instance, report: reportAt(next.host), leaseMs };
    case 'renew':
    case 'goodbye': {
      const given = driver.given.get(next.id)?.at(-1 - next.back);
      if (given === undefined) return undefined;
      const spoken = { id: next.id, epoch: given.epoch, instance: next.instance ?? given.instance };
      if (next.kind === 'goodbye') return { type: 'goodbye', ...spoken };
      return { type: 'renew', ...spoken, figures: { ...figures, freeBytes: driver.nowMs }, leaseMs };
    }
    default:
      return { type: next.kind, id: next.id };
  }
}

function take(driver: Driver, next: Step): Taken | undefined {
  const before = driver.state;
  const event = eventOf(driver, next);
  if (event === undefined) return undefined;
  const taken = { before, nowMs: driver.nowMs, event };
  try {
    driver.state = nextMembers(before, event, driver.nowMs);
  } catch (error) {
    if (!(error instanceof PrimedError)) throw error;
    return { ...taken, refused: error };
  }
  if (event.type === 'register') {
    const { epoch, instance } = driver.state.workers.get(event.id)!;
    driver.given.set(event.id, [...(driver.given.get(event.id) ?? []), { epoch, instance }]);
  }
  return taken;
}

const holds = (row: WorkerRow | undefined, nowMs: number): row is WorkerRow =>
  row !== undefined && isMember(row) && row.leaseEndsMs > nowMs;

/** Runs random steps and calls `check` after each; counts what happened, for a property that nothing reached says nothing. */
function whatever(numRuns: number, check: (driver: Driver, taken: Taken) => void): Map<string, number> {
  const seen = new Map<string, number>();
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60, size: 'max' }), (steps) => {
      const driver: Driver = { state: noMembers, nowMs: 1_000_000, given: new Map() };
      for (const next of steps) {
        const taken = take(driver, next);
        if (taken === undefined) continue;
        const outcome = `${taken.event.type} ${taken.refused?.code ?? 'done'}`;
        seen.set(outcome, (seen.get(outcome) ?? 0) + 1);
        check(driver, taken);
      }
    }),
    { numRuns },
  );
  return seen;
}

describe('the members of a cluster, whatever happens', () => {
  it('get epochs that only rise, over loss and removal too', () => {
    const seen = whatever(1000, (driver, { before }) => {
      expect(driver.state.lastEpoch).toBeGreaterThanOrEqual(before.lastEpoch);
      for (const given of driver.given.values()) {
        const epochs = given.map(({ epoch }) => epoch);
        expect(epochs).toEqual([...new Set(epochs)].sort((a, b) => a - b));
      }
    });
    for (const outcome of ['register done', 'remove done', 'goodbye done'])
      expect(seen.get(outcome) ?? 0, outcome).toBeGreaterThan(100);
  });

  it('are never two of one id, nor two at one address', () => {
    const seen = whatever(1000, ({ state, nowMs }, { before, event, refused }) => {
      const members = [...state.workers.values()].filter((row) => holds(row, nowMs));
      const addresses = members.map(({ host, httpPort }) => `${host}:${httpPort}`);
      expect(new Set(addresses).size).toBe(addresses.length);
      if (event.type !== 'register') return;
      const holder = before.workers.get(event.id);
      const elsewhere = holds(holder, nowMs) && holder.host !== event.report.host;
      expect(refused?.code).toBe(elsewhere ? 'WORKER_CONFLICT' : undefined);
      if (elsewhere) expect(refused?.message).toContain(`${holder.host}:28080`);
    });
    expect(seen.get('register WORKER_CONFLICT') ?? 0).toBeGreaterThan(100);
  });

  it('are not changed by what comes late, or from another instance', () => {
    const seen = whatever(1000, ({ state, nowMs }, { before, event, refused }) => {
      if (refused !== undefined) expect(state).toBe(before);
      if (event.type !== 'renew' && event.type !== 'goodbye') return;
      const row = before.workers.get(event.id);
      const current = holds(row, nowMs) && row.epoch === event.epoch && row.instance === event.instance;
      const wanted = row === undefined ? 'WORKER_UNKNOWN' : 'WORKER_STALE';
      expect(refused?.code).toBe(current ? undefined : wanted);
      if (!current) return;
      const after = state.workers.get(event.id)!;
      expect(after.epoch).toBe(row.epoch);
      if (event.type === 'goodbye') expect(after.state).toBe('LOST');
      else expect(after).toEqual({ ...row, ...event.figures, leaseEndsMs: nowMs + leaseMs, lastSeenMs: nowMs });
    });
    for (const outcome of ['renew done', 'renew WORKER_STALE', 'renew WORKER_UNKNOWN', 'goodbye WORKER_STALE'])
      expect(seen.get(outcome) ?? 0, outcome).toBeGreaterThan(100);
  });

  it('come back from loss by a new registration only, and are lost exactly when their lease has ended', () => {
    let losses = 0;
    whatever(1000, ({ state, nowMs }, { before, event, refused }) => {
      for (const [workerId, row] of state.workers) {
        const was = before.workers.get(workerId);
        if (was?.state === 'LOST' && isMember(row)) {
          expect([event.type, refused]).toEqual(['register', undefined]);
          expect(row.epoch).toBeGreaterThan(was.epoch);
        }
        if (event.type !== 'tick') continue;
        const heard = was === undefined ? 0 : was.leaseEndsMs + event.unheardMs;
        if (was !== undefined && isMember(was)) expect(isMember(row)).toBe(heard > nowMs);
        if (was !== undefined && isMember(was) && !isMember(row)) losses += 1;
      }
    });
    expect(losses).toBeGreaterThan(100);
  });

  it('drain until they are told otherwise, over restarts and loss, and forget it when they are removed', () => {
    const told = new Map<WorkerId, boolean>();
    let restartsOfDrained = 0;
    whatever(1000, ({ state }, { before, event, refused }) => {
      if (before === noMembers) told.clear();
      if (refused === undefined) {
        if (event.type === 'drain') told.set(event.id, true);
        if (event.type === 'undrain' || event.type === 'remove') told.delete(event.id);
      }
      for (const [workerId, row] of state.workers) {
        expect(row.drains).toBe(told.has(workerId));
        if (isMember(row)) expect(row.state).toBe(told.has(workerId) ? 'DRAINING' : 'LIVE');
      }
      if (event.type === 'register' && refused === undefined && told.has(event.id)) restartsOfDrained += 1;
    });
    expect(restartsOfDrained).toBeGreaterThan(100);
  });
});

describe('the members of a cluster', () => {
  const register = (state: MembersState, worker: string, host: string, nowMs: number, instance = 'i') =>
    nextMembers(state, { type: 'register', id: w(worker), instance, report: reportAt(host), leaseMs }, nowMs);

  it('let a restart at the same address in at once, and refuse the process before it', () => {
    const first = register(noMembers, 'w1', 'h1', 0, 'before');
    const second = register(first, 'w1', 'h1', 1, 'after');
    expect(second.workers.get(w('w1'))).toMatchObject({ epoch: 2, instance: 'after', state: 'LIVE' });
    const late = { type: 'renew', id: w('w1'), instance: 'before', epoch: 1, figures, leaseMs } as const;
    expect(() => nextMembers(second, late, 2)).toThrow(/Epoch 1 of worker 'w1' does not hold any more/);
  });

  it('give the id to another address when the lease has ended, ticked or not', () => {
    const first = register(noMembers, 'w1', 'h1', 0);
    expect(() => register(first, 'w1', 'h2', leaseMs - 1)).toThrow(/h1:28080 is registered under the same id/);
    expect(register(first, 'w1', 'h2', leaseMs).workers.get(w('w1'))).toMatchObject({ host: 'h2', epoch: 2 });
  });

  it('lose who was at the address of a new one', () => {
    const state = register(register(noMembers, 'w1', 'h1', 0), 'w2', 'h1', 1);
    expect([...state.workers.values()].map(({ id, state }) => [id, state])).toEqual([
      ['w1', 'LOST'],
      ['w2', 'LIVE'],
    ]);
  });

  it('are remembered after their loss, within a limit, those that drain the longest', () => {
    let state = noMembers;
    for (let i = 0; i < mostLostKept + 10; i += 1) state = register(state, `w${i}`, `h${i}`, i);
    state = nextMembers(state, { type: 'drain', id: w('w0') }, 100);
    expect(state.workers.size).toBe(mostLostKept + 10);
    state = nextMembers(state, { type: 'tick', unheardMs: 0 }, 1_000_000);
    expect(state.workers.size).toBe(mostLostKept);
    expect([w('w0'), w('w1'), w('w10'), w('w11')].map((each) => state.workers.has(each))).toEqual([
      true,
      false,
      false,
      true,
    ]);
  });
});
