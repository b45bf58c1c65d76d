/**
 * The pool of lanes, seen from the main thread: Piscina threads, one long task each, a message port each. It knows how
 * many slots of each lane are free, and brings the answer to a unit back to whoever sent it.
 */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { MessageChannel, type MessagePort } from 'node:worker_threads';
import { Piscina } from 'piscina';
import { PrimedError } from '../core/errors.ts';
import type { OriginTimeouts } from '../origin/types.ts';
import type { ThreadId } from '../platform/thread-priority.ts';
import type { StoreFile } from '../store/types.ts';
import type { LimitBoard } from './limit-board.ts';
import type { CheckDone, CheckUnit, FromLane, LaneStart, ToLane, WriteDone, WriteUnit } from './protocol.ts';
import type { RunBoard } from './run-board.ts';

export interface LanePoolOptions {
  readonly lanes: number;
  readonly slotBytes: number;
  readonly slotsPerLane: number;
  readonly socketsPerLane: number;
  readonly timeouts: OriginTimeouts;
  readonly diskEngine: 'auto' | 'io_uring' | 'threads';
  readonly stores: readonly StoreFile[];
  readonly counters: SharedArrayBuffer;
  readonly runBoard: RunBoard;
  readonly limitBoard: LimitBoard;
  /** A lane that ends by itself is a defect: what it held is unknown, so the process must not go on. */
  readonly onLost: (error: Error) => void;
}

type Answer = (message: WriteDone | CheckDone, lane: number) => void;

interface Lane {
  readonly port: MessagePort;
  readonly ended: Promise<void>;
  freeSlots: number;
  thread: ThreadId | undefined;
  readonly answers: Map<number, Answer>;
}

/** The old space of a lane holds requests and results only; payload lies outside of the heap. */
const laneHeapMb = 128;
const startLimitMs = 20_000;

export class LanePool {
  readonly slotBytes: number;
  readonly slotsPerLane: number;
  readonly engine: string;
  readonly #pool: Piscina;
  readonly #lanes: readonly Lane[];
  #nextUnit = 1;
  #closing = false;

  private constructor(pool: Piscina, lanes: readonly Lane[], options: LanePoolOptions, engine: string) {
    this.#pool = pool;
    this.#lanes = lanes;
    this.slotBytes = options.slotBytes;
    this.slotsPerLane = options.slotsPerLane;
    this.engine = engine;
  }

  /** Starts the threads; resolves when every lane has its slots, its queue and its stores open. */
  static async open(options: LanePoolOptions): Promise<LanePool> {
    const pool = new Piscina({
      filename: laneFile(),
      minThreads: options.lanes,
      maxThreads: options.lanes,
      // the default freezes the event loop of an idle thread, and with it its sockets and timers
      atomics: 'disabled',
      recordTiming: false,
      resourceLimits: { maxOldGenerationSizeMb: laneHeapMb },
    });
    const engines: string[] = [];
    const lanes: Lane[] = [];
    let self: LanePool | undefined;
    const ready = Array.from({ length: options.lanes }, (_, index) => {
      const { port1, port2 } = new MessageChannel();
      const start: LaneStart = {
        port: port2,
        laneIndex: index,
        slotBytes: options.slotBytes,
        slotCount: options.slotsPerLane,
        maxSockets: options.socketsPerLane,
        timeouts: options.timeouts,
        diskEngine: options.diskEngine,
        storePaths: options.stores.map((store) => store.path),
        counters: options.counters,
        runBoard: options.runBoard.buffer,
        limitBoard: options.limitBoard.buffer,
      };
      const ended = pool.run(start, { transferList: [port2] }) as Promise<void>;
      const lane: Lane = { port: port1, ended, freeSlots: options.slotsPerLane, thread: undefined, answers: new Map() };
      lanes.push(lane);
      const started = new Promise<void>((resolve) => {
        port1.on('message', (message: FromLane) => {
          if (message.type === 'ready') {
            engines.push(message.engine);
            lane.thread = message.thread;
            resolve();
          } else answer(lane, index, message);
        });
      });
      ended.catch((error: unknown) => {
        // before the pool is open the failure is reported by `open` itself
        if (self !== undefined && !self.#closing)
          options.onLost(error instanceof Error ? error : new Error(String(error)));
      });
      return Promise.race([started, ended.then(() => undefined)]);
    });
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(
        () => reject(new PrimedError('INTERNAL', `the lanes did not start within ${startLimitMs / 1000} s`)),
        startLimitMs,
      );
    });
    try {
      await Promise.race([Promise.all(ready), late]);
    } catch (error) {
      for (const lane of lanes) lane.port.close();
      await pool.destroy();
      throw error;
    } finally {
      clearTimeout(timer);
    }
    self = new LanePool(pool, lanes, options, engines[0] ?? 'none');
    return self;
  }

  get count(): number {
    return this.#lanes.length;
  }

  /** Over all lanes. */
  get freeSlots(): number {
    return this.#lanes.reduce((sum, { freeSlots }) => sum + freeSlots, 0);
  }

  /** Of all lanes, for whoever sets their priority. */
  get threads(): readonly ThreadId[] {
    return this.#lanes.flatMap(({ thread }) => (thread === undefined ? [] : [thread]));
  }

  nextUnitId(): number {
    return this.#nextUnit++;
  }

  /** The lane with the most free slots among the first `among`; undefined: none has one. */
  idlest(among: number = this.#lanes.length): number | undefined {
    let best: number | undefined;
    let most = 0;
    for (let index = 0; index < Math.min(among, this.#lanes.length); index += 1) {
      const { freeSlots } = this.#lanes[index] as Lane;
      if (freeSlots > most) {
        most = freeSlots;
        best = index;
      }
    }
    return best;
  }

  /** Takes a slot of the lane until the final answer to the unit. `answer` runs for every piece of it. */
  send(laneIndex: number, unit: WriteUnit | CheckUnit, onAnswer: Answer): void {
    const lane = this.#lanes[laneIndex] as Lane;
    assert(lane.freeSlots > 0, 'a unit goes only to a lane with a free slot');
    lane.freeSlots -= 1;
    lane.answers.set(unit.id, onAnswer);
    lane.port.postMessage({ type: 'unit', unit } satisfies ToLane);
  }

  broadcast(message: ToLane): void {
    for (const lane of this.#lanes) lane.port.postMessage(message);
  }

  /** All units must have been answered. */
  async close(): Promise<void> {
    this.#closing = true;
    this.broadcast({ type: 'close' });
    await Promise.allSettled(this.#lanes.map((lane) => lane.ended));
    for (const lane of this.#lanes) lane.port.close();
    await this.#pool.destroy();
  }
}

function answer(lane: Lane, index: number, message: WriteDone | CheckDone): void {
  const onAnswer = lane.answers.get(message.id);
  assert(onAnswer !== undefined, 'a lane answers only units that it was given');
  if (message.type === 'checked' || message.final) {
    lane.answers.delete(message.id);
    lane.freeSlots += 1;
  }
  onAnswer(message, index);
}

/** dist/lane.js, from wherever this module runs: Piscina needs a file of plain JavaScript. */
function laneFile(): string {
  for (let folder = dirname(fileURLToPath(import.meta.url)); ; folder = dirname(folder)) {
    const candidate = join(folder, 'dist', 'lane.js');
    if (existsSync(candidate)) return candidate;
    assert(folder !== dirname(folder), 'dist/lane.js is missing: run `npm run build`');
  }
}
