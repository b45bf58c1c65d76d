/**
 * One keep-alive socket, and the one request that is on it.
 *
 *   connecting/idle -- start --> [gated] --> sent --> head --> body --> [settling] --> idle
 *                                              |        |        `----> dead (anything unexpected)
 *                                              |        `--> error (small body of a 4xx/5xx) --> idle or dead
 *                                              `--> resend (a reused socket died before the first byte)
 *
 * The kernel writes body bytes straight to where they belong: the socket is opened with `onread`, whose buffer function
 * is asked after every read for the memory of the next one, and answers with a view into the destination. Only what
 * comes in the same read as the head is copied, at most 4 KiB. With TLS, OpenSSL decrypts a record of at most 16 KiB into
 * memory of its own and Node copies from there into the view: one copy in native code, and no garbage. Both accept
 * views over SharedArrayBuffers (Node 20 and 22). Two catches, both handled here: a view of length 0 ends the socket with
 * ENOBUFS, so there is always room to read into; and TLS delivers all records of one read of the kernel's (up to 64 KiB)
 * even after reading was stopped, so bytes may come while paused, and are paid for afterwards (`settling`).
 */
import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { judgeSuccess } from './answer.ts';
import { type ErrorBody, makeErrorBody } from './error-body.ts';
import { causeOfStatus, readS3Error, retryAfterMs, wordsOf } from './failure.ts';
import { headIncomplete, headMalformed, makeHeadReader, type ResponseHead } from './response-head.ts';
import type { Admit, FailureCause, Grant, OriginFailure, RangeRequest, RequestWait } from './types.ts';

/** What one read may bring while a head is expected: bounds the bytes that are copied. */
const headReadBytes = 4096;
/** Most bytes asked of `grant` at once: small enough that several sockets share a rate evenly within a second. */
const grantBytesMax = 1024 * 1024;
/** How much a paused socket collects permission for before it reads again. */
const paceQuantumBytes = 64 * 1024;

/** A request on its way, from get() to onDone(). */
export interface Exchange {
  readonly request: RangeRequest;
  readonly destination: Uint8Array;
  readonly onBytes: (at: number, count: number) => void;
  receivedBytes: number;
  firstByteAtMs: number;
  /** What the answer says of the object. */
  attributes: string;
  /** Of one that is not on a connection: which limit it waits for. */
  paced: 'bandwidth' | 'requests' | undefined;
  /** Of an answer that was right, and its id. */
  httpStatus: number | undefined;
  requestId: string | undefined;
  /** It was sent once more, because an idle socket turned out to be dead. */
  resent: boolean;
}

/** In sweeps. */
export interface ConnectionLimits {
  readonly connectTicks: number;
  readonly firstByteTicks: number;
  readonly stallTicks: number;
  /** The same for hasty requests. */
  readonly hastyFirstByteTicks: number;
  readonly hastyStallTicks: number;
  readonly idleTicks: number;
}

/** What a connection needs of its pool. */
export interface ConnectionHost {
  /** Coarse clock: sweeps so far. One timer serves all time limits of a client. */
  readonly tick: number;
  /** They may change; read at each sweep. */
  readonly limits: ConnectionLimits;
  /** `connection.tryResume()` is to be called after a while. */
  pace(connection: Connection): void;
  /** The head of the request as it goes over the wire. */
  compose(request: RangeRequest): string;
  /** The exchange has ended; the connection is idle or dead by now. */
  done(connection: Connection, exchange: Exchange, failure: OriginFailure | undefined): void;
  /** A reused socket was dead: the exchange wants a new one. The connection is dead by now. */
  resend(connection: Connection, exchange: Exchange): void;
  /** The origin refused a signature for its time, and said what time it has (NaN: not understood). */
  learnClock(connection: Connection, originNowMs: number): void;
  /** An idle connection died. */
  lost(connection: Connection): void;
}

export type OpenSocket = (onread: { buffer: () => Uint8Array; callback: (count: number) => boolean }) => Socket;
type Phase = 'idle' | 'gated' | 'sent' | 'head' | 'body' | 'settling' | 'error' | 'dead';

export class Connection {
  readonly originIndex: number;
  readonly #host: ConnectionHost;
  readonly #grant: Grant | undefined;
  readonly #admit: Admit | undefined;
  readonly #socket: Socket;
  readonly #headBuffer = Buffer.allocUnsafeSlow(headReadBytes);
  readonly #reader = makeHeadReader();
  #phase: Phase = 'idle';
  #connected = false;
  #exchanges = 0;
  #exchange: Exchange | undefined;
  #head: ResponseHead | undefined;
  #errorBody: ErrorBody | undefined;
  #lastTick: number;
  /** Bytes that `grant` allowed and that were not read yet; below 0 after bytes that came while paused. */
  #credit = 0;
  #viewBytes = 0;
  #paused = false;

  constructor(options: {
    originIndex: number;
    host: ConnectionHost;
    open: OpenSocket;
    connectedEvent: 'connect' | 'secureConnect';
    /** Undefined: reading is not limited. */
    grant: Grant | undefined;
    /** Undefined: requests are not counted. */
    admit: Admit | undefined;
  }) {
    this.originIndex = options.originIndex;
    this.#host = options.host;
    this.#grant = options.grant;
    this.#admit = options.admit;
    this.#lastTick = options.host.tick;
    const socket = options.open({ buffer: () => this.#nextView(), callback: (count) => this.#onRead(count) });
    this.#socket = socket;
    socket.once(options.connectedEvent, () => {
      this.#connected = true;
      this.#lastTick = this.#host.tick;
    });
    socket.on('error', (error: NodeJS.ErrnoException) => this.#onLost(error));
    socket.on('end', () => this.#onLost(undefined));
    socket.on('close', () => this.#onLost(undefined));
  }

  get dead(): boolean {
    return this.#phase === 'dead';
  }

  get exchange(): Exchange | undefined {
    return this.#exchange;
  }

  /** What the exchange waits for at this moment; undefined: there is none. */
  get waitsFor(): RequestWait | undefined {
    if (this.#exchange === undefined) return undefined;
    if (this.#phase === 'gated') return this.#credit < this.#viewBytes ? 'bandwidth' : 'requests';
    if (this.#paused) return 'bandwidth';
    if (!this.#connected) return 'connecting';
    return this.#phase === 'sent' ? 'first-byte' : 'transfer';
  }

  /** Takes an exchange; the connection must be idle (or not connected yet). */
  start(exchange: Exchange): void {
    assert(this.#phase === 'idle' && this.#exchange === undefined, 'one request at a time on a socket');
    this.#exchange = exchange;
    this.#exchanges += 1;
    this.#credit = 0;
    if (this.#grant === undefined && this.#admit === undefined) {
      this.#send(exchange);
      return;
    }
    // The bytes that ride with the head cannot be held back once the request is out: they are asked for before.
    this.#phase = 'gated';
    this.#viewBytes = this.#grant === undefined ? 0 : Math.min(exchange.request.length, headReadBytes);
    if (!this.tryResume()) this.#host.pace(this);
  }

  /** Asks `grant` again for a gated or paused connection; true when it goes on, or has nothing to wait for any more. */
  tryResume(): boolean {
    const exchange = this.#exchange;
    if (exchange === undefined || (this.#phase !== 'gated' && !this.#paused)) return true;
    if (this.#credit < this.#viewBytes) {
      this.#credit += this.#grant!(exchange.request, this.#viewBytes - this.#credit);
      if (this.#credit < this.#viewBytes) return false;
    }
    if (this.#phase === 'gated' && this.#admit?.(exchange.request) === false) return false;
    this.#lastTick = this.#host.tick;
    if (this.#phase === 'gated') this.#send(exchange);
    else if (this.#phase === 'settling') this.#complete();
    else {
      this.#paused = false;
      this.#socket.resume();
    }
    return true;
  }

  /** Ends what has been silent for too long. */
  sweep(): void {
    const silentTicks = this.#host.tick - this.#lastTick;
    if (this.#phase === 'dead' || this.#paused) return;
    const hasty = this.#exchange?.request.hasty === true;
    const firstByteTicks = hasty ? this.#host.limits.hastyFirstByteTicks : this.#host.limits.firstByteTicks;
    const stallTicks = hasty ? this.#host.limits.hastyStallTicks : this.#host.limits.stallTicks;
    if (!this.#connected) {
      if (silentTicks >= this.#host.limits.connectTicks)
        this.#fail('connect-timeout', 'no connection within the time limit');
    } else if (this.#phase === 'idle') {
      if (silentTicks >= this.#host.limits.idleTicks) this.#onLost(undefined);
    } else if (this.#phase === 'sent') {
      if (silentTicks >= firstByteTicks) this.#fail('first-byte-timeout', 'no answer within the time limit');
    } else if (this.#phase === 'error') {
      if (silentTicks >= stallTicks) this.#finishError(false);
    } else if (this.#phase !== 'gated' && silentTicks >= stallTicks) {
      this.#fail('stall', `the answer stopped after ${this.#exchange?.receivedBytes ?? 0} B`);
    }
  }

  /** Closes the socket; an exchange on it ends with the cause. After this nothing is written to its destination. */
  destroy(cause: FailureCause, message: string): void {
    if (this.#phase === 'dead') return;
    if (this.#exchange === undefined) this.#onLost(undefined);
    else this.#fail(cause, message);
  }

  #send(exchange: Exchange): void {
    this.#phase = 'sent';
    this.#reader.reset();
    this.#head = undefined;
    this.#lastTick = this.#host.tick;
    this.#socket.write(this.#host.compose(exchange.request), 'latin1');
  }

  /** Where the next read goes. Never of length 0. */
  #nextView(): Uint8Array {
    if (this.#phase !== 'body') return this.#headBuffer;
    const { destination, receivedBytes } = this.#exchange!;
    const end = Math.min(receivedBytes + this.#viewBytes, destination.length);
    return destination.subarray(receivedBytes, end);
  }

  #onRead(count: number): boolean {
    this.#lastTick = this.#host.tick;
    switch (this.#phase) {
      case 'body':
        return this.#takeBody(count);
      case 'sent':
        this.#phase = 'head';
        this.#exchange!.firstByteAtMs = performance.now();
        return this.#takeHead(count);
      case 'head':
        return this.#takeHead(count);
      case 'error':
        if (this.#errorBody!.take(this.#headBuffer.subarray(0, count))) this.#finishError(true);
        return true;
      case 'idle':
      case 'gated':
      case 'settling':
        // Nobody asked: whatever the server means by it, the stream can no longer be trusted.
        if (this.#exchange === undefined) this.#onLost(undefined);
        else this.#onLost(Object.assign(new Error('bytes came before the request was sent'), { code: 'EPROTO' }));
        return false;
      case 'dead':
        return false;
    }
  }

  #takeHead(count: number): boolean {
    const bodyStart = this.#reader.read(this.#headBuffer, count);
    if (bodyStart === headIncomplete) return true;
    const head = this.#reader.head;
    if (bodyStart === headMalformed || head === undefined) {
      this.#fail('protocol', 'the answer does not begin with a well-formed HTTP/1.1 head');
      return false;
    }
    this.#head = head;
    const exchange = this.#exchange!;
    if (head.status >= 400) {
      this.#phase = 'error';
      this.#errorBody = makeErrorBody(head);
      const complete = this.#errorBody.take(this.#headBuffer.subarray(bodyStart, count));
      if (complete || this.#errorBody.endedExactly) this.#finishError(true);
      return true;
    }
    const failure = judgeSuccess(head, exchange.request);
    if (failure !== undefined) {
      this.#kill();
      this.#finish(failure);
      return false;
    }
    exchange.attributes = head.attributes;
    exchange.httpStatus = head.status;
    exchange.requestId = head.requestId;
    const { length } = exchange.request;
    const extra = count - bodyStart > length;
    const here = Math.min(count - bodyStart, length);
    // The only copy of body bytes: at most 4 KiB a request, 0.1 µs.
    if (here > 0) exchange.destination.set(this.#headBuffer.subarray(bodyStart, bodyStart + here), 0);
    if (extra) this.#kill();
    else this.#phase = 'body';
    return this.#advance(exchange, here);
  }

  #takeBody(count: number): boolean {
    return this.#advance(this.#exchange!, count);
  }

  /** `count` more bytes are in place. */
  #advance(exchange: Exchange, count: number): boolean {
    const at = exchange.receivedBytes;
    exchange.receivedBytes = at + count;
    this.#credit -= count;
    if (count > 0) {
      exchange.onBytes(at, count);
      if (this.#exchange !== exchange) return false; // onBytes cancelled the run
    }
    if (exchange.receivedBytes < exchange.request.length) return this.#allowMore(exchange);
    if (this.#credit < 0 && this.#phase !== 'dead' && this.#grant !== undefined) {
      this.#phase = 'settling';
      this.#viewBytes = 0;
      this.#paused = true;
      if (!this.tryResume()) {
        this.#host.pace(this);
        return false;
      }
      return true;
    }
    this.#complete();
    return true;
  }

  /** Every byte is there and paid for. */
  #complete(): void {
    if (this.#head?.keepAlive !== true) this.#kill();
    else if (this.#phase !== 'dead') {
      this.#phase = 'idle';
      if (this.#paused) this.#socket.resume();
    }
    this.#finish(undefined);
  }

  /** Sets how much the next read may bring; false pauses the socket. */
  #allowMore(exchange: Exchange): boolean {
    const { request } = exchange;
    const remaining = request.length - exchange.receivedBytes;
    const grant = this.#grant;
    if (grant === undefined) {
      this.#viewBytes = remaining;
      return true;
    }
    if (this.#paused) return false; // the rest of a TLS record: it is paid for before reading goes on
    if (this.#credit <= 0) this.#credit += grant(request, Math.min(remaining, grantBytesMax) - this.#credit);
    if (this.#credit > 0) {
      this.#viewBytes = Math.min(remaining, this.#credit);
      return true;
    }
    this.#viewBytes = Math.min(remaining, paceQuantumBytes);
    this.#paused = true;
    this.#host.pace(this);
    return false;
  }

  #finishError(complete: boolean): void {
    const head = this.#head!;
    const body = this.#errorBody!;
    const s3 = readS3Error(body.text());
    if (complete && body.endedExactly && head.keepAlive) this.#phase = 'idle';
    else this.#kill();
    const requestId = head.requestId ?? s3.requestId;
    if (s3.code === 'RequestTimeTooSkewed' && head.date !== undefined)
      this.#host.learnClock(this, Date.parse(head.date));
    const waitMs = retryAfterMs(head.retryAfter, Date.now());
    const cause = causeOfStatus(head.status, s3.code);
    this.#finish({
      cause,
      message: s3.message ?? wordsOf(cause, s3.code),
      httpStatus: head.status,
      ...(s3.code !== undefined && { s3Code: s3.code }),
      ...(requestId !== undefined && { requestId }),
      ...(waitMs !== undefined && { retryAfterMs: waitMs }),
    });
  }

  #fail(cause: FailureCause, message: string): void {
    this.#kill();
    this.#finish({ cause, message });
  }

  #finish(failure: OriginFailure | undefined): void {
    const exchange = this.#exchange!;
    this.#exchange = undefined;
    this.#errorBody = undefined;
    this.#paused = false;
    this.#host.done(this, exchange, failure);
  }

  #kill(): void {
    this.#phase = 'dead';
    this.#socket.destroy();
  }

  /** The socket ended or failed; also the way out for a socket that misbehaved while idle. */
  #onLost(error: NodeJS.ErrnoException | undefined): void {
    const phase = this.#phase;
    const exchange = this.#exchange;
    if (phase === 'dead') return;
    if (exchange === undefined) {
      this.#kill();
      this.#host.lost(this);
      return;
    }
    const why = error?.code ?? error?.message ?? 'closed by the origin';
    if (phase === 'settling') {
      this.#kill();
      this.#complete();
    } else if (!this.#connected) this.#fail('connect', `cannot connect: ${error?.message ?? why}`);
    else if (phase === 'error') this.#finishError(false);
    else if ((phase === 'sent' || phase === 'gated') && this.#exchanges > 1 && !exchange.resent) {
      // It was closed at the other end while it lay idle; the origin has not seen this request.
      this.#kill();
      this.#exchange = undefined;
      exchange.resent = true;
      this.#host.resend(this, exchange);
    } else if (phase === 'body' && error === undefined) {
      this.#fail('short', `the connection closed after ${exchange.receivedBytes} of ${exchange.request.length} B`);
    } else this.#fail('reset', `the connection broke after ${exchange.receivedBytes} B: ${why}`);
  }
}
