/** An origin that answers hand-made bytes: each request runs the next step of a script. */

import type { AddressInfo } from 'node:net';
import { createServer, type Socket } from 'node:net';
import { createServer as createTlsServer, type TlsOptions } from 'node:tls';
import { expect } from 'vitest';
import { makeRangeClient } from '../../../src/origin/range-client.ts';
import type {
  LaneOrigin,
  RangeClient,
  RangeClientOptions,
  RangeRequest,
  RangeResult,
} from '../../../src/origin/types.ts';

export interface RawRequest {
  /** The head as it came, without the final empty line. */
  readonly text: string;
  readonly socket: Socket;
  /** Which connection of the server, from 0. */
  readonly connection: number;
}
export type Step = (request: RawRequest) => void;

export interface RawServer {
  readonly port: number;
  readonly requests: RawRequest[];
  readonly sockets: Socket[];
  close(): Promise<void>;
}

/** The last step answers every further request. */
export async function serveRaw(steps: readonly Step[], tls?: TlsOptions): Promise<RawServer> {
  const requests: RawRequest[] = [];
  const sockets: Socket[] = [];
  const onSocket = (socket: Socket): void => {
    const connection = sockets.push(socket) - 1;
    let text = '';
    socket.on('error', () => undefined);
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1');
      for (let end = text.indexOf('\r\n\r\n'); end >= 0; end = text.indexOf('\r\n\r\n')) {
        const request = { text: text.slice(0, end), socket, connection };
        text = text.slice(end + 4);
        requests.push(request);
        steps[Math.min(requests.length, steps.length) - 1]!(request);
      }
    });
  };
  const server = tls === undefined ? createServer(onSocket) : createTlsServer(tls, onSocket);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    requests,
    sockets,
    async close() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

export const etag = 'd41d8cd98f00b204e9800998ecf8427e-7';
export const wholeBytes = 100_000;
/** The object: byte i is a function of i, so that a misplaced byte shows. */
export const whole: Buffer = Buffer.from(Uint8Array.from({ length: wholeBytes }, (_, i) => (i * 31 + (i >> 8)) & 0xff));

/** A right answer to the request, range or whole; `change` makes it wrong. */
export function rightHead(
  request: RawRequest,
  change: { etag?: string; extraHeaders?: string } = {},
): { head: string; body: Buffer } {
  const range = /^range: bytes=(\d+)-(\d+)$/im.exec(request.text);
  const from = range === null ? 0 : Number(range[1]);
  const to = range === null ? wholeBytes : Number(range[2]) + 1;
  const body = whole.subarray(from, to);
  const head =
    `HTTP/1.1 ${range === null ? '200 OK' : '206 Partial Content'}\r\nContent-Length: ${body.length}\r\n` +
    `ETag: "${change.etag ?? etag}"\r\nx-amz-request-id: R1\r\n${change.extraHeaders ?? ''}` +
    `${range === null ? '' : `Content-Range: bytes ${from}-${to - 1}/${wholeBytes}\r\n`}\r\n`;
  return { head, body };
}

export const right: Step = (request) => {
  const { head, body } = rightHead(request);
  request.socket.write(Buffer.concat([Buffer.from(head, 'latin1'), body]));
};

/** Answers these bytes as they are. */
export function raw(bytes: string, then: 'keep' | 'end' | 'reset' = 'keep'): Step {
  return ({ socket }) => {
    socket.write(bytes, 'latin1');
    if (then === 'end') socket.end();
    if (then === 'reset') socket.resetAndDestroy();
  };
}

export function s3Error(status: number, code: string, extraHeaders = ''): Step {
  const body = `<?xml version="1.0"?><Error><Code>${code}</Code><Message>about ${code}</Message><RequestId>R2</RequestId></Error>`;
  return raw(`HTTP/1.1 ${status} Whatever\r\nContent-Length: ${body.length}\r\n${extraHeaders}\r\n${body}`);
}

export const timeouts = { connectMs: 5000, firstByteMs: 5000, stallMs: 5000 };

export function laneOf(port: number, more: Partial<Extract<LaneOrigin, { kind: 's3' }>> = {}): LaneOrigin {
  return {
    kind: 's3',
    originIndex: 0,
    host: '127.0.0.1',
    port,
    tls: false,
    hostHeader: `127.0.0.1:${port}`,
    pathPrefix: '/bucket',
    endpoint: `http://127.0.0.1:${port}`,
    bucket: 'bucket',
    region: 'us-east-1',
    forcePathStyle: true,
    signed: true,
    ...more,
  };
}

export function clientOf(lane: LaneOrigin, options: Partial<RangeClientOptions> = {}): RangeClient {
  const client = makeRangeClient({ maxSockets: 8, timeouts, idleMs: 10_000, ...options });
  client.addOrigin(lane);
  client.setCredentials(0, { accessKeyId: 'AKID', secretAccessKey: 'secret' });
  return client;
}

export interface Fetched {
  readonly result: RangeResult;
  readonly bytes: Buffer;
  /** What onBytes said, in order. */
  readonly landed: readonly { at: number; count: number }[];
  /** Whether memory before and after the destination is as it was. */
  readonly guardsIntact: boolean;
}

export const request = (offset = 0, length = wholeBytes, more: Partial<RangeRequest> = {}): RangeRequest => ({
  originIndex: 0,
  key: 'dir/object',
  offset,
  length,
  version: { etag, sizeBytes: wholeBytes, lastModifiedMs: 0 },
  run: 1,
  ...more,
});

const guardBytes = 64;

/** Into shared memory, with guards on both sides. */
export function fetchRange(client: RangeClient, wanted: RangeRequest): Promise<Fetched> {
  const memory = new Uint8Array(new SharedArrayBuffer(wanted.length + 2 * guardBytes)).fill(0xaa);
  const destination = memory.subarray(guardBytes, guardBytes + wanted.length);
  const landed: { at: number; count: number }[] = [];
  return new Promise((resolve) => {
    client.get(
      wanted,
      destination,
      (at, count) => landed.push({ at, count }),
      (result) =>
        resolve({
          result,
          bytes: Buffer.from(destination),
          landed,
          guardsIntact:
            memory.subarray(0, guardBytes).every((b) => b === 0xaa) &&
            memory.subarray(guardBytes + wanted.length).every((b) => b === 0xaa),
        }),
    );
  });
}

const opened: { close(): Promise<void> }[] = [];

/** A raw origin and a client of it; `closeOpened` ends both. */
export async function openClient(
  steps: readonly Step[],
  options: Partial<RangeClientOptions> = {},
): Promise<{ server: RawServer; client: RangeClient }> {
  const server = await serveRaw(steps);
  const client = clientOf(laneOf(server.port), options);
  opened.push(server, client);
  return { server, client };
}

export async function closeOpened(): Promise<void> {
  for (const one of opened.splice(0).reverse()) await one.close();
}

/** Right bytes, each said once and in order, and none beside them. */
export function expectExactly(fetched: Fetched, offset: number, length: number): void {
  expect(fetched.result.failure).toBeUndefined();
  expect(fetched.result.receivedBytes).toBe(length);
  expect(fetched.bytes.equals(whole.subarray(offset, offset + length))).toBe(true);
  expect(fetched.guardsIntact).toBe(true);
  let at = 0;
  for (const piece of fetched.landed) {
    expect(piece.at).toBe(at);
    at += piece.count;
  }
  expect(at).toBe(length);
}
