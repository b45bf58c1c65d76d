/**
 * A world in one thread: a virtual clock, processes on machines, and everything that happens as events in one queue.
 *
 * An event belongs to one process. It runs, and then all that its promises had to say, before the next event begins; what a
 * process does to another one goes through an event of that. So the same seed gives the same world, and a process that is
 * killed or frozen between two events does nothing more, or nothing for now.
 */
import { seededRandom } from '../../src/core/random.ts';
import type { Random } from '../../src/core/types.ts';

/** Kept through restarts of its processes. */
export class Machine {
  readonly name: string;
  /** By path; see disk-databases.ts. */
  readonly databases = new Map<string, unknown>();
  process: Process | undefined;
  restarts = 0;

  constructor(name: string) {
    this.name = name;
  }
}

export class Process {
  readonly machine: Machine;
  readonly name: string;
  alive = true;
  frozen = false;
  /** What is to happen when it is not frozen any more. */
  backlog: Event[] = [];
  /** Called when it is killed; `power`: with the machine. */
  readonly onDeath: ((how: 'kill' | 'power') => void)[] = [];

  constructor(machine: Machine, name: string) {
    this.machine = machine;
    this.name = name;
  }
}

export interface Event {
  atMs: number;
  order: number;
  readonly process: Process | undefined;
  readonly kind: 'timer' | 'message';
  run: (() => void) | undefined;
}

/** Real: the end of all promises and ticks of an event. */
const nextTurn = globalThis.setImmediate;
const turn = (): Promise<void> => new Promise((resolve) => nextTurn(resolve));

/** More than this is a loop without an end. */
const mostEvents = 100_000;

/** Milliseconds since the epoch at which worlds begin. */
const epochMs = 1_800_000_000_000;

export class World {
  readonly random: Random;
  readonly startMs = epochMs;
  nowMs = 0;
  events = 0;
  /** Whose event runs. */
  current: Process | undefined;
  readonly #queue: Event[] = [];
  #order = 0;
  /** What was found to be wrong. */
  readonly faults: string[] = [];
  readonly lines: string[] = [];
  logging = false;
  /** Asked once, when the event that runs has ended. */
  #afterwards: (() => void)[] = [];

  constructor(seed: number) {
    this.random = seededRandom(seed);
  }

  get wallMs(): number {
    return this.startMs + this.nowMs;
  }

  between(from: number, to: number): number {
    return from + this.random() * (to - from);
  }

  integer(from: number, to: number): number {
    return from + Math.floor(this.random() * (to - from + 1));
  }

  chance(of: number): boolean {
    return this.random() < of;
  }

  pick<T>(from: readonly T[]): T {
    return from[Math.floor(this.random() * from.length)]!;
  }

  log(text: string): void {
    if (this.logging) this.lines.push(`${this.nowMs.toFixed(1).padStart(9)} ${text}`);
  }

  wrong(text: string): void {
    this.log(`WRONG ${text}`);
    if (this.faults.length < 20) this.faults.push(`at ${this.nowMs.toFixed(1)} ms: ${text}`);
  }

  /** After `delayMs`, in this process (undefined: nobody's, the world's own). */
  after(delayMs: number, process: Process | undefined, run: () => void, kind: Event['kind'] = 'message'): Event {
    this.#order += 1;
    const event: Event = { atMs: this.nowMs + Math.max(0, delayMs), order: this.#order, process, kind, run };
    this.#push(event);
    return event;
  }

  /** When the event that runs has ended, with all that its promises had to say. */
  afterwards(run: () => void): void {
    this.#afterwards.push(run);
  }

  cancel(event: Event): void {
    event.run = undefined;
  }

  kill(process: Process, how: 'kill' | 'power'): void {
    if (!process.alive) return;
    process.alive = false;
    process.backlog = [];
    if (process.machine.process === process) process.machine.process = undefined;
    for (const listener of process.onDeath) listener(how);
  }

  freeze(process: Process): void {
    process.frozen = true;
  }

  /** What was missed happens now: overdue timers first, then what lay in the sockets. */
  thaw(process: Process): void {
    process.frozen = false;
    const missed = process.backlog;
    process.backlog = [];
    missed.sort((a, b) => rank(a) - rank(b) || a.atMs - b.atMs || a.order - b.order);
    for (const event of missed) {
      event.atMs = this.nowMs;
      this.#order += 1;
      event.order = this.#order;
      this.#push(event);
    }
  }

  /** Runs until `done` says so (asked after each event), or the time is over. Resolves with whether it was done. */
  async run(untilMs: number, done: () => boolean): Promise<boolean> {
    for (;;) {
      const event = this.#queue[0];
      if (event === undefined || event.atMs > untilMs) {
        this.nowMs = Math.max(this.nowMs, untilMs);
        return done();
      }
      this.#pop();
      const { process, run } = event;
      if (run === undefined || process?.alive === false) continue;
      if (process?.frozen === true) {
        process.backlog.push(event);
        continue;
      }
      this.nowMs = event.atMs;
      this.current = process;
      this.events += 1;
      if (this.events > mostEvents) {
        if (this.events === mostEvents + 1) this.wrong(`more than ${mostEvents} events happened`);
        return false;
      }
      event.run = undefined;
      run();
      await turn();
      this.current = undefined;
      if (this.#afterwards.length > 0) for (const then of this.#afterwards.splice(0)) then();
      if (done()) return true;
    }
  }

  // --- a binary heap by time, then by order

  #push(event: Event): void {
    const queue = this.#queue;
    let at = queue.length;
    queue.push(event);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!before(event, queue[parent]!)) break;
      queue[at] = queue[parent]!;
      at = parent;
    }
    queue[at] = event;
  }

  #pop(): void {
    const queue = this.#queue;
    const last = queue.pop()!;
    const { length } = queue;
    if (length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= length) break;
      if (child + 1 < length && before(queue[child + 1]!, queue[child]!)) child += 1;
      if (!before(queue[child]!, last)) break;
      queue[at] = queue[child]!;
      at = child;
    }
    queue[at] = last;
  }
}

function before(a: Event, b: Event): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}

function rank({ kind }: Event): number {
  return kind === 'timer' ? 0 : 1;
}

/** The world that the doubles of modules belong to: one at a time. */
let present: World | undefined;

export function enter(world: World | undefined): void {
  present = world;
}

export function here(): World {
  if (present === undefined) throw new Error('no world is being simulated');
  return present;
}
