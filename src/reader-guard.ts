/** Lanes give way to the threads that serve readers, as core/reader-guard says: by the priority of their threads. */
import { beginGuard, type GuardSeen, type GuardSettings, nextGuard } from './core/reader-guard.ts';
import type { Log } from './core/types.ts';
import { mayYield, setYielding, type ThreadId } from './platform/index.ts';

export interface ReaderGuardOptions {
  readonly lanes: readonly ThreadId[];
  /** Changed in place. */
  readonly settings: GuardSettings;
  readonly seen: () => GuardSeen;
  readonly log: Log;
  /** Every turn: whether lanes give way, or take breath because they got nothing, and for how long that was so. */
  readonly onTurn: (mode: 'full' | 'yielding' | 'breath', seconds: number) => void;
}

const turnMs = 100;
const msPerSecond = 1000;

/** Returns the function that ends it. Where the system does not allow it, it says so and does nothing. */
export function guardReaders({ lanes, settings, seen, log, onTurn }: ReaderGuardOptions): () => void {
  const { refused } = mayYield();
  if (refused !== undefined) {
    log.warn(
      { error: refused },
      'loads do not give way to readers: the daemon may not change the priority of its threads (LimitNICE=+0 of systemd, or CAP_SYS_NICE, allows it)',
    );
    return () => undefined;
  }
  let lastMs = performance.now();
  let state = beginGuard(lastMs, seen());
  let yields = false;
  const timer = setInterval(() => {
    const nowMs = performance.now();
    onTurn(state.mode, (nowMs - lastMs) / msPerSecond);
    lastMs = nowMs;
    state = nextGuard(state, nowMs, seen(), settings);
    if ((state.mode === 'yielding') === yields) return;
    yields = !yields;
    for (const lane of lanes) {
      const error = setYielding(lane, yields);
      if (error !== undefined) log.error({ lane, yields, error }, 'the priority of a lane could not be changed');
    }
  }, turnMs);
  timer.unref();
  return () => clearInterval(timer);
}
