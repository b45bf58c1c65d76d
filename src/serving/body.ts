/** The bytes of an answer whose head is decided, from the page cache or the disk to the client. */
import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { ByteRange } from '../core/types.ts';
import { KiB, pageBytes } from '../core/units.ts';
import { type PageRun, type PageSender, type SendOutcome, type Sent, WrittenPages } from '../platform/index.ts';
import { openBody, sendBody } from '../server/body.ts';
import type { ViewedFile } from '../store/index.ts';
import { segmentBytes } from '../store/layout.ts';
import { type Borrowers, copiedBytes } from './borrowers.ts';

/** What one answer writes on the thread that serves others, too. */
const inlineBytes = 256 * KiB;

export interface BodyContext {
  readonly sender: PageSender;
  /** Of the stores, by their number. */
  readonly descriptors: readonly number[];
  /** Longest time that a client may take over a page. */
  readonly stallMs: number;
  readonly borrowers: Borrowers;
}

export interface BodyOrder {
  readonly file: ViewedFile;
  /** Not empty. */
  readonly range: ByteRange;
  /** It has its socket. */
  readonly response: ServerResponse;
  writeHead(): void;
  /** Asked for when something has to be waited for. */
  cancelled(): AbortSignal;
}

/**
 * `unreadable`: the first page is, and nothing was written, so that another way can still be taken. With another outcome than
 * `sent` the head may have been written, and of the body `sentBytes`. `sent`: the response is ended.
 */
export type BodyEnd = Sent | { readonly outcome: 'unreadable' };

/** Writes head and body. At once where the bytes are in memory and the socket takes them. */
export function sendFile(context: BodyContext, order: BodyOrder): BodyEnd | Promise<BodyEnd> {
  const { file, range, response } = order;
  if (response.socket === null || response.destroyed) return { outcome: 'gone', sentBytes: 0 };
  if (!context.sender.has(file.record.fileId, Math.floor(range.offset / pageBytes))) return loadAndSend(context, order);
  return sendChecked(context, order);
}

/** The first page before the head, so that there is another answer where it cannot be read. */
async function loadAndSend(context: BodyContext, order: BodyOrder): Promise<BodyEnd> {
  const run = runOf(context, order.file, window(order.range, 0));
  const { outcome } = await context.sender.load(run, order.cancelled());
  if (outcome === 'bad-page' || outcome === 'disk-error') return { outcome: 'unreadable' };
  if (outcome !== 'sent') return { outcome, sentBytes: 0 };
  return sendChecked(context, order);
}

function sendChecked(context: BodyContext, order: BodyOrder): BodyEnd | Promise<BodyEnd> {
  const { range, response, file } = order;
  const { socket } = response;
  if (socket === null || response.destroyed) return { outcome: 'gone', sentBytes: 0 };
  const fd = descriptorOf(socket);
  if (fd === undefined) return sendByNode(context, order);
  const part = window(range, 0);
  const run = runOf(context, file, part);
  order.writeHead();
  const head = socket.writableLength > 0 ? undefined : takeHead(response);
  if (head === undefined) {
    response.flushHeaders();
    return written(socket).then(() => sendWindows(context, order, 0));
  }
  const sending = sendPart(context, order, { socket, fd, head, run, part });
  if (!(sending instanceof Promise) && sending.outcome === 'sent' && part.length === range.length) {
    response.end();
    return sending;
  }
  return sendWindows(context, order, 0, sending);
}

/** A segment of the file at a time: so much of its pages is written down at once. */
async function sendWindows(
  context: BodyContext,
  order: BodyOrder,
  from: number,
  begun?: Sent | Promise<Sent>,
): Promise<BodyEnd> {
  const { file, range, response } = order;
  let sentBytes = from;
  let next = begun;
  while (sentBytes < range.length) {
    if (next === undefined) {
      const { socket } = response;
      const fd = socket === null ? undefined : descriptorOf(socket);
      if (socket === null || fd === undefined || response.destroyed) return { outcome: 'gone', sentBytes };
      const part = window(range, sentBytes);
      next = sendPart(context, order, { socket, fd, head: '', run: runOf(context, file, part), part });
    }
    const sent = await next;
    next = undefined;
    sentBytes += sent.sentBytes;
    if (sent.outcome !== 'sent') return { outcome: sent.outcome, sentBytes };
  }
  response.end();
  return { outcome: 'sent', sentBytes };
}

function sendPart(
  { sender, borrowers }: BodyContext,
  { cancelled }: BodyOrder,
  { socket, fd, head, run, part }: { socket: Socket; fd: number; head: string; run: PageRun; part: ByteRange },
): Sent | Promise<Sent> {
  const skipBytes = part.offset % pageBytes;
  const copied = part.length <= copiedBytes || !borrowers.admits(socket);
  return sender.send({ socket: fd, head, run, skipBytes, lengthBytes: part.length, inlineBytes, copied }, cancelled);
}

/** Where Node has to write itself, as it does for TLS: page by page, each copied. */
async function sendByNode(context: BodyContext, order: BodyOrder): Promise<BodyEnd> {
  const { range, response, writeHead, file } = order;
  const { sender, stallMs } = context;
  if (range.length <= copiedBytes) {
    const piece = Buffer.allocUnsafe(range.length);
    if (sender.copy(runOf(context, file, range), range.offset % pageBytes, piece)) {
      writeHead();
      response.end(piece);
      return { outcome: 'sent', sentBytes: range.length };
    }
  }
  let sentBytes = 0;
  let failed: SendOutcome | undefined;
  const cancelled = order.cancelled();
  async function* pieces(): AsyncGenerator<Uint8Array> {
    for (let doneBytes = 0; doneBytes < range.length; ) {
      if (cancelled.aborted) {
        failed = 'cancelled';
        return;
      }
      const offset = range.offset + doneBytes;
      const skip = offset % pageBytes;
      const length = Math.min(pageBytes - skip, range.length - doneBytes);
      const piece = Buffer.allocUnsafeSlow(length);
      while (!sender.copy(runOf(context, file, { offset, length }), skip, piece)) {
        const ahead = runOf(context, file, window(range, doneBytes));
        const { outcome } = await sender.load(ahead, cancelled);
        if (outcome === 'sent') continue;
        failed = outcome;
        return;
      }
      yield piece;
      doneBytes += length;
      sentBytes = doneBytes;
    }
  }
  try {
    const body = await openBody(pieces(), range.length);
    writeHead();
    await sendBody(body, response, stallMs);
    return { outcome: 'sent', sentBytes };
  } catch {
    return { outcome: failed ?? 'gone', sentBytes };
  }
}

/** From `doneBytes` on, to the end of the segment at most. */
function window({ offset, length }: ByteRange, doneBytes: number): ByteRange {
  const from = offset + doneBytes;
  const end = Math.min(offset + length, (Math.floor(from / segmentBytes) + 1) * segmentBytes);
  return { offset: from, length: end - from };
}

const pages = new WrittenPages();

/** Valid until the next one is made. */
function runOf({ descriptors }: BodyContext, file: ViewedFile, part: ByteRange): PageRun {
  pages.clear();
  for (const page of file.pages(part)) pages.add(file.record, page, descriptors);
  return pages;
}

/** Of a plain socket that is open. Node says it of its handles only, in the place where it has always been. */
function descriptorOf(socket: Socket): number | undefined {
  if ('encrypted' in socket) return undefined;
  const fd = (socket as Socket & { _handle?: { fd?: number } | null })._handle?.fd;
  return fd === undefined || fd < 0 ? undefined : fd;
}

/**
 * The head as Node would send it before the body, one byte a character; Node does not any more. It keeps what it knows of that
 * in the places where it has always been; undefined: it has sent it, or keeps it elsewhere.
 */
function takeHead(response: ServerResponse): string | undefined {
  const known = response as ServerResponse & { _header?: unknown; _headerSent?: unknown };
  if (typeof known._header !== 'string' || known._headerSent !== false) return undefined;
  known._headerSent = true;
  return known._header;
}

/** Resolves when Node has nothing left to write, or has given up. */
function written(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      socket.removeListener('close', end);
      resolve();
    };
    socket.once('close', end);
    socket.write('', end);
  });
}
