/** Sends what the page API gives: bytes of a file, and listings, which may be long. */
import type { FastifyReply } from 'fastify';
import type { ListedPage, OpenedFile, ReadableFiles } from '../../cluster/reading/files.ts';
import { nothingBelow } from '../../cluster/reading/fs-source.ts';
import { PrimedError } from '../../core/errors.ts';
import type { ByteRange, Log, UfsPath } from '../../core/types.ts';
import { type Body, BodyCut, openBody, sendBody, writePiece } from '../body.ts';
import type { watchAnswers } from '../in-flight.ts';
import { openedOf, rangeOf } from '../reading.ts';
import type { Turns } from '../turns.ts';
import { directoryStatus, fileStatus, type Status } from './status.ts';

export interface SendContext {
  readonly files: ReadableFiles;
  readonly log: Log;
  readonly turns: Turns;
  readonly watch: ReturnType<typeof watchAnswers>;
  /** Longest time that a client may take over one piece. */
  readonly stallMs: number;
  /** Told when the head of an answer with bytes is sent: what it begins with is read and checked by then. */
  readonly onFirstByte?: () => void;
}

/** Which range of a file of this size. Throws RANGE_INVALID. */
export type Picked = (path: UfsPath, sizeBytes: number) => ByteRange;

/**
 * Sends a range of a file. Throws before the head is sent what the reading of files throws.
 * @param buffered all of it is read, and checked, before the head is sent: a client takes a page that breaks off for the end
 */
export async function sendBytes(
  context: SendContext,
  path: UfsPath,
  pick: Picked,
  buffered: boolean,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const { files, turns, onFirstByte } = context;
  const found = await files.find(path);
  if (found === undefined) throw nothingBelow(path);
  const giveBack = await turns.take();
  let opened: OpenedFile | undefined;
  try {
    opened = openedOf(found);
    const range = await rangeOf(opened, (sizeBytes) => pick(path, sizeBytes));
    const pieces = opened.read(range);
    const body = buffered ? await wholeBody(pieces, range.length) : await openBody(pieces, range.length);
    const { etag } = opened.file;
    reply.hijack();
    reply.raw.writeHead(200, {
      'content-type': 'application/octet-stream',
      'content-length': range.length,
      etag: `"${etag}"`,
    });
    onFirstByte?.();
    await noted(context, path, context.watch(reply, sendBody(body, reply.raw, context.stallMs)));
    return reply;
  } finally {
    opened?.close();
    giveBack();
  }
}

const keysAtOnce = 1000;

/** One level of a directory, as a JSON array of status objects: a page of the listing in memory at a time. */
export async function sendListing(context: SendContext, directory: string, reply: FastifyReply): Promise<FastifyReply> {
  const pages = listed(context.files, directory);
  // Read already, so that a failure can still be answered with an error.
  const first = await pages.next();
  reply.hijack();
  reply.raw.writeHead(200, { 'content-type': 'application/json; charset=utf-8' });
  await noted(context, directory, context.watch(reply, sendJson(first, pages, reply, context.stallMs)));
  return reply;
}

async function sendJson(
  first: IteratorResult<readonly Status[]>,
  pages: AsyncIterator<readonly Status[]>,
  { raw }: FastifyReply,
  stallMs: number,
): Promise<void> {
  let separator = '[';
  try {
    for (let page = first; page.done !== true; page = await pages.next()) {
      for (let at = 0; at < page.value.length; at += 100) {
        const rows = page.value.slice(at, at + 100).map((status) => JSON.stringify(status));
        await writePiece(raw, Buffer.from(separator + rows.join(',')), stallMs);
        separator = ',';
      }
    }
    raw.end(separator === '[' ? '[]' : ']');
  } catch (cause) {
    // Chunks without their end: the client sees that it is not whole.
    raw.destroy();
    throw cause instanceof BodyCut ? cause : new BodyCut('data', String(cause), { cause });
  }
}

async function* listed(files: ReadableFiles, directory: string): AsyncGenerator<readonly Status[], undefined> {
  let after: string | undefined = '';
  while (after !== undefined) {
    const order = { root: directory, prefix: '', delimiter: '/', after, maxKeys: keysAtOnce };
    const page: ListedPage = await files.list(order);
    const rows = [
      // An object that stands for the directory itself is not in it.
      ...page.files.filter(({ key }) => key !== '').map(({ key, record }) => ({ key, status: fileStatus(record) })),
      ...page.commonPrefixes.map((key) => ({ key, status: directoryStatus(directory + key) })),
    ];
    rows.sort((a, b) => Buffer.compare(Buffer.from(a.key), Buffer.from(b.key)));
    yield rows.map(({ status }) => status);
    after = page.next;
  }
}

async function wholeBody(pieces: AsyncIterable<Uint8Array>, lengthBytes: number): Promise<Body> {
  const bytes = Buffer.allocUnsafe(lengthBytes);
  let at = 0;
  for await (const piece of pieces) {
    if (at + piece.length <= lengthBytes) bytes.set(piece, at);
    at += piece.length;
  }
  if (at !== lengthBytes)
    throw new PrimedError('STORE_IO', `The store gave ${at} of ${lengthBytes} bytes; nothing was sent.`, {
      lengthBytes,
    });
  return { pieces: nothing(), lengthBytes, first: lengthBytes === 0 ? undefined : bytes };
}

async function* nothing(): AsyncGenerator<Uint8Array> {}

async function noted({ log }: SendContext, path: string, answer: Promise<void>): Promise<void> {
  try {
    await answer;
  } catch (error) {
    if (!(error instanceof BodyCut)) throw error;
    const level = error.reason === 'data' ? 'error' : 'debug';
    log[level]({ path, reason: error.reason, cause: error.message }, 'an answer of the page API was cut off');
  }
}
