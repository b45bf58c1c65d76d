/** The bytes of an answer whose head is decided, from the page cache or the disk to the client. */
import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { ByteRange } from '../core/types.ts';
import { KiB, pageBytes } from '../core/units.ts';
import {
  corkSocket,
  type PageRun,
  type PageSender,
  type SendOutcome,
  type Sent,
  WrittenPages,
} from '../platform/index.ts';
import { openBody, sendBody } from '../server/body.ts';
import type { ViewedFile } from '../store/index.ts';
import { segmentBytes } from '../store/layout.ts';

/** Up to here head and copied body go to the kernel in one call, which costs less than two without a copy. */
const copiedBytes = 16 * KiB;
/** What one answer writes on the thread that serves others, too. */
const inlineBytes = 256 * KiB;

export interface BodyContext {
  readonly sender: PageSender;
  /** Of the stores, by their number. */
  readonly descriptors: readonly number[];
  /** Longest time that a client may take over a page. */
  readonly stallMs: number;
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
  const { sender } = context;
  const { file, range, response } = order;
  const run = runOf(context, file, window(range, 0));
  const skipBytes = range.offset % pageBytes;
  if (range.length <= copiedBytes) {
    const bytes = Buffer.allocUnsafe(range.length);
    if (sender.copy(run, skipBytes, bytes)) {
      order.writeHead();
      response.end(bytes);
      return { outcome: 'sent', sentBytes: range.length };
    }
  }
  if (!sender.copy(run, skipBytes, oneByte)) return loadAndSend(context, order, run);
  return sendChecked(context, order, run);
}

const oneByte = Buffer.alloc(1);

/** The first page before the head, so that there is another answer where it cannot be read. */
async function loadAndSend(context: BodyContext, order: BodyOrder, run: PageRun): Promise<BodyEnd> {
  const { outcome } = await context.sender.load(run, order.cancelled());
  if (outcome === 'bad-page' || outcome === 'disk-error') return { outcome: 'unreadable' };
  if (outcome !== 'sent') return { outcome, sentBytes: 0 };
  return sendChecked(context, order, runOf(context, order.file, window(order.range, 0)));
}

function sendChecked(context: BodyContext, order: BodyOrder, run: PageRun): BodyEnd | Promise<BodyEnd> {
  const { range, response, writeHead } = order;
  const { socket } = response;
  if (socket === null || response.destroyed) return { outcome: 'gone', sentBytes: 0 };
  const fd = descriptorOf(socket);
  if (fd === undefined) return sendByNode(context, order);
  corkSocket(fd, true);
  writeHead();
  response.flushHeaders();
  if (socket.writableLength > 0) return written(socket).then(() => sendWindows(context, order, 0));
  const part = window(range, 0);
  const sending = sendPart(context, order, { fd, run, part });
  corkSocket(fd, false);
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
      const fd = response.socket === null ? undefined : descriptorOf(response.socket);
      if (fd === undefined || response.destroyed) return { outcome: 'gone', sentBytes };
      corkSocket(fd, false);
      const part = window(range, sentBytes);
      next = sendPart(context, order, { fd, run: runOf(context, file, part), part });
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
  { sender }: BodyContext,
  { cancelled }: BodyOrder,
  { fd, run, part }: { fd: number; run: PageRun; part: ByteRange },
): Sent | Promise<Sent> {
  const skipBytes = part.offset % pageBytes;
  return sender.send({ socket: fd, run, skipBytes, lengthBytes: part.length, inlineBytes }, cancelled);
}

/** Where Node has to write itself, as it does for TLS: page by page, each copied. */
async function sendByNode(context: BodyContext, order: BodyOrder): Promise<BodyEnd> {
  const { range, response, writeHead, file } = order;
  const { sender, stallMs } = context;
  let sentBytes = 0;
  let failed: SendOutcome | undefined;
  async function* pieces(): AsyncGenerator<Uint8Array> {
    for (let doneBytes = 0; doneBytes < range.length; ) {
      const offset = range.offset + doneBytes;
      const skip = offset % pageBytes;
      const length = Math.min(pageBytes - skip, range.length - doneBytes);
      const piece = Buffer.allocUnsafeSlow(length);
      while (!sender.copy(runOf(context, file, { offset, length }), skip, piece)) {
        const ahead = runOf(context, file, window(range, doneBytes));
        const { outcome } = await sender.load(ahead, order.cancelled());
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
