/**
 * Pages of files, from memory or from an SSD to sockets: the cache of the process, and the sender of one serving thread.
 *
 * Everything that moves or checks a byte is in native/src: page_cache and page_sender, whose heads say how. Here orders
 * are written down, and their ends are told apart.
 */
import assert from 'node:assert/strict';
import { PrimedError } from '../core/errors.ts';
import { pageBytes } from '../core/units.ts';
import { addon, type SenderHandle } from './addon.ts';
import { errnoName } from './errno.ts';
import type { DiskEngine } from './types.ts';

/** Good in every thread of the process. */
export type PageCacheAddress = number & { readonly __brand: 'PageCacheAddress' };

/** Throws STORE_IO where the system gives no memory for it. */
export function openPageCache(capacityBytes: number): PageCacheAddress {
  const address = addon().pageCacheOpen(capacityBytes);
  if (address >= 0) return address as PageCacheAddress;
  const errno = errnoName(-address);
  throw new PrimedError(
    'STORE_IO',
    `The page cache of ${capacityBytes} bytes cannot be made (${errno}). Lower worker.read_cache.`,
    { capacityBytes, errno },
  );
}

/** When no thread has a sender any more. */
export function closePageCache(cache: PageCacheAddress): void {
  addon().pageCacheClose(cache);
}

export function pageCacheBytes(cache: PageCacheAddress): number {
  return addon().pageCacheUsed(cache);
}

/** A page as it lies in stores. */
export interface StoredPage {
  readonly page: number;
  readonly lengthBytes: number;
  /** CRC32C. */
  readonly checksum: number;
  readonly extents: readonly { readonly store: number; readonly offset: number; readonly length: number }[];
}

/** Neighbouring pages of one file, as native/napi/page_sender_napi.cc reads them. */
export interface PageRun {
  readonly words: Float64Array;
  readonly count: number;
}

/** The end of an order; the order is that of SendOutcome in page_sender.h. */
export const sendOutcomes = ['sent', 'gone', 'stalled', 'bad-page', 'disk-error', 'cancelled'] as const;
export type SendOutcome = (typeof sendOutcomes)[number];

export interface Sent {
  readonly outcome: SendOutcome;
  /** What the kernel has taken of what was ordered. */
  readonly sentBytes: number;
}

export interface PageSenderOptions {
  readonly cache: PageCacheAddress;
  readonly engine: DiskEngine;
  /** Pages that are read at once at most. */
  readonly loads: number;
  /** Pages that are read ahead of one socket. */
  readonly pagesAhead: number;
  /** Longest time that a client may take over a page. */
  readonly stallMs: number;
}

const pageWords = 6;
/** Two pages of a file that lie together in memory; as native/src/page_cache.h has it. */
const pagesOfFrame = 2;
const extentWords = 3;

/** A run that is written anew for each order: the sender has read it when it returns. */
export class WrittenPages implements PageRun {
  words = new Float64Array(1024);
  count = 0;

  clear(): void {
    this.count = 0;
  }

  /** @param descriptors of the stores, by their number */
  add(
    file: { readonly fileId: number; readonly sizeBytes: number },
    { page, lengthBytes, checksum, extents }: StoredPage,
    descriptors: readonly number[],
  ): void {
    const end = this.count + pageWords + extents.length * extentWords;
    if (end > this.words.length) {
      const larger = new Float64Array(2 * end);
      larger.set(this.words);
      this.words = larger;
    }
    const { words } = this;
    let at = this.count;
    words[at++] = file.fileId;
    words[at++] = page;
    words[at++] = lengthBytes;
    const frame = page - (page % pagesOfFrame);
    words[at++] = Math.min(pagesOfFrame * pageBytes, file.sizeBytes - frame * pageBytes);
    words[at++] = checksum;
    words[at++] = extents.length;
    for (const { store, offset, length } of extents) {
      words[at++] = descriptors[store]!;
      words[at++] = offset;
      words[at++] = length;
    }
    this.count = at;
  }
}

/** Of one thread. */
export class PageSender {
  readonly #native = addon();
  readonly #handle: SenderHandle;
  readonly #pending = new Map<number, (sent: Sent) => void>();
  #nextToken = 1;
  #closed = false;

  /** Throws STORE_IO where the engine is not to be had. */
  constructor({ cache, engine, loads, pagesAhead, stallMs }: PageSenderOptions) {
    const handle = this.#native.senderOpen(cache, engine, loads, pagesAhead, stallMs, (token, outcome, sentBytes) => {
      const settle = this.#pending.get(token);
      assert(settle !== undefined, 'an order ends once');
      this.#pending.delete(token);
      settle({ outcome: sendOutcomes[outcome]!, sentBytes });
    });
    if (typeof handle === 'number') {
      const errno = errnoName(-handle);
      throw new PrimedError('STORE_IO', `Serving cannot read by ${engine} (${errno}). Set worker.disk_engine.`, {
        errno,
      });
    }
    this.#handle = handle;
  }

  /** Orders under way. */
  get pending(): number {
    return this.#pending.size;
  }

  get readBytes(): number {
    return this.#native.senderReadBytes(this.#handle);
  }

  has(file: number, page: number): boolean {
    return this.#native.senderHas(this.#handle, file, page);
  }

  /** Copies what is cached. False: not all of it is, and nothing of the target is to be used. */
  copy({ words, count }: PageRun, skipBytes: number, target: Uint8Array): boolean {
    return this.#native.senderCopy(this.#handle, words, count, skipBytes, target.length, target);
  }

  /** Brings the first page into the cache, and begins with the next ones. The page may be gone again by the time that it is asked for. */
  load(run: PageRun, cancelled?: AbortSignal): Promise<Sent> | Sent {
    const order = { socket: -1, head: '', run, skipBytes: 0, lengthBytes: 1, inlineBytes: 0, copied: true };
    return this.send(order, cancelled && (() => cancelled));
  }

  /**
   * Writes a head (one byte a character) and a range to a socket that nobody else writes to before this has settled. What is cached goes at once, up to
   * `inlineBytes`; the rest by the sender's thread. The descriptor may be closed as soon as this has returned.
   */
  send(
    order: {
      socket: number;
      head: string;
      run: PageRun;
      skipBytes: number;
      lengthBytes: number;
      inlineBytes: number;
      /** Else the kernel keeps the memory of pages until the client has them, whatever becomes of the cache. */
      copied: boolean;
    },
    cancelled?: () => AbortSignal,
  ): Promise<Sent> | Sent {
    if (this.#closed) return { outcome: 'cancelled', sentBytes: 0 };
    const { run, lengthBytes } = order;
    const token = this.#nextToken++;
    const taken = this.#native.senderSend(
      this.#handle,
      token,
      order.socket,
      order.head,
      run.words,
      run.count,
      order.skipBytes,
      lengthBytes,
      order.inlineBytes,
      order.copied,
    );
    if (taken < 0) return { outcome: 'gone', sentBytes: 0 };
    if (taken === lengthBytes) return { outcome: 'sent', sentBytes: taken };
    return new Promise((resolve) => {
      const cancel = (): void => this.#native.senderCancel(this.#handle, token);
      const signal = cancelled?.();
      if (signal?.aborted === true) cancel();
      signal?.addEventListener('abort', cancel, { once: true });
      this.#pending.set(token, ({ outcome, sentBytes }) => {
        signal?.removeEventListener('abort', cancel);
        resolve({ outcome, sentBytes: sentBytes + taken });
      });
    });
  }

  /** Every order must have ended. Waits for reads ahead that still run. */
  close(): void {
    if (this.#closed) return;
    assert(this.#pending.size === 0, 'orders are under way');
    this.#closed = true;
    this.#native.senderClose(this.#handle);
  }
}
