/**
 * The limit of a run on a clock of its own: the real limiter and the real grants, sockets that read whatever they may at
 * once, and timers that come late. The real binary's side of it is in e2e/bandwidth.
 */
import fc from 'fast-check';
import { afterEach, expect, it, vi } from 'vitest';
import { MiB } from '../../src/core/units.ts';
import type { LanePool } from '../../src/ingest/lanes.ts';
import { Limits } from '../../src/ingest/limits.ts';
import { Run } from '../../src/ingest/run.ts';
import { grantBytes, makeRunBoard } from '../../src/ingest/run-board.ts';
import type { RunSpec, WorkerObserver } from '../../src/ingest/types.ts';

afterEach(() => void vi.useRealTimers());

interface Received {
  readonly atMs: number;
  /** Since the beginning. */
  readonly bytes: number;
}

/** What `sockets` sockets of an endless origin receive in `forMs`, each asking again after a pause from `pausesMs`. */
function receive(of: { rate: number; sockets: number; forMs: number; pausesMs: readonly number[] }): Received[] {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance'] });
  const board = makeRunBoard(1);
  const lanes = { count: 1, broadcast() {} } as unknown as LanePool;
  const observe = { concurrencyLimit() {}, slowedDown() {} } as unknown as WorkerObserver;
  const limits = new Limits({ lanes, board, log: undefined as never, sockets: 64, observe });
  const run = new Run({} as RunSpec, 0);
  limits.setBandwidth(run, of.rate);
  const received: Received[] = [{ atMs: performance.now(), bytes: 0 }];
  const startMs = performance.now();
  for (let turn = 0; performance.now() - startMs < of.forMs; turn += 1) {
    let bytes = received.at(-1)!.bytes;
    for (let socket = 0; socket < of.sockets; socket += 1) {
      for (let granted = 1; granted > 0; bytes += granted) granted = grantBytes(board, run.row, MiB);
    }
    received.push({ atMs: performance.now(), bytes });
    vi.advanceTimersByTime(of.pausesMs[turn % of.pausesMs.length]!);
  }
  limits.close();
  vi.useRealTimers();
  return received;
}

/** The smallest and the largest share of the rate over every window that just reaches 1 s. */
function sharesOf(received: readonly Received[], rate: number): { least: number; most: number } {
  let least = Number.POSITIVE_INFINITY;
  let most = 0;
  let to = 0;
  for (const [from, first] of received.entries()) {
    while (to < received.length && received[to]!.atMs - first.atMs < 1000) to += 1;
    if (to === received.length) break;
    const last = received[to]!;
    const wanted = (rate * (last.atMs - first.atMs)) / 1000;
    least = Math.min(least, (last.bytes - first.bytes) / wanted);
    // bytes that came at the very beginning belong to the window as well
    most = Math.max(most, (last.bytes - (received[from - 1]?.bytes ?? 0)) / wanted);
  }
  return { least, most };
}

it('is kept within 5% over every window of 1 s, whatever the rate and the number of sockets', () => {
  fc.assert(
    fc.property(
      fc.record({
        rate: fc.integer({ min: MiB, max: 2000 * MiB }),
        sockets: fc.integer({ min: 1, max: 64 }),
        forMs: fc.constant(3000),
        pausesMs: fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 1, maxLength: 20 }),
      }),
      (of) => {
        const { least, most } = sharesOf(receive(of), of.rate);
        expect(most).toBeLessThanOrEqual(1.05);
        expect(least).toBeGreaterThanOrEqual(0.95);
      },
    ),
    { numRuns: 40 },
  );
});

it('is never passed, however long nothing was asked for or nobody had time', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: MiB, max: 500 * MiB }),
      fc.array(fc.oneof(fc.integer({ min: 1, max: 12 }), fc.integer({ min: 100, max: 900 })), {
        minLength: 5,
        maxLength: 30,
      }),
      (rate, pausesMs) => {
        expect(sharesOf(receive({ rate, sockets: 8, forMs: 6000, pausesMs }), rate).most).toBeLessThanOrEqual(1.05);
      },
    ),
    { numRuns: 40 },
  );
});
