/**
 * What the slots of a lane wait for, looked at in turns and booked by run on the board that is shared with the main thread
 * (core/limit-account has the rules). A look costs some microseconds for each socket and slot; parts cost nothing.
 */
import { type EventLoopUtilization, performance } from 'node:perf_hooks';
import { laneStates, slotTimeOf } from '../core/limit-account.ts';
import type { RangeClient } from '../origin/types.ts';
import { bookWaits, type RunBoard } from './run-board.ts';

/** Slots of a run by what is done with them. */
export interface SlotsInUse {
  /** Calls `visit` with each slot in use. */
  eachSlot(visit: (run: number, use: SlotUse) => void): void;
}
export type SlotUse = 'receiving' | 'writing' | 'reading';

interface RunSlots {
  receiving: number;
  writing: number;
  reading: number;
  readonly requests: Float64Array;
}

export class LaneLimits {
  readonly #client: Pick<RangeClient, 'eachWait'>;
  readonly #users: readonly SlotsInUse[];
  readonly #board: RunBoard;
  readonly #lane: number;
  /** Milliseconds in which checksums were computed, since the beginning. */
  readonly #checksumMs: () => number;
  readonly #slotMs = new Float64Array(laneStates.length);
  readonly #all = new Float64Array(laneStates.length);
  #runs = new Map<number, RunSlots>();
  #beforeMs: number;
  #loopBefore: EventLoopUtilization;
  #checksumsBefore = 0;

  constructor(options: {
    client: Pick<RangeClient, 'eachWait'>;
    users: readonly SlotsInUse[];
    board: RunBoard;
    laneIndex: number;
    checksumMs: () => number;
  }) {
    this.#client = options.client;
    this.#users = options.users;
    this.#board = options.board;
    this.#lane = options.laneIndex;
    this.#checksumMs = options.checksumMs;
    this.#beforeMs = performance.now();
    this.#loopBefore = performance.eventLoopUtilization();
  }

  /** The time since the last look is charged to what is found now. */
  look(nowMs: number): void {
    const elapsedMs = nowMs - this.#beforeMs;
    const loopNow = performance.eventLoopUtilization();
    const { active, utilization } = performance.eventLoopUtilization(loopNow, this.#loopBefore);
    // One that is timed stands for many: what is more than this look has time for is of those around it.
    const checksumMs = Math.min(active, this.#checksumMs() - this.#checksumsBefore);
    const loop = { utilization, checksums: active > 0 ? checksumMs / active : 0 };
    this.#beforeMs = nowMs;
    this.#loopBefore = loopNow;
    this.#checksumsBefore += checksumMs;
    this.#count();
    for (const [run, slots] of this.#runs) {
      slotTimeOf({ ...slots, others: this.#all }, loop, elapsedMs, this.#slotMs);
      bookWaits(this.#board, run, this.#lane, this.#slotMs);
    }
  }

  #count(): void {
    this.#runs.clear();
    this.#all.fill(0);
    for (const user of this.#users)
      user.eachSlot((run, use) => {
        const slots = this.#of(run);
        slots[use] += 1;
      });
    if (this.#runs.size === 0) return;
    this.#client.eachWait((run, wait, count) => {
      const state = laneStates.indexOf(wait);
      this.#all[state] = (this.#all[state] as number) + count;
      const { requests } = this.#of(run);
      requests[state] = (requests[state] as number) + count;
    });
  }

  #of(run: number): RunSlots {
    let slots = this.#runs.get(run);
    if (slots === undefined) {
      slots = { receiving: 0, writing: 0, reading: 0, requests: new Float64Array(laneStates.length) };
      this.#runs.set(run, slots);
    }
    return slots;
  }
}
