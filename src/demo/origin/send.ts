/**
 * Sends an answer over a connection, at the rate that is allowed and with the damage that was ordered.
 *
 * A large body goes out as views of the noise block, one unit of 1 MiB at a time: write, wait for the socket to drain,
 * write the next. Nothing is queued beyond one unit a connection.
 */
import type { ServerResponse } from 'node:http';
import { TLSSocket } from 'node:tls';
import type { Answer } from './answer.ts';
import type { Pace } from './pace.ts';

/** Where sending is interrupted, and what happens there. `afterBytes` as in Fault. */
export interface Cut {
  readonly afterBytes: number | undefined;
  readonly how: 'reset' | 'end' | 'stall';
  /** Of a stall; undefined: forever. */
  readonly forMs?: number;
}

export interface SendPlan {
  readonly paces: readonly Pace[];
  readonly cut?: Cut;
  readonly chunked?: boolean;
  /** Bytes behind the body, counted in Content-Length or not. */
  readonly extra?: { readonly bytes: number; readonly declared: boolean };
  /** This byte of the body is sent inverted. */
  readonly corruptAtByte?: number;
}

export interface Sent {
  /** Body bytes given to the socket. */
  bytes: number;
  complete: boolean;
}

/** Up to this size an answer is one write, head and body together. */
const oneWriteBytes = 64 * 1024;
/** A piece up to this size waits for the next one, so that it does not become a packet of its own. */
const corkBytes = 4096;

/**
 * Before a reset behind some bytes: libuv, and so every client on Node, takes a RST that arrives together with bytes for
 * an orderly end. A client that reads sees the bytes, and then the reset.
 */
const readFirstMs = 10;

/** Resolves when the answer is out or the connection is gone; never rejects. `sent` is kept up to date all the while. */
export async function sendAnswer(response: ServerResponse, answer: Answer, plan: SendPlan, sent: Sent): Promise<void> {
  const cut = plan.cut;
  if (cut !== undefined && cut.afterBytes === undefined && !(await interrupt(response, cut))) return;
  const bodyBytes = answer.body === undefined ? 0 : answer.length;
  writeHead(response, answer, plan);
  if (bodyBytes > 0) {
    if (bodyBytes <= oneWriteBytes && isPlain(plan)) {
      sent.bytes = bodyBytes;
      response.end(Buffer.concat([...answer.body!(0, bodyBytes)], bodyBytes));
      sent.complete = await finished(response);
      return;
    }
    if (!(await sendBody(response, answer, plan, sent))) return;
  } else if (cut?.afterBytes !== undefined && !(await interrupt(response, cut))) {
    return;
  }
  if (plan.extra !== undefined && answer.body !== undefined) {
    const extra = Buffer.alloc(plan.extra.bytes, 0x2e);
    if (!(await pump(response, [extra], plan, sent))) return;
    if (!plan.extra.declared) {
      // The framing of the connection is broken now; nothing sensible can follow.
      await flushed(response);
      response.socket?.destroySoon();
      return;
    }
  }
  response.end();
  sent.complete = await finished(response);
  return;
}

function isPlain(plan: SendPlan): boolean {
  return (
    plan.paces.length === 0 &&
    plan.cut?.afterBytes === undefined &&
    plan.extra === undefined &&
    plan.corruptAtByte === undefined
  );
}

function writeHead(response: ServerResponse, answer: Answer, plan: SendPlan): void {
  const headers = { ...answer.headers };
  const declaredExtra = plan.extra?.declared === true ? plan.extra.bytes : 0;
  const mayHaveBody = answer.status !== 204 && answer.status !== 304;
  if (mayHaveBody && plan.chunked !== true) headers['Content-Length'] = String(answer.length + declaredExtra);
  response.writeHead(answer.status, headers);
}

async function sendBody(response: ServerResponse, answer: Answer, plan: SendPlan, sent: Sent): Promise<boolean> {
  const total = answer.length;
  const until = plan.cut?.afterBytes === undefined ? total : Math.min(plan.cut.afterBytes, total - 1);
  if (!(await pump(response, bodyOf(answer, plan, 0, until), plan, sent))) return false;
  if (until === total) return true;
  if (!(await interrupt(response, plan.cut!))) return false;
  return pump(response, bodyOf(answer, plan, until, total - until), plan, sent);
}

function* bodyOf(answer: Answer, plan: SendPlan, offset: number, length: number): Generator<Buffer> {
  let at = offset;
  for (const piece of answer.body!(offset, length)) {
    const wrong = (plan.corruptAtByte ?? -1) - at;
    at += piece.length;
    if (wrong < 0 || wrong >= piece.length) {
      yield piece;
    } else {
      const copy = Buffer.from(piece);
      copy[wrong] = ~copy[wrong]! & 0xff;
      yield copy;
    }
  }
}

/** False: the connection is gone. */
async function pump(response: ServerResponse, pieces: Iterable<Buffer>, plan: SendPlan, sent: Sent): Promise<boolean> {
  let corked = false;
  for (const piece of pieces) {
    for (let at = 0; at < piece.length; ) {
      const pieceBytes = Math.min(Number.POSITIVE_INFINITY, ...plan.paces.map((pace) => pace.pieceBytes));
      const part = at === 0 && piece.length <= pieceBytes ? piece : piece.subarray(at, at + pieceBytes);
      at += part.length;
      const now = Date.now();
      const waitMs = Math.max(0, ...plan.paces.map((pace) => pace.book(part.length, now)));
      if (waitMs > 0) await pause(response, waitMs);
      if (response.destroyed || response.socket?.destroyed !== false) return false;
      if (!corked && part.length <= corkBytes && plan.paces.length === 0) {
        response.cork();
        corked = true;
      }
      const flowing = response.write(part);
      sent.bytes += part.length;
      if (corked && part.length > corkBytes) {
        response.uncork();
        corked = false;
      }
      if (!flowing && !corked && !(await drained(response))) return false;
    }
  }
  if (corked) response.uncork();
  return true;
}

/** Breaks or halts the connection behind everything that was written so far. True: go on. */
async function interrupt(response: ServerResponse, cut: Cut): Promise<boolean> {
  if (cut.afterBytes !== undefined) {
    if (!response.headersSent) return false;
    response.flushHeaders();
    await flushed(response);
    if (cut.how === 'reset') await pause(response, readFirstMs);
  }
  const socket = response.socket;
  if (socket === null || socket.destroyed) return false;
  if (cut.how === 'stall') {
    await pause(response, cut.forMs);
    return !socket.destroyed;
  }
  if (cut.how === 'end') socket.destroySoon();
  else if (socket instanceof TLSSocket) socket.destroy();
  else socket.resetAndDestroy();
  return false;
}

/** Everything written so far has reached the kernel, or the connection is gone. */
function flushed(response: ServerResponse): Promise<void> {
  const socket = response.socket;
  if (socket === null || socket.destroyed) return Promise.resolve();
  return new Promise((resolve) => {
    socket.write('', () => resolve());
  });
}

/** Waits so long, or until the connection is gone; undefined: only for that. */
export function pause(response: ServerResponse, forMs: number | undefined): Promise<void> {
  const socket = response.socket;
  if (socket === null || socket.destroyed) return Promise.resolve();
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      socket.off('close', done);
      resolve();
    };
    const timer = forMs === undefined ? undefined : setTimeout(done, forMs);
    socket.once('close', done);
  });
}

function drained(response: ServerResponse): Promise<boolean> {
  if (response.destroyed) return Promise.resolve(false);
  if (!response.writableNeedDrain) return Promise.resolve(true);
  return settled(response, 'drain');
}

function finished(response: ServerResponse): Promise<boolean> {
  if (response.writableFinished) return Promise.resolve(true);
  if (response.destroyed || response.socket === null) return Promise.resolve(false);
  return settled(response, 'finish');
}

/** True when `event` comes, false when the connection goes first. */
function settled(response: ServerResponse, event: 'drain' | 'finish'): Promise<boolean> {
  return new Promise((resolve) => {
    const good = () => {
      response.off('close', bad);
      resolve(true);
    };
    const bad = () => {
      response.off(event, good);
      resolve(response.writableFinished);
    };
    response.once(event, good);
    response.once('close', bad);
  });
}
