/**
 * The coordinator's end of a control link as a connection that comes back: dials, is refused or heard, and dials again.
 *
 *   dial ──▶ open ──▶ closed, silent ──▶ wait ──▶ dial        … until `close`
 *     │                                   ▲
 *     └────── refused, not reachable ─────┘
 */
import { STATUS_CODES } from 'node:http';
import { text } from 'node:stream/consumers';
import { WebSocket } from 'ws';
import { dialOptions, endWhenRevoked } from '../../core/dial-tls.ts';
import { PrimedError } from '../../core/errors.ts';
import { bearer, type LiveText } from '../../core/live.ts';
import type { ClientTls } from '../../core/node-tls.ts';
import type { Log, Random, WorkerId } from '../../core/types.ts';
import { controlPath, header, maxFrameBytes, subprotocols, type Timing, versionOf } from './protocol.ts';
import { Pulse } from './pulse.ts';

export interface DialerOptions {
  readonly worker: WorkerId;
  /** `http://host:port` or `https://host:port` of the worker. */
  readonly url: string;
  readonly epoch: number;
  readonly coordinator: string;
  readonly session: string;
  readonly token?: LiveText;
  readonly tls?: ClientTls;
  readonly timing: Timing;
  readonly random: Random;
  readonly log: Log;
}

export interface DialerEvents {
  opened(): void;
  /** Throws for a frame that makes no sense: then the connection is closed, and made again. */
  heard(frame: Buffer): void;
  /** Every `pingMs` while the connection is open. */
  ticked(): void;
  /** Trying again is of no use until somebody mends it; it is tried all the same. WORKER_REFUSED. */
  refused(error: PrimedError): void;
}

/** What refusals mend themselves: the worker does not know its new epoch yet, or the coordinator that of the worker. */
const epochStatus = 409;
const lastingStatuses: ReadonlySet<number> = new Set([401, 426]);
const maxRefusalBytes = 8192;

export class Dialer {
  readonly #options: DialerOptions;
  readonly #events: DialerEvents;
  #socket: WebSocket | undefined;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;
  #failures = 0;
  /** What the log has heard of: a status, or that the worker is not reached. */
  #trouble: string | undefined;

  constructor(options: DialerOptions, events: DialerEvents) {
    this.#options = options;
    this.#events = events;
    this.#dial();
  }

  get open(): boolean {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  /** The version that the connection speaks; only while open. */
  get protocol(): number {
    return versionOf(this.#socket!.protocol);
  }

  /** Only while open. */
  send(frame: Buffer): void {
    this.#socket!.send(frame);
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#socket?.terminate();
  }

  #dial(): void {
    const { url, epoch, coordinator, session, token, tls = {}, timing } = this.#options;
    const socket = new WebSocket(`${url.replace(/^http/, 'ws')}${controlPath}`, [...subprotocols], {
      headers: {
        [header.epoch]: String(epoch),
        [header.coordinator]: coordinator,
        [header.session]: session,
        [header.release]: PRIMED_VERSION,
        ...bearer(token),
      },
      ...dialOptions(tls),
      handshakeTimeout: timing.handshakeMs,
      maxPayload: maxFrameBytes,
      perMessageDeflate: false,
      followRedirects: false,
      // Masks keep scripts of browsers from speaking to proxies; here they would cost a pass over every byte at both ends.
      generateMask: (mask) => mask.fill(0),
    });
    this.#socket = socket;
    let openedMs: number | undefined;
    let reason = 'the connection was closed';
    socket.on('unexpected-response', (_request, response) => {
      void text(limited(response))
        .catch(() => '')
        .then((body) => {
          if (this.#closed) return;
          reason = this.#refused(response.statusCode ?? 0, body);
          socket.terminate();
        });
    });
    socket.on('upgrade', (answer) => endWhenRevoked(answer.socket, tls));
    socket.on('open', () => {
      openedMs = performance.now();
      new Pulse(socket, timing, () => this.#events.ticked());
      this.#say('open', 'info', { protocol: this.protocol }, 'the control link to a worker is up');
      this.#events.opened();
    });
    socket.on('message', (frame) => {
      if (socket !== this.#socket || this.#closed) return;
      try {
        this.#events.heard(frame as Buffer);
      } catch (error) {
        reason = `a frame makes no sense: ${String(error)}`;
        socket.terminate();
      }
    });
    socket.on('error', (error) => {
      if (reason === 'the connection was closed') reason = error.message;
      if (openedMs === undefined && !this.#closed && isOfCertificate(error)) this.#mistrusted(error.message);
    });
    socket.on('close', (_code, why) => {
      if (this.#closed) return;
      // Who is closed again and again soon after opening, does not come back at once.
      if (openedMs !== undefined && performance.now() - openedMs > timing.longestRetryMs) this.#failures = 0;
      this.#retry(why.length > 0 ? why.toString() : reason);
    });
  }

  #retry(reason: string): void {
    const { timing, random } = this.#options;
    if (this.#trouble === undefined || this.#trouble === 'open')
      this.#say('down', 'warn', { reason }, 'the control link to a worker is down; it is made again');
    const ceilingMs = Math.min(timing.longestRetryMs, timing.firstRetryMs * 2 ** this.#failures);
    this.#failures = Math.min(this.#failures + 1, 30);
    this.#timer = setTimeout(() => this.#dial(), ceilingMs / 2 + (random() * ceilingMs) / 2);
  }

  /** Why, in a sentence. */
  #refused(status: number, body: string): string {
    const reason = messageIn(body) ?? `it answered ${status} ${STATUS_CODES[status] ?? ''}`.trim();
    const level = status === epochStatus ? 'info' : 'warn';
    this.#say(`refused ${status}`, level, { status, reason }, 'a worker refuses the control link; it is tried on');
    if (lastingStatuses.has(status)) {
      const { worker, url } = this.#options;
      const message = `Worker '${worker}' at ${url} refuses this coordinator: ${reason}`;
      this.#events.refused(new PrimedError('WORKER_REFUSED', message, { worker, status }));
    }
    return reason;
  }

  #mistrusted(why: string): void {
    const { worker, url } = this.#options;
    this.#say('mistrusted', 'warn', { reason: why }, 'the certificate of a worker is not accepted; it is tried on');
    const message = `The certificate of worker '${worker}' at ${url} is not accepted: ${why}; see tls.ca_file of the coordinator, and the names in the certificate.`;
    this.#events.refused(new PrimedError('WORKER_REFUSED', message, { worker }));
  }

  /** Once, until something else is to be said. */
  #say(trouble: string, level: 'info' | 'warn', facts: object, message: string): void {
    if (this.#trouble === trouble || this.#closed) return;
    this.#trouble = trouble;
    const { worker, url, epoch, log } = this.#options;
    log[level]({ worker, url, epoch, ...facts }, message);
  }
}

/** OpenSSL's names for what can be wrong with a certificate, and Node's for a name that is not in it. */
function isOfCertificate(error: NodeJS.ErrnoException): boolean {
  return /CERT|LEAF_SIGNATURE|HOSTNAME_MISMATCH|INVALID_CA/.test(error.code ?? '');
}

function messageIn(body: string): string | undefined {
  try {
    const { message } = JSON.parse(body) as { message?: unknown };
    return typeof message === 'string' ? message : undefined;
  } catch {
    return undefined;
  }
}

async function* limited(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let bytes = 0;
  for await (const chunk of chunks) {
    bytes += chunk.length;
    if (bytes > maxRefusalBytes) return;
    yield chunk;
  }
}
