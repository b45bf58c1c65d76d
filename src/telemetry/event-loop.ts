/** Event loop delay and utilization of the calling thread, written to its row of shared counters. */
import { monitorEventLoopDelay, performance } from 'node:perf_hooks';
import { laneColumns } from './lane-columns.ts';
import type { CounterRow } from './shared-counters.ts';

export interface EventLoopFigures {
  readonly p99Ms: number;
  readonly maxMs: number;
  /** Share of the time in which the loop was busy, 0 to 1. */
  readonly utilization: number;
}

/** A sampling timer of 20 ms costs under 0.1% of a core and still sees every stall that a socket would notice. */
const resolutionMs = 20;
const nanosecondsPerMs = 1e6;

/** Samples the calling thread's event loop. `read` gives the figures since the last read; `stop` ends the timer. */
export function watchEventLoop(): { read(): EventLoopFigures; stop(): void } {
  const delays = monitorEventLoopDelay({ resolution: resolutionMs });
  delays.enable();
  let before = performance.eventLoopUtilization();
  return {
    read() {
      const now = performance.eventLoopUtilization();
      const { utilization } = performance.eventLoopUtilization(now, before);
      before = now;
      // The recorded interval includes the timer's own period; what is above it is delay.
      const delayMs = (nanoseconds: number): number => Math.max(0, nanoseconds / nanosecondsPerMs - resolutionMs);
      const sampled = delays.count > 0;
      const figures = {
        p99Ms: sampled ? delayMs(delays.percentile(99)) : 0,
        maxMs: sampled ? delayMs(delays.max) : 0,
        utilization: Number.isFinite(utilization) ? utilization : 0,
      };
      delays.reset();
      return figures;
    },
    stop: () => delays.disable(),
  };
}

/** Writes the figures to `row` every `everyMs` without keeping the thread alive. Returns the function that ends it. */
export function publishEventLoop(row: CounterRow, everyMs = 5000): () => void {
  const watch = watchEventLoop();
  const timer = setInterval(() => {
    const figures = watch.read();
    row.set(laneColumns.loopDelayP99Ms, figures.p99Ms);
    row.set(laneColumns.loopDelayMaxMs, figures.maxMs);
    row.set(laneColumns.loopUtilization, figures.utilization);
  }, everyMs);
  timer.unref();
  return () => {
    clearInterval(timer);
    watch.stop();
  };
}
