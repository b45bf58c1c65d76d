/** The sender beside libuv, whose the connections are: it closes them as it likes, and gives their numbers to others. */
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { MiB, pageBytes } from '../../../src/core/units.ts';
import {
  closePageCache,
  crc32c,
  openPageCache,
  PageSender,
  type Sent,
  WrittenPages,
} from '../../../src/platform/index.ts';

const pageCount = 24;
const content = Buffer.alloc(pageCount * pageBytes, 'what is sent, and to nobody else. ');
const dir = mkdtempSync(join(tmpdir(), 'page-sender-'));
const path = join(dir, 'store.dat');
writeFileSync(path, content);
const store = openSync(path, 'r');
const cache = openPageCache(32 * MiB);
const sender = new PageSender({ cache, engine: 'threads', loads: 4, pagesAhead: 4, stallMs: 60_000 });
const run = new WrittenPages();
for (let page = 0; page < pageCount; page += 1) {
  const offset = page * pageBytes;
  const checksum = crc32c(content, offset, pageBytes);
  const extents = [{ store: 0, offset, length: pageBytes }];
  run.add({ fileId: 1, sizeBytes: content.length }, { page, lengthBytes: pageBytes, checksum, extents }, [store]);
}
let server: Server;
const ends: Socket[] = [];

beforeAll(async () => {
  server = createServer({ pauseOnConnect: true });
  await once(server.listen(0, '127.0.0.1'), 'listening');
});
afterEach(() => {
  for (const end of ends.splice(0)) end.destroy();
});
afterAll(() => {
  sender.close();
  closePageCache(cache);
  server.close();
  closeSync(store);
  rmSync(dir, { recursive: true });
});

it('ends where the client resets the connection in the middle', async () => {
  const one = await connection();
  const sending = send(one.server);
  await once(one.client, 'readable');
  one.client.resetAndDestroy();
  const { outcome, sentBytes } = await sending;
  expect(outcome).toBe('gone');
  expect(sentBytes).toBeLessThan(content.length);
});

it('writes nothing to a connection that has the number of one which was destroyed with pages queued', async () => {
  const old = await connection();
  const left = new AbortController();
  const sending = send(old.server, left.signal);
  const number = numberOf(old.server);
  await once(old.client, 'readable');
  old.server.destroy();
  const other = await connectionWith(number);
  expect(numberOf(other.server)).toBe(number);
  // Of the old answer nothing comes any more, neither to whom it was for, nor to the other one.
  expect((await taken(old.client)).length).toBeLessThan(content.length);

  const theirs = send(other.server);
  left.abort();
  expect((await sending).outcome).not.toBe('sent');
  const got = taken(other.client);
  expect(await theirs).toEqual({ outcome: 'sent', sentBytes: content.length });
  other.server.end();
  expect(content.equals(await got)).toBe(true);
});

/** The lowest number that is free is given to the next socket, whichever end it is: that end is called the server here. */
async function connectionWith(number: number): Promise<{ client: Socket; server: Socket }> {
  let { client, server: accepted } = await connection();
  for (let tries = 0; ![client, accepted].some((one) => numberOf(one) === number) && tries < 64; tries += 1)
    ({ client, server: accepted } = await connection());
  return numberOf(client) === number ? { client: accepted, server: client } : { client, server: accepted };
}

async function connection(): Promise<{ client: Socket; server: Socket }> {
  const accepted = once(server, 'connection') as Promise<[Socket]>;
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1');
  const [socket] = await accepted;
  for (const end of [client, socket]) end.on('error', () => undefined);
  ends.push(client, socket);
  return { client, server: socket };
}

async function send(socket: Socket, cancelled?: AbortSignal): Promise<Sent> {
  const order = { socket: numberOf(socket), head: '', run, skipBytes: 0, lengthBytes: content.length };
  return sender.send({ ...order, inlineBytes: 0, copied: true }, cancelled && (() => cancelled));
}

function numberOf(socket: Socket): number {
  return (socket as Socket & { _handle: { fd: number } })._handle.fd;
}

async function taken(client: Socket): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of client) pieces.push(piece as Buffer);
  return Buffer.concat(pieces);
}
