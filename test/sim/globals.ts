/** Clock, timers and chance of the process, as those of a world while it is simulated. */
import { type Event, here } from './world.ts';

type Callback = (...args: unknown[]) => void;

/** What `setTimeout` and `setInterval` give. */
class SimTimer {
  readonly #callback: () => void;
  readonly #delayMs: number;
  readonly #again: boolean;
  readonly #process = here().current;
  #event: Event | undefined;

  constructor(callback: () => void, delayMs: number | undefined, again: boolean) {
    this.#callback = callback;
    const given = Number(delayMs);
    // As Node has it.
    this.#delayMs = given >= 1 && given <= 2 ** 31 - 1 ? given : 1;
    this.#again = again;
    this.#arm();
  }

  #arm(): void {
    const world = here();
    // Timers are late, each by something else.
    const delayMs = this.#delayMs + world.random();
    this.#event = world.after(delayMs, this.#process, () => this.#fire(), 'timer');
  }

  #fire(): void {
    this.#event = undefined;
    if (this.#again) this.#arm();
    this.#callback();
  }

  cancel(): void {
    if (this.#event !== undefined) here().cancel(this.#event);
    this.#event = undefined;
  }

  refresh(): this {
    this.cancel();
    this.#arm();
    return this;
  }

  ref(): this {
    return this;
  }

  unref(): this {
    return this;
  }

  hasRef(): boolean {
    return true;
  }
}

function cancel(timer: unknown): void {
  if (timer instanceof SimTimer) timer.cancel();
}

function immediate(callback: Callback, ...args: unknown[]): Event {
  const world = here();
  return world.after(0, world.current, () => callback(...args));
}

/** Puts them in place; returns how to put the real ones back. */
export function simulateGlobals(): () => void {
  const real = {
    setTimeout: globalThis.setTimeout,
    clearTimeout: globalThis.clearTimeout,
    setInterval: globalThis.setInterval,
    clearInterval: globalThis.clearInterval,
    setImmediate: globalThis.setImmediate,
    clearImmediate: globalThis.clearImmediate,
  };
  const { now: realNow, random: realRandom } = { now: Date.now, random: Math.random };
  const realPerformanceNow = performance.now;
  const realTimeout = AbortSignal.timeout;
  Object.assign(globalThis, {
    setTimeout: (callback: Callback, delayMs?: number, ...args: unknown[]) =>
      new SimTimer(() => callback(...args), delayMs, false),
    clearTimeout: cancel,
    setInterval: (callback: Callback, delayMs?: number, ...args: unknown[]) =>
      new SimTimer(() => callback(...args), delayMs, true),
    clearInterval: cancel,
    setImmediate: immediate,
    clearImmediate: (event: Event | undefined) => event !== undefined && here().cancel(event),
  });
  Date.now = () => Math.floor(here().wallMs);
  Math.random = () => here().random();
  performance.now = () => here().nowMs;
  AbortSignal.timeout = (delayMs: number) => {
    const controller = new AbortController();
    setTimeout(() => controller.abort(new DOMException('The operation timed out', 'TimeoutError')), delayMs);
    return controller.signal;
  };
  return () => {
    Object.assign(globalThis, real);
    Date.now = realNow;
    Math.random = realRandom;
    performance.now = realPerformanceNow;
    AbortSignal.timeout = realTimeout;
  };
}

/** For `node:timers/promises`. */
export const timersPromises = {
  setTimeout: <T>(delayMs?: number, value?: T, { signal }: { signal?: AbortSignal } = {}): Promise<T> =>
    new Promise((resolve, reject) => {
      if (signal?.aborted === true) {
        reject(signal.reason);
        return;
      }
      const aborted = (): void => {
        clearTimeout(timer);
        reject(signal!.reason);
      };
      const timer = setTimeout(() => {
        signal?.removeEventListener('abort', aborted);
        resolve(value as T);
      }, delayMs);
      signal?.addEventListener('abort', aborted, { once: true });
    }),
  setImmediate: <T>(value?: T): Promise<T> => new Promise((resolve) => setImmediate(() => resolve(value as T))),
};

/** For `node:crypto`: ids of the world. */
export function randomUUID(): string {
  const hex = Array.from({ length: 4 }, () =>
    Math.floor(here().random() * 2 ** 32)
      .toString(16)
      .padStart(8, '0'),
  ).join('');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20)}`;
}
