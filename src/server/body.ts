/**
 * The bytes of a range, from the store to a socket: one piece at a time, so a slow client holds one page, and what the
 * store reads ahead, and nothing more.
 *
 * A page that fails its check, or a store that ends early, destroys the socket: the client sees an answer shorter than
 * its Content-Length, never a wrong byte and never a short answer that looks whole.
 */
import type { ServerResponse } from 'node:http';
import { PrimedError } from '../core/errors.ts';

/** Why a body ended before its last byte; nobody is left to be told, so this is for the log. */
export class BodyCut extends Error {
  readonly reason: 'client-left' | 'client-stalled' | 'data';

  constructor(reason: BodyCut['reason'], message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'BodyCut';
    this.reason = reason;
  }
}

export interface Body {
  /** Exactly `lengthBytes` bytes from here on. */
  readonly pieces: AsyncIterator<Uint8Array>;
  readonly lengthBytes: number;
  /** Read already, so that a bad first page can still be answered with an error. Undefined for an empty range. */
  readonly first: Uint8Array | undefined;
}

/**
 * Reads ahead by one piece. Throws what the store throws, STORE_CORRUPT above all.
 */
export async function openBody(source: AsyncIterable<Uint8Array>, lengthBytes: number): Promise<Body> {
  const pieces = source[Symbol.asyncIterator]();
  if (lengthBytes === 0) return { pieces, lengthBytes, first: undefined };
  const { value, done } = await pieces.next();
  if (done) throw endedEarly(0, lengthBytes);
  return { pieces, lengthBytes, first: value };
}

/**
 * Writes the body to a response whose head is set, and ends it. On any failure the socket is destroyed and the
 * promise rejects with BodyCut. The iterator is closed in every case.
 * @param stallMs longest time that the client may take over one piece (1 MiB at most)
 */
export async function sendBody(body: Body, response: ServerResponse, stallMs: number): Promise<void> {
  let sentBytes = 0;
  try {
    for (let piece = body.first; piece !== undefined; piece = await nextOf(body.pieces)) {
      sentBytes += piece.length;
      if (sentBytes > body.lengthBytes) throw new BodyCut('data', `the store gave more than ${body.lengthBytes} bytes`);
      await writePiece(response, piece, stallMs);
    }
    if (sentBytes !== body.lengthBytes) throw endedEarly(sentBytes, body.lengthBytes);
    response.end();
  } catch (cause) {
    response.destroy();
    if (cause instanceof BodyCut) throw cause;
    throw new BodyCut('data', cause instanceof Error ? cause.message : String(cause), { cause });
  } finally {
    await body.pieces.return?.();
  }
}

async function nextOf(pieces: AsyncIterator<Uint8Array>): Promise<Uint8Array | undefined> {
  const { value, done } = await pieces.next();
  return done ? undefined : value;
}

/** Resolves when the kernel has the piece: only then may the store use its memory for the next one. Rejects with BodyCut. */
export function writePiece(response: ServerResponse, piece: Uint8Array, stallMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(
      () => settle(new BodyCut('client-stalled', `the client took nothing for ${stallMs} ms`)),
      stallMs,
    );
    const onClose = () => settle(new BodyCut('client-left', 'the client closed the connection'));
    const settle = (error?: Error | null) => {
      clearTimeout(timer);
      response.removeListener('close', onClose);
      if (error) reject(error instanceof BodyCut ? error : new BodyCut('client-left', error.message, { cause: error }));
      else resolve();
    };
    if (response.destroyed) return onClose();
    response.once('close', onClose);
    response.write(piece, settle);
  });
}

function endedEarly(sentBytes: number, lengthBytes: number): PrimedError {
  return new PrimedError(
    'STORE_IO',
    `The store ended after ${sentBytes} of ${lengthBytes} bytes; nothing further was sent.`,
    {
      sentBytes,
      lengthBytes,
    },
  );
}
