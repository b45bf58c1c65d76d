/** Connections that misbehave: each is closed by a limit, and costs the others nothing. */
import { once } from 'node:events';
import { type AddressInfo, connect, type Socket } from 'node:net';
import type { FastifyInstance } from 'fastify';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { MiB } from '../../../src/core/units.ts';
import { buildS3Server, type S3GatewayOptions } from '../../../src/server/s3/index.ts';
import { patterned } from '../../support/bytes.ts';
import { MemoryFiles } from '../../support/memory-files.ts';
import { rawRequest } from '../../support/raw-http.ts';

const log = { debug() {}, info() {}, warn() {}, error() {} };
const bytes = patterned(2 * MiB + 5, 3);
let files: MemoryFiles;
let app: FastifyInstance;
let port: number;
let sockets: Socket[];

async function start(options: Partial<S3GatewayOptions> = {}): Promise<void> {
  app = buildS3Server({ files: files.alone, log, ...options });
  await app.listen({ host: '127.0.0.1', port: 0 });
  port = (app.server.address() as AddressInfo).port;
}

beforeEach(() => {
  files = new MemoryFiles();
  files.put('s3://b/large', bytes, { etag: 'e' });
  files.put('s3://b/small', 'small');
  sockets = [];
});
afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  await app.close();
  await expect.poll(() => files.openFiles).toBe(0);
});

function open(): { socket: Socket; taken: () => string; closed: Promise<unknown> } {
  const socket = connect({ host: '127.0.0.1', port, allowHalfOpen: true });
  sockets.push(socket);
  const chunks: Buffer[] = [];
  socket.on('data', (chunk) => chunks.push(chunk));
  socket.on('end', () => socket.end());
  socket.on('error', () => undefined);
  return { socket, taken: () => Buffer.concat(chunks).toString('latin1'), closed: once(socket, 'close') };
}

const get = (key: string, more = ''): string => `GET /b/${key} HTTP/1.1\r\nhost: x\r\n${more}\r\n`;

it('a request that is too large, or none at all, is refused in XML, and its connection closed', async () => {
  await start();
  const asked = [
    [get('small', `x-large: ${'y'.repeat(20_000)}\r\n`), 'RequestHeaderSectionTooLarge'],
    [`GET /b/${'k'.repeat(20_000)} HTTP/1.1\r\nhost: x\r\n\r\n`, 'RequestHeaderSectionTooLarge'],
    ['\x16\x03\x01\x02\x00\x01\x00', 'BadRequest'],
    ['GET / HTTP/9.9\r\n\r\n', 'BadRequest'],
    [get('small', 'a b: c\r\n'), 'BadRequest'],
    [get('small', 'content-length: 5\r\ntransfer-encoding: chunked\r\n'), 'BadRequest'],
  ] as const;
  for (const [request, code] of asked) {
    const { socket, taken, closed } = open();
    socket.write(request, 'latin1');
    await closed;
    expect([taken().slice(0, 12), /<Code>(\w+)</.exec(taken())?.[1]]).toEqual(['HTTP/1.1 400', code]);
  }
});

it('who takes too long for the head of a request is told so and closed, while others are served', async () => {
  await start({ requestMs: 400 });
  const slow = Array.from({ length: 20 }, () => open());
  for (const { socket } of slow) socket.write('GET /b/small HTTP/1.1\r\nhost');
  expect((await rawRequest(port, '/b/small')).body.toString()).toBe('small');
  await Promise.all(slow.map(({ closed }) => closed));
  for (const { taken } of slow) expect(taken()).toContain('<Code>RequestTimeout</Code>');
});

it('requests that are sent ahead are answered in order, each whole', async () => {
  await start({ maxBodies: 1, turnWaitMs: 20_000 });
  const { socket, taken, closed } = open();
  socket.write(
    get('large') +
      get('small') +
      get('large', 'range: bytes=5-9\r\n') +
      get('none') +
      get('small', 'connection: close\r\n'),
  );
  await closed;
  const text = taken();
  expect([...text.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status)).toEqual([
    '200',
    '200',
    '206',
    '404',
    '200',
  ]);
  const first = text.indexOf('\r\n\r\n') + 4;
  expect(Buffer.from(text.slice(first, first + bytes.length), 'latin1').equals(bytes)).toBe(true);
  expect(text.endsWith('\r\n\r\nsmall')).toBe(true);
});

it('a connection that has sent many requests ahead and reads nothing has one turn, and more of them close it', async () => {
  await start({ maxBodies: 2, turnWaitMs: 20_000 });
  const large = patterned(32 * MiB, 1);
  files.put('s3://b/larger', large);
  const { socket, closed } = open();
  socket.pause();
  socket.write(get('larger').repeat(20));
  await expect.poll(() => files.openFiles).toBe(1);
  // The other turn is for others, who come after.
  expect((await rawRequest(port, '/b/large')).body.equals(bytes)).toBe(true);
  expect(files.openFiles).toBe(1);
  socket.destroy();
  await closed;
  await expect.poll(() => files.openFiles).toBe(0);

  const greedy = open();
  greedy.socket.write(get('larger').repeat(40));
  await greedy.closed;
  expect(greedy.taken().length).toBeLessThan(40 * large.length);
  expect((await rawRequest(port, '/b/small')).status).toBe(200);
});

it('a connection of which the client has closed its half is let go, whatever is under way on it', async () => {
  await start();
  const asking = open();
  asking.socket.end(get('large'));
  await asking.closed;
  const body = Buffer.from(asking.taken().split('\r\n\r\n')[1] ?? '', 'latin1');
  expect(bytes.subarray(0, body.length).equals(body)).toBe(true);
  const silent = open();
  silent.socket.end();
  await silent.closed;
  expect(silent.taken()).toBe('');
});
