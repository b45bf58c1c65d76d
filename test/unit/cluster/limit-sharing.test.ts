/** How limits are divided among workers while demands, members and limits change, and answers are late. */
import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { type Fellows, LimitSharing, type OwnRequests } from '../../../src/cluster/limit-sharing.ts';
import type { Member, Members } from '../../../src/cluster/members.ts';
import { OriginLimits } from '../../../src/cluster/origin-limits.ts';
import type { Timers } from '../../../src/cluster/shared/timers.ts';
import type { WorkerLink } from '../../../src/cluster/worker-link.ts';
import { makeLimit, type OriginDemand, type OriginLimit } from '../../../src/core/origin-limits.ts';
import { memoryLimits } from '../../support/memory-limits.ts';
import { silent as quiet } from './fakes.ts';

const origin = 's3://data/';

/** A worker that hears what it is told when the test says so. */
class Taker {
  demand: readonly OriginDemand[] = [];
  /** What it keeps to. */
  heard: readonly OriginLimit[] = [];
  readonly told: {
    readonly limits: readonly OriginLimit[];
    readonly answer: () => void;
    readonly refuse: (error: Error) => void;
  }[] = [];
  #listener: () => void = () => undefined;
  readonly link = {
    setOriginLimits: (limits: readonly OriginLimit[]) =>
      new Promise<void>((resolve, reject) => this.told.push({ limits, answer: resolve, refuse: reject })),
    originDemand: () => this.demand,
    onOriginDemand: (listener: () => void) => {
      this.#listener = listener;
      return () => undefined;
    },
  } as unknown as WorkerLink;

  wants(bytesPerSecond: number | undefined, requestsPerSecond?: number): void {
    const some = bytesPerSecond !== undefined || requestsPerSecond !== undefined;
    this.demand = some ? [makeLimit(origin, { bytesPerSecond, requestsPerSecond })] : [];
    this.#listener();
  }

  /** It hears the oldest thing that it was told; false: there is none. */
  async hear(): Promise<boolean> {
    const first = this.told.shift();
    if (first === undefined) return false;
    this.heard = first.limits;
    first.answer();
    await new Promise((resolve) => setImmediate(resolve));
    return true;
  }

  /** As `hear`, and says that it failed: whether it has heard or not. */
  async refuse({ heard = false } = {}): Promise<void> {
    const first = this.told.shift()!;
    if (heard) this.heard = first.limits;
    first.refuse(new Error('it was not told'));
    await new Promise((resolve) => setImmediate(resolve));
  }

  get rate(): number {
    return this.heard.find((limit) => limit.origin === origin)?.bytesPerSecond ?? Number.POSITIVE_INFINITY;
  }
}

class Crowd implements Members {
  #live: readonly Member[] = [];
  readonly #listeners = new Set<() => void>();

  live(): readonly Member[] {
    return this.#live;
  }

  absent(): readonly never[] {
    return [];
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  set(takers: readonly Taker[]): void {
    this.#live = takers.map(({ link }, at) => ({ id: `w${at}`, url: '', takes: true, link }) as unknown as Member);
    for (const listener of this.#listeners) listener();
  }
}

function opened(
  bytesPerSecond: number,
  takers: readonly Taker[],
  own?: OwnRequests,
  fellows?: Fellows,
  timers?: Timers,
) {
  const members = new Crowd();
  members.set(takers);
  const limits = new OriginLimits({
    configured: [makeLimit(origin, { bytesPerSecond })],
    store: memoryLimits(),
    log: quiet,
  });
  const sharing = new LimitSharing({
    members,
    limits,
    log: quiet,
    fellows,
    ...(own && { own }),
    ...(timers && { timers }),
  });
  return { members, limits, sharing };
}

const settle = async (takers: readonly Taker[]): Promise<void> => {
  for (let turn = 0; turn < 1000; turn += 1) {
    let some = false;
    for (const taker of takers) some = (await taker.hear()) || some;
    if (!some) return;
  }
  throw new Error('the shares do not settle');
};

describe('the limit of an origin', () => {
  it('is nothing for a worker that wants nothing, all of it for the only one, and shared by several', async () => {
    const [a, b] = [new Taker(), new Taker()];
    opened(100, [a, b]);
    await settle([a, b]);
    expect([a.rate, b.rate]).toEqual([0, 0]);
    a.wants(Number.POSITIVE_INFINITY);
    await settle([a, b]);
    expect([a.rate, b.rate]).toEqual([expect.closeTo(100), 0]);
    b.wants(Number.POSITIVE_INFINITY);
    await settle([a, b]);
    expect([a.rate, b.rate]).toEqual([expect.closeTo(50), expect.closeTo(50)]);
    a.wants(undefined);
    await settle([a, b]);
    expect([a.rate, b.rate]).toEqual([0, expect.closeTo(100)]);
  });

  it('is given to another only when the first has heard that it has less', async () => {
    const [a, b] = [new Taker(), new Taker()];
    opened(100, [a, b]);
    a.wants(Number.POSITIVE_INFINITY);
    await settle([a, b]);
    b.wants(Number.POSITIVE_INFINITY);
    while (await b.hear());
    expect([a.rate, b.rate]).toEqual([expect.closeTo(100), expect.closeTo(0)]);
    await a.hear();
    await settle([a, b]);
    expect([a.rate, b.rate]).toEqual([expect.closeTo(50), expect.closeTo(50)]);
  });

  it('is told again to a worker that could not be told, later each time, and to nobody else twice', async () => {
    const due: { readonly delayMs: number; readonly act: () => void }[] = [];
    const timers: Timers = {
      after(delayMs, act) {
        const one = { delayMs, act };
        due.push(one);
        return () => void due.splice(due.indexOf(one), 1);
      },
    };
    const [a, b] = [new Taker(), new Taker()];
    const { members } = opened(100, [a, b], undefined, undefined, timers);
    await settle([a, b]);
    b.wants(Number.POSITIVE_INFINITY);
    const delays: number[] = [];
    for (let times = 0; times < 7; times += 1) {
      await b.refuse({ heard: times === 3 });
      expect([b.told.length, due.length]).toEqual([0, 1]);
      // What changes meanwhile is not a reason to tell it at once; what it may have heard is not given to another.
      a.wants(times + 1);
      await settle([a]);
      expect(b.told).toEqual([]);
      expect(a.rate + Math.max(0, b.rate)).toBeLessThanOrEqual(100);
      const [{ delayMs, act }] = due.splice(0) as [(typeof due)[0]];
      delays.push(delayMs);
      act();
      expect(b.told).toHaveLength(1);
    }
    expect(delays).toEqual([500, 1000, 2000, 4000, 8000, 10_000, 10_000]);
    await settle([a, b]);
    expect(a.rate).toBeCloseTo(7);
    expect(b.rate).toBeCloseTo(93);
    // It counts from the start again; and who is gone is not waited for.
    b.wants(50);
    await b.refuse();
    expect(due.map(({ delayMs }) => delayMs)).toEqual([500]);
    members.set([a]);
    expect(due).toEqual([]);
  });

  it('that a lost worker had is shared by the others', async () => {
    const [a, b] = [new Taker(), new Taker()];
    const { members } = opened(100, [a, b]);
    for (const taker of [a, b]) taker.wants(Number.POSITIVE_INFINITY);
    await settle([a, b]);
    members.set([a]);
    await settle([a]);
    expect(a.rate).toBeCloseTo(100);
  });

  it('of requests has a part for the coordinator, while it lists', async () => {
    const a = new Taker();
    const heard: (readonly OriginLimit[])[] = [];
    let listed: () => void = () => undefined;
    let demand: readonly OriginDemand[] = [];
    const own = {
      setLimits: (list: readonly OriginLimit[]) => void heard.push(list),
      demand: () => demand,
      onDemand: (listener: () => void) => {
        listed = listener;
        return () => undefined;
      },
    };
    const { limits } = opened(100, [a], own);
    await limits.set(origin, { bytesPerSecond: null, requestsPerSecond: 10 });
    a.wants(undefined, Number.POSITIVE_INFINITY);
    await settle([a]);
    expect(a.heard).toEqual([{ origin, requestsPerSecond: expect.closeTo(10) }]);
    demand = [makeLimit(origin, { requestsPerSecond: Number.POSITIVE_INFINITY })];
    listed();
    await settle([a]);
    expect([a.heard, heard.at(-1)]).toEqual([
      [{ origin, requestsPerSecond: expect.closeTo(5) }],
      [{ origin, requestsPerSecond: expect.closeTo(5) }],
    ]);
  });

  it('of requests is not passed by several coordinators that list, and workers that keep to the least of what they say', async () => {
    const rate = fc.constantFrom(undefined, 1, 20, 60, Number.POSITIVE_INFINITY);
    const demands = fc.record({
      lists: fc.array(rate, { minLength: 1, maxLength: 4 }),
      works: fc.array(rate, { minLength: 1, maxLength: 4 }),
    });
    await fc.assert(
      fc.asyncProperty(demands, async ({ lists, works }) => {
        const parts = await Promise.all(
          lists.map(async (listing) => {
            const own = { heard: [] as readonly OriginLimit[] };
            const takers = works.map(() => new Taker());
            const { limits } = opened(
              100,
              takers,
              {
                setLimits(list) {
                  own.heard = list;
                },
                demand: () => (listing === undefined ? [] : [makeLimit(origin, { requestsPerSecond: listing })]),
                onDemand: () => () => undefined,
              },
              { count: () => lists.length, onChange: () => () => undefined },
            );
            await limits.set(origin, { bytesPerSecond: null, requestsPerSecond: 100 });
            for (const [at, taker] of takers.entries()) taker.wants(undefined, works[at]);
            await settle(takers);
            const requestsOf = (list: readonly OriginLimit[]): number => list[0]?.requestsPerSecond ?? 0;
            return { own: requestsOf(own.heard), workers: takers.map(({ heard }) => requestsOf(heard)) };
          }),
        );
        const least = works.map((_, at) => Math.min(...parts.map(({ workers }) => workers[at]!)));
        const all = [...least, ...parts.map(({ own }) => own)];
        expect(all.reduce((sum, one) => sum + one, 0)).toBeLessThanOrEqual(100 + 1e-9);
        for (const [at, wanted] of [...works, ...lists].entries())
          if (wanted !== undefined) expect(all[at]).toBeGreaterThan(0);
      }),
      // Small changes of the shares of many left nothing for the last.
      { examples: [[{ lists: [undefined, undefined, 60, undefined], works: [1, 1, 1, 1] }]] },
    );
  });

  it('of requests has nothing for a coordinator that does not know how many there are', () => {
    let count: number | undefined;
    let told: () => void = () => undefined;
    const heard: (readonly OriginLimit[])[] = [];
    const own = {
      setLimits: (list: readonly OriginLimit[]) => void heard.push(list),
      demand: () => [makeLimit(origin, { requestsPerSecond: Number.POSITIVE_INFINITY })],
      onDemand: () => () => undefined,
    };
    const fellows = {
      count: () => count,
      onChange(listener: () => void) {
        told = listener;
        return () => undefined;
      },
    };
    const { limits } = opened(100, [], own, fellows);
    void limits.set(origin, { requestsPerSecond: 10 });
    return vi
      .waitUntil(() => heard.at(-1)?.[0]?.requestsPerSecond === 0)
      .then(() => {
        count = 2;
        told();
        expect(heard.at(-1)?.[0]?.requestsPerSecond).toBeCloseTo(5);
      });
  });

  it('is never passed by what all workers keep to, whatever happens in whatever order', async () => {
    const worker = fc.integer({ min: 0, max: 3 });
    const step = fc.oneof(
      fc.record({
        kind: fc.constant('wants' as const),
        worker,
        rate: fc.constantFrom(undefined, 1, 20, 60, Number.POSITIVE_INFINITY),
      }),
      fc.record({ kind: fc.constant('hears' as const), worker }),
      fc.record({ kind: fc.constant('hears' as const), worker }),
      fc.record({ kind: fc.constant('leaves' as const), worker }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        const takers = Array.from({ length: 4 }, () => new Taker());
        const { members } = opened(100, takers);
        await settle(takers);
        let live = takers;
        for (const one of steps) {
          const taker = live[one.worker % live.length]!;
          if (one.kind === 'wants') taker.wants(one.rate);
          else if (one.kind === 'hears') await taker.hear();
          else if (live.length > 1) {
            live = live.filter((other) => other !== taker);
            members.set(live);
          }
          expect(live.reduce((sum, { rate }) => sum + rate, 0)).toBeLessThanOrEqual(100);
        }
        await settle(live);
        const wanting = live.filter(({ demand }) => demand.length > 0);
        for (const { rate } of wanting) expect(rate).toBeGreaterThan(0);
        // A difference of a fiftieth is not told.
        if (wanting.length > 0) expect(wanting.reduce((sum, { rate }) => sum + rate, 0)).toBeGreaterThan(95);
      }),
    );
  });
});
