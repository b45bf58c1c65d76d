/**
 * Which connections get pages of the cache themselves, by sendfile; the others get copies.
 *
 * What the kernel has of a page and the client has not taken keeps the memory of its whole frame, also after the frame was
 * evicted. So this memory comes on top of the cache, and a client decides for how long. A connection may keep what one answer leaves
 * untaken: 1 MiB (TCP_NOTSENT_LOWAT), which lies in two frames. An answer that begins before those ahead of it were taken is copied
 * (native/src/cached_send: owes). Who has become a borrower is one until it closes.
 */
import type { Socket } from 'node:net';
import { KiB, pageBytes } from '../core/units.ts';

/** Of a page cache that may be lent on top of it: a half. */
const lentShare = 0.5;
/** As frameBytes in native/src/page_cache.h. */
const frameBytes = 2 * pageBytes;
const framesOfBorrower = 2;
/** Up to here everybody gets a copy: copyBytes in native/src/cached_send.cc. */
export const copiedBytes = 16 * KiB;

/** For each of the threads. */
export function borrowersOf(cacheBytes: number, threads: number): number {
  return Math.max(1, Math.floor((cacheBytes * lentShare) / (framesOfBorrower * frameBytes * threads)));
}

export class Borrowers {
  readonly #most: number;
  readonly #borrowers = new Set<Socket>();

  constructor(most: number) {
    this.#most = most;
  }

  /** Whether a connection that is open may have the memory of pages. */
  admits(socket: Socket): boolean {
    if (this.#borrowers.has(socket)) return true;
    if (this.#borrowers.size >= this.#most) return false;
    this.#borrowers.add(socket);
    socket.once('close', () => this.#borrowers.delete(socket));
    return true;
  }
}
