/**
 * What the service manager hears from a daemon that runs: that every thread of it lives, and in one line what it does.
 *
 * The watchdog of sd_notify(3) is fed by this timer of the main thread, and only while the loop of each lane and serving
 * thread has turned since the last time. So one of them that hangs ends the daemon, which its manager then starts again: what is durable
 * stays, and loads go on.
 */
import type { Log } from './core/types.ts';
import { sdNotify } from './platform/index.ts';

export interface WatchedThreads {
  /** What one of them is called, and the fact by which the log says which. */
  readonly name: string;
  readonly fact: string;
  /** A count for each that rises while its loop turns. */
  beats(): readonly number[];
}

export interface WatchOptions {
  readonly log: Log;
  readonly threads: readonly WatchedThreads[];
  /** What the daemon does, in a few words. Cheap. */
  readonly status: () => string;
  readonly environment?: Readonly<Record<string, string | undefined>>;
}

const usPerMs = 1000;
/** Shares of the manager's limit: one feeding may be late, or be missed, and the next one is still in time. */
const feedShare = 1 / 3;
/** A lane's loop turns every 100 ms, by a timer. */
const leastFeedMs = 250;
const statusEveryMs = 5_000;

/** Returns the function that ends it; where there is no service manager, nothing begins. */
export function watchThreads({ log, threads, status, environment = process.env }: WatchOptions): () => void {
  if (!environment.NOTIFY_SOCKET) return () => undefined;
  const timers = [setInterval(() => tell(`STATUS=${status()}`), statusEveryMs)];
  const limitMs = watchdogMs(environment);
  if (limitMs !== undefined) {
    let before: Beats | undefined;
    const feed = (): void => {
      const beats = threads.map((kind) => kind.beats());
      const hung = before === undefined ? undefined : hungOf(beats, before, threads);
      before = beats;
      if (hung === undefined) tell('WATCHDOG=1');
      else
        log.error(
          { [hung.fact]: hung.index, limitMs },
          `a ${hung.name} hangs: the service manager is not told that the daemon lives`,
        );
    };
    timers.push(setInterval(feed, Math.max(limitMs * feedShare, leastFeedMs)));
  }
  for (const timer of timers) timer.unref();
  tell(`STATUS=${status()}`);
  return () => timers.forEach(clearInterval);
}

function tell(state: string): void {
  sdNotify(state);
}

type Beats = readonly (readonly number[])[];

function hungOf(
  now: Beats,
  before: Beats,
  threads: readonly WatchedThreads[],
): { name: string; fact: string; index: number } | undefined {
  for (const [at, beats] of now.entries()) {
    const index = beats.findIndex((count, thread) => count === before[at]![thread]);
    if (index >= 0) return { ...threads[at]!, index };
  }
  return undefined;
}

/** Undefined: nobody asks for signs of life, or asks somebody else. */
function watchdogMs({ WATCHDOG_USEC, WATCHDOG_PID }: NonNullable<WatchOptions['environment']>): number | undefined {
  const limitUs = Number(WATCHDOG_USEC);
  if (!Number.isFinite(limitUs) || limitUs <= 0) return undefined;
  return WATCHDOG_PID === undefined || WATCHDOG_PID === String(process.pid) ? limitUs / usPerMs : undefined;
}
