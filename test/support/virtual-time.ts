/** Time that a test turns, and the timers of processes that can be frozen in it. */
import type { Timers } from '../../src/cluster/shared/timers.ts';
import type { Clock } from '../../src/core/types.ts';

interface Timer {
  readonly atMs: number;
  readonly act: () => void;
  readonly process: VirtualProcess;
}

export class VirtualTime {
  nowMs = 1_800_000_000_000;
  readonly #timers = new Set<Timer>();

  process(): VirtualProcess {
    return new VirtualProcess(this, this.#timers);
  }

  /** Turns the clock, with every timer at its time, and lets what follows from each happen. */
  async advance(milliseconds: number): Promise<void> {
    const untilMs = this.nowMs + milliseconds;
    for (;;) {
      const due = [...this.#timers].filter(({ atMs, process }) => atMs <= untilMs && !process.frozen);
      due.sort((a, b) => a.atMs - b.atMs);
      const [next] = due;
      if (next === undefined) break;
      this.nowMs = Math.max(this.nowMs, next.atMs);
      this.#timers.delete(next);
      next.act();
      await turns();
    }
    this.nowMs = untilMs;
    await turns();
  }

  /** Turns the clock until something is so; resolves with how long that took. */
  async until(what: () => boolean, limitMs = 60_000): Promise<number> {
    const fromMs = this.nowMs;
    while (!what()) {
      if (this.nowMs - fromMs > limitMs) throw new Error(`after ${limitMs} ms it is not so that ${String(what)}`);
      await this.advance(50);
      // The local store is a real one, and takes real time.
      for (let turn = 0; turn < 20 && !what(); turn += 1) await new Promise((resolve) => setTimeout(resolve, 1));
    }
    return this.nowMs - fromMs;
  }
}

/** A process with its clock; while it is frozen none of its timers fires. */
export class VirtualProcess implements Clock, Timers {
  #frozen = false;
  readonly #whenThawed: (() => void)[] = [];
  readonly #time: VirtualTime;
  readonly #timers: Set<Timer>;

  constructor(time: VirtualTime, timers: Set<Timer>) {
    this.#time = time;
    this.#timers = timers;
  }

  get frozen(): boolean {
    return this.#frozen;
  }

  set frozen(frozen: boolean) {
    this.#frozen = frozen;
    if (!frozen) for (const thawed of this.#whenThawed.splice(0)) thawed();
  }

  /** Resolves at once, or when it goes on. */
  async goesOn(): Promise<void> {
    if (this.#frozen) await new Promise<void>((resolve) => this.#whenThawed.push(resolve));
  }

  monotonicMs(): number {
    return this.#time.nowMs;
  }

  wallMs(): number {
    return this.#time.nowMs;
  }

  after(milliseconds: number, act: () => void): () => void {
    const timer = { atMs: this.#time.nowMs + milliseconds, act, process: this };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  /** kill -9: no timer of it ever fires. */
  end(): void {
    for (const timer of this.#timers) if (timer.process === this) this.#timers.delete(timer);
    this.frozen = true;
  }
}

async function turns(): Promise<void> {
  for (let turn = 0; turn < 4; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}
