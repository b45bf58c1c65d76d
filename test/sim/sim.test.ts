/**
 * The cluster simulated, seed by seed. One that went wrong is repeated, with all that was logged, by
 *   SIM_SEED=… npx vitest run test/sim
 */
import { expect, test, vi } from 'vitest';
import { simulate } from './simulate.ts';

vi.mock('lmdb', async () => ({ open: (await import('./disk-databases.ts')).open }));
vi.mock('ws', () => import('./web-sockets.ts'));
vi.mock('node:timers/promises', async () => (await import('./globals.ts')).timersPromises);
vi.mock('node:crypto', async (original) => ({
  ...(await original<typeof import('node:crypto')>()),
  randomUUID: (await import('./globals.ts')).randomUUID,
}));
vi.mock('../../src/client/transport.ts', () => import('./transport.ts'));

test('seeds', { timeout: 600_000 }, async () => {
  const one = process.env.SIM_SEED;
  const first = Number(one ?? process.env.SIM_FIRST ?? 1);
  const count = one === undefined ? Number(process.env.SIM_SEEDS ?? 300) : 1;
  const ends = new Map<string, number>();
  const fired = new Map<string, number>();
  let bad = 0;
  let events = 0;
  let virtual = 0;
  const started = performance.now();
  const cpu = process.cpuUsage();
  for (let seed = first; seed < first + count; seed += 1) {
    if (process.env.SIM_TRACE) process.stderr.write(`${seed} `);
    const verdict = await simulate(seed, { logging: one !== undefined });
    for (const end of verdict.ends) ends.set(end, (ends.get(end) ?? 0) + 1);
    for (const [kind, times] of verdict.fired) fired.set(kind, (fired.get(kind) ?? 0) + times);
    events += verdict.events;
    virtual += verdict.virtualMs;
    if (one !== undefined) console.log(verdict.lines.join('\n'));
    if (verdict.wrong.length > 0) {
      bad += 1;
      if (bad < 15) console.log(`seed ${seed}: ${verdict.wrong.slice(0, 3).join('\n   ')}`);
    }
  }
  const ms = performance.now() - started;
  const used = process.cpuUsage(cpu);
  const cpuMs = (used.user + used.system) / 1000 / count;
  console.log({ bad, cpuMs, ends, fired, events, perSeedMs: ms / count, usPerEvent: (ms * 1000) / events, virtual: virtual / count });
  expect(bad).toBe(0);
});
