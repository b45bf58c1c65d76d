/**
 * The cluster simulated: for each seed a world of its own, in which real coordinator, links and workers' sessions meet what the
 * seed does to them, and which must come to its right end. One that went wrong is repeated, with all that happened in it, by
 *
 *   SIM_SEED=… npx vitest run test/sim
 *
 * More of them: SIM_FIRST=… SIM_SEEDS=… of the same; SIM_SEVERAL=1: all with two coordinators.
 */
import { afterAll, describe, expect, test, vi } from 'vitest';
import { faultKinds } from './faults.ts';
import { simulate, type Verdict } from './simulate.ts';

vi.mock('lmdb', async () => ({ open: (await import('./disk-databases.ts')).open }));
// Whose files there are none of.
vi.mock('../../src/store/new-database.ts', () => ({ prepareDatabase: () => undefined }));
vi.mock('ws', () => import('./web-sockets.ts'));
vi.mock('node:timers/promises', async () => (await import('./globals.ts')).timersPromises);
vi.mock('node:crypto', async (original) => ({
  ...(await original<typeof import('node:crypto')>()),
  randomUUID: (await import('./globals.ts')).randomUUID,
}));
vi.mock('../../src/client/transport.ts', () => import('./transport.ts'));

const one = process.env.SIM_SEED;
const first = Number(one ?? process.env.SIM_FIRST ?? 1);
const count = one === undefined ? Number(process.env.SIM_SEEDS ?? 1000) : 1;
/** Seeds of one test: some seconds. */
const together = 100;
const limitMs = 600_000;

const blocks = Array.from({ length: Math.ceil(count / together) }, (_, at) => first + at * together);
const fired = new Map<string, number>();
const ends = new Map<string, number>();
const met = new Map<string, number>();
let events = 0;
let virtualMs = 0;

function note({ fired: by, met: what, ends: states, events: some, virtualMs: passedMs }: Verdict): void {
  for (const [name, times] of Object.entries(what)) met.set(name, (met.get(name) ?? 0) + times);
  for (const [kind, times] of by) fired.set(kind, (fired.get(kind) ?? 0) + times);
  for (const state of states) ends.set(state, (ends.get(state) ?? 0) + 1);
  events += some;
  virtualMs += passedMs;
}

describe('a cluster that is disturbed comes to its right end', () => {
  test.each(blocks)('seeds from %d on', { timeout: limitMs }, async (from) => {
    const wrong: string[] = [];
    for (let seed = from; seed < Math.min(from + together, first + count); seed += 1) {
      const verdict = await simulate(seed, { logging: one !== undefined });
      note(verdict);
      if (one !== undefined) process.stdout.write(`${verdict.lines.join('\n')}\n`);
      for (const what of verdict.wrong) wrong.push(`SIM_SEED=${seed}: ${what}`);
    }
    expect(wrong).toEqual([]);
  });

  test.skipIf(count < 1000)('every fault met work that was under way, and every end was reached', () => {
    // About a third of what is seen, so that other seeds and another way of working pass too.
    for (const kind of faultKinds) expect([kind, (fired.get(kind) ?? 0) >= count / 250]).toEqual([kind, true]);
    for (const [end, least] of [
      ['SUCCEEDED', count / 2],
      ['FAILED', count / 40],
      ['STOPPED', count / 40],
    ] as const)
      expect([end, (ends.get(end) ?? 0) >= least]).toEqual([end, true]);
    // Few registrations are replaced while a link of before is still up: that is not met in every thousand.
    met.delete('stale frame');
    for (const [name, times] of met) expect([name, times > 0]).toEqual([name, true]);
  });

  // What each of them met has a test of its own with the room that was mended; these say that it all fits together.
  test.each([
    [7306668, 'no coordinator reaches etcd while a stop waits'],
    [7312792, 'a stop is carried out unheard by who was asked'],
    [8303723, 'a stop is carried out unheard by who was asked, and then stands still'],
    [7301075, 'a copy had followed a source that is lost'],
    [8308651, 'a copy had followed a source that is lost'],
    [8302553, 'a file lacks room when another worker has joined'],
    [7306218, 'a segment that nobody has whole is for another worker, which has joined'],
    [8305033, 'segments are set aside when another worker has joined'],
  ])('with two coordinators, %d: %s', { timeout: limitMs }, async (seed) => {
    expect((await simulate(seed, { several: 1 })).wrong).toEqual([]);
  });

  test('a seed gives the same world again', { timeout: limitMs }, async () => {
    const [once, again] = [await simulate(first, { logging: true }), await simulate(first, { logging: true })];
    expect(again.lines).toEqual(once.lines);
    expect(again.events).toBe(once.events);
  });
});

afterAll(() => {
  if (process.env.SIM_SEEDS !== undefined)
    process.stdout.write(
      `${JSON.stringify({ events, virtualMs, ends: [...ends], met: [...met], fired: [...fired] })}\n`,
    );
});
