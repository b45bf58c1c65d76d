/**
 * Signs of life of one connection: finds out that the other side is frozen, or the way to it cut, long before TCP does.
 *
 * Everything that arrives is a sign; a ping asks for one. A tick that comes late says that this process stood still: what
 * arrived in the meantime has not been read yet, so the silence is counted anew.
 */
import type { WebSocket } from 'ws';
import type { Timing } from './protocol.ts';

/** A tick that is later than so many of its intervals. */
const stoodStillTicks = 2;

export class Pulse {
  readonly #socket: WebSocket;
  readonly #timing: Timing;
  readonly #timer: NodeJS.Timeout;
  readonly #onTick: () => void;
  #heardMs = performance.now();
  #tickMs = performance.now();

  /**
   * Ends with the socket, which it terminates after `silenceMs` without a sign.
   * @param onTick called every `pingMs`
   */
  constructor(socket: WebSocket, timing: Timing, onTick: () => void) {
    this.#socket = socket;
    this.#timing = timing;
    this.#onTick = onTick;
    const heard = (): void => {
      this.#heardMs = performance.now();
    };
    socket.on('message', heard);
    socket.on('ping', heard);
    socket.on('pong', heard);
    this.#timer = setInterval(() => this.#tick(), timing.pingMs);
    socket.once('close', () => clearInterval(this.#timer));
  }

  /** Milliseconds since the last sign. */
  get silentMs(): number {
    return performance.now() - this.#heardMs;
  }

  #tick(): void {
    const nowMs = performance.now();
    const { pingMs, silenceMs } = this.#timing;
    const stoodStill = nowMs - this.#tickMs > stoodStillTicks * pingMs;
    this.#tickMs = nowMs;
    if (stoodStill) this.#heardMs = nowMs;
    if (nowMs - this.#heardMs > silenceMs) {
      this.#socket.terminate();
      return;
    }
    this.#socket.ping();
    this.#onTick();
  }
}
