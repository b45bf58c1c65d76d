/** Waiting, by a clock that tests turn. */
export interface Timers {
  /** Calls `act` once, so many milliseconds from now; returns how to call that off. Keeps no process alive. */
  after(milliseconds: number, act: () => void): () => void;
}

export const systemTimers: Timers = {
  after(milliseconds, act) {
    const timer = setTimeout(act, milliseconds);
    timer.unref();
    return () => clearTimeout(timer);
  },
};

/** Resolves after so many milliseconds, or when the signal fires. */
export function pause(timers: Timers, milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) {
      resolve();
      return;
    }
    const over = (): void => {
      cancel();
      signal.removeEventListener('abort', over);
      resolve();
    };
    const cancel = timers.after(milliseconds, over);
    signal.addEventListener('abort', over, { once: true });
  });
}
