/** Which origins are sent checksums behind bodies: those that have shown that they keep them, and no others. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { WritableOrigins } from '../../../src/core/passed-write.ts';
import type { UfsPath } from '../../../src/core/types.ts';
import { openOrigins } from '../../../src/origin/origins.ts';
import { timeouts } from './raw-server.ts';

interface Asked {
  readonly method: string;
  readonly url: string;
  readonly body: string;
}

const path = 's3://b/key of it' as UfsPath;
const log = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };
const begun = '<InitiateMultipartUploadResult><UploadId>u+1</UploadId></InitiateMultipartUploadResult>';
let server: Server;
let asked: Asked[];
let part: (request: IncomingMessage, body: string, response: ServerResponse) => void;
let begin: (response: ServerResponse) => void;
let origins: WritableOrigins & { close(): Promise<void> };

beforeEach(async () => {
  asked = [];
  begin = (response) => response.end(begun);
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const body = (await buffer(request)).toString('latin1');
    asked.push({ method: request.method!, url: request.url!, body });
    if (request.method === 'POST') begin(response);
    else if (request.method === 'PUT') part(request, body, response);
    else response.writeHead(204).end();
  };
  server = createServer((request, response) => void answer(request, response));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const entry = { prefix: 's3://', endpoint, region: 'us-east-1', accessKeyId: 'AK', secretAccessKey: 'SK' };
  origins = openOrigins({ ufs: [entry], timeouts, retry: { attempts: 1 }, log });
});
afterEach(async () => {
  await origins.close();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

const keeps = () => origins.keepsChecksums(path, new AbortController().signal);
const sumIn = (body: string): string => /x-amz-checksum-crc32:(\S+)\r\n/.exec(body)![1]!;

it('one that answers with the checksum which came behind the part; it is asked once, and the part is given up', async () => {
  part = (request, body, response) => {
    expect(request.headers).toMatchObject({
      'x-amz-content-sha256': 'STREAMING-UNSIGNED-PAYLOAD-TRAILER',
      'x-amz-trailer': 'x-amz-checksum-crc32',
      'content-encoding': 'aws-chunked',
      'content-length': String(body.length),
    });
    response.writeHead(200, { 'x-amz-checksum-crc32': sumIn(body) }).end();
  };
  expect(await Promise.all([keeps(), keeps()])).toEqual([true, true]);
  expect(await keeps()).toBe(true);
  expect(asked.map(({ method, url }) => `${method} ${url}`)).toEqual([
    'POST /b/key%20of%20it?uploads',
    'PUT /b/key%20of%20it?partNumber=1&uploadId=u%2B1',
    'DELETE /b/key%20of%20it?uploadId=u%2B1',
  ]);
});

it.each([
  ['takes the frames for the content', (response: ServerResponse) => response.writeHead(200, { etag: '"x"' }).end()],
  [
    'says another checksum',
    (response: ServerResponse) => response.writeHead(200, { 'x-amz-checksum-crc32': 'AAAAAA==' }).end(),
  ],
  ['refuses such bodies', (response: ServerResponse) => response.writeHead(501).end()],
])('not one that %s, and the part is given up', async (_what, answer) => {
  part = (_request, _body, response) => answer(response);
  expect(await keeps()).toBe(false);
  expect(await keeps()).toBe(false);
  expect(asked.map(({ method }) => method)).toEqual(['POST', 'PUT', 'DELETE']);
});

it('not one that has no uploads in parts', async () => {
  begin = (response) => response.writeHead(403).end('<Error><Code>AccessDenied</Code></Error>');
  expect(await keeps()).toBe(false);
  expect(asked.map(({ method }) => method)).toEqual(['POST']);
});

it('one that fails is not known, and is not asked at each write', async () => {
  begin = (response) => response.writeHead(503).end();
  expect([await keeps(), await keeps()]).toEqual([false, false]);
  expect(asked.map(({ method }) => method)).toEqual(['POST']);
});
